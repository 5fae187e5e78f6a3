"""`scf`: one call from a molecule to its ground state."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc._values import real_number
from deepchem_xc.gaussian.convergence import Convergence
from deepchem_xc.gaussian.grid import STANDARD_LEVEL
from deepchem_xc.gaussian.inputs import make_problem, starting_density
from deepchem_xc.gaussian.result import GRADIENT_TOLERANCE, MolecularResult
from deepchem_xc.gaussian.self_consistency import Steering, solve
from deepchem_xc.xc import XCFunctional


@outside_inference_and_autocast()
def scf(
    structure: Any,
    functional: str | os.PathLike[str] | XCFunctional = "PBE",
    *,
    basis: str | Mapping[str, Any] | None = None,
    charge: int | None = None,
    spin: int | None = None,
    restricted: bool | str | None = None,
    pseudopotentials: str | Mapping[str, str] | None = None,
    grid_level: int | None = STANDARD_LEVEL,
    density_fitting: str | None = None,
    occupations: Mapping[str, Any] | str | None = None,
    convergence: Mapping[str, Any] | None = None,
    level_shift: float | None = 0.0,
    damping: float | None = 0.0,
    start: MolecularResult | Tensor | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    gradient_tolerance: float | None = GRADIENT_TOLERANCE,
) -> MolecularResult:
    """Self-consistent ground state of a molecule in Gaussian basis functions.

    Energies are in Hartree everywhere, also in `occupations` and `convergence`. None selects the
    default of every keyword.

    Parameters
    ----------
    structure : ase.Atoms, pyscf.gto.Mole or Molecule
        A Mole or a Molecule has basis, charge and spin of its own.
    functional : str or XCFunctional, optional
        A name (``"PBE"``), libxc identifiers (``"gga_x_pbe+gga_c_pbe"``), a functional, or the
        path of a functional's file (``.safetensors``).
    basis : str or mapping
        PySCF's name of a basis set (``"def2-svp"``), or names by symbol, with ``"default"`` for
        other elements. The effective core potential that belongs to it comes with it.
    charge : int, optional
        Total charge, e; 0 by default.
    spin : int, optional
        Number of unpaired electrons, as in PySCF; 0 by default, but it must be given for atoms
        whose initial magnetic moments add up to another number, as those of ASE's O2 do.
    restricted : bool or str, optional
        True for one set of doubly filled orbitals, False for a set for each spin, ``"open"`` for
        one set with open shells. By default True without unpaired electrons and False with them.
    pseudopotentials : str or mapping, optional
        ``"gth-pbe"``: pseudopotentials that replace all cores, for a basis set made for them.
    grid_level : int, optional
        PySCF's level of the integration grid, 0 to 9.
    density_fitting : str, optional
        Auxiliary basis set (``"def2-universal-jkfit"``) that fits the interaction of the electrons;
        exact integrals by default.
    occupations : mapping or str, optional
        ``{"name": "fermi-dirac", "width": 0.005}``, width in Hartree; whole orbitals by default.
        The number of electrons of each spin is held.
    convergence : mapping, optional
        ``energy`` (change in a step, 1e-9 Ha by default), ``commutator`` (largest element of
        F D S - S D F in orthonormal functions; 1e-7 Ha, or 1e-8 if the functional requires
        gradients) and ``maxiter`` (100).
    level_shift : float, optional
        Energy by which empty levels are raised in the first steps, Hartree, for small gaps.
    damping : float, optional
        Part of the earlier density in the next one in the first steps, 0 to 1.
    start : MolecularResult or Tensor, optional
        Start from this result's density, or from density matrices (nspin, nao, nao) in the same
        basis functions; superposed atoms by default.
    callback : callable, optional
        Called after every step with a dict of its energy and errors.
    gradient_tolerance : float, optional
        Relative residual of the adjoint equation, which a backward pass solves.

    Returns
    -------
    MolecularResult
        Energies, levels, density, dipole ... in Hartree atomic units.

    Raises
    ------
    SCFConvergenceError
        If the loop does not converge; it carries the history.
    TypeError, ValueError
        For input that is not valid; the message says what is.

    Notes
    -----
    Values of basis functions on the grid take up to 1 GiB, integrals between electrons up to 2 GiB;
    larger molecules have them computed again in each step. A `Molecule` keeps them, and its grid,
    for its next calculation. In addition, the second derivatives of
    the functional that a backward pass needs take 128 bytes a point with a GGA and one density
    matrix, 512 with two, 200 and 800 with a meta-GGA.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from deepchem_xc.gaussian import scf
    >>> result = scf(molecule("O2"), "PBE", basis="def2-svp", spin=2)
    >>> print(f"{result.energy:.6f} Ha")
    -150.064427 Ha
    """
    problem = make_problem(
        structure,
        functional,
        basis=basis,
        charge=charge,
        spin=spin,
        restricted=restricted,
        pseudopotentials=pseudopotentials,
        grid_level=STANDARD_LEVEL if grid_level is None else grid_level,
        density_fitting=density_fitting,
        occupations=occupations,
    )
    criteria = Convergence.of(convergence, differentiated=bool(problem.trained_tensors))
    steering = Steering(
        level_shift=_in_range(level_shift, "level_shift", 0.0, 10.0, "Hartree"),
        damping=_in_range(damping, "damping", 0.0, 0.99),
    )
    tolerance = _in_range(gradient_tolerance, "gradient_tolerance", GRADIENT_TOLERANCE, 1.0)
    if callback is not None and not callable(callback):
        raise ValueError(f"callback = {callback!r} is not a function: give one of a step's dict.")
    first = starting_density(problem) if start is None else _given(start, problem)
    with torch.no_grad():
        converged, history = solve(problem, first, criteria, steering, callback)
    return MolecularResult(problem, converged, history, tolerance)


def _in_range(value: Any, name: str, default: float, highest: float, unit: str = "") -> float:
    number = default if value is None else real_number(value, name, unit)
    if not 0.0 <= number <= highest:
        raise ValueError(f"{name} must be between 0 and {highest:g}, got {number:g}.")
    return number


def _given(start: Any, problem: Any) -> Tensor:
    density = start.detach().density_matrix if isinstance(start, MolecularResult) else start
    nao = problem.molecule.norbital
    shapes = [(number, nao, nao) for number in (1, 2)]
    if not isinstance(density, Tensor) or density.shape not in shapes:
        found = tuple(density.shape) if isinstance(density, Tensor) else type(start).__name__
        raise ValueError(
            f"start must be a MolecularResult or density matrices ({problem.nspin}, {nao}, {nao}) "
            f"in the same basis functions, got {found}."
        )
    density = density.detach().to(torch.float64)
    if not bool(torch.isfinite(density).all()):
        raise ValueError("start contains NaN or infinite numbers.")
    if len(density) == 2 and problem.nspin == 1:
        return density.sum(0, keepdim=True)
    if len(density) == 1 and problem.nspin == 2:
        return 0.5 * density.repeat(2, 1, 1)
    return density.clone()
