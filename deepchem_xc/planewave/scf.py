"""The self-consistency loop: a fixed-point map of the density, and its driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.converged import Converged
from deepchem_xc.planewave.density import fields_from_orbitals
from deepchem_xc.planewave.descent import Descent
from deepchem_xc.planewave.electron_count import check_bands
from deepchem_xc.planewave.mixing import AndersonMixer, Mixing, to_total_and_moment
from deepchem_xc.planewave.occupations import Occupations, check_enough_bands, occupy
from deepchem_xc.planewave.one_orbital import is_lost, why_unbounded, with_several_orbitals
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.start import starting_orbitals
from deepchem_xc.planewave.states import (
    EMPTY_RESIDUAL,
    change_bands,
    fill,
    highest_occupation,
    importance_of,
    is_rough,
    polish,
)
from deepchem_xc.planewave.terms.xc import split_fields

# Residuals aimed at in units of the last density error: more effort than this is wasted on a
# potential that is about to change.
_EFFORT = 0.03
# In the potential of a density that was given, orbitals are improved until the error that shows is
# that density's, or until their residuals, Hartree, are this small; in so many sweeps at most.
_GOOD = 1e-5
_SETTLING_SWEEPS = 6
# Steps are in single precision while residuals of this size, Hartree, are aimed at, the density's
# error is above so many times the one that ends the loop, and there have not been more of them.
_SINGLE_RESIDUAL = 5e-6
_SINGLE_ERRORS = 5.0
_SINGLE_STEPS = 20
# Energy, Hartree, by which states are taken to differ where their residuals become an energy.
_APART = 0.1
# A start's magnetic moment is let go at this density error, or else at this step.
_RELEASE_ERROR = 1e-2
_RELEASE_STEP = 8
# Gap, Hartree, below which integer occupations that do not converge are taken to keep changing
# places if the density's error is still above the second; and the steps before the end in which
# that is looked for.
_CROSSING = 0.01
_WANDERING = 1e-3
_RECENT = 20
# A channel with fewer electrons than this part of the error that ends the loop is empty.
_EMPTY_CHANNEL = 0.1
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
        Change of the energy in one step, Hartree per valence electron; after a step in single
        precision, what errors of density and orbitals make of second order.
    density : float
        Integral of |output - input density|, electrons per valence electron.
    orbitals : float, optional
        Residual norm times the root of the band's occupation, Hartree, largest of all bands; ten
        times `density` by default.
    maxiter : int
        Largest number of steps.

    Examples
    --------
    >>> Convergence(density=1e-7).orbital_tolerance
    1e-06
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
    """The loop used up its steps.

    Attributes
    ----------
    history : list of dict
        One record a step: ``step``, ``energy``, ``energy_change``, ``orbital_error`` (Hartree),
        ``density_error`` (electrons per valence electron); with two spins ``moment`` (mu_B), with
        integer occupations ``gap`` (Hartree).

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import SCFConvergenceError, scf
    >>> try:
    ...     scf(bulk("Si"), ecut=60.0, convergence={"maxiter": 2})
    ... except SCFConvergenceError as error:
    ...     print([record["step"] for record in error.history])
    [1.0, 2.0]
    """

    def __init__(self, message: str, history: Sequence[dict[str, float]] = ()) -> None:
        # pickle makes it of the message alone, and then sets the history
        super().__init__(message)
        self.history = list(history)


def solve(
    problem: KohnShamProblem,
    convergence: Convergence | None = None,
    nbands: int | None = None,
    density: Tensor | None = None,
    orbitals: Tensor | None = None,
    callback: Callable[[dict[str, float]], None] | None = None,
    mixing: Mixing | None = None,
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
        Start, as `KohnShamProblem.starting_density` returns it, which is the default.
    orbitals : Tensor, optional
        Start, orthonormal, (nspin, nk, nband, npw).
    callback : callable, optional
        Called after every step with its record.
    mixing : Mixing, optional
        How densities are mixed.

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

    Examples
    --------
    The loop's energy is that of its result, term by term:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> result = solve(make_problem(basis))
    >>> bool(abs(result.history[-1]["energy"] - result.energies["free"]) < 1e-8)
    True
    """
    convergence = convergence or Convergence()
    basis = problem.basis
    spare = highest_occupation(convergence.orbital_tolerance) if nbands is None else None
    if nbands is None:
        nbands = problem.default_nbands() if orbitals is None else orbitals.shape[2]
    if isinstance(nbands, bool) or not isinstance(nbands, int) or nbands < 1:
        raise ValueError(f"nbands = {nbands!r} is no number of bands: give a positive integer.")
    if nbands > min(basis.npw_per_k):
        raise ValueError(
            f"{nbands} bands do not fit into {min(basis.npw_per_k)} plane waves: raise ecut "
            f"(now {basis.ecut:g} Ha, {basis.ecut * Hartree:g} eV) or ask for fewer bands."
        )
    given = density is not None
    # A rough start can lose a magnet's moment, and the loop would settle there: hold it at first.
    moment = problem.moment if given else problem.initial_moment
    check_bands(nbands, problem.nelectrons, problem.nspin, problem.smearing, moment)
    if orbitals is not None and orbitals.shape[2] != nbands:
        orbitals = change_bands(basis, orbitals, nbands)
    density = problem.starting_density() if density is None else density
    first = density
    mixer = AndersonMixer(basis, problem.nelectrons, mixing, first)
    history: list[dict[str, float]] = []
    error, previous = 0.1 * _EFFORT, torch.inf
    importance = None
    # Rough orbitals would spoil a density that was good already.
    sweeps = _SETTLING_SWEEPS if given else 1
    single = rounded = True
    descent = Descent(problem)
    nothing = _EMPTY_CHANNEL * convergence.density * problem.nelectrons
    with torch.no_grad():
        for _ in range(convergence.maxiter):
            potential, correction = problem.effective_potential(density)
            if is_lost(problem, density, potential):
                break
            hamiltonian = problem.hamiltonian(potential)
            if orbitals is None:
                orbitals = starting_orbitals(hamiltonian, problem.pseudopotentials, nbands)
            elif not history:
                single = rounded = is_rough(hamiltonian, orbitals)
            target = error
            for _ in range(sweeps):
                eigenvalues, orbitals, residuals, occupation = fill(
                    problem, hamiltonian, orbitals, importance, moment, target, spare, single
                )
                importance = importance_of(problem, occupation.numbers)
                output, states = _new_density(problem, orbitals, occupation, eigenvalues, single)
                density_error = _distance(basis, density, output) / problem.nelectrons
                error = _EFFORT * min(density_error, 0.1)
                orbital_error = _orbital_error(residuals, importance)
                target = max(error, _GOOD)
                if orbital_error < target:
                    break
            sweeps = 1
            weighted = occupation.numbers * basis.weights[:, None]
            energy = problem.constant_energy + float(
                (weighted * eigenvalues).sum() + correction + occupation.entropy_energy
            )
            settled = (
                moment == problem.moment
                and not single
                and density_error < convergence.density
                and orbital_error < convergence.orbital_tolerance
            )
            if settled and rounded:
                # The last energy was in single precision, and is nothing to compare with.
                of_orbitals = float((weighted.abs() * residuals.square()).sum()) / _APART
                excess = _excess(problem, potential, correction, output)
                previous = energy + abs(excess) + of_orbitals
            record = {
                "step": float(len(history) + 1),
                "energy": energy,
                "energy_change": energy - previous,
                "density_error": density_error,
                "orbital_error": orbital_error,
            }
            if problem.nspin == 2:
                up, down = split_fields(output)[0][:, 0].real
                record["moment"] = float((up - down) * basis.volume)
            if problem.smearing.width == 0.0:
                record["gap"] = _gap(occupation, eigenvalues, moment)
            history.append(record)
            if callback is not None:
                callback(record)
            if settled and abs(energy - previous) < convergence.energy * problem.nelectrons:
                check_enough_bands(occupation)
                other = with_several_orbitals(problem, occupation)
                if other is not None:
                    asked = None if spare is not None else nbands
                    return solve(other, convergence, asked, None, orbitals, callback, mixing)
                if nbands > 1 and bool((residuals[:, :, :-1] > EMPTY_RESIDUAL).any()):
                    # The empty bands came along at less effort; now they are wanted.
                    eigenvalues, orbitals = polish(hamiltonian, orbitals)
                    occupation = occupy(
                        eigenvalues,
                        basis.weights,
                        problem.nelectrons,
                        problem.smearing,
                        problem.moment,
                    )
                    output, _ = _new_density(problem, orbitals, occupation, eigenvalues)
                problem.pieces.release()
                last = Converged(orbitals, eigenvalues, occupation, output, potential)
                return SCFResult(problem, last, history)
            previous, rounded = energy, single
            single = (
                error > _SINGLE_RESIDUAL
                and density_error > _SINGLE_ERRORS * convergence.density
                and len(history) < _SINGLE_STEPS
            )
            mode = descent.mode
            descent.choose(len(history), density_error, mixer, states)
            if descent.mode != "plain":
                relaxed = descent.relax(potential, eigenvalues, orbitals, moment)
                output, orbitals = relaxed.density, relaxed.orbitals
            if descent.mode != mode:
                mixer = AndersonMixer(basis, problem.nelectrons, mixing, first)
            if descent.mode == "downhill":
                density = descent.next_density(density, output)
            else:
                density = mixer.next_density(density, output, states)
            density = _without_remains(density, output, basis, nothing)
            if moment != problem.moment and (
                density_error < _RELEASE_ERROR or len(history) == _RELEASE_STEP
            ):
                moment = problem.moment
                mixer = AndersonMixer(basis, problem.nelectrons, mixing, first)
    unbounded = why_unbounded(problem, density, potential)
    raise SCFConvergenceError(_advice(convergence, history, problem, unbounded), history)


