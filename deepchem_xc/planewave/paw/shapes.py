"""Radial shapes of the compensation charges, which carry the multipoles of a sphere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import spherical_jn

from .dataset import PAWDataset

__all__ = ["HIGHEST_MULTIPOLE", "SHAPES", "shape_functions"]

#: Largest angular momentum of the compensation charges, as in GPAW.
HIGHEST_MULTIPOLE = 2


def shape_functions(dataset: PAWDataset) -> NDArray:
    """Radial parts g_l(r) of compensation charges with multipole moment one, (3, nr), bohr^-(l+3).

    "gauss": g_l ~ r^l exp(-(r/rc)^2); "sinc": g_l ~ r^l [sin(pi r/rc) / (pi r/rc)]^2 inside rc;
    "bessel": g_l ~ a_1 j_l(q_1 r) + a_2 j_l(q_2 r) inside rc, where it and its slope vanish
    (G. Kresse, D. Joubert, Phys. Rev. B 59, 1758 (1999), eq. 37). Each fulfils
    sum r^(l+2) g_l dr = 1 on the dataset's full mesh.

    Parameters
    ----------
    dataset : PAWDataset
        Its `shape` and `shape_radius` choose the form.

    Raises
    ------
    ValueError
        If the shape has another name.
    """
    form = SHAPES.get(dataset.shape)
    if form is None:
        raise ValueError(
            f"the shape function of {dataset.name} is {dataset.shape!r}; valid shapes are "
            f"{', '.join(map(repr, SHAPES))}"
        )
    grid = dataset.grid
    values = np.array([form(l, grid.r, dataset.shape_radius) for l in range(HIGHEST_MULTIPOLE + 1)])
    moments = [float(grid.integrate(value, l + 2)) for l, value in enumerate(values)]
    shapes: NDArray = values / np.array(moments)[:, None]
    return shapes


def _gauss(l: int, r: NDArray, radius: float) -> NDArray:
    values: NDArray = r**l * np.exp(-((r / radius) ** 2))
    return values


def _sinc(l: int, r: NDArray, radius: float) -> NDArray:
    values: NDArray = np.where(r < radius, r**l * np.sinc(r / radius) ** 2, 0.0)
    return values


def _bessel(l: int, r: NDArray, radius: float) -> NDArray:
    first, second = _zeros_of_spherical_bessel(l)
    # The slopes at the radius cancel.
    weight = -(first * spherical_jn(l, first, derivative=True)) / (
        second * spherical_jn(l, second, derivative=True)
    )
    x = np.minimum(r / radius, 1.0)
    inside = spherical_jn(l, first * x) + weight * spherical_jn(l, second * x)
    values: NDArray = np.where(r < radius, inside, 0.0)
    return values


def _zeros_of_spherical_bessel(l: int) -> tuple[float, float]:
    """The first two positive zeros; those of l - 1 separate them."""
    zeros = [np.pi * k for k in range(1, l + 3)]
    for order in range(1, l + 1):
        zeros = [
            brentq(lambda x, order=order: spherical_jn(order, x), low, high, xtol=1e-14)
            for low, high in zip(zeros, zeros[1:], strict=False)
        ]
    return zeros[0], zeros[1]


#: Forms of compensation charges by their names in PAW-XML files: (l, r, rc) -> values.
SHAPES: dict[str, Callable[[int, NDArray, float], NDArray]] = {
    "gauss": _gauss,
    "sinc": _sinc,
    "bessel": _bessel,
}
