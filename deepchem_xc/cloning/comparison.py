"""Self-consistent energies of a clone against its parent's, on molecules that were not sampled."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning.atomisation import KCAL_PER_MOL
from deepchem_xc.cloning.densities import (
    BASIS,
    GRID_LEVEL,
    converge,
    kohn_sham,
    parent_densities,
)
from deepchem_xc.cloning.molecules import HELD_OUT, free_atoms, g2_molecule
from deepchem_xc.models.progress_bar import progress_bar
from deepchem_xc.xc import XCFunctional, get_xc

__all__ = ["EnergyErrors", "compare_energies"]


@dataclass(frozen=True)
class EnergyErrors:
    """Self-consistent energies of a clone less those of its parent.

    Attributes
    ----------
    atoms : dict
        Errors of total energies of free atoms by symbol, mHa.
    molecules : dict
        Errors of total energies of molecules by name, mHa.
    atomisation : dict
        Errors of atomisation energies by name, kcal/mol.

    Examples
    --------
    >>> errors = EnergyErrors({"H": 0.1}, {"H2": 0.2}, {"H2": 0.0})
    >>> errors.worst_atom, errors.mean_atomisation, errors.largest_atomisation
    (0.1, 0.0, 0.0)
    """

    atoms: dict[str, float]
    molecules: dict[str, float]
    atomisation: dict[str, float]

    @property
    def mean_atom(self) -> float:
        """Mean absolute error of the atoms, mHa."""
        return float(np.mean(np.abs(list(self.atoms.values()))))

    @property
    def worst_atom(self) -> float:
        """Largest absolute error of the atoms, mHa."""
        return float(np.max(np.abs(list(self.atoms.values()))))

    @property
    def mean_atomisation(self) -> float:
        """Mean absolute error of atomisation energies, kcal/mol."""
        return float(np.mean(np.abs(list(self.atomisation.values()))))

    @property
    def largest_atomisation(self) -> float:
        """Largest absolute error of atomisation energies, kcal/mol."""
        return float(np.max(np.abs(list(self.atomisation.values()))))


def compare_energies(
    clone: str | os.PathLike[str] | XCFunctional,
    parent: str | os.PathLike[str] | XCFunctional,
    names: Sequence[str] = HELD_OUT,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    basis: str = BASIS,
    grid_level: int = GRID_LEVEL,
    progress: bool | None = None,
) -> EnergyErrors:
    """Compute molecules and their free atoms with both functionals, by PySCF.

    Calculations of the clone start at the parent's densities, so that both are in the same state of
    open shells. Densities of the parent are kept, see `parent_densities`.

    Parameters
    ----------
    clone, parent : str, path-like or XCFunctional
        Anything that `get_xc` takes.
    names : sequence of str, optional
        Molecules of ASE's g2 set; ten that `clone_dataset`'s defaults do not contain.
    data_dir : path, optional
        As for `parent_densities`.
    basis : str, optional
        Gaussian basis.
    grid_level : int, optional
        Level of PySCF's grid.
    progress : bool, optional
        Show progress bars; by default on a terminal and in notebooks.

    Returns
    -------
    EnergyErrors
        Errors of the clone.

    Raises
    ------
    ValueError, SCFConvergenceError
        As `parent_densities`.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import compare_energies
    >>> errors = compare_energies("LDA", "PBE", ["H2"], tempfile.mkdtemp(), progress=False)
    >>> errors.atomisation["H2"]
    8.1
    """
    functional = get_xc(clone)
    atoms = free_atoms(tuple(names))
    kept = parent_densities(
        parent, [*atoms, *names], data_dir, basis=basis, grid_level=grid_level, progress=progress
    )
    errors = {}
    with progress_bar(progress, iterable=kept, desc="clone", unit="molecule") as bar:
        for one in bar:
            mf = to_pyscf(functional, kohn_sham(one.atoms, basis, grid_level))
            errors[one.name] = 1e3 * (converge(mf, one.name, one.density_matrix) - one.energy)
    atomisation = {}
    for name in names:
        parts = Counter(g2_molecule(name).get_chemical_symbols())
        apart = sum(count * errors[symbol] for symbol, count in parts.items())
        atomisation[name] = 1e-3 * (apart - errors[name]) * KCAL_PER_MOL
    return EnergyErrors(
        atoms={symbol: errors[symbol] for symbol in atoms},
        molecules={name: errors[name] for name in names},
        atomisation=atomisation,
    )
