"""Failures of single calculations that a training survives, and their way between processes."""

from __future__ import annotations

import pickle

import torch

from deepchem_xc.eos.fits import NoMinimumError
from deepchem_xc.numerics.errors import ResponseConvergenceError, SCFConvergenceError

#: Errors that a changing functional may cause for an entry although the input is right.
EXPECTED_FAILURES = (
    SCFConvergenceError,
    ResponseConvergenceError,
    NoMinimumError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]
    FloatingPointError,
)


def sendable(error: Exception) -> Exception:
    """An error that can be pickled: this one, or one with its words; what is expected stays so.

    Examples
    --------
    >>> sendable(ZeroDivisionError("by zero"))
    ZeroDivisionError('by zero')
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = FloatingPointError if isinstance(error, EXPECTED_FAILURES) else RuntimeError
        return kind(f"{type(error).__name__}: {error}")
    return error
