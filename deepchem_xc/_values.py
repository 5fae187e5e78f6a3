"""Checks that a keyword's value is a number, a flag or a device; no physics.

numpy's numbers and booleans count as numbers and booleans.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch

_DEVICES = ("cpu", "cuda")


def real_number(value: Any, name: str, unit: str = "") -> float:
    """A real number; text, lists and booleans are refused.

    Parameters
    ----------
    value : object
        The given value: a number, or a 0-d array or tensor.
    name : str
        Keyword, for the message.
    unit : str, optional
        Unit of the number, for the message.

    Raises
    ------
    ValueError
        For any other value; the message repeats it.

    Examples
    --------
    >>> real_number(np.float32(300), "ecut")
    300.0
    >>> real_number("300", "ecut", "eV")
    Traceback (most recent call last):
    ValueError: ecut must be a number (eV), got '300' (a str).
    """
    plain = value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    if isinstance(plain, bool) or not isinstance(plain, (int, float, np.number)):
        kind = type(value).__name__
        raise ValueError(
            f"{name} must be a number{f' ({unit})' if unit else ''}, got {value!r} (a {kind})."
        )
    return float(plain)


def whole_number(value: Any, name: str, minimum: int = 1) -> int:
    """A whole number of at least `minimum`.

    Raises
    ------
    ValueError
        For any other value; the message repeats it.

    Examples
    --------
    >>> whole_number(np.int64(8), "nbands")
    8
    >>> whole_number(4.5, "maxiter")
    Traceback (most recent call last):
    ValueError: maxiter must be a whole number of at least 1, got 4.5.
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = minimum - 1
    if number < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}.")
    return number


def flag(value: Any, name: str) -> bool:
    """True or False; 1 and 0 count as such, text does not.

    Examples
    --------
    >>> flag(np.bool_(True), "spinpol")
    True
    >>> flag("no", "spinpol")
    Traceback (most recent call last):
    ValueError: spinpol must be True or False, got 'no'.
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {value!r}.")


def torch_device(value: Any) -> torch.device | None:
    """Device that ``device=`` names; None means the structure's device.

    Raises
    ------
    ValueError
        If there is no such device here, or it cannot compute in double precision.

    Examples
    --------
    >>> torch_device("cpu"), torch_device(None)
    (device(type='cpu'), None)
    """
    if value is None:
        return None
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device = {value!r} is not known: give 'cpu', 'cuda' or 'cuda:1'."
        ) from error
    if device.type not in _DEVICES:
        raise ValueError(
            f"device = {value!r} is not supported: give one of {', '.join(map(repr, _DEVICES))}."
        )
    if device.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= there:
            raise ValueError(
                f"there is no CUDA device for {str(value)!r}: torch {torch.__version__} finds "
                f"{there} here. Use 'cpu'."
            )
    return device
