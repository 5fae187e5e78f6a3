"""From users' input to a problem and a density to start from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pyscf import scf
from torch import Tensor

from deepchem_xc._values import whole_number
from deepchem_xc.gaussian.basis_sets import check_auxiliary
from deepchem_xc.gaussian.grid import STANDARD_LEVEL
from deepchem_xc.gaussian.memory import check_memory
from deepchem_xc.gaussian.molecule import Molecule
from deepchem_xc.gaussian.problem import MolecularProblem
from deepchem_xc.occupations.by_name import make_smearing
from deepchem_xc.occupations.smearing import FixedOccupations
from deepchem_xc.xc import Ingredients, XCFunctional, get_xc
from deepchem_xc.xc.density_derivatives import number_of_rows
from deepchem_xc.xc.sampling import device_of
from deepchem_xc.xc.trial import check_functional


def make_problem(
    structure: Any,
    functional: str | os.PathLike[str] | XCFunctional,
    *,
    basis: Any = None,
    charge: int | None = None,
    spin: int | None = None,
    restricted: bool | str | None = None,
    pseudopotentials: str | Mapping[str, str] | None = None,
    grid_level: int = STANDARD_LEVEL,
    density_fitting: str | None = None,
    occupations: Mapping[str, Any] | str | None = None,
) -> MolecularProblem:
    """Everything that the loop keeps fixed; the keywords are those of `scf`.

    Raises
    ------
    ValueError
        For input that is not valid; the message says what is.

    Examples
    --------
    >>> from ase.build import molecule
    >>> make_problem(molecule("O2"), "PBE", basis="def2-svp", spin=2).kind
    'unrestricted'
    """
    molecule = Molecule.of(
        structure, basis=basis, charge=charge, spin=spin, pseudopotentials=pseudopotentials
    )
    xc = get_xc(functional)
    device = device_of(xc)
    if device.type != "cpu":
        raise ValueError(
            f"molecules are computed on the CPU, and the weights of {xc.name} are on {device}: use "
            "functional.to('cpu')."
        )
    check_functional(xc)
    smearing = make_smearing(occupations)
    kind = _kind(restricted, molecule.spin)
    if kind == "open" and not isinstance(smearing, FixedOccupations):
        raise ValueError(
            f"restricted='open' fills whole orbitals, and occupations = {occupations!r} do not: "
            "leave occupations out, or use restricted=False."
        )
    derivatives = Ingredients.GRADIENT in xc.ingredients
    level = whole_number(grid_level, "grid_level", minimum=0)
    if density_fitting is not None:
        check_auxiliary(molecule.mole, density_fitting)
    nspin = 1 if kind == "restricted" else 2
    rows = number_of_rows(xc.ingredients)
    check_memory(molecule.mole, level, rows, nspin, density_fitting)
    return MolecularProblem(
        molecule,
        xc,
        molecule.parts.grid(level, derivatives),
        molecule.parts.coulomb(density_fitting),
        kind,
        smearing,
    )


def _kind(restricted: Any, spin: int) -> str:
    if restricted is None:
        return "unrestricted" if spin else "restricted"
    if isinstance(restricted, str) and restricted == "open":
        return "open" if spin else "restricted"
    if restricted is False:
        return "unrestricted"
    if restricted is not True:
        raise ValueError(
            f"restricted must be True, False, 'open' or None, got {restricted!r}: None is "
            "restricted without unpaired electrons and unrestricted with them."
        )
    if spin:
        raise ValueError(
            f"restricted=True holds pairs of electrons, and spin = {spin} are unpaired: use "
            "restricted='open' for one set of orbitals, or restricted=False."
        )
    return "restricted"


def starting_density(problem: MolecularProblem) -> Tensor:
    """Density matrices of superposed atoms, (nspin, nao, nao), by PySCF's minimal basis.

    Parameters
    ----------
    problem : MolecularProblem
        Any.
    """
    mole = problem.molecule.mole
    calculation = scf.RHF(mole) if problem.nspin == 1 else scf.UHF(mole)
    guess = np.asarray(calculation.get_init_guess(mole, "minao"), dtype=np.float64)
    density = torch.from_numpy(guess.reshape(-1, mole.nao, mole.nao).copy())
    return 0.5 * (density + density.mT)
