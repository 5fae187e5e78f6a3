"""Magnetic moment of the start, held until the density is close to self-consistency."""

from __future__ import annotations

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.loop.policies import MomentRelease
from deepchem_xc.planewave.problem import KohnShamProblem

# Moment of a supplied density, relative to the sum of the initial moments, below which it counts as
# lost. Iron's is 0.46 of an initial moment of 2.2 mu_B.
_LOST = 0.25


class HeldMoment:
    """The magnetic moment that the occupations of each step are constrained to.

    A rough start can lose a magnet's moment, and the loop would converge without it. The start's
    moment is therefore held until the density is close to self-consistency, unless an earlier
    calculation found the density. Initial moments are guesses: a density that was supplied, as by a
    model, is held at its own moment, which would be spoilt by another one. Where it has lost most
    of the initial moment, has the opposite one, or one for which the bands do not suffice, the sum
    of the initial moments is held.

    Parameters
    ----------
    problem : KohnShamProblem
        Provides the moment to hold to the end, if any.
    given : bool
        Whether the starting density is that of an earlier calculation.
    policy : MomentRelease, optional
        When the moment is released.
    supplied : Fields, optional
        The starting density, if it is neither that of superposed atoms nor `given`.
    nbands : int, optional
        Bands of each spin, which have to hold the electrons.

    Attributes
    ----------
    value : float or None
        Moment in the current step, mu_B per cell; None lets it relax.

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
        self,
        problem: KohnShamProblem,
        given: bool,
        policy: MomentRelease | None = None,
        supplied: Fields | None = None,
        nbands: int | None = None,
    ) -> None:
        self._final, self._policy = problem.moment, policy or MomentRelease()
        self.value = problem.moment if given else problem.initial_moment
        if supplied is not None and not self.is_final:
            up, down = problem.electrons(supplied).tolist()
            assert self.value is not None
            # A network's moment may exceed the electrons a little.
            own = min(max(up - down, -problem.nelectrons), problem.nelectrons)
            fits = nbands is None or problem.nelectrons + abs(own) < 2 * nbands
            if own / self.value > _LOST and fits:
                self.value = own

    @property
    def is_final(self) -> bool:
        """Whether the constraint is that of the result."""
        return self.value == self._final

    def release(self, error: float, step: int) -> bool:
        """Release the start's moment if it is time; whether this step released it."""
        policy = self._policy
        if self.is_final or not (error < policy.error or step >= policy.step):
            return False
        self.value = self._final
        return True
