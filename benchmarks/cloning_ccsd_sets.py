"""Reference energies of `cloning_ccsd.py`, and densities of a parent at their molecules."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from cloning_molecules import w4_11

from deepchem_xc._files import data_file
from deepchem_xc.cloning import HELD_OUT, AtomisationErrors, free_atoms, parent_densities
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.xc import XCFunctional

#: Molecules that choose among trained functionals: those with energies in the file.
VALIDATION = tuple(name for name in HELD_OUT if name != "Si2")
# Distance (Angstrom) within which two geometries belong to one molecule: CCSD(T)'s and MP2's.
_SAME = 0.06


def ccsd_energies(names: Iterable[str]) -> dict[str, float]:
    """CCSD(T) atomisation energies (kcal/mol) of ``data/ccsd_g2.json``."""
    known = json.loads(data_file("ccsd_g2.json").read_text())["atomisation"]
    return {name: known[name] for name in names}


@dataclass(frozen=True)
class W411:
    """Molecules of a file of W4-11 that nothing was trained on.

    Attributes
    ----------
    molecules : dict of str to ase.Atoms
        By the file's names.
    wanted : dict of str to float
        Atomisation energies, kcal/mol.
    """

    molecules: dict[str, Atoms]
    wanted: dict[str, float]

    @classmethod
    def read(cls, path: Path, without: Iterable[str], largest: float = math.inf) -> W411:
        """Molecules without those of the g2 set that are named, and of at most so many electrons.

        Small molecules come first.
        """
        reactions, species = json.loads(path.read_text())["reactions"], w4_11(path)
        trained = [g2_molecule(name) for name in without]
        found: dict[str, Atoms] = {}
        wanted = {}
        for reaction in reactions:
            name = reaction["species"][0]
            if reaction["stoichiometry"][0] != -1:
                raise ValueError(f"{path} has a reaction that is no atomisation: {reaction}.")
            atoms = species[name]
            if any(same_molecule(atoms, one) for one in trained):
                continue
            if atoms.numbers.sum() <= largest:
                found[name], wanted[name] = atoms, float(reaction["reference_kcal_mol"])
        order = sorted(found, key=lambda name: int(found[name].numbers.sum()))
        return cls({name: found[name] for name in order}, {name: wanted[name] for name in order})


def same_molecule(one: Atoms, other: Atoms) -> bool:
    """Whether atoms, unpaired electrons and, nearly, all distances are equal.

    Examples
    --------
    >>> same_molecule(g2_molecule("HCN"), g2_molecule("CO"))
    False
    """
    if one.get_chemical_formula() != other.get_chemical_formula():
        return False
    spins = [atoms.get_initial_magnetic_moments().sum() for atoms in (one, other)]
    if abs(spins[0] - spins[1]) > 0.1:
        return False
    return bool(np.abs(_distances(one) - _distances(other)).max(initial=0.0) < _SAME)


def _distances(atoms: Atoms) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Distances of pairs, sorted within each pair of elements."""
    symbols = atoms.get_chemical_symbols()
    distances = atoms.get_all_distances()
    pairs = sorted(
        (tuple(sorted((symbols[i], symbols[j]))), distances[i, j])
        for i in range(len(atoms))
        for j in range(i)
    )
    return np.array([distance for _, distance in pairs])


@dataclass
class Sets:
    """Errors of any functional on sets of atomisation energies, to first order.

    Attributes
    ----------
    energies : dict of str to AtomisationErrors
        By the name of the set.
    left_out : list of str
        Molecules whose densities do not converge with the parent.
    """

    energies: dict[str, AtomisationErrors] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add_g2(
        self, name: str, parent: XCFunctional, molecules: Iterable[str], **options: Any
    ) -> None:
        """Add molecules of the g2 set with CCSD(T) energies.

        Parameters
        ----------
        name : str
            Of the set.
        parent : XCFunctional
            Whose densities are taken.
        molecules : iterable of str
            Names in ASE's g2 set.
        **options
            Of `parent_densities`.
        """
        names = list(molecules)
        kept = parent_densities(parent, [*free_atoms(tuple(names)), *names], **options)
        self.energies[name] = AtomisationErrors(parent, kept, ccsd_energies(names))

    def add_w4_11(self, name: str, parent: XCFunctional, others: W411, **options: Any) -> None:
        """Add molecules of W4-11; those that do not converge are left out and remembered."""
        elements = {symbol for one in others.molecules.values() for symbol in one.symbols}
        kept = parent_densities(parent, sorted(elements), **options)
        wanted = {}
        for molecule, atoms in others.molecules.items():
            try:
                kept += parent_densities(parent, {molecule: atoms}, **options)
            except SCFConvergenceError as error:
                print(error, file=sys.stderr)
                self.left_out.append(molecule)
                continue
            wanted[molecule] = others.wanted[molecule]
        if wanted:
            self.energies[name] = AtomisationErrors(parent, kept, wanted)

    def errors(self, functional: XCFunctional) -> dict[str, dict[str, float]]:
        """Errors of each set by molecule, kcal/mol."""
        return {
            name: dict(zip(one.names, one.errors(functional).tolist(), strict=True))
            for name, one in self.energies.items()
        }
