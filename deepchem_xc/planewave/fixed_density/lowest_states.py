"""The lowest states of one potential, converged however rough the density is that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.numerics.errors import DiagonalizationError
from deepchem_xc.occupations.electron_count import check_bands
from deepchem_xc.occupations.occupy import Occupations, check_enough_bands
from deepchem_xc.planewave.eigen.first_orbitals import more_bands, starting_orbitals
from deepchem_xc.planewave.eigen.states import change_bands, diagonalize
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.problem import KohnShamProblem

# Sweeps in single precision, and the residual that ends them, Hartree.
_SINGLE_SWEEPS, _SINGLE_RESIDUAL = 3, 1e-4
# Expansions of a sweep in double precision: few bands need many of them.
_EXPANSIONS = 6
# Occupation of the highest band, in units of a full one, below which its residual does not matter:
# a multiplet may be cut there.
_NOTHING = 1e-10
# Number of bands added at a time.
_MORE_BANDS = 3
# Sweeps after which bands are added. The block may have lost a level to one above it, and regains
# it slowly if the next one lies close: 6e-4 Ha for an interstitial atom of silicon, 120 sweeps.
_PATIENCE = 20


class LowestStates(NamedTuple):
    """States of a potential, without a graph."""

    orbitals: Tensor
    """(nspin, nk, nband, npw)."""
    eigenvalues: Tensor
    """(nspin, nk, nband), Hartree."""
    occupation: Occupations
    """Occupations, Fermi level and entropy."""
    residual: float
    """Largest residual, Hartree; that of the highest band counts with its occupation."""


def lowest_states(
    problem: KohnShamProblem,
    hamiltonian: Hamiltonian,
    tolerance: float,
    nbands: int | None = None,
    orbitals: Tensor | None = None,
    maxiter: int = 100,
    policies: Policies | None = None,
    callback: Callable[[int, Tensor, Occupations, float], None] | None = None,
) -> LowestStates:
    """Diagonalise a Hamiltonian until all bands except an empty highest one are converged.

    Parameters
    ----------
    problem : KohnShamProblem
        Its electrons fill the states.
    hamiltonian : Hamiltonian
        Hamiltonian of any potential.
    tolerance : float
        Largest residual, Hartree.
    nbands : int, optional
        Number of bands. By default enough for the electrons; more are added while the highest
        band is occupied, and if convergence is slow.
    orbitals : Tensor, optional
        Start, orthonormal, (nspin, nk, nband, npw).
    maxiter : int, optional
        Largest number of sweeps in double precision.
    policies : Policies, optional
        When bands are added (`effort`), and whether the first sweeps are in single precision
        (`precision`).
    callback : callable, optional
        Called after each sweep with its number, eigenvalues, occupations and residual.

    Raises
    ------
    DiagonalizationError
        If `maxiter` sweeps are not enough.
    TooFewBandsError
        If `nbands` are not enough for the electrons.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0)
    >>> found = lowest_states(result.problem, result.problem.hamiltonian(result.potential), 1e-6)
    >>> bool((found.eigenvalues - result.eigenvalues)[:, :, :4].abs().max() < 1e-6)
    True
    """
    basis = problem.basis
    policies = Policies.of(policies)
    spare = policies.effort.spare(tolerance) if nbands is None else None
    if nbands is None:
        nbands = problem.default_nbands() if orbitals is None else orbitals.shape[2]
    room = min(basis.npw_per_k)
    if nbands > room:
        raise ValueError(
            f"{nbands} bands do not fit into {room} plane waves: raise ecut or ask for fewer bands."
        )
    check_bands(nbands, problem.nelectrons, problem.nspin, problem.smearing, problem.moment)
    if orbitals is None:
        orbitals = starting_orbitals(hamiltonian, problem.pseudopotentials, nbands)
        if policies.precision.steps > 0:
            for _ in range(_SINGLE_SWEEPS):
                _, orbitals, residuals = diagonalize(
                    hamiltonian, orbitals, tolerance=_SINGLE_RESIDUAL, single=True
                )
                if bool((residuals < _SINGLE_RESIDUAL).all()):
                    break
    elif orbitals.shape[2] != nbands:
        orbitals = change_bands(hamiltonian, orbitals, nbands)
    goal, worst, since = _goal(orbitals, tolerance, 0.0), torch.inf, 0
    for sweep in range(1, maxiter + 1):
        eigenvalues, orbitals, residuals = diagonalize(
            hamiltonian, orbitals, _EXPANSIONS, goal.to(orbitals.device)
        )
        occupation = problem.occupy(eigenvalues)
        highest = float(occupation.occupations[:, :, -1].abs().max())
        count = orbitals.shape[2]
        extra = min(max(_MORE_BANDS, count // 5), room - count)
        if spare is not None and problem.smearing.width > 0.0 and highest > spare and extra > 0:
            orbitals = more_bands(hamiltonian, orbitals, extra)
            goal, since = _goal(orbitals, tolerance, 0.0), 0
            continue
        part = 0.5 * problem.nspin * highest
        residuals[:, :, -1] *= part if part > _NOTHING else 0.0
        worst = float(residuals.max())
        if callback is not None:
            callback(sweep, eigenvalues, occupation, worst)
        if worst <= tolerance:
            check_enough_bands(occupation)
            return LowestStates(orbitals, eigenvalues, occupation, worst)
        goal, since = _goal(orbitals, tolerance, part), since + 1
        if spare is not None and since == _PATIENCE and extra > 0:
            orbitals = more_bands(hamiltonian, orbitals, extra)
            goal, since = _goal(orbitals, tolerance, 0.0), 0
    raise DiagonalizationError(
        f"the largest residual of {orbitals.shape[2]} bands is still {worst:.1e} Ha after "
        f"{maxiter} sweeps (wanted {tolerance:.1e}): ask for a few bands more or fewer (nbands=), "
        "or raise convergence={'maxiter': ...}."
    )


def _goal(orbitals: Tensor, tolerance: float, highest: float) -> Tensor:
    """Wanted residuals (nspin, nk, nband); the highest band's by its part of a full occupation."""
    goal = torch.full(orbitals.shape[:3], tolerance, dtype=torch.float64)
    goal[:, :, -1] = tolerance / highest if highest > _NOTHING else torch.inf
    return goal
