"""Real solid harmonics, integrals of their products, and quadrature on the unit sphere."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def solid_harmonics(angular_momentum: int, q: Tensor) -> Tensor:
    r"""Real solid harmonics :math:`q^l Y_{lm}(\hat q)`, polynomials in q.

    Parameters
    ----------
    angular_momentum : int
        l, 0 to 4.
    q : Tensor
        Vectors, (..., 3), 1/bohr.

    Returns
    -------
    Tensor
        (2 l + 1, ...), bohr^-l, normalised so that the squares of :math:`Y_{lm}` integrate to one.

    Raises
    ------
    ValueError
        If l is larger than 4.

    Examples
    --------
    Unsoeld's theorem: their squares add up to (2 l + 1) / 4 pi in every direction.

    >>> q = torch.nn.functional.normalize(torch.rand(5, 3, dtype=torch.float64), dim=1)
    >>> sums = [solid_harmonics(l, q).square().sum(0) * 4.0 * torch.pi for l in range(5)]
    >>> torch.stack(sums)[:, 0].round(decimals=9).tolist()
    [1.0, 3.0, 5.0, 7.0, 9.0]
    """
    x, y, z = q.unbind(-1)
    if angular_momentum == 0:
        return torch.full_like(x, 0.5 / math.sqrt(math.pi)).unsqueeze(0)
    if angular_momentum == 1:
        return math.sqrt(0.75 / math.pi) * torch.stack([x, y, z])
    if angular_momentum == 2:
        c = 0.5 * math.sqrt(15.0 / math.pi)
        r2 = x * x + y * y + z * z
        return torch.stack(
            [
                c * x * y,
                c * y * z,
                c * z * x,
                c / (2.0 * math.sqrt(3.0)) * (3.0 * z * z - r2),
                0.5 * c * (x * x - y * y),
            ]
        )
    if angular_momentum == 3:
        r2 = x * x + y * y + z * z
        c = 0.25 / math.sqrt(math.pi)
        return c * torch.stack(
            [
                math.sqrt(7.0) * z * (5.0 * z * z - 3.0 * r2),
                math.sqrt(10.5) * x * (5.0 * z * z - r2),
                math.sqrt(10.5) * y * (5.0 * z * z - r2),
                math.sqrt(105.0) * z * (x * x - y * y),
                2.0 * math.sqrt(105.0) * x * y * z,
                math.sqrt(17.5) * x * (x * x - 3.0 * y * y),
                math.sqrt(17.5) * y * (3.0 * x * x - y * y),
            ]
        )
    if angular_momentum == 4:
        r2 = x * x + y * y + z * z
        c = 0.1875 / math.sqrt(math.pi)
        return c * torch.stack(
            [
                35.0 * z**4 - 30.0 * z * z * r2 + 3.0 * r2 * r2,
                2.0 * math.sqrt(10.0) * x * z * (7.0 * z * z - 3.0 * r2),
                2.0 * math.sqrt(10.0) * y * z * (7.0 * z * z - 3.0 * r2),
                2.0 * math.sqrt(5.0) * (x * x - y * y) * (7.0 * z * z - r2),
                4.0 * math.sqrt(5.0) * x * y * (7.0 * z * z - r2),
                2.0 * math.sqrt(70.0) * x * z * (x * x - 3.0 * y * y),
                2.0 * math.sqrt(70.0) * y * z * (3.0 * x * x - y * y),
                math.sqrt(35.0) * (x**4 - 6.0 * x * x * y * y + y**4),
                4.0 * math.sqrt(35.0) * x * y * (x * x - y * y),
            ]
        )
    raise ValueError(f"there are no harmonics with l = {angular_momentum} here; use l = 0 to 4")


def harmonics(highest: int, q: Tensor) -> Tensor:
    """Real solid harmonics of all l up to `highest`, ((highest + 1)^2, ...); l = 0 comes first.

    Parameters
    ----------
    highest : int
        Largest l, at most 4.
    q : Tensor
        Vectors, (..., 3).

    Examples
    --------
    >>> harmonics(2, torch.zeros(7, 3)).shape
    torch.Size([9, 7])
    """
    return torch.cat([solid_harmonics(l, q) for l in range(highest + 1)])


def angular_momenta(highest: int) -> list[int]:
    """The l of each harmonic up to `highest`.

    Examples
    --------
    >>> angular_momenta(1)
    [0, 1, 1, 1]
    """
    return [l for l in range(highest + 1) for _ in range(2 * l + 1)]


@cache
def directions(degree: int) -> tuple[NDArray, NDArray]:
    """Quadrature on the unit sphere that is exact for polynomials up to a degree (Lebedev).

    Parameters
    ----------
    degree : int
        At least this degree; the rule with the fewest points is taken.

    Returns
    -------
    directions : ndarray, shape (n, 3)
        Unit vectors.
    weights : ndarray, shape (n,)
        They sum to 1.

    Raises
    ------
    ValueError
        If the degree is above 131, the highest rule.

    Examples
    --------
    The mean of z squared:

    >>> points, weights = directions(11)
    >>> len(points), round(float(weights @ points[:, 2] ** 2), 12)
    (50, 0.333333333333)
    """
    # Imported late: only spheres of PAW need it.
    from scipy.integrate import lebedev_rule

    rules = [*range(3, 33, 2), *range(35, 132, 6)]
    fitting = [rule for rule in rules if rule >= degree]
    if not fitting:
        raise ValueError(f"there is no quadrature of degree {degree}; the highest is {rules[-1]}")
    points, weights = lebedev_rule(fitting[0])
    return np.ascontiguousarray(points.T), weights / weights.sum()


@cache
def gaunt(first: int, second: int, highest: int) -> NDArray:
    """Integrals of three real spherical harmonics over the unit sphere.

    Parameters
    ----------
    first, second, highest : int
        Largest l of the two factors and of the third harmonic, each at most 4.

    Returns
    -------
    ndarray
        ((highest + 1)^2, (first + 1)^2, (second + 1)^2): the coefficient of the harmonic L in the
        product of harmonics i and j.

    Examples
    --------
    The coefficient of Y_00 in a product is 1 / sqrt(4 pi) for equal harmonics:

    >>> coefficients = gaunt(1, 1, 2)
    >>> coefficients.shape, bool(np.allclose(coefficients[0], np.eye(4) / np.sqrt(4 * np.pi)))
    ((9, 4, 4), True)
    """
    points, weights = directions(first + second + highest)
    vectors = torch.from_numpy(points)
    one, two, three = (harmonics(l, vectors).numpy() for l in (first, second, highest))
    product = np.einsum("v,iv,jv,Lv->Lij", 4.0 * math.pi * weights, one, two, three, optimize=True)
    product[np.abs(product) < 1e-14] = 0.0
    return product