def _without_remains(
    mixed: Tensor, output: Tensor, basis: PlaneWaveBasis, nothing: float
) -> Tensor:
    """The mixed density, zero in channels that came out with fewer electrons than `nothing`.

    What is left of earlier steps there is no orbital's density: it has nodes and negative values,
    at which the channel's potential has spikes that hold spurious levels.
    """
    electrons = split_fields(output)[0][:, 0].real * basis.volume
    return torch.where((electrons.abs() < nothing).unsqueeze(-1), 0.0, mixed)


def _excess(
    problem: KohnShamProblem, potential: Tensor, correction: Tensor, output: Tensor
) -> float:
    """Kohn-Sham energy of the output density's orbitals less Harris's of the input's, Hartree.

    Both are of second order in the density's error; the first lies above the ground state's energy,
    the second as a rule below. `potential` and `correction` are the input density's.
    """
    own_potential, own_correction = problem.effective_potential(output)
    shift = ((own_potential - potential).conj() * output).real.sum() * problem.basis.volume
    return float(own_correction - correction + shift)


def _orbital_error(residuals: Tensor, importance: Tensor) -> float:
    """Largest residual of a band times its importance, Hartree.

    The highest band may be cut out of a multiplet, and its residual then stays as large as the
    multiplet is wide. It holds next to nothing, and counts by its occupation, which is what its
    error does to the density, instead of by the root of that.
    """
    highest = residuals[:, :, -1] * importance[:, :, -1].square()
    others = residuals[:, :, :-1] * importance[:, :, :-1]
    return float(torch.cat([others.flatten(), highest.flatten()]).max())


