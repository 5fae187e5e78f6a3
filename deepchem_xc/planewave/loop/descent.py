"""Steps of the loop where localised levels are partly filled: downhill, and mixed near the end.

Orbitals are made self-consistent among each other (`subspace`), and the next potential is that of
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
from deepchem_xc.planewave.loop.subspace import Relaxed, relax_in_subspace
from deepchem_xc.planewave.problem import KohnShamProblem

# Orbitals are relaxed if the density's error is still this large after so many steps.
_STILL_LARGE = 3e-2
_TRIAL_STEPS = 3
# That goes on until the error is this small, or the free energy gained, Hartree, is rounding.
_RELAXED = 1e-5
_GAIN = 1e-9
# Densities are mixed below the first error, or below `_STILL_LARGE` after so many steps in which it
# fell. Mixing is given up where it does not reduce the error by the fraction in as many steps.
_NEAR = 1e-3
_PATIENCE = 4
_REDUCTION = 0.3
# Steps are halved when the free energy rises, down to this one.
_SHORTEST = 0.25


class Descent:
    """What each step of the loop does about localised levels.

    Parameters
    ----------
    problem : KohnShamProblem
        Energy terms, electrons, smearing.

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

    def __init__(self, problem: KohnShamProblem) -> None:
        self.mode = "plain"
        self._problem = problem
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
        if self._relaxed is not None:
            needed = error > _RELAXED and self._relaxed.gain > _GAIN
        else:
            needed = (
                mixer.mixing.subspace
                # Where occupations are not, the solution is no minimum.
                and self._problem.smearing.monotonic
                and step >= _TRIAL_STEPS
                and error > _STILL_LARGE
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
        recent = self._errors[-_PATIENCE - 1 :]
        tried = len(recent) > _PATIENCE
        if self.mode == "mixed":
            mixed = not tried or error < _REDUCTION * recent[0]
        else:
            falls = all(later < earlier for earlier, later in itertools.pairwise(recent))
            mixed = tried and falls and error < _STILL_LARGE
        return "mixed" if mixed or error < _NEAR else "downhill"

    def relax(
        self, potential: Potential, eigenvalues: Tensor, orbitals: Tensor, moment: float | None
    ) -> Relaxed:
        """As `relax_in_subspace`, from the filling of the last step."""
        before = self._relaxed
        self._relaxed = relax_in_subspace(
            self._problem, potential, eigenvalues, orbitals, moment, before
        )
        if before is not None and self._relaxed.free_energy > before.free_energy:
            self._step = max(0.5 * self._step, _SHORTEST)
        return self._relaxed

    def next_fields(self, fields: Fields, output: Fields) -> Fields:
        """Fields to try next, without mixing, from the last input and the relaxed orbitals'."""
        return fields + (output - fields) * self._step
