"""Volumes of the crystals in the sets of densities, by rules that need no calculation.

Prototypes give the shape of a cell and the places of its atoms; one of two rules gives its size.
Bond valences: sizes at which the valences ``exp((R - d) / 0.37 Angstrom)`` of all pairs of
neighbours add up to those of the atoms (Brown and Altermatt, Acta Cryst. B 41, 244 (1985)), with
``R`` of two elements by O'Keeffe and Brese (J. Am. Chem. Soc. 113, 3226 (1991)), whose parameters
pymatgen has. Metals: sums of the volumes that the elements have by themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache

import numpy as np
from ase import Atoms
from ase.collections import dcdft
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.optimize import brentq

Array = NDArray[np.float64]

#: Length over which a bond's valence falls to 1/e, Angstrom.
SOFTNESS = 0.37
# Neighbours up to this many times the nearest distance count; the others have valences below 1e-4.
_REACH = 3.0
# No prototype's nearest neighbours are further apart than this, Angstrom.
_NEAREST = 5.0
# Sizes that are tried; at 1 the shortest bond has valence 1.
_RANGE = (0.6, 3.0)


@cache
def _parameters() -> dict[str, tuple[float, float]]:
    """Radius (Angstrom) and electronegativity of each element."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.analysis.bond_valence import BV_PARAMS
    return {str(element): (p["r"], p["c"]) for element, p in BV_PARAMS.items()}


def bond_length(first: str, second: str) -> float:
    """Length of a bond of valence 1 between two elements, Angstrom."""
    (r1, c1), (r2, c2) = _parameters()[first], _parameters()[second]
    return r1 + r2 - r1 * r2 * (c1**0.5 - c2**0.5) ** 2 / (c1 * r1 + c2 * r2)


def bonds(atoms: Atoms, lengths: Mapping[frozenset[str], float]) -> tuple[Array, Array]:
    """Distances between neighbours, each pair twice, and their `lengths`, Angstrom.

    Pairs of elements that are not in `lengths` do not count.
    """
    symbols = atoms.get_chemical_symbols()
    nearest = neighbor_list("d", atoms, _NEAREST).min()
    first, second, distances = neighbor_list("ijd", atoms, float(_REACH * nearest))
    known = [
        lengths.get(frozenset((symbols[i], symbols[j])), np.nan) for i, j in zip(first, second)
    ]
    length = np.array(known)
    counted = np.isfinite(length)
    return distances[counted], length[counted]


def valence_sum(distances: Array, lengths: Array) -> float:
    """Bond valences of all atoms together."""
    return float(np.exp((lengths - distances) / SOFTNESS).sum())


def with_valences(atoms: Atoms, valences: Mapping[str, float]) -> Atoms:
    """The crystal at the size at which its bonds add up to its atoms' valences.

    In a compound bonds are between unlike elements.
    """
    symbols = sorted(set(atoms.get_chemical_symbols()))
    pairs = [(a, b) for i, a in enumerate(symbols) for b in symbols[i + 1 :]] or [(symbols[0],) * 2]
    lengths = {frozenset(pair): bond_length(*pair) for pair in pairs}
    return with_valence_sum(atoms, sum(valences[s] for s in atoms.get_chemical_symbols()), lengths)


def with_valence_sum(atoms: Atoms, wanted: float, lengths: Mapping[frozenset[str], float]) -> Atoms:
    """The crystal at the size at which `valence_sum` is `wanted`."""
    distances, length = bonds(atoms, lengths)
    shortest = int((distances / length).argmin())
    unit = float(length[shortest] / distances[shortest])
    scale = brentq(
        lambda x: valence_sum(x * unit * distances, length) - wanted, *_RANGE, xtol=1e-12
    )
    return scaled(atoms, scale * unit)


def with_element_volumes(atoms: Atoms) -> Atoms:
    """The crystal with the sum of its elements' volumes (PBE, WIEN2k, of the Delta test)."""
    total = sum(float(dcdft.data[s]["wien2k_volume"]) for s in atoms.get_chemical_symbols())
    return scaled(atoms, (total / atoms.get_volume()) ** (1 / 3))


def scaled(atoms: Atoms, factor: float) -> Atoms:
    """The crystal, larger by a factor in all directions."""
    copy = atoms.copy()
    copy.set_cell(atoms.cell * factor, scale_atoms=True)
    return copy
