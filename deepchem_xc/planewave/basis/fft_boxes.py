"""FFT boxes: their sizes, places of plane waves in them, and transforms of real functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from deepchem_xc.planewave.values import grid_size

# Smallest number with prime factors 2, 3 and 5 only that is at least the given one.
_smooth = partial(next_fast_len, real=True)
# Sides of the grids for products with orbitals, up to the largest here: MKL is up to twice as slow
# on others, even on smaller ones (25, 27, 30, 45, 50, 54). See docs/performance.md.
_FAST_SIDES = (
    *(1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 18, 20, 24),
    *(32, 36, 40, 48, 49, 56, 60, 64, 72, 80),
)


def chosen_size(
    lattice: np.ndarray, radius: float, largest: np.ndarray, asked: Sequence[int] | int | None
) -> tuple[int, int, int]:
    """Check the requested grid, or choose the smallest fast one that holds the density sphere.

    Parameters
    ----------
    lattice : ndarray
        (3, 3), rows, bohr.
    radius : float
        Radius of the sphere, 1/bohr.
    largest : ndarray
        Largest integers of the sphere along each axis, (3,).
    asked : (int, int, int), int or None
        Requested grid; None chooses one.

    Raises
    ------
    ValueError
        If the requested grid is not valid, or too small.

    Examples
    --------
    >>> chosen_size(10.0 * np.eye(3), 7.0, np.array([11, 11, 11]), None)
    (24, 24, 24)
    """
    if asked is None:
        reach = radius * np.linalg.norm(lattice, axis=1) / (2.0 * np.pi)
        first, second, third = (_smooth(2 * int(np.ceil(x))) for x in reach)
        return first, second, third
    size = grid_size(asked)
    minimum = 2 * largest + 1
    if any(n < m for n, m in zip(size, minimum, strict=True)):
        raise ValueError(
            f"fft_size = {size} cannot hold this cutoff's density sphere: three numbers of "
            f"at least {tuple(int(n) for n in minimum)} are needed. Leave fft_size out to have one "
            "chosen, or lower ecut."
        )
    return size


def fastest_size(minimum: np.ndarray) -> tuple[int, int, int]:
    """Fastest grid of at least this size, (3,).

    Examples
    --------
    >>> fastest_size(np.array([23, 25, 27]))
    (24, 32, 32)
    """

    def side(least: int) -> int:
        return next((n for n in _FAST_SIDES if n >= least), 0) or _smooth(least)

    first, second, third = (side(int(n)) for n in minimum)
    return first, second, third


def box_index(g: np.ndarray, fft_size: Sequence[int]) -> np.ndarray:
    """Places of integer G, (n, 3), in the flattened box, (n,).

    Examples
    --------
    >>> box_index(np.array([[0, 0, 1], [-1, 0, 0]]), (2, 3, 4)).tolist()
    [1, 12]
    """
    n1, n2, n3 = fft_size
    wrapped = np.mod(g, np.asarray(fft_size))
    return (wrapped[:, 0] * n2 + wrapped[:, 1]) * n3 + wrapped[:, 2]


class SphereTransform:
    """Transforms between a sphere of plane waves and real functions on a grid.

    The box holds the half of the plane waves with a third integer of at least zero; those of the
    other half are their complex conjugates.

    Parameters
    ----------
    g_vectors : ndarray
        Integer G, (nG, 3), with -G for every G.
    size : (int, int, int)
        Grid.
    device : torch.device
        Device of the coefficients.

    Examples
    --------
    >>> sphere = np.array([[0, 0, 0], [0, 0, 1], [0, 0, -1]])
    >>> transform = SphereTransform(sphere, (1, 1, 4), torch.device("cpu"))
    >>> coefficients = torch.tensor([2.0, 0.5, 0.5], dtype=torch.complex128)
    >>> transform.to_grid(coefficients).flatten().tolist()  # 2 + cos(pi n / 2)
    [3.0, 2.0, 1.0, 2.0]
    >>> transform.to_sphere(transform.to_grid(coefficients)).real.tolist()
    [2.0, 0.5, 0.5]
    """

    def __init__(
        self, g_vectors: np.ndarray, size: tuple[int, int, int], device: torch.device
    ) -> None:
        self._size = size
        self._box = (size[0], size[1], size[2] // 2 + 1)
        place = np.empty(math.prod(size), dtype=np.int64)
        place[box_index(g_vectors, size)] = np.arange(len(g_vectors))
        half = np.flatnonzero(g_vectors[:, 2] >= 0)
        upper = np.where(g_vectors[:, 2:] >= 0, g_vectors, -g_vectors)

        def on_device(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, device=device)

        self._half = on_device(half)
        self._partners = on_device(place[box_index(-g_vectors[half], size)])
        self._half_index = on_device(box_index(g_vectors[half], self._box))
        self._index = on_device(box_index(upper, self._box))
        self._lower = on_device(g_vectors[:, 2] < 0)

    def to_grid(self, coefficients: Tensor) -> Tensor:
        """Real functions (..., n1, n2, n3) from coefficients (..., nG)."""
        lead = coefficients.shape[:-1]
        # The mean of a coefficient and its partner's conjugate is the coefficient itself, but only
        # so both of them have their derivative.
        half = coefficients.index_select(-1, self._half)
        partners = coefficients.index_select(-1, self._partners)
        box = coefficients.new_zeros((*lead, math.prod(self._box)))
        box.index_copy_(-1, self._half_index, 0.5 * (half + partners.conj()))
        box = box.view(*lead, *self._box)
        return torch.fft.irfftn(box, s=self._size, dim=(-3, -2, -1), norm="forward")

    def to_sphere(self, values: Tensor) -> Tensor:
        """Coefficients (..., nG) of real functions (..., n1, n2, n3)."""
        box = torch.fft.rfftn(values, dim=(-3, -2, -1), norm="forward")
        upper = box.flatten(-3).index_select(-1, self._index)
        return torch.where(self._lower, upper.conj(), upper)
