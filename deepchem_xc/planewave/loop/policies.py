"""How much work a step of the loop is worth: effort, precision, and the moment that is held."""

from __future__ import annotations

from dataclasses import dataclass

from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.problem import KohnShamProblem


@dataclass(frozen=True)
class Effort:
    """How well the states of one potential are computed.

    Parameters
    ----------
    fraction : float
        Residuals aimed at, Hartree, in units of the last density error: more effort than this is
        wasted on a potential that is about to change.
    largest_error : float
        Density error that counts at most, electrons per valence electron.
    good : float
        Residual, Hartree, at which orbitals are good enough in the potential of a density that
        was given. They are improved until they reach it, or until the density error no longer
        comes from them.
    settling_sweeps : int
        Sweeps that this may take.

    Examples
    --------
    >>> Effort().residual(1e-3)
    3e-05
    """

    fraction: float = 0.03
    largest_error: float = 0.1
    good: float = 1e-5
    settling_sweeps: int = 6

    def residual(self, density_error: float) -> float:
        """Residual to aim at after a step with this density error, Hartree."""
        return self.fraction * min(density_error, self.largest_error)


@dataclass(frozen=True)
class Precision:
    """Which steps are in single precision; all three must hold.

    Parameters
    ----------
    residual : float
        The residual aimed at, Hartree, is above this.
    errors : float
        The density's error is above so many times the one that ends the loop.
    steps : int
        There have been fewer steps; 0 for double precision throughout.

    Examples
    --------
    >>> Precision().is_single(1e-4, 3e-3, Convergence(), steps=2)
    True
    >>> Precision(steps=0).is_single(1e-4, 3e-3, Convergence(), steps=2)
    False
    """

    residual: float = 5e-6
    errors: float = 5.0
    steps: int = 20

    def is_single(
        self, residual: float, density_error: float, convergence: Convergence, steps: int
    ) -> bool:
        """Whether the next step is in single precision.

        Parameters
        ----------
        residual : float
            Aimed at, Hartree.
        density_error : float
            Of the last step, electrons per valence electron.
        convergence : Convergence
            What ends the loop.
        steps : int
            Steps so far.
        """
        return (
            residual > self.residual
            and density_error > self.errors * convergence.density
            and steps < self.steps
        )


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
    release_error : float, optional
        Density error, electrons per valence electron, below which the start's moment is let go.
    release_step : int, optional
        Step after which it is let go in any case.

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
        self,
        problem: KohnShamProblem,
        given: bool,
        release_error: float = 1e-2,
        release_step: int = 8,
    ) -> None:
        self._final = problem.moment
        self._error, self._step = release_error, release_step
        self.value = problem.moment if given else problem.initial_moment

    @property
    def is_final(self) -> bool:
        """Whether it is the one of the result."""
        return self.value == self._final

    def release(self, error: float, step: int) -> bool:
        """Let the start's moment go, if it is time; whether it was let go in this step."""
        if self.is_final or not (error < self._error or step == self._step):
            return False
        self.value = self._final
        return True
