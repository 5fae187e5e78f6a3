"""Electronic states of a given potential: diagonalised and filled, with more bands if needed."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.numerics.precision import all_digits, to_double, to_single
from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.eigen.davidson import davidson, orthonormalize
from deepchem_xc.planewave.eigen.first_orbitals import more_bands, orthonormal_states
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.problem import KohnShamProblem

# Memory of Davidson's arrays, bytes, which sets the number of k-points at a time: a processor wants
# them in its caches, a GPU wants them large.
_DAVIDSON_BYTES = {"cpu": 32 * 2**20, "cuda": 2**30}
#: Davidson expansions in one sweep over the bands.
EXPANSIONS = 3
# Importance of empty bands. A band's residual counts in proportion to its importance, the root of
# its occupation.
_EMPTY = 1e-2
# Residual of new bands, Hartree, and the largest number of sweeps to reach it.
_ROUGH = 1e-2
_SETTLING_SWEEPS = 6
# Expansions for the empty bands of a result: few of them need work, so that long ones are cheap.
_POLISHING_EXPANSIONS = 10
# Residuals of occupied and of empty states for derivatives, Hartree.
_FINE_FILLED_RESIDUAL = 1e-8
_FINE_EMPTY_RESIDUAL = 1e-7
_FINE_SWEEPS = 8
_FINE_EXPANSIONS = 8
# Electrons below which a state is empty, and number of bands added at a time while the highest band
# is not empty.
_EMPTY_STATE = 1e-10
_MORE_BANDS = 3


def diagonalize(
    hamiltonian: Hamiltonian,
    orbitals: Tensor,
    expansions: int = EXPANSIONS,
    tolerance: Tensor | float = 0.0,
    single: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Improve all orbitals by `davidson`, a group of k-points at a time.

    Parameters
    ----------
    hamiltonian : Hamiltonian
        Hamiltonian of the given potential.
    orbitals : Tensor
        Start, (nspin, nk, nband, npw), orthonormal; where the Hamiltonian has an overlap S, any
        independent rows.
    expansions : int, optional
        Largest number of expansions of the subspace.
    tolerance : float or Tensor, optional
        Residual norm at which a band counts as converged, Hartree; one number, or anything that
        broadcasts to (nspin, nk, nband).
    single : bool, optional
        Work in single precision, which takes half the time. Eigenvalues are then accurate to about
        1e-7 of the kinetic energy; orbitals are returned in double precision and orthonormal to it,
        in S if there is one.

    Returns
    -------
    eigenvalues, orbitals, residuals : Tensor
        (nspin, nk, nband) in Hartree, (nspin, nk, nband, npw), (nspin, nk, nband) in Hartree.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> problem = make_problem(basis)
    >>> from deepchem_xc.planewave.fields import Potential
    >>> from deepchem_xc.planewave.terms.local import local_potential
    >>> ions = local_potential(basis, problem.pseudopotentials)
    >>> h = problem.hamiltonian(Potential(ions.unsqueeze(0)))
    >>> start = torch.eye(basis.npw, dtype=torch.complex128)[None, None, :4]
    >>> bool(diagonalize(h, start, expansions=20, tolerance=1e-6)[2].max() < 1e-6)
    True
    """
    basis = hamiltonian.basis
    nspin, nk, nband, npw = orbitals.shape
    # The subspace and its images under H, and under S if there is one.
    row_bytes = (3 if hamiltonian.has_overlap else 2) * (expansions + 1) * 16 * npw
    step = max(1, _DAVIDSON_BYTES[basis.device.type] // (row_bytes * nband))
    eigenvalues = torch.empty((nspin, nk, nband), dtype=torch.float64, device=basis.device)
    residuals = torch.empty_like(eigenvalues)
    improved = torch.empty_like(orbitals)
    goal = torch.as_tensor(tolerance, dtype=torch.float64, device=basis.device)
    goal = goal.expand(nspin, nk, nband)
    gauge = hamiltonian.gauge
    for spin in range(nspin):
        for first in range(0, nk, step):
            ks = range(first, min(first + step, nk))
            here = slice(ks.start, ks.stop)

            block = orbitals[spin, here]
            if gauge is not None:
                block = gauge.to_real(block, here)
            if hamiltonian.has_overlap:
                block = orthonormalize(block)
            kinetic = basis.kinetic[here]
            if single:
                block, kinetic = to_single(block), to_single(kinetic)
            with all_digits():
                eigenvalues[spin, here], block, residuals[spin, here] = davidson(
                    hamiltonian.operator(spin, ks),
                    block,
                    kinetic,
                    expansions=expansions,
                    tolerance=goal[spin, here],
                    dimension=min(basis.npw_per_k[here]),
                )
            if single or hamiltonian.has_overlap:
                # Also S of corrections is in single precision: of bands that are far from converged
                # the norms show it.
                block = orthonormal_states(hamiltonian, to_double(block), ks)
            improved[spin, here] = block if gauge is None else gauge.to_complex(block, here)
    return eigenvalues, improved, residuals


def change_bands(hamiltonian: Hamiltonian, orbitals: Tensor, nbands: int) -> Tensor:
    """Remove the highest bands of (nspin, nk, nband, npw), or add some (`more_bands`)."""
    extra = nbands - orbitals.shape[2]
    return more_bands(hamiltonian, orbitals, extra) if extra > 0 else orbitals[:, :, :nbands]


def importance_of(problem: KohnShamProblem, occupations: Tensor) -> Tensor:
    """Root of each state's relative occupation: the weight of its residual in the density's error.

    `occupations` are (nspin, nk, nband), in electrons; a full state's importance is 1.
    """
    return (0.5 * problem.nspin * occupations.abs()).sqrt()


def fill(
    problem: KohnShamProblem,
    hamiltonian: Hamiltonian,
    orbitals: Tensor,
    importance: Tensor | None,
    moment: float | None,
    target: float,
    spare: float | None,
    single: bool = False,
    expansions: int = EXPANSIONS,
) -> tuple[Tensor, Tensor, Tensor, Occupations]:
    """Improve the orbitals and occupy them; add bands while the highest one is occupied.

    Parameters
    ----------
    problem, hamiltonian, orbitals
        The problem to solve, and the current orbitals.
    importance : Tensor or None
        Importance of the states' residuals from the last step, (nspin, nk, nband).
    moment : float or None
        Magnetic moment to hold, mu_B; None lets it relax.
    target : float
        Wanted residual times importance, Hartree.
    spare : float or None
        Electrons in the highest band above which bands are added; None adds none.
    single : bool, optional
        Whether single precision is enough.
    expansions : int, optional
        As for `diagonalize`.

    Returns
    -------
    eigenvalues, orbitals, residuals : Tensor
        As `diagonalize` returns them.
    occupation : Occupations
        Occupations, Fermi level and entropy.
    """
    basis = problem.basis
    goal: Tensor | float = target if importance is None else target / importance.clamp_min(_EMPTY)
    sweeps = 1
    while True:
        eigenvalues, orbitals, residuals = diagonalize(
            hamiltonian, orbitals, expansions, goal, single
        )
        occupation = problem.occupy(eigenvalues, moment)
        importance = importance_of(problem, occupation.occupations)
        sweeps -= 1
        nbands = orbitals.shape[2]
        highest = float(occupation.occupations[:, :, -1].abs().max())
        room = min(basis.npw_per_k) - nbands
        smeared = problem.smearing.width > 0
        if spare is not None and smeared and highest > spare and room > 0:
            orbitals = more_bands(hamiltonian, orbitals, min(max(3, nbands // 5), room))
            goal, target, sweeps = _ROUGH, max(target, _ROUGH), _SETTLING_SWEEPS
            continue
        if sweeps <= 0 or float((residuals * importance).max()) < target:
            return eigenvalues, orbitals, residuals, occupation
        goal = target / importance.clamp_min(_EMPTY)


def is_rough(hamiltonian: Hamiltonian, orbitals: Tensor, residual: float) -> bool:
    """Whether a band other than the highest has a residual above `residual`, Hartree."""
    residuals = diagonalize(hamiltonian, orbitals, expansions=0, single=True)[2]
    return bool((residuals[:, :, :-1] > residual).any())


def polish(hamiltonian: Hamiltonian, orbitals: Tensor, residual: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues and orbitals with residuals below `residual`, Hartree, except the highest band's.

    A multiplet may be cut at the highest band: it gets a few sweeps but may stay above.
    """
    goal = torch.full(orbitals.shape[:3], residual, dtype=torch.float64)
    goal[:, :, -1] = torch.inf
    for _ in range(_SETTLING_SWEEPS):
        eigenvalues, orbitals, residuals = diagonalize(
            hamiltonian, orbitals, _POLISHING_EXPANSIONS, goal.to(orbitals.device)
        )
        if bool((residuals.cpu() <= goal).all()):
            break
    return eigenvalues, orbitals


def converge_states(
    problem: KohnShamProblem, hamiltonian: Hamiltonian, orbitals: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """States accurate enough for derivatives, with the highest band empty if there is room.

    Parameters
    ----------
    problem, hamiltonian, orbitals
        The problem to solve, and the current orbitals, (nspin, nk, nband, npw).

    Returns
    -------
    eigenvalues, orbitals, residuals : Tensor
        As `diagonalize` returns them. Residuals are those that were reached: that of the highest
        band may be large, because a multiplet may be cut there.
    """
    goal = torch.full(orbitals.shape[:3], _FINE_EMPTY_RESIDUAL, dtype=torch.float64)
    goal[:, :, -1] = torch.inf  # a multiplet may be cut here
    room = min(problem.basis.npw_per_k)
    sweeps = _FINE_SWEEPS
    while sweeps > 0:
        sweeps -= 1
        eigenvalues, orbitals, residuals = diagonalize(
            hamiltonian, orbitals, _FINE_EXPANSIONS, goal.to(orbitals.device)
        )
        occupations = problem.occupy(eigenvalues).occupations
        nband = orbitals.shape[2]
        if float(occupations[:, :, -1].abs().max()) > _EMPTY_STATE and nband < room:
            orbitals = more_bands(hamiltonian, orbitals, min(_MORE_BANDS, room - nband))
            goal = torch.full(orbitals.shape[:3], _FINE_EMPTY_RESIDUAL, dtype=torch.float64)
            goal[:, :, -1] = torch.inf
            sweeps = _FINE_SWEEPS
            continue
        filled = occupations.abs() > 1e-6
        goal = torch.where(filled, _FINE_FILLED_RESIDUAL, _FINE_EMPTY_RESIDUAL)
        goal[:, :, -1] = torch.where(filled[:, :, -1], _FINE_FILLED_RESIDUAL, torch.inf)
        if bool((residuals <= goal).all()):
            break
    return eigenvalues, orbitals, residuals
