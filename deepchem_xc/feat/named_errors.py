"""Errors that begin with the key of an entry whose value caused them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def naming(key: str, make: Callable[[], T]) -> T:
    """Result of `make`; its errors of values, types and missing files are prefixed with the key.

    Parameters
    ----------
    key : str
        Key, or keys, for the message.
    make : callable
        Without arguments.

    Raises
    ------
    ValueError
        For errors of values and types.
    FileNotFoundError
        For missing files.

    Examples
    --------
    >>> naming("ecut", lambda: float("many"))
    Traceback (most recent call last):
    ValueError: ecut: could not convert string to float: 'many'
    """
    try:
        return make()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{key}: {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key}: {error}") from error
