"""The crystals in which data/protocols.py measures cutoffs and k-point densities.

A cutoff belongs to a potential and hardly to the crystal: dense cubic crystals with one or two
atoms serve for all elements, also where nature prefers another one (hcp metals are taken as fcc;
oxygen, phosphorus and others as simple cubic ones), and none of them is magnetic. k-point densities
belong to kinds of crystals, and are measured in real ones only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.build import bulk
from ase.collections import dcdft
from ase.data import atomic_numbers, covalent_radii
from ase.units import Hartree

from deepchem_xc.planewave.paw import load_paw
from deepchem_xc.planewave.paw.loader import available_variants
from deepchem_xc.planewave.paw.plane_wave_tail import cutoff_of_tail
from deepchem_xc.planewave.pseudo import load_pseudopotential

if TYPE_CHECKING:
    from ase import Atoms

#: Families whose potentials are measured; meshes are measured with the first one alone.
FAMILIES = ("gth-pbe", "paw-pbe")
PAW = "paw-pbe"
#: GTH potentials other than those of the family, measured in addition.
OTHERS = {
    "Na": ("GTH-PBE-q1",),
    "Mg": ("GTH-PBE-q2",),
    "Au": ("GTH-GGA-q19",),
}
STRUCTURES = {
    **dict.fromkeys(("C", "Si", "Ge", "Sn"), "diamond"),
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Cs", "Ba"), "bcc"),
    **dict.fromkeys(("V", "Cr", "Mn", "Fe", "Nb", "Mo", "Ta", "W"), "bcc"),
    **dict.fromkeys(("Al", "Ca", "Sr", "Ni", "Cu", "Rh", "Pd", "Ag", "Ir", "Pt", "Au"), "fcc"),
    **dict.fromkeys(("Pb", "In", "Tl", "Be", "Mg", "Zn", "Cd", "Hg", "Ga"), "fcc"),
    **dict.fromkeys(("Sc", "Ti", "Co", "Y", "Zr", "Tc", "Ru", "Hf", "Re", "Os"), "fcc"),
    **dict.fromkeys(("H", "B", "N", "O", "F", "P", "S", "Cl"), "sc"),
    **dict.fromkeys(("As", "Se", "Br", "Sb", "Te", "I", "Bi"), "sc"),
}
#: Crystals in which meshes are measured, with their kind: real ones.
KINDS = {
    **dict.fromkeys(("Al", "Cu", "Ag", "Pd", "Ca", "Pb", "Pt"), "metal"),
    **dict.fromkeys(("Li", "Na", "K", "Nb", "W"), "metal"),
    **dict.fromkeys(("C", "Si", "Ge"), "insulator"),
}
# Cutoffs (eV) of lattice constants within about 0.05 % where the potential has no projectors.
_WITHOUT_PROJECTORS = {"H": 1200.0, "Li": 1600.0, "Be": 1500.0}
# Cutoff times the square of the smallest projector's radius, Hartree bohr^2, for about 0.05 %.
_REDUCED_CUTOFF = 5.5
_PER_CUBE = {"sc": 1, "bcc": 2, "fcc": 4, "diamond": 8}
# Atoms of one dense solid are further apart than two covalent radii by about this factor.
_SPACING = 1.1
# Volumes per atom, Angstrom^3, of minima far from both guesses: the covalent radii of both elements
# are those of their molecules.
_VOLUMES = {"F": 10.5, "H": 3.2}
# Kinetic energy (Hartree) of a PAW dataset's free atom beyond the estimated cutoff, and the
# smallest estimate, eV.
_TAIL, _LEAST = 2e-3, 200.0


def measured(family: str = FAMILIES[0]) -> dict[tuple[str, str], float]:
    """``{(element, potential): estimated cutoff in eV}`` of a family, the cheapest first."""
    found = {}
    for symbol in STRUCTURES:
        if family == PAW:
            if "" in available_variants(PAW, symbol):
                dataset = load_paw(PAW, symbol)
                estimate = max(_LEAST, cutoff_of_tail(dataset, _TAIL) * Hartree)
                found[symbol, dataset.name] = round(estimate, -1)
            continue
        for source in (family, *OTHERS.get(symbol, ())):
            potential = load_pseudopotential(source, symbol)
            found[symbol, potential.name] = estimated_cutoff(symbol, potential.name)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def source(potential: str) -> str:
    """What ``pseudopotentials=`` calls a potential of this name.

    Examples
    --------
    >>> source("GTH-PBE-q4"), source("Si.PBE"), source("Na.1.PBE")
    ('GTH-PBE-q4', 'paw-pbe', 'paw-pbe:1')
    """
    symbol, *variant = potential.split(".")
    if not variant or variant.pop() != "PBE" or symbol not in STRUCTURES:
        return potential
    return ":".join((PAW, *variant))


def estimated_cutoff(symbol: str, potential: str) -> float:
    """Cutoff for lattice constants within about 0.05 %, from the potential's projectors, eV."""
    parameters = getattr(load_pseudopotential(potential, symbol), "parameters", None)
    radii = [] if parameters is None else [radius for _, radius, _ in parameters.projectors]
    if not radii:
        return _WITHOUT_PROJECTORS.get(symbol, 300.0 if symbol in OTHERS else 1500.0)
    return float(_REDUCED_CUTOFF / min(radii) ** 2 * Hartree)


def first_guess(symbol: str) -> Atoms:
    """The crystal of an element near its minimum: PBE's volume by WIEN2k, where it is known."""
    structure = STRUCTURES[symbol]
    real = structure != "sc" and symbol in dcdft.names
    if symbol in _VOLUMES:
        per_atom = _VOLUMES[symbol]
    elif real:
        per_atom = float(dcdft.data[symbol]["wien2k_volume"])
    else:
        per_atom = (2.0 * _SPACING * float(covalent_radii[atomic_numbers[symbol]])) ** 3
    return bulk(symbol, structure, a=(_PER_CUBE[structure] * per_atom) ** (1 / 3))
