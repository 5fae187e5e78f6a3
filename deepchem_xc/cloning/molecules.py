"""Molecules of clones: those that are sampled, those that test a clone, and free atoms."""

from __future__ import annotations

import difflib

from ase import Atoms
from ase.collections import g2
from ase.data import chemical_symbols

__all__ = ["HELD_OUT", "QUICK", "SAMPLED", "free_atoms", "g2_molecule", "unpaired_electrons"]

#: Molecules that a clone is trained on, one for each sum formula: 25 as in the protocol, whose own
#: set is not public. H, Li, Be, B, C, N, O, F, Na, Si, P, S and Cl occur.
SAMPLED = (
    *("H2", "LiH", "BeH", "BF3", "CH4", "NH3", "H2O", "HF", "SiH4", "PH3", "SH2", "HCl", "LiF"),
    *("C2H2", "HCN", "CO", "N2", "H2CO", "O2", "F2", "NaCl", "SiO", "CS", "CH3", "ClF"),
)
#: Molecules of a quick clone, for trials and tests.
QUICK = ("H2O", "N2", "CH4", "CH3", "LiF")
#: Molecules that test a clone; none has the sum formula of a sampled one.
HELD_OUT = ("C2H4", "CO2", "N2H4", "HOCl", "P2", "Li2", "CH3OH", "SO2", "NO", "Si2")


def g2_molecule(name: str) -> Atoms:
    """Molecule or atom of ASE's g2 set, with its initial magnetic moments.

    Parameters
    ----------
    name : str
        Name in ``ase.collections.g2``.

    Raises
    ------
    ValueError
        If the set has no such molecule.

    Examples
    --------
    >>> g2_molecule("CH4").get_chemical_formula()
    'CH4'
    >>> g2_molecule("H22")
    Traceback (most recent call last):
    ValueError: ASE's g2 set has no molecule 'H22'; did you mean ...
    """
    if name not in g2.names:
        near = ", ".join(map(repr, difflib.get_close_matches(str(name), g2.names, n=3)))
        hint = f"did you mean {near}?" if near else "ase.collections.g2.names lists them."
        raise ValueError(f"ASE's g2 set has no molecule {name!r}; {hint}")
    found: Atoms = g2[name]
    return found


def unpaired_electrons(atoms: Atoms) -> int:
    """Number of unpaired electrons that the initial magnetic moments stand for.

    Examples
    --------
    >>> unpaired_electrons(g2_molecule("O2"))
    2
    """
    return round(abs(float(atoms.get_initial_magnetic_moments().sum())))


def free_atoms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Symbols of the elements in molecules, each once, in order of atomic numbers.

    Examples
    --------
    >>> free_atoms(("HCN", "H2O"))
    ('H', 'C', 'N', 'O')
    """
    numbers = {int(number) for name in names for number in g2_molecule(name).numbers}
    return tuple(chemical_symbols[number] for number in sorted(numbers))
