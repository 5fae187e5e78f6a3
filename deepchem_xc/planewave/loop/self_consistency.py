"""The self-consistency loop: iterates the fixed-point map to convergence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ase.units import Hartree
from torch import Tensor

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.occupations.electron_count import check_bands
from deepchem_xc.occupations.occupy import check_enough_bands
from deepchem_xc.planewave.converged import Converged
from deepchem_xc.planewave.eigen.first_orbitals import starting_orbitals
from deepchem_xc.planewave.eigen.states import change_bands, is_rough, polish
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.loop.convergence import Convergence, not_converged
from deepchem_xc.planewave.loop.descent import Descent
from deepchem_xc.planewave.loop.dielectric import strong_screening
from deepchem_xc.planewave.loop.fixed_point import (
    FixedPointMap,
    Iterate,
    free_energy,
    gap,
    new_fields,
    second_order,
)
from deepchem_xc.planewave.loop.held_moment import HeldMoment
from deepchem_xc.planewave.loop.mixing import AndersonMixer, Mixing
from deepchem_xc.planewave.loop.one_orbital import is_lost, why_unbounded, with_several_orbitals
from deepchem_xc.planewave.loop.policies import Policies
from deepchem_xc.planewave.loop.spurious import why_spurious
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.values import whole_number

# Electrons, in units of the density error that ends the loop, below which a channel is empty.
_EMPTY_CHANNEL = 0.1
# Part of the last density error below which a sweep has reduced it.
_FALLING = 0.8

Callback = Callable[[dict[str, float]], None]


def solve(
    problem: KohnShamProblem,
    convergence: Convergence | None = None,
    nbands: int | None = None,
    fields: Fields | None = None,
    orbitals: Tensor | None = None,
    callback: Callback | None = None,
    mixing: Mixing | None = None,
    policies: Policies | None = None,
    hold_moment: bool | None = None,
) -> SCFResult:
    """Find the self-consistent ground state of a Kohn-Sham problem.

    Parameters
    ----------
    problem : KohnShamProblem
        The crystal, discretised.
    convergence : Convergence, optional
        When to stop.
    nbands : int, optional
        Number of bands. By default enough for the electrons; more are added while the highest
        band is occupied.
    fields : Fields, optional
        Starting fields; `KohnShamProblem.starting_fields` by default.
    orbitals : Tensor, optional
        Starting orbitals, orthonormal, (nspin, nk, nband, npw).
    callback : callable, optional
        Called after every step with its record.
    mixing : Mixing, optional
        How densities are mixed.
    policies : Policies, optional
        Accuracy and precision of each step's states, release of the start's moment, and treatment
        of localised levels.
    hold_moment : bool, optional
        Hold a moment at first (`HeldMoment`); by default, unless `fields` are given.

    Returns
    -------
    SCFResult
        The ground state.

    Raises
    ------
    SCFConvergenceError
        If `convergence.maxiter` steps are not enough, or lead to a state that no atom has.
    ValueError
        If `nbands` cannot hold the electrons, or exceeds the number of plane waves.

    Examples
    --------
    The loop's energy equals the sum of its result's terms:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> from deepchem_xc.planewave.inputs import make_problem
    >>> result = solve(make_problem(basis))
    >>> bool(abs(result.history[-1]["energy"] - result.energies["free"]) < 1e-8)
    True
    """
    held = fields is None if hold_moment is None else hold_moment
    loop = _Loop(problem, convergence, nbands, fields, orbitals, mixing, policies, held)
    with torch.no_grad():
        for step in range(1, loop.convergence.maxiter + 1):
            found = loop.step()
            if found is None:
                break
            energy = free_energy(problem, found)
            met = loop.are_states_met(found)
            change = loop.energy_change(found, energy, met)
            record = loop.record(step, found, energy, change)
            if callback is not None:
                callback(record)
            if met and loop.convergence.energy_is_met(change, problem.nelectrons):
                check_enough_bands(found.occupation)
                loop.check_plausible(found)
                other = with_several_orbitals(problem, found.occupation)
                if other is None:
                    return loop.result(found)
                start = (nbands, None, found.orbitals)
                return solve(other, convergence, *start, callback, mixing, policies)
            loop.prepare_next(step, found, energy)
    raise loop.not_converged()


class _Loop:
    """The state of the loop, and how each step changes it."""

    def __init__(
        self,
        problem: KohnShamProblem,
        convergence: Convergence | None,
        nbands: int | None,
        fields: Fields | None,
        orbitals: Tensor | None,
        mixing: Mixing | None,
        policies: Policies | None,
        held: bool,
    ) -> None:
        self.problem, self._mixing = problem, mixing
        self.convergence = convergence or Convergence()
        policies = Policies.of(policies)
        self._effort, self._precision = policies.effort, policies.precision
        self._release, self._held = policies.moment, False
        self._nbands = _number_of_bands(problem, nbands, orbitals)
        supplied = fields if held else None
        self._moment = HeldMoment(problem, not held, policies.moment, supplied, self._nbands)
        more = 0 if nbands is not None else int(policies.effort.multiplets * self._nbands)
        self._most = self._nbands + more
        check_bands(
            self._nbands, problem.nelectrons, problem.nspin, problem.smearing, self._moment.value
        )
        spare = self._effort.spare(self.convergence.orbital_tolerance) if nbands is None else None
        self._map = FixedPointMap(problem, spare, self._effort.expansions)
        self._orbitals = orbitals
        # Rough orbitals would spoil a supplied density.
        self._sweeps = 1 if fields is None else self._effort.settling_sweeps
        self._fields = problem.starting_fields() if fields is None else fields
        self._potential: Potential | None = None
        self.history: list[dict[str, float]] = []
        self._first = self._fields
        self._mixer = self._new_mixer()
        self._descent = Descent(problem, policies.localised)
        self._residual = self._effort.residual(torch.inf)
        self._energy = torch.inf
        # A step in single precision has no energy precise enough to compare the next one with.
        self._single = self._rounded = self._precision.steps > 0

    def _new_mixer(self) -> AndersonMixer:
        problem = self.problem
        return AndersonMixer(problem.basis, problem.nelectrons, self._mixing, self._first)

    def step(self) -> Iterate | None:
        """The next iterate; None if the functional has no lowest state at this density."""
        problem = self.problem
        potential = problem.effective_potential(self._fields)
        self._potential = potential[0]
        if is_lost(problem, self._fields, self._potential):
            return None
        hamiltonian = problem.hamiltonian(self._potential)
        if self._orbitals is None:
            pseudos = problem.pseudopotentials
            self._orbitals = starting_orbitals(hamiltonian, pseudos, self._nbands, self._most)
        elif not self.history:
            if self._orbitals.shape[2] != self._nbands:
                self._orbitals = change_bands(hamiltonian, self._orbitals, self._nbands)
            if self._single:
                rough = is_rough(hamiltonian, self._orbitals, self._precision.start)
                self._single = self._rounded = rough
        target, error = self._residual, torch.inf
        for _ in range(self._sweeps):
            found = self._map.improve(
                hamiltonian,
                potential,
                self._fields,
                self._orbitals,
                self._moment.value,
                target,
                self._single,
            )
            self._orbitals = found.orbitals
            error, before = found.density_error, error
            self._residual = self._effort.residual(error)
            target = self._effort.settling_residual(error, error < _FALLING * before)
            if found.orbital_error < target:
                break
        self._sweeps = 1
        return found

    def are_states_met(self, found: Iterate) -> bool:
        """Whether only the energy remains to be checked."""
        errors = found.density_error, found.orbital_error
        ready = self._moment.is_final and not self._single
        return ready and self.convergence.states_are_met(*errors)

    def energy_change(self, found: Iterate, energy: float, met: bool) -> float:
        """Change of the energy in this step, Hartree; after a rounded step its estimated error."""
        if met and self._rounded:
            self._energy = energy + second_order(self.problem, found)
        return energy - self._energy

    def record(self, step: int, found: Iterate, energy: float, change: float) -> dict[str, float]:
        """Add this step's record to the history and return it."""
        record = {
            "step": float(step),
            "energy": energy,
            "energy_change": change,
            "density_error": found.density_error,
            "orbital_error": found.orbital_error,
        }
        if self.problem.nspin == 2:
            up, down = self.problem.electrons(found.output)
            record["moment"] = float(up - down)
        if self.problem.smearing.width == 0.0:
            record["gap"] = gap(found.occupation, found.eigenvalues, self._moment.value)
        self.history.append(record)
        return record

    def prepare_next(self, step: int, found: Iterate, energy: float) -> None:
        """Set fields, precision and moment of the next step."""
        error = found.density_error
        self._energy, self._rounded = energy, self._single
        self._held = not self._moment.is_final
        self._single = self._precision.is_single(self._residual, error, self.convergence, step)
        self._fields = self._next_fields(step, found)
        if self._moment.release(error, step):
            self._mixer = self._new_mixer()
            self._descent.restart()

    def _next_fields(self, step: int, found: Iterate) -> Fields:
        output, before = found.output, self._descent.mode
        self._descent.choose(step, found.density_error, self._mixer, found.local_dos)
        mode = self._descent.mode
        if mode != "plain":
            relaxed = self._descent.relax(
                found.potential, found.eigenvalues, found.orbitals, self._moment.value
            )
            output, self._orbitals = relaxed.fields, relaxed.orbitals
        if mode != before:
            self._mixer = self._new_mixer()
        if mode == "downhill":
            fields = self._descent.next_fields(found.fields, output, self._mixer.inner)
        else:
            constant = strong_screening(
                self.problem.basis, found.eigenvalues, found.occupation.occupations
            )
            fields = self._mixer.next_fields(found.fields, output, found.local_dos, constant)
        nothing = _EMPTY_CHANNEL * self.convergence.density * self.problem.nelectrons
        return _without_remains(fields, self.problem.electrons(output), nothing)

    def not_converged(self) -> SCFConvergenceError:
        """The error of this loop after its last step."""
        maxiter = self.convergence.maxiter
        unbounded = None
        if self._potential is not None:
            unbounded = why_unbounded(self.problem, self._fields, self._potential)
        return not_converged(
            self.problem,
            self.convergence,
            self.history,
            unbounded,
            held=self._release.why_held(maxiter) if self._held else "",
            single=self._precision.why_single(maxiter) if self._rounded else "",
        )

    def check_plausible(self, found: Iterate) -> None:
        """Raise SCFConvergenceError for a state that no atom has."""
        reason = why_spurious(self.problem, found.output)
        if reason is not None:
            more = "`history` of this error holds every step."
            raise SCFConvergenceError(reason + more, self.history)

    def result(self, found: Iterate) -> SCFResult:
        """The ground state."""
        problem = self.problem
        orbitals, eigenvalues = found.orbitals, found.eigenvalues
        occupation, output = found.occupation, found.output
        residual = self._effort.empty
        if bool((found.residuals[:, :, :-1] > residual).any()):
            # During the loop the empty bands got less effort; the result needs them.
            eigenvalues, orbitals = polish(found.hamiltonian, orbitals, residual)
            occupation = problem.occupy(eigenvalues)
            output, _ = new_fields(problem, orbitals, occupation, eigenvalues)
        problem.pieces.release()
        last = Converged(orbitals, eigenvalues, occupation, output, found.potential)
        return SCFResult(problem, last, self.history)


def _number_of_bands(problem: KohnShamProblem, nbands: int | None, orbitals: Tensor | None) -> int:
    """Number of bands to start with."""
    basis = problem.basis
    if nbands is None:
        nbands = problem.default_nbands() if orbitals is None else orbitals.shape[2]
    nbands = whole_number(nbands, "nbands")
    if nbands > min(basis.npw_per_k):
        raise ValueError(
            f"{nbands} bands do not fit into {min(basis.npw_per_k)} plane waves: raise ecut "
            f"(now {basis.ecut:g} Ha, {basis.ecut * Hartree:g} eV) or ask for fewer bands."
        )
    return nbands


def _without_remains(mixed: Fields, electrons: Tensor, nothing: float) -> Fields:
    """The mixed fields, zero in channels whose output has fewer `electrons` than `nothing`.

    Remains of earlier steps there are not the density of any orbital: they have nodes and negative
    values, at which the channel's potential has spikes that bind spurious levels.
    """
    empty = electrons.abs() < nothing
    return mixed.map(lambda leaf: torch.where(empty.unsqueeze(-1), 0.0, leaf))
