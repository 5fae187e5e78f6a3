"""The radial meshes of PAW-XML files, from their equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .radial_grid import RadialGrid

__all__ = ["EQUATIONS", "PLAIN", "mesh_of_equation"]

_Radii = tuple[NDArray, NDArray]


def _rational(i: NDArray, a: float, b: float) -> _Radii:
    r = a * i / (1.0 - b * i)
    return r, (b * r + a) ** 2 / a


def _rational_of_count(i: NDArray, a: float, n: float) -> _Radii:
    return _rational(i, a / n, 1.0 / n)


def _linear(i: NDArray, d: float) -> _Radii:
    return d * i, np.full(len(i), d)


def _exponential(i: NDArray, a: float, d: float) -> _Radii:
    return a * np.expm1(d * i), a * d * np.exp(d * i)


def _fifth_power(i: NDArray, a: float, n: float) -> _Radii:
    x = i / n + a
    # The equation, with a difference that is exactly zero at the origin.
    return (x**5 - a**5) / a, 5.0 * x**4 / (n * a)


#: Equations of meshes by their text in files: function of i and parameters, and their names. The
#: format also has r=a*exp(d*i), which does not reach the origin.
EQUATIONS: dict[str, tuple[Callable[..., _Radii], tuple[str, ...]]] = {
    "r=d*i": (_linear, ("d",)),
    "r=a*(exp(d*i)-1)": (_exponential, ("a", "d")),
    "r=a*i/(1-b*i)": (_rational, ("a", "b")),
    "r=a*i/(n-i)": (_rational_of_count, ("a", "n")),
    "r=(i/n+a)^5/a-a^4": (_fifth_power, ("a", "n")),
}
#: Meshes of GPAW's generators, which integrate with plain sums.
PLAIN = ("r=a*i/(1-b*i)", "r=a*i/(n-i)")


def mesh_of_equation(
    equation: str, first: int, last: int, parameter: Callable[[str], float]
) -> RadialGrid:
    """Radii and their derivatives for i from `first` to `last`.

    Parameters
    ----------
    equation : str
        One of `EQUATIONS`, without blanks.
    first, last : int
        Range of i; both ends belong to it.
    parameter : callable
        Value of a parameter of the equation by its name, lengths in bohr.

    Raises
    ------
    ValueError
        If the equation is unknown, or the radii do not increase from zero.

    Examples
    --------
    >>> grid = mesh_of_equation("r=a*i/(n-i)", 0, 9, {"a": 0.4, "n": 10.0}.__getitem__)
    >>> round(float(grid.r[-1]), 6)
    3.6
    """
    if equation not in EQUATIONS:
        raise ValueError(
            f"meshes with the equation {equation!r} are not read; valid are {', '.join(EQUATIONS)}"
        )
    form, names = EQUATIONS[equation]
    values = {name: parameter(name) for name in names}
    if min(values.values()) <= 0.0:
        raise ValueError(f"the mesh {equation!r} needs positive parameters, got {values}")
    i = np.arange(first, last + 1, dtype=float)
    with np.errstate(all="ignore"):
        r, dr = form(i, **values)
    if not (np.isfinite(r).all() and np.isfinite(dr).all()):
        raise ValueError(f"the mesh {equation!r} is not finite for i up to {last}")
    return RadialGrid(r, dr, corrected=equation not in PLAIN)