def _distance(basis: PlaneWaveBasis, before: Tensor, after: Tensor) -> float:
    """Integral of the absolute difference of two densities, or of their moments if that is more."""
    change = to_total_and_moment(split_fields(after - before)[0])
    return float(basis.to_grid(change).abs().mean((1, 2, 3)).max() * basis.volume)


def _new_density(
    problem: KohnShamProblem,
    orbitals: Tensor,
    occupation: Occupations,
    eigenvalues: Tensor,
    single: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Density as `starting_density` has it, and local density of states, (nG,) or None.

    With `single`, in single precision: good to 1e-7.
    """
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
    kinetic = problem.needs_kinetic_density
    fields = fields_from_orbitals(problem.pieces, problem.gauge, orbitals, numbers, kinetic, single)
    if len(fields) == 1:
        return fields[0], None
    return fields[0], split_fields(fields[1])[0].sum(0)


def _advice(
    convergence: Convergence,
    history: list[dict[str, float]],
    problem: KohnShamProblem,
    unbounded: str | None,
) -> str:
    if unbounded is not None:
        return (
            f"the self-consistency loop did not converge in {len(history) or 'any'} steps: "
            f"{unbounded}`history` of this error holds every step."
        )
    last = history[-1]
    reached = (
        f"the self-consistency loop did not converge in {convergence.maxiter} steps with "
        f"{problem.functional.name}: the energy last changed by {last['energy_change']:.1e} Ha, "
        f"the density error is {last['density_error']:.1e} (wanted {convergence.density:.1e}) and "
        f"the largest residual of an occupied band {last['orbital_error']:.1e} Ha (wanted "
        f"{convergence.orbital_tolerance:.1e}). "
    )
    gaps = [record["gap"] for record in history[-_RECENT:] if "gap" in record]
    if gaps and min(gaps) < _CROSSING and last["density_error"] > _WANDERING:
        return (
            f"{reached}The gap between the highest occupied and the lowest empty level was between "
            f"{min(gaps):.1e} and {max(gaps):.1e} Ha in the last {len(gaps)} steps: these levels "
            "keep changing places, and integer occupations have no self-consistent solution here. "
            "Smear the occupations, for example occupations={'name': 'fermi-dirac', 'width': 0.1} "
            "(eV), or use more k-points. `history` of this error holds every step."
        )
    name = problem.functional.name
    if problem.needs_kinetic_density and "r2scan" not in name.lower():
        reached += (
            f"{name} may change too fast where one orbital dominates the density, in atoms and "
            "tails: r2SCAN is smooth there. "
        )
    return (
        f"{reached}If the errors were still falling, raise maxiter; otherwise smear the "
        "occupations more, try smaller steps (mixing={'beta': 0.3}), check the structure and the "
        "initial magnetic moments, or start from a converged density. `history` of this error "
        "holds every step."
    )


def _gap(occupation: Occupations, eigenvalues: Tensor, moment: float | None) -> float:
    """Smallest gap at a k-point between filled and empty levels that may change places, Hartree."""
    filled = occupation.numbers > 0.0
    # Without a fixed moment both channels share their electrons.
    channels = (0, 2) if moment is None else (2,)
    lowest = torch.where(filled, torch.inf, eigenvalues).amin(channels)
    highest = torch.where(filled, eigenvalues, -torch.inf).amax(channels)
    return float((lowest - highest).min())
