"""Checks of the molecules of an entry against each other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_checks import check_balance
from deepchem_xc.feat.molecules import MoleculeGrid

# Electrons, relative to all of them, by which a density matrix may miss their number, because files
# round, and a density, which a grid of level 0 integrates to 1e-3.
_MISSED = {"dm": 1e-3, "dens": 1e-2}


class OtherElectronsWarning(UserWarning):
    """A density, or density matrix, does not hold the electrons of its molecule.

    Examples
    --------
    >>> from deepchem_xc.feat import OtherElectronsWarning
    >>> issubclass(OtherElectronsWarning, UserWarning)
    True
    """


def warn_of_other_electrons(e_type: str, system: DFTSystem, label: NDArray[np.float64]) -> None:
    """Warn if the number of electrons of a density is not that of the molecule.

    It changes with another order or normalisation of basis functions or points.

    Parameters
    ----------
    e_type : str
        "dm" or "dens".
    system : DFTSystem
        A molecule.
    label : ndarray
        Density matrix, (nao, nao), or density, (npoint,), bohr^-3.
    """
    expected = sum(system.molecule.nelectrons)
    if e_type == "dm":
        what, order = "density matrix", f"functions of {system.basis!r}"
        found = float((label * system.molecule.overlap).sum())
    else:
        what, order = "density", "points of get_integration_grid()"
        found = float((label * MoleculeGrid.of(system.system).weights.numpy()).sum())
    if abs(found - expected) > _MISSED[e_type] * expected:
        warnings.warn(
            f"the {what} of {system.formula} holds {found:.4g} electrons, and the molecule "
            f"{expected}: it must be the sum of both spins, in PySCF's order of the {order}.",
            OtherElectronsWarning,
            stacklevel=users_stacklevel(),
        )


def check_molecules(e_type: str, systems: Sequence[DFTSystem]) -> None:
    """Raise `ValueError` if the difference of the molecules' energies is not what the type says.

    Parameters
    ----------
    e_type : str
        "ae", "ie", "dm" or "dens".
    systems : sequence of DFTSystem
        Molecules, each of which is right by itself.
    """
    if e_type == "ae" and len(systems) > 1:
        check_balance(systems)
        first, *others = (system.charge * system.no for system in systems)
        if first != sum(others):
            raise ValueError(
                f"systems: the first one has the charge {first}, but the others together "
                f"{sum(others)}: give them the same"
            )
    if e_type == "ie":
        _check_ionisation(*systems)
    _check_cores(systems)
    _check_functions(systems)


def _check_ionisation(first: DFTSystem, last: DFTSystem) -> None:
    atoms = [sorted(system.atoms.symbols) * system.no for system in (first, last)]
    if atoms[0] != atoms[1]:
        raise ValueError(
            f"systems: type ie takes one molecule twice, with two charges, got {first.formula} and "
            f"{last.formula}"
        )
    if not first.charge < last.charge:
        raise ValueError(
            "systems: the label of type ie is the energy of the second system minus that of the "
            f"first: give the ion second, got the charges {first.charge} and {last.charge}"
        )


def _check_cores(systems: Sequence[DFTSystem]) -> None:
    """Refuse an element with different core electrons: its energies have different zeros."""
    known: dict[str, tuple[int, int]] = {}
    for i, system in enumerate(systems):
        molecule = system.molecule
        for symbol, charge in zip(molecule.symbols, molecule.mole.atom_charges(), strict=True):
            j, other = known.setdefault(symbol, (i, int(charge)))
            if other != charge:
                raise ValueError(
                    f"systems[{i}].basis: {symbol} has {charge} electrons here and {other} in "
                    f"systems[{j}], because a core potential replaces the others: give all systems "
                    "basis sets and pseudopotentials of one kind"
                )


def _check_functions(systems: Sequence[DFTSystem]) -> None:
    """Refuse an element with different basis functions: its energies have different errors."""
    known: dict[str, tuple[int, Any]] = {}
    for i, system in enumerate(systems):
        for symbol, functions in sorted(system.molecule.mole._basis.items()):
            j, others = known.setdefault(symbol, (i, functions))
            if others != functions:
                raise ValueError(
                    f"systems[{i}].basis: {symbol} has other basis functions than in systems[{j}] "
                    f"({system.basis!r} and {systems[j].basis!r}), and the energies differ by "
                    "their errors: give an element one basis set in all systems"
                )
