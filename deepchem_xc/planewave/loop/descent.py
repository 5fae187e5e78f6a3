"""Steps of the loop for partly filled localised levels: downhill first, mixed near the end.

Orbitals are made self-consistent among each other (`relaxation`), and their density makes the next
potential. Such steps go downhill in the free energy and leave saddles, but converge slowly if the
orbitals follow the potential stiffly, and oscillate if they follow it too far: then steps are
shortened to the length at which, by the last two residuals, the next one is smallest. Anderson
mixing of the same densities is fast near a solution; elsewhere it mixes unrelated fillings, and
converges to saddles as readily as to minima. So densities are mixed once the error is small or
falls steadily, as long as that helps.
"""

from __future__ import annotations

import itertools

from torch import Tensor

from deepchem_xc.numerics.vectors import Inner
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.loop.mixing import AndersonMixer, to_total_and_moment
from deepchem_xc.planewave.loop.policies import LocalisedLevels
from deepchem_xc.planewave.loop.relaxation import Relaxed, relax_in_subspace
from deepchem_xc.planewave.problem import KohnShamProblem

# Gain of free energy, Hartree, below which it counts as rounding.
_GAIN = 1e-11


class Descent:
    """Chooses how each step of the loop treats localised levels.

    Parameters
    ----------
    problem : KohnShamProblem
        Energy terms, electrons, smearing.
    policy : LocalisedLevels, optional
        When orbitals are relaxed, and when densities are mixed.

    Attributes
    ----------
    mode : str
        Mode of the current step: ``"plain"`` relaxes no orbitals, ``"downhill"`` and ``"mixed"``
        do.

    Examples
    --------
    Levels that extend through a crystal need no relaxation:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> r = scf(bulk("Al"), ecut=100.0, convergence={"density": 1e-2})
    >>> descent, mixer = Descent(r.problem), AndersonMixer(r.basis, r.problem.nelectrons)
    >>> descent.choose(step=3, error=0.1, mixer=mixer, local_dos=r.density_g[0])
    >>> descent.mode
    'plain'
    """

    def __init__(self, problem: KohnShamProblem, policy: LocalisedLevels | None = None) -> None:
        self.mode = "plain"
        self._problem, self._policy = problem, policy or LocalisedLevels()
        self._relaxed: Relaxed | None = None
        self._step = self._longest = 1.0
        self._residual: Fields | None = None
        self._errors: list[float] = []

    def choose(
        self, step: int, error: float, mixer: AndersonMixer, local_dos: Tensor | None
    ) -> None:
        """Set the mode of this step.

        Parameters
        ----------
        step : int
            Its number, from 1.
        error : float
            Density error, electrons per valence electron.
        mixer : AndersonMixer
            Tells whether levels are localised.
        local_dos : Tensor or None
            Local density of states at the Fermi level, (nG,).
        """
        policy = self._policy
        if self._relaxed is not None:
            needed = error > policy.end and self._relaxed.gain > _GAIN
        else:
            needed = (
                mixer.mixing.subspace
                # With other occupations the solution is not a minimum.
                and self._problem.smearing.monotonic
                and step >= policy.steps
                and (
                    (error > policy.start and mixer.is_localised(local_dos))
                    or (local_dos is not None and self._is_stalled(step, error))
                )
            )
        self._errors.append(error)
        mode = self._way(error) if needed else "plain"
        if mode != self.mode:
            self._errors = [error]
        if mode == "plain":
            self._relaxed = None
        if mode != "downhill":
            self._residual = None
        self.mode = mode

    def restart(self) -> None:
        """Forget the errors so far: those of a moment that was held say nothing about the next."""
        self._errors = []

    def _is_stalled(self, step: int, error: float) -> bool:
        """Whether mixing has not reduced a large error for some steps."""
        policy, errors = self._policy, [*self._errors, error]
        if step < policy.stalled or error < policy.near or len(errors) <= policy.patience:
            return False
        before, *recent = errors[-policy.patience - 1 :]
        return min(recent) > policy.reduction * before

    def _way(self, error: float) -> str:
        policy = self._policy
        recent = self._errors[-policy.patience - 1 :]
        tried = len(recent) > policy.patience
        if self.mode == "mixed":
            mixed = not tried or error < policy.reduction * recent[0]
        else:
            falls = all(later < earlier for earlier, later in itertools.pairwise(recent))
            mixed = tried and falls and error < policy.start
        return "mixed" if mixed or error < policy.near else "downhill"

    def relax(
        self, potential: Potential, eigenvalues: Tensor, orbitals: Tensor, moment: float | None
    ) -> Relaxed:
        """Run `relax_in_subspace` from the filling of the last step."""
        before = self._relaxed
        policy = self._policy
        self._relaxed = relax_in_subspace(
            self._problem,
            potential,
            eigenvalues,
            orbitals,
            moment,
            before,
            policy.slope,
            policy.evaluations,
            policy.rounds,
        )
        if before is not None and self._relaxed.free_energy > before.free_energy:
            self._longest = max(0.5 * self._longest, policy.shortest)
        return self._relaxed

    def next_fields(self, fields: Fields, output: Fields, inner: Inner[Fields]) -> Fields:
        """Next input, without mixing, from the last input and the relaxed orbitals' fields.

        Parameters
        ----------
        fields, output : Fields
            Last input, and the fields of the relaxed orbitals.
        inner : callable
            Inner product of residuals of total and moment, as `AndersonMixer.inner`.
        """
        residual = (output - fields).map(to_total_and_moment)
        step = self._longest
        if self._residual is not None:
            # Along the last step the residual is a linear function of the step's length.
            left = float(inner(residual, self._residual) / inner(self._residual, self._residual))
            if left < 1.0:
                step = min(max(self._step / (1.0 - left), self._policy.shortest), self._longest)
        self._residual, self._step = residual, step
        return fields + (output - fields) * step
