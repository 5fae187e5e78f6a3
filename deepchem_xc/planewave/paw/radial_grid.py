"""The radial mesh of a PAW dataset, and integrals on it as datasets define them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RadialGrid"]


@dataclass(frozen=True, eq=False)
class RadialGrid:
    """Radii r(i) at integer i, with plain sums as integrals.

    The functions of a dataset are dual, normalised and unscreened with plain sums over the mesh;
    better quadratures would contradict the file.

    Parameters
    ----------
    r : ndarray, shape (n,)
        Radii in bohr, increasing from 0.
    dr : ndarray, shape (n,)
        dr/di, bohr.
    corrected : bool, optional
        Whether Coulomb potentials get the next term of Euler and Maclaurin's formula, which plain
        sums lack. GPAW's datasets were made without it; ABINIT's were made with better integrals.

    Raises
    ------
    ValueError
        If the radii do not increase from zero, or `dr` does not belong to them.

    Examples
    --------
    >>> i = np.arange(600)
    >>> grid = RadialGrid(r=0.02 * i, dr=np.full(600, 0.02))
    >>> value = grid.integrate(np.exp(-(grid.r**2)))
    >>> bool(abs(value - np.sqrt(np.pi) / 4) < 1e-14)
    True
    """

    r: NDArray
    dr: NDArray
    corrected: bool = False

    def __post_init__(self) -> None:
        r, dr = self.r, self.dr
        if r.ndim != 1 or len(r) < 8 or r[0] != 0.0 or not np.all(np.diff(r) > 0.0):
            raise ValueError(
                "a radial mesh needs at least 8 radii that increase from 0, got "
                f"{len(r)} radii {r[:3]} ..."
            )
        # Towards the end rational meshes grow too fast for this test.
        near = slice(0, len(r) // 2)
        steps, slopes = np.diff(r)[near], 0.5 * (dr[1:] + dr[:-1])[near]
        if dr.shape != r.shape or not np.allclose(slopes, steps, rtol=0.05):
            raise ValueError("dr/di does not belong to the radii")

    def __len__(self) -> int:
        return len(self.r)

    def integrate(self, values: NDArray, power: int = 2) -> NDArray:
        """Sum of values r^power dr over the last axis, (..., n) -> (...)."""
        total: NDArray = values @ (self.r**power * self.dr)
        return total

    def count_below(self, radius: float) -> int:
        """Number of radii smaller than `radius`, bohr."""
        return int(np.searchsorted(self.r, radius))

    def cut(self, count: int) -> RadialGrid:
        """The first `count` points."""
        return RadialGrid(self.r[:count], self.dr[:count], self.corrected)

    def derivative(self, values: NDArray) -> NDArray:
        """df/dr by central differences in the index, one-sided at both ends, (..., n)."""
        slope: NDArray = np.gradient(values, axis=-1) / self.dr
        return slope

    def coulomb_potential(self, values: NDArray, l: int) -> NDArray:
        """r times the Coulomb potential of a density f(r) Y_lm, (..., n), Ha bohr.

        Each point counts half for the charge inside and half for the charge outside of itself. The
        error is pi/3 f r (dr/di)^2 to second order in the mesh's steps, for any l; `corrected`
        meshes subtract it.

        Parameters
        ----------
        values : ndarray, shape (..., n)
            f(r), bohr^-3.
        l : int
            Angular momentum.

        Examples
        --------
        Outside of a charge distribution it is its charge (times 4 pi Y_00 / Y_00):

        >>> grid = RadialGrid(r=0.02 * np.arange(600), dr=np.full(600, 0.02))
        >>> potential = grid.coulomb_potential(np.pi**-1.5 * np.exp(-(grid.r**2)), 0)
        >>> round(float(potential[-1]), 9)
        1.0
        """
        r = np.where(self.r > 0.0, self.r, 1.0)
        with np.errstate(over="ignore", under="ignore"):
            inside = values * r ** (l + 2) * self.dr
            outside = values * r ** (1 - l) * self.dr
        # The origin has no volume.
        inside[..., 0] = outside[..., 0] = 0.0
        below = np.cumsum(inside, axis=-1) - 0.5 * inside
        above = np.cumsum(outside[..., ::-1], axis=-1)[..., ::-1] - 0.5 * outside
        potential: NDArray = r ** (l + 1) * above + below / r**l
        potential[..., 0] = 0.0
        potential *= 4.0 * math.pi / (2 * l + 1)
        if self.corrected:
            potential -= math.pi / 3.0 * values * self.r * self.dr**2
        return potential

    def coulomb_energy(self, first: NDArray, second: NDArray, l: int) -> NDArray:
        """Coulomb integral (a|b) of two densities a(r) Y_lm and b(r) Y_lm, Ha; leading axes pair.

        Parameters
        ----------
        first, second : ndarray, shape (..., n)
            a(r) and b(r), bohr^-3; the leading axes broadcast.
        l : int
            Angular momentum.
        """
        products = first * self.coulomb_potential(second, l)
        energy: NDArray = products @ (self.r * self.dr)
        return energy
