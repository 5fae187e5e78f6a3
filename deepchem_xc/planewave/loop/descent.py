"""Steps of the loop where localised levels are partly filled: downhill, and mixed near the end.

Orbitals are made self-consistent among each other (`relaxation`), and the next potential is that of
the density found. Such steps go downhill in the free energy and leave saddles, but converge slowly
where the orbitals follow the potential stiffly. Anderson's mixing of the same densities is fast
near a solution; elsewhere it mixes fillings that have nothing in common, and converges to saddles
as readily. So densities are mixed once the error is small or falls steadily, as long as that helps.
"""

from __future__ import annotations

import itertools

from torch import Tensor

from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.loop.mixing import AndersonMixer
from deepchem_xc.planewave.loop.policies import LocalisedLevels
from deepchem_xc.planewave.loop.relaxation import Relaxed, relax_in_subspace
from deepchem_xc.planewave.problem import KohnShamProblem

# Gain of free energy by relaxed orbitals, Hartree, below which it is rounding.
_GAIN = 1e-9


class Descent:
    """What each step of the loop does about localised levels.

    Parameters
    ----------
    problem : KohnShamProblem
        Energy terms, electrons, smearing.
    policy : LocalisedLevels, optional
        When orbitals are relaxed, and when densities are mixed.

    Attributes
    ----------
    mode : str
        Of the present step: ``"plain"`` where nothing is to be done, ``"downhill"`` or ``"mixed"``
        where orbitals are relaxed.

    Examples
    --------
    Levels that extend through a crystal need none of this:

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
        self._step = 1.0
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
            Of the density, electrons per valence electron.
        mixer : AndersonMixer
            Knows which levels are localised.
        local_dos : Tensor or None
            Local density of states at the Fermi level, (nG,).
        """
        policy = self._policy
        if self._relaxed is not None:
            needed = error > policy.end and self._relaxed.gain > _GAIN
        else:
            needed = (
                mixer.mixing.subspace
                # Where occupations are not, the solution is no minimum.
                and self._problem.smearing.monotonic
                and step >= policy.steps
                and error > policy.start
                and mixer.is_localised(local_dos)
            )
        self._errors.append(error)
        mode = self._way(error) if needed else "plain"
        if mode != self.mode:
            self._errors = [error]
        if mode == "plain":
            self._relaxed = None
        self.mode = mode

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
        """As `relax_in_subspace`, from the filling of the last step."""
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
            self._step = max(0.5 * self._step, policy.shortest)
        return self._relaxed

    def next_fields(self, fields: Fields, output: Fields) -> Fields:
        """Fields to try next, without mixing, from the last input and the relaxed orbitals'."""
        return fields + (output - fields) * self._step
