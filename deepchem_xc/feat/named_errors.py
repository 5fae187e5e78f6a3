"""Errors that begin with the key of an entry whose value caused them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def naming(key: str, make: Callable[[], T]) -> T:
    """Result of `make`; its errors of values and types are prefixed with the key.

    Parameters
    ----------
    key : str
        Key, or keys, for the message.
    make : callable
        Without arguments.

    Raises
    ------
    ValueError
        For errors of values and types; others, such as those of files, pass.

    Examples
    --------
    >>> naming("ecut", lambda: float("many"))
    Traceback (most recent call last):
    ValueError: ecut: could not convert string to float: 'many'
    """
    try:
        return make()
    except FileNotFoundError:
        raise
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key}: {error}") from error
