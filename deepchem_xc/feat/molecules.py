"""Molecules of systems: built from plain values, checked key by key before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from weakref import WeakValueDictionary

from pyscf.gto import Mole
from torch import Tensor

from deepchem_xc.feat.moldesc import parsed_moldesc
from deepchem_xc.feat.molecule_keywords import MoleculeKeywords
from deepchem_xc.feat.named_errors import naming
from deepchem_xc.gaussian import Molecule
from deepchem_xc.gaussian.basis_sets import (
    basis_by_element,
    core_potentials,
    pseudopotentials_by_element,
)
from deepchem_xc.gaussian.grid import STANDARD_LEVEL, Grid
from deepchem_xc.gaussian.inputs import make_problem
from deepchem_xc.gaussian.molecule_checks import check_atoms

# Keys that are those of a `Molecule`.
_OF_MOLECULE = ("moldesc", "basis", "spin", "charge", "pseudopotentials")
# Largest number of molecules in memory: atoms and basis functions alone, no integrals.
_KEPT = 256
# Molecules of the systems that are in use, with the grids and integrals that these share.
_IN_USE: WeakValueDictionary[str, Molecule] = WeakValueDictionary()


def keywords_of_molecule(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `gaussian.scf` beside those of the `Molecule`, as a system has them.

    Examples
    --------
    >>> keywords_of_molecule({"moldesc": "He 0 0 0", "basis": "sto-3g", "grid_level": 2})
    {'grid_level': 2}
    """
    names = set(MoleculeKeywords.model_fields) - set(_OF_MOLECULE)
    return {name: value for name, value in values.items() if name in names}


def molecule_of(values: Mapping[str, Any]) -> Molecule:
    """Molecule of a system's values; systems with the same values share it.

    Parameters
    ----------
    values : mapping
        Keys of `MoleculeSpec`.

    Raises
    ------
    ValueError
        The message begins with the key.

    Examples
    --------
    >>> molecule_of({"moldesc": "H 0.87 0 0; F -0.87 0 0", "basis": "6-31g"}).nelectrons
    (5, 5)
    >>> molecule_of({"moldesc": "H 0 0 0", "basis": "6-31g"})
    Traceback (most recent call last):
    ValueError: spin, charge, basis: 1 electrons cannot have 0 unpaired ones: spin must be odd, ...
    """
    text = _text(values)
    found = _IN_USE.get(text)
    if found is None:
        found = _IN_USE[text] = Molecule(_built(text))
    return found


@dataclass(frozen=True, eq=False)
class MoleculeGrid:
    """Points of a molecule's integration grid, with DeepChem's names for them.

    Attributes
    ----------
    coordinates : Tensor
        (npoint, 3), bohr, in PySCF's order.
    weights : Tensor
        Volumes of the points, (npoint,), bohr^3; 0 for points that PySCF adds for alignment.

    Examples
    --------
    >>> grid = MoleculeGrid.of({"moldesc": "He 0 0 0", "basis": "sto-3g", "grid_level": 0})
    >>> grid.get_rgrid().shape, grid.coord_type
    (torch.Size([648, 3]), 'cart')
    """

    coordinates: Tensor = field(repr=False)
    weights: Tensor = field(repr=False)
    coord_type = "cart"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> MoleculeGrid:
        """The grid of a system's calculation.

        Parameters
        ----------
        values : mapping
            Keys of `MoleculeSpec`.
        """
        level = values.get("grid_level", STANDARD_LEVEL)
        grid = Grid(molecule_of(values).mole, level, derivatives=False)
        return cls(grid.coordinates, grid.weights)

    def get_rgrid(self) -> Tensor:
        """The points, (npoint, 3), bohr."""
        return self.coordinates

    def get_dvolume(self) -> Tensor:
        """Their volumes, (npoint,), bohr^3."""
        return self.weights


def number_of_points(values: Mapping[str, Any]) -> int:
    """Points of the grid of a system's calculation.

    Examples
    --------
    >>> number_of_points({"moldesc": "He 0 0 0", "basis": "sto-3g", "grid_level": 0})
    648
    """
    return _npoint(_text(values), values.get("grid_level", STANDARD_LEVEL))


def check_molecule(values: Mapping[str, Any]) -> int:
    """Build everything that needs no calculation, to find mistakes before computing anything.

    Parameters
    ----------
    values : mapping
        Keys of `MoleculeSpec`.

    Returns
    -------
    int
        Number of density matrices: 1, or 2 (up and down).

    Raises
    ------
    ValueError
        The message begins with the key.

    Examples
    --------
    >>> check_molecule({"moldesc": "H 0 0 0", "basis": "6-31g", "spin": 1})
    2
    """
    # A molecule of its own: one that is in use keeps its grid.
    molecule = Molecule(_built(_text(values)))
    words = keywords_of_molecule(values)
    kept = ("restricted", "density_fitting", "occupations")
    given = {name: words[name] for name in kept if name in words}
    if not given:  # then all is right, and data sets are read in less time
        return 2 if molecule.spin else 1
    # PBE stands for the trained functional, which is not known here, and the coarsest grid for its.
    problem = naming(", ".join(kept), lambda: make_problem(molecule, "PBE", grid_level=0, **given))
    return problem.nspin


@lru_cache(maxsize=_KEPT)
def _built(text: str) -> Mole:
    values = json.loads(text)
    symbols, positions = naming("moldesc", lambda: parsed_moldesc(values["moldesc"]))
    naming("moldesc", lambda: check_atoms(symbols, positions))
    basis, pseudopotentials = values["basis"], values.get("pseudopotentials")
    naming("basis", lambda: basis_by_element(basis, symbols))
    if pseudopotentials is None:
        naming("basis, pseudopotentials", lambda: core_potentials(basis, symbols))
    else:
        naming(
            "pseudopotentials",
            lambda: pseudopotentials_by_element(pseudopotentials, symbols),
        )
    return naming(
        "spin, charge, basis",
        lambda: Molecule.at(
            symbols,
            positions,
            basis=basis,
            spin=values.get("spin", 0),
            charge=values.get("charge", 0),
            pseudopotentials=pseudopotentials,
        ),
    ).mole


@lru_cache(maxsize=_KEPT)
def _npoint(text: str, level: int) -> int:
    return len(MoleculeGrid.of({**json.loads(text), "grid_level": level}).weights)


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps({key: values[key] for key in _OF_MOLECULE if key in values})
