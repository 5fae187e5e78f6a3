"""Checks of radial functions in tables, which reveal damaged numbers and wrong labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_angular_momentum", "check_smooth"]

# Smallest deviation from the neighbours, relative to the function's maximum, that counts as an
# error. Tables with four digits have 1e-4.
_SPOILT = 2e-3
# Interpolation errors that a single wrong number causes at itself and at its neighbours.
_PATTERN = np.array([1 / 6, -2 / 3, 1.0, -2 / 3, 1 / 6])
_PATTERN_TOLERANCE = 0.12
# Radii, bohr, between which the leading power of a projector is measured, and its largest distance
# from a whole number that still counts.
_INNER, _OUTER = 0.03, 0.06
_POWER_TOLERANCE = 0.2


def check_smooth(values: NDArray, what: str) -> None:
    """Raise if one number of a smooth function does not fit between its neighbours.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Function on a radial mesh that resolves it.
    what : str
        Name of the function, for the message.

    Raises
    ------
    ValueError
        If there is one; the message names it. Kinks and steps pass: only a single wrong number
        causes the pattern that is searched for.

    Examples
    --------
    >>> values = np.exp(-np.linspace(0.0, 3.0, 301) ** 2)
    >>> check_smooth(values, "function")
    >>> values[100] = 0.0
    >>> check_smooth(values, "function")
    Traceback (most recent call last):
    ValueError: number 101 of the function, 0, does not belong between 0.375274 and 0.360559...
    """
    if len(values) < 9:
        return
    f = values
    deviation = f[2:-2] - (4.0 * (f[1:-3] + f[3:-1]) - (f[:-4] + f[4:])) / 6.0
    windows = np.lib.stride_tricks.sliding_window_view(deviation, 5)
    centre = windows[:, 2]
    large = np.nonzero(np.abs(centre) > _SPOILT * np.abs(f).max())[0]
    for i in large:
        if np.abs(windows[i] / centre[i] - _PATTERN).max() < _PATTERN_TOLERANCE:
            at = i + 4
            raise ValueError(
                f"number {at + 1} of the {what}, {f[at]:.6g}, does not belong between "
                f"{f[at - 1]:.6g} and {f[at + 1]:.6g}: the file is damaged"
            )


def check_angular_momentum(r: NDArray, function: NDArray, l: int, what: str) -> None:
    """Raise unless r p(r) of a projector starts with r to the power l + 1, l + 3, ...

    Parameters
    ----------
    r : ndarray, shape (n,)
        Mesh, bohr.
    function : ndarray, shape (n,)
        r p(r).
    l : int
        Angular momentum of the projector according to its file.
    what : str
        Name of the projector, for the message.

    Raises
    ------
    ValueError
        If the power near the origin is that of another l. If it cannot be determined (a coarse
        mesh, a function that is zero there), nothing is checked.

    Examples
    --------
    >>> r = np.linspace(0.0, 3.0, 301)
    >>> check_angular_momentum(r, r**2 * np.exp(-r), 0, "projector 1")
    Traceback (most recent call last):
    ValueError: projector 1 rises as r^2 near the origin, which l=0 does not allow (r^(l+1), ...
    """
    if not (r[0] < _INNER and r[-1] > _OUTER):
        return
    inner, outer = np.searchsorted(r, (_INNER, _OUTER))
    first, second = np.abs(function[[inner, outer]])
    if outer <= inner or first <= 1e-7 * np.abs(function).max():
        return
    power = float(np.log(second / first) / np.log(r[outer] / r[inner])) if second > 0 else np.nan
    whole = round(power) if np.isfinite(power) else 0
    if abs(power - whole) < _POWER_TOLERANCE and (whole < l + 1 or (whole - l) % 2 == 0):
        raise ValueError(
            f"{what} rises as r^{whole} near the origin, which l={l} does not allow (r^(l+1), "
            "r^(l+3), ...): its angular momentum is wrong, or the file is damaged"
        )
