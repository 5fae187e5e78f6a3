"""Common parts of the file readers: opening files, and numbers as Fortran writes them."""

from __future__ import annotations

import gzip
import math
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_count", "read_number", "read_numbers", "read_text"]

_GZIP = b"\x1f\x8b"
# Fortran drops the letter of an exponent with three digits: 2.18-106 is 2.18E-106.
_BARE_EXPONENT = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([+-]\d{3})")


def read_text(path: str | os.PathLike) -> str:
    """Content of a text file; it may be compressed with gzip.

    Raises
    ------
    ValueError
        If the compressed data are damaged or cut short.
    FileNotFoundError
        If there is no such file.
    """
    data = Path(path).read_bytes()
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{os.fspath(path)}: the compressed file is damaged or cut short ({error})"
            ) from error
    return data.decode(errors="replace")


def read_number(text: str, what: str = "number") -> float:
    """Read a finite number with any exponent that Fortran or C may write.

    Parameters
    ----------
    text : str
        ``"1.5"``, ``"1.5E-02"``, ``"1.5d-02"`` or ``"1.5-102"``.
    what : str, optional
        Name of the number, for messages.

    Raises
    ------
    ValueError
        If it is not a number, or not finite.

    Examples
    --------
    >>> read_number("1.5d-02"), read_number("2.18-106")
    (0.015, 2.18e-106)
    >>> read_number("inf", "z_valence")
    Traceback (most recent call last):
    ValueError: z_valence is 'inf', not a finite number
    """
    plain = text.strip().lower().replace("d", "e")
    bare = _BARE_EXPONENT.fullmatch(plain)
    if bare is not None:
        plain = f"{bare.group(1)}e{bare.group(2)}"
    try:
        value = float(plain) if "_" not in plain else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text.strip()!r}, not a finite number")
    return value


def read_count(text: str, what: str = "number") -> int:
    """Read a whole number that is not negative.

    Raises
    ------
    ValueError
        If it is anything else.

    Examples
    --------
    >>> read_count(" 4 "), read_count("600.0")
    (4, 600)
    """
    value = read_number(text, what)
    if value < 0 or value != round(value):
        raise ValueError(f"{what} is {text.strip()!r}, not a whole number of at least 0")
    return round(value)


def read_numbers(words: Iterable[str], what: str) -> NDArray[np.float64]:
    """Read finite numbers, shape (n,), with `read_number` for every word.

    Raises
    ------
    ValueError
        If one is not a finite number; the message says which.

    Examples
    --------
    >>> read_numbers(["1.0", "2.0D+00"], "PP_DIJ").tolist()
    [1.0, 2.0]
    """
    words = list(words)
    try:
        values = np.array(words, dtype=np.float64)
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass  # Fortran's exponents, or not numbers at all
    return np.array(
        [read_number(word, f"{what}: number {i + 1}") for i, word in enumerate(words)],
        dtype=np.float64,
    )
