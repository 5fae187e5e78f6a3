"""Points of a crystal at which a functional gets the same arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.intp]

__all__ = ["distinct_points"]

# Relative difference between two densities, and difference between two reduced quantities, that
# count as rounding: an energy changes by no more than this part of itself.
_ROUNDING = 1e-12


def distinct_points(
    density: Array, sigma: Array | None = None, tau: Array | None = None
) -> tuple[Integers, Integers]:
    """One point of each kind, and the kind of each point.

    On a grid, and inside a sphere, symmetry makes most points equivalent: in a silicon crystal a
    twentieth of the grid is left.

    Parameters
    ----------
    density : ndarray
        (1, nr), or of two channels, (2, nr), bohr^-3.
    sigma, tau : ndarray, optional
        Products of gradients, (1, nr) or (3, nr), and kinetic energy densities, shape of
        `density`, atomic units.

    Returns
    -------
    ndarray
        Indices of the first point of each kind, (nkind,).
    ndarray
        Index among these, (nr,).

    Examples
    --------
    >>> import numpy as np
    >>> first, kind = distinct_points(np.array([[0.3, 0.1, 0.3, 0.2]]))
    >>> density = np.array([0.3, 0.1, 0.3, 0.2])[first][kind]
    >>> len(first), density
    (3, array([0.3, 0.1, 0.3, 0.2]))
    """
    total = np.abs(density).sum(0)
    # Any mixture serves to bring equal points together; this one also orders two channels.
    order = np.argsort(density[0] if len(density) == 1 else density[0] + 0.6180339887 * density[1])
    new = np.ones(len(order), dtype=bool)
    same = np.ones(len(order) - 1, dtype=bool)
    scales = [(density, total)]
    if sigma is not None:
        scales.append((sigma, np.cbrt(total) ** 8))
    if tau is not None:
        scales.append((tau, np.cbrt(total) ** 5))
    for field, scale in scales:
        least = scale[order][1:]
        for row in field:
            values = row[order]
            least_here = np.maximum(least, np.abs(values[1:])) if field is not density else least
            same &= np.abs(np.diff(values)) <= _ROUNDING * least_here
    new[1:] = ~same
    kind = np.empty(len(order), dtype=np.intp)
    kind[order] = np.cumsum(new) - 1
    return order[new], kind
