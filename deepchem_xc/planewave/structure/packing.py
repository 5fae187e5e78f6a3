"""Whether a crystal's atoms have room: duplicated atoms and cells that are too small do not.

Typical volumes are those of the elements' own crystals (ASE's Delta test at PBE), except where
these are molecular, or where an element takes less room in compounds. 354 crystals (pymatgen's
prototypes of AFLOW, the Delta test, measured lattice constants) have 0.66 to 4 times their typical
volume, half of them 0.96 to 1.16. One that holds its atoms twice has half of that, and 78 % of
these crystals would then be refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

#: Smallest volume, in units of the typical one, of a crystal that is not under pressure.
SMALLEST_VOLUME = 0.6
#: Smallest distance of two atoms, in units of the sum of their covalent radii. The shortest bonds
#: (CO, N2) have 0.77, alpha plutonium 0.69.
SMALLEST_DISTANCE = 0.5

# Volume of an atom in compounds with short bonds, Angstrom^3: interstitial hydrogen, carbides,
# nitrides, oxides, and salts.
_IN_COMPOUNDS = {
    "H": 2.0,
    "B": 5.0,
    "C": 4.0,
    "N": 4.0,
    "O": 9.0,
    "F": 9.0,
    "P": 14.0,
    "S": 14.0,
    "Cl": 19.0,
    "As": 17.0,
    "Se": 17.0,
    "Br": 24.0,
    "Te": 25.0,
    "I": 33.0,
}
# Elements whose own crystals consist of small molecules; they count as in compounds.
_MOLECULAR = ("H", "N", "O", "F")
# Volume of an atom of elements with a crystal denser than that of the Delta test, Angstrom^3
# (measured: diamond, white tin, noble gases, which PBE does not bind, mercury).
_DENSER = {"C": 5.7, "Ar": 37.4, "Kr": 45.2, "Sn": 27.0, "Xe": 57.8, "Hg": 23.1}
# Partners that take electrons from alkali and alkaline-earth atoms, which then need half the room.
_ACCEPTORS = frozenset([*_IN_COMPOUNDS, "Sb"]) - {"B"}
_DONORS = frozenset(["Li", "Na", "K", "Rb", "Cs", "Be", "Mg", "Ca", "Sr", "Ba"])
_SHRUNK = 0.5
# Structures of ASE's reference states that `ase.build.bulk` makes without further data.
_BUILT = ("fcc", "bcc", "hcp")
# Volume of an atom in units of the sphere of its covalent radius, for elements without a reference.
_OF_SPHERE = 0.6


def typical_volume(symbols: Sequence[str]) -> float:
    """Estimated volume of a compact crystal at zero pressure, Angstrom^3.

    Parameters
    ----------
    symbols : sequence of str
        Chemical symbols of the atoms in the cell.

    Examples
    --------
    >>> round(typical_volume(["Al"]), 1), round(typical_volume(["Na", "Cl"]), 1)
    (16.5, 37.5)
    """
    kinds = set(symbols)
    if len(kinds) == 1:
        (symbol,) = kinds
        single = _IN_COMPOUNDS[symbol] if symbol in _MOLECULAR else _own_volume(symbol)
        return len(symbols) * single
    ionic = bool(kinds & _ACCEPTORS)
    room = {
        s: _IN_COMPOUNDS.get(s) or _own_volume(s) * (_SHRUNK if ionic and s in _DONORS else 1.0)
        for s in kinds
    }
    return float(sum(room[s] for s in symbols))


@cache
def _own_volume(symbol: str) -> float:
    """Volume of an atom in the densest known reference crystal of its element, Angstrom^3."""
    from ase.build import bulk
    from ase.collections import dcdft
    from ase.data import atomic_numbers, covalent_radii, reference_states

    if symbol in _DENSER:
        return _DENSER[symbol]
    number = atomic_numbers[symbol]
    if symbol in dcdft.names:
        atoms = dcdft[symbol]
    elif (reference_states[number] or {}).get("symmetry") in _BUILT:
        atoms = bulk(symbol)
    else:
        return float(_OF_SPHERE * 4.0 / 3.0 * np.pi * covalent_radii[number] ** 3)
    return float(atoms.get_volume() / len(atoms))


def check_packing(atoms: Atoms, compressed: bool = False) -> None:
    """Refuse atoms that are closer, or a cell that is smaller, than in any crystal.

    Vacuum is not refused: it makes cells larger.

    Parameters
    ----------
    atoms : ase.Atoms
        Structure with a cell.
    compressed : bool, optional
        Whether it is a crystal under pressure, whose volume may be smaller.

    Raises
    ------
    ValueError
        If two atoms are closer than half the sum of their covalent radii, or the volume is below
        0.6 of `typical_volume`, as of a cell that holds its atoms twice; the message gives both
        numbers.

    Examples
    --------
    >>> from ase.build import bulk
    >>> check_packing(bulk("Al"))
    >>> doubled = bulk("Al") + bulk("Al")
    >>> doubled.positions[1] += doubled.cell.sum(axis=0) / 2
    >>> check_packing(doubled)
    Traceback (most recent call last):
    ValueError: the cell has 8.3 Angstrom^3 an atom, 0.50 of the 16.5 that are typical of Al2...
    """
    _check_neighbours(atoms)
    volume, typical = atoms.get_volume(), typical_volume(atoms.get_chemical_symbols())
    if not compressed and volume < SMALLEST_VOLUME * typical:
        raise ValueError(
            f"the cell has {volume / len(atoms):.1f} Angstrom^3 an atom, {volume / typical:.2f} of "
            f"the {typical / len(atoms):.1f} that are typical of {atoms.symbols}: atoms may be "
            "listed twice (a CIF with symmetry operations that lists all atoms too, or for another "
            "origin), or the cell may be too small for them, or in another unit than Angstrom. If "
            "it is a crystal under pressure, add 'compressed: true' to the system"
        )


def _check_neighbours(atoms: Atoms) -> None:
    """Refuse atoms that are much closer than a bond."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    # A radius an atom: two atoms are neighbours within the sum of theirs.
    reach = SMALLEST_DISTANCE * covalent_radii[atoms.numbers]
    first, second, distance = neighbor_list("ijd", atoms, list(reach))
    if len(distance) == 0:
        return
    closest = int(np.argmin(distance / (reach[first] + reach[second])))
    i, j = int(first[closest]), int(second[closest])
    least = float(reach[i] + reach[j])
    pair = f"{atoms.symbols[i]}{i} and " + (
        "its own periodic image" if i == j else f"{atoms.symbols[j]}{j}"
    )
    raise ValueError(
        f"{pair} are {distance[closest]:.2f} Angstrom apart, less than half the sum of their "
        f"covalent radii ({least:.2f}): an atom may be listed twice at slightly different "
        "positions, or lengths may be in another unit than Angstrom"
    )
