"""The magnetic moment of the start, which is held until the density is close."""

from __future__ import annotations

from deepchem_xc.planewave.loop.policies import MomentRelease
from deepchem_xc.planewave.problem import KohnShamProblem


class HeldMoment:
    """The magnetic moment that occupations are made with, step by step.

    A rough start can lose a magnet's moment, and the loop would settle there: the start's is held
    until the density is close, unless the density was given.

    Parameters
    ----------
    problem : KohnShamProblem
        It has the moment that is to be held for good, if any.
    given : bool
        Whether the loop starts from a density that was given.
    policy : MomentRelease, optional
        When it is let go.

    Attributes
    ----------
    value : float or None
        At present, mu_B per cell; None lets it relax.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> nickel = bulk("Ni")
    >>> nickel.set_initial_magnetic_moments([0.6])
    >>> problem = scf(nickel, ecut=100.0, convergence={"density": 1.0, "energy": 1.0}).problem
    >>> moment = HeldMoment(problem, given=False)
    >>> moment.value, moment.release(error=0.1, step=1), moment.release(error=1e-3, step=2)
    (0.6, False, True)
    >>> moment.value, moment.is_final
    (None, True)
    """

    def __init__(
        self, problem: KohnShamProblem, given: bool, policy: MomentRelease | None = None
    ) -> None:
        self._final, self._policy = problem.moment, policy or MomentRelease()
        self.value = problem.moment if given else problem.initial_moment

    @property
    def is_final(self) -> bool:
        """Whether it is the one of the result."""
        return self.value == self._final

    def release(self, error: float, step: int) -> bool:
        """Let the start's moment go, if it is time; whether it was let go in this step."""
        policy = self._policy
        if self.is_final or not (error < policy.error or step >= policy.step):
            return False
        self.value = self._final
        return True
