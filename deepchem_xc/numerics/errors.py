"""Errors of iterations that do not converge, and of files that are not whole, for all solvers."""

from __future__ import annotations

from collections.abc import Sequence


class SCFConvergenceError(RuntimeError):
    """The self-consistency loop used up its steps.

    Attributes
    ----------
    history : list of dict
        One record a step: ``step``, ``energy``, ``energy_change``, ``orbital_error`` (Hartree),
        ``density_error`` (electrons per valence electron); with two spins ``moment`` (mu_B), with
        integer occupations ``gap`` (Hartree).

    Examples
    --------
    >>> error = SCFConvergenceError("not converged", [{"step": 1.0}, {"step": 2.0}])
    >>> [record["step"] for record in error.history]
    [1.0, 2.0]
    """

    def __init__(self, message: str, history: Sequence[dict[str, float]] = ()) -> None:
        # pickle makes it of the message alone, and then sets the history
        super().__init__(message)
        self.history = list(history)


class ResponseConvergenceError(RuntimeError):
    """A linear-response equation was not solved to the tolerance asked for.

    Attributes
    ----------
    history : list of float
        Relative residuals, one for every iteration.

    Examples
    --------
    >>> error = ResponseConvergenceError("no solution", [1.0, 0.9])
    >>> error.history[-1]
    0.9
    """

    def __init__(self, message: str, history: Sequence[float] = ()) -> None:
        # pickle makes it of the message alone, and then sets the history
        super().__init__(message)
        self.history = list(history)


class DamagedFileError(ValueError):
    """A file is not what it should be: cut short, altered, or something else altogether.

    Examples
    --------
    >>> issubclass(DamagedFileError, ValueError)
    True
    """
