"""The self-consistency loop: a fixed-point map of the density, and its driver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.eigensolver import davidson
from deepchem_xc.planewave.hamiltonian import (
    Hamiltonian,
    density_from_orbitals,
    density_from_real_orbitals,
)
from deepchem_xc.planewave.mixing import AndersonMixer, to_total_and_moment
from deepchem_xc.planewave.occupations import Occupations, check_enough_bands, occupy
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.start import more_bands, starting_orbitals

# Davidson works on so many k-points at a time that its arrays take about this much memory: a
# processor wants them in its caches, a GPU wants them large.
_DAVIDSON_BYTES = {"cpu": 32 * 2**20, "cuda": 2**30}
# The highest band may hold this much of an electron before more bands are added.
_HIGHEST_OCCUPATION = 1e-6
# Davidson expansions a step, and the residuals aimed at in units of the last density error. More
# effort than this is wasted on a potential that is about to change.
_EXPANSIONS = 3
_EFFORT = 0.03
# A band's residual counts in proportion to the root of its occupation. Empty bands are improved as
# if they were occupied with this importance.
_EMPTY = 1e-2
# Residual, Hartree, that orbitals are brought to before they make a density: for a density that was
# given, and where new bands stand beside good ones; and in how many sweeps at most.
_GOOD = 1e-5
_ROUGH = 1e-2
_SETTLING_SWEEPS = 6
# Residual of the empty bands in a result, Hartree: their eigenvalues are then good to about 1e-6.
# Few of them need work, so that long expansions are cheap.
_EMPTY_RESIDUAL = 3e-4
_POLISHING_EXPANSIONS = 10
# Broadening of the density of states that the mixing's preconditioner is made from, Hartree; states
# far from the Fermi level are not worth an FFT there.
_SCREENING_WIDTH = 0.01
_FEW_STATES = 1e-3


@dataclass(frozen=True)
class Convergence:
    """When the loop stops; all three must hold.

    Parameters
    ----------
    energy : float
        Change of the energy in one step, Hartree per valence electron.
    density : float
        Integral of |output - input density|, electrons per valence electron.
    orbitals : float, optional
        Residual norm times the root of the band's occupation, Hartree, largest of all bands; ten
        times `density` by default.
    maxiter : int
        Largest number of steps.
    """

    energy: float = 1e-8
    density: float = 1e-6
    orbitals: float | None = None
    maxiter: int = 100

    @property
    def orbital_tolerance(self) -> float:
        """Residual norm of occupied bands at which the loop may stop, Hartree."""
        return 10.0 * self.density if self.orbitals is None else self.orbitals


class SCFConvergenceError(RuntimeError):
    """The loop used up its steps. `history` holds one record for each of them."""

    def __init__(self, message: str, history: list[dict[str, float]]) -> None:
        super().__init__(message)
        self.history = history


def diagonalize(
    hamiltonian: Hamiltonian,
    orbitals: Tensor,
    expansions: int,
    tolerance: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Improve all orbitals (nspin, nk, nband, npw) by `davidson`, a group of k-points at a time.

    Returns
    -------
    eigenvalues, orbitals, residuals : Tensor
        (nspin, nk, nband), (nspin, nk, nband, npw) and (nspin, nk, nband), Hartree.
    """
    basis = hamiltonian.basis
    nspin, nk, nband, npw = orbitals.shape
    step = max(1, _DAVIDSON_BYTES[basis.device.type] // (2 * (expansions + 1) * 16 * nband * npw))
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

            def apply(block: Tensor, spin: int = spin, ks: range = ks) -> Tensor:
                return hamiltonian.apply(block, spin, ks)

            block = orbitals[spin, here]
            if gauge is not None:
                block = gauge.to_real(block, here)
            eigenvalues[spin, here], block, residuals[spin, here] = davidson(
                apply,
                block,
                basis.kinetic[here],
                expansions=expansions,
                tolerance=goal[spin, here],
                dimension=min(basis.npw_per_k[here]),
            )
            improved[spin, here] = block if gauge is None else gauge.to_complex(block, here)
    return eigenvalues, improved, residuals


def solve(
    problem: KohnShamProblem,
    convergence: Convergence | None = None,
    nbands: int | None = None,
    density: Tensor | None = None,
    orbitals: Tensor | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
) -> SCFResult:
    """Find the self-consistent ground state of a Kohn-Sham problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal, discretised.
    convergence : Convergence, optional
        When to stop.
    nbands : int, optional
        Number of bands. By default enough for the electrons, and more are added while the highest
        band is occupied.
    density : Tensor, optional
        Start, (nspin, nG), bohr^-3; superposed atoms by default.
    orbitals : Tensor, optional
        Start, orthonormal, (nspin, nk, nband, npw).
    callback : callable, optional
        Called after every step with its record.

    Returns
    -------
    SCFResult
        The ground state.

    Raises
    ------
    SCFConvergenceError
        If `convergence.maxiter` steps did not suffice.
    ValueError
        If `nbands` cannot hold the electrons, or exceeds the number of plane waves.
    """
    convergence = convergence or Convergence()
    basis = problem.basis
    add_bands = nbands is None
    if nbands is None:
        nbands = problem.default_nbands() if orbitals is None else orbitals.shape[2]
    if isinstance(nbands, bool) or not isinstance(nbands, int) or nbands < 1:
        raise ValueError(f"nbands = {nbands!r} is no number of bands: give a positive integer.")
    if nbands > min(basis.npw_per_k):
        raise ValueError(
            f"{nbands} bands do not fit into {min(basis.npw_per_k)} plane waves: raise ecut "
            f"(now {basis.ecut} Ha) or ask for fewer bands."
        )
    if orbitals is not None and orbitals.shape[2] != nbands:
        orbitals = _change_bands(basis, orbitals, nbands)
    given = density is not None
    density = problem.atomic_density() if density is None else density
    mixer = AndersonMixer(basis, problem.nelectrons)
    history: list[dict[str, float]] = []
    error, previous = 0.1 * _EFFORT, torch.inf
    importance = None
    with torch.no_grad():
        for _ in range(convergence.maxiter):
            potential, correction = problem.effective_potential(density)
            hamiltonian = problem.hamiltonian(potential)
            # Rough orbitals would spoil a density that was good already.
            sweeps, target = (_SETTLING_SWEEPS, _GOOD) if given and not history else (1, error)
            if orbitals is None:
                orbitals = starting_orbitals(hamiltonian, problem.pseudopotentials, nbands)
            eigenvalues, orbitals, residuals, occupation = _fill(
                problem, hamiltonian, orbitals, importance, target, sweeps, add_bands
            )
            numbers = occupation.numbers
            importance = _importance(problem, numbers)
            weighted = numbers * basis.weights[:, None]
            output, states = _new_density(problem, orbitals, occupation, eigenvalues)
            energy = problem.constant_energy + float(
                (weighted * eigenvalues).sum() + correction + occupation.entropy_energy
            )
            difference = basis.to_grid(to_total_and_moment(output - density)).abs().sum((1, 2, 3))
            density_error = (
                float(difference.max() * basis.volume / basis.ngrid) / problem.nelectrons
            )
            error = _EFFORT * min(density_error, 0.1)
            orbital_error = float((residuals * importance).max())
            record = {
                "step": float(len(history) + 1),
                "energy": energy,
                "energy_change": energy - previous,
                "density_error": density_error,
                "orbital_error": orbital_error,
            }
            if problem.nspin == 2:
                record["moment"] = float((output[0, 0] - output[1, 0]).real * basis.volume)
            history.append(record)
            if callback is not None:
                callback(record)
            if (
                abs(energy - previous) < convergence.energy * problem.nelectrons
                and density_error < convergence.density
                and orbital_error < convergence.orbital_tolerance
            ):
                check_enough_bands(occupation)
                if nbands > 1 and bool((residuals[:, :, :-1] > _EMPTY_RESIDUAL).any()):
                    # The empty bands came along at less effort; now they are wanted.
                    eigenvalues, orbitals = _polish(hamiltonian, orbitals)
                    occupation = occupy(
                        eigenvalues,
                        basis.weights,
                        problem.nelectrons,
                        problem.smearing,
                        problem.moment,
                    )
                    output, _ = _new_density(problem, orbitals, occupation, eigenvalues)
                return SCFResult(
                    problem, orbitals, eigenvalues, occupation, output, potential, history
                )
            previous = energy
            density = mixer.next_density(density, output, states)
    raise SCFConvergenceError(_advice(convergence, history), history)


def _change_bands(basis: PlaneWaveBasis, orbitals: Tensor, nbands: int) -> Tensor:
    """Leave out the highest bands, or add some."""
    extra = nbands - orbitals.shape[2]
    return more_bands(basis, orbitals, extra) if extra > 0 else orbitals[:, :, :nbands]


def _importance(problem: KohnShamProblem, numbers: Tensor) -> Tensor:
    """Root of each state's occupation: what its residual counts for in the density."""
    return (0.5 * problem.nspin * numbers.abs()).sqrt()


def _fill(
    problem: KohnShamProblem,
    hamiltonian: Hamiltonian,
    orbitals: Tensor,
    importance: Tensor | None,
    target: float,
    sweeps: int,
    add_bands: bool,
) -> tuple[Tensor, Tensor, Tensor, Occupations]:
    """Improve the orbitals and occupy them, with more of them while the highest band is occupied.

    Parameters
    ----------
    problem, hamiltonian, orbitals
        What to solve, and the orbitals so far.
    importance : Tensor or None
        Importance of the states' residuals as known from the last step, (nspin, nk, nband).
    target : float
        Residual, times importance, to aim at, Hartree.
    sweeps : int
        How many runs of the eigensolver that may take.
    add_bands : bool
        Whether bands may be added.

    Returns
    -------
    eigenvalues, orbitals, residuals : Tensor
        As `diagonalize` returns them.
    occupation : Occupations
        How they are filled.
    """
    basis = problem.basis
    goal: Tensor | float = target if importance is None else target / importance.clamp_min(_EMPTY)
    left = sweeps
    while True:
        eigenvalues, orbitals, residuals = diagonalize(hamiltonian, orbitals, _EXPANSIONS, goal)
        occupation = occupy(
            eigenvalues, basis.weights, problem.nelectrons, problem.smearing, problem.moment
        )
        importance = _importance(problem, occupation.numbers)
        left -= 1
        nbands = orbitals.shape[2]
        highest = float(occupation.numbers[:, :, -1].abs().max())
        room = min(basis.npw_per_k) - nbands
        wanted = problem.smearing.width > 0 and highest > _HIGHEST_OCCUPATION
        if add_bands and wanted and room > 0:
            orbitals = more_bands(basis, orbitals, min(max(3, nbands // 5), room))
            goal, target, left = _ROUGH, max(target, _ROUGH), max(left, _SETTLING_SWEEPS)
        elif left <= 0 or float((residuals * importance).max()) < target:
            return eigenvalues, orbitals, residuals, occupation
        else:
            goal = target / importance.clamp_min(_EMPTY)


def _polish(hamiltonian: Hamiltonian, orbitals: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and orbitals with all bands but the highest below `_EMPTY_RESIDUAL`.

    The highest band may belong to a multiplet that is cut; it gets a few sweeps and no promise.
    """
    goal = torch.full(orbitals.shape[:3], _EMPTY_RESIDUAL, dtype=torch.float64)
    goal[:, :, -1] = torch.inf
    for _ in range(_SETTLING_SWEEPS):
        eigenvalues, orbitals, residuals = diagonalize(
            hamiltonian, orbitals, _POLISHING_EXPANSIONS, goal.to(orbitals.device)
        )
        if bool((residuals.cpu() <= goal).all()):
            break
    return eigenvalues, orbitals


def _new_density(
    problem: KohnShamProblem, orbitals: Tensor, occupation: Occupations, eigenvalues: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Density, (nspin, nG), and local density of states at the Fermi level, (nG,) or None."""
    basis, smearing = problem.basis, problem.smearing
    numbers = occupation.numbers.unsqueeze(0)
    if smearing.width > 0.0:
        level = eigenvalues.new_tensor(occupation.fermi_level).reshape(-1, 1, 1)
        # Fermi-Dirac at a width that a coarse k-mesh resolves, whatever fills the states.
        filled = torch.sigmoid((level - eigenvalues) / _SCREENING_WIDTH)
        states = filled * (1.0 - filled) * (2.0 / problem.nspin / _SCREENING_WIDTH)
        states = torch.where(states > _FEW_STATES * states.max(), states, 0.0)
        numbers = torch.stack([occupation.numbers, states])
    numbers = numbers * basis.weights[:, None]
    pieces, gauge = problem.pieces, problem.gauge
    if gauge is not None and bool((numbers >= 0.0).all()):
        densities = density_from_real_orbitals(pieces, gauge, orbitals, numbers)
    else:
        densities = density_from_orbitals(pieces, orbitals, numbers)
    densities = basis.symmetrize(densities)
    return densities[0], densities[1].sum(0) if len(densities) > 1 else None


def _advice(convergence: Convergence, history: list[dict[str, float]]) -> str:
    last = history[-1]
    return (
        f"the self-consistency loop did not converge in {convergence.maxiter} steps: the energy "
        f"last changed by {last['energy_change']:.1e} Ha, the density error is "
        f"{last['density_error']:.1e} (wanted {convergence.density:.1e}) and the largest residual "
        f"of an occupied band {last['orbital_error']:.1e} Ha (wanted "
        f"{convergence.orbital_tolerance:.1e}). If the errors were still falling, raise maxiter; "
        "otherwise smear the occupations more, check the structure and the initial magnetic "
        "moments, or start from a converged density. `history` of this error holds every step."
    )
