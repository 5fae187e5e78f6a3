"""Errors of all solvers: iterations that do not converge, and damaged files."""

from __future__ import annotations

from collections.abc import Sequence


class SCFConvergenceError(RuntimeError):
    """The self-consistency loop did not converge within its steps.

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
        # pickle calls this with the message alone, and then sets the history
        super().__init__(message)
        self.history = list(history)


class DiagonalizationError(RuntimeError):
    """The eigensolver did not reach the requested accuracy; its message says what to change.

    Examples
    --------
    >>> issubclass(DiagonalizationError, RuntimeError)
    True
    """


class ResponseConvergenceError(RuntimeError):
    """A linear-response equation was not solved to the requested tolerance.

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
        # pickle calls this with the message alone, and then sets the history
        super().__init__(message)
        self.history = list(history)


class DamagedFileError(ValueError):
    """A file is truncated or altered, or of another kind altogether.

    Examples
    --------
    >>> issubclass(DamagedFileError, ValueError)
    True
    """
