"""Exchange and correlation inside GPAW's spheres, all points of an atom at once.

In projector augmented waves an atom contributes the difference between the energies of two
densities in its sphere: the true one, from partial waves and core, and the smooth one that the
grid already contains. Both are expanded in spherical harmonics and integrated over a radial grid
along 50 directions. GPAW asks its kernel for one direction and one density at a time, which takes a
functional in torch milliseconds each. Here all of them are one call, and derivatives with respect
to the density matrix are those of this very sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from deepchem_xc.calculators.gpaw_kernel import FunctionalKernel

    Array = NDArray[np.float64]

__all__ = ["Sphere"]


@dataclass(frozen=True, eq=False)
class Sphere:
    """Partial waves, cores and quadrature of one kind of atom.

    Points of the true and of the smooth density follow one another along the last axis, 2 nr
    points without the nucleus, whose volume is 0. Hartree atomic units.

    Parameters
    ----------
    data : object
        ``xc_correction`` of a setup of GPAW.
    kinetic : callable, optional
        Kinetic energy densities of pairs of partial waves along each direction, true and smooth,
        (50, npair, nr + 1) each, from `data`; for meta-GGAs.
    """

    data: Any
    kinetic: Callable[[Any], tuple[Array, Array]] | None = None

    @cached_property
    def direction_weights(self) -> Array:
        """Weights of the directions, (50,), sum 1."""
        from gpaw.sphere.lebedev import weight_n

        weights: Array = np.asarray(weight_n)
        return weights

    @cached_property
    def volumes(self) -> Array:
        """Volumes of the points, negative for the smooth density, (2 nr,)."""
        dv = self.data.rgd.dv_g[1:]
        return np.concatenate((dv, -dv))

    @cached_property
    def inverse_r2(self) -> Array:
        """Inverse squares of the distances from the nucleus, (2 nr,)."""
        return np.tile(self.data.rgd.r_g[1:] ** -2.0, 2)

    @cached_property
    def products(self) -> Array:
        """Products of two radial functions, (nq, 2 nr)."""
        return self._both(self.data.n_qg, self.data.nt_qg)

    @cached_property
    def product_slopes(self) -> Array:
        """Radial derivatives of `products`, (nq, 2 nr)."""
        return self._both(*map(self._slopes, (self.data.n_qg, self.data.nt_qg)))

    @cached_property
    def core(self) -> Array:
        """Core densities, (2 nr,)."""
        return self._both(self.data.nc_g, self.data.nct_g)

    @cached_property
    def core_slope(self) -> Array:
        """Radial derivatives of `core`, (2 nr,)."""
        return self._both(*(self._slopes(x[None])[0] for x in (self.data.nc_g, self.data.nct_g)))

    @cached_property
    def kinetic_pairs(self) -> Array:
        """Kinetic energy densities of pairs of partial waves, (50, npair, 2 nr)."""
        assert self.kinetic is not None
        return self._both(*self.kinetic(self.data))

    @cached_property
    def kinetic_core(self) -> Array:
        """Kinetic energy densities of the cores, (2 nr,)."""
        return self._both(self.data.tauc_g, self.data.tauct_g) / np.sqrt(4.0 * np.pi)

    def energy(self, kernel: FunctionalKernel, pairs: Array) -> tuple[float, Array]:
        """Energy of the true minus that of the smooth density, and its derivative.

        Parameters
        ----------
        kernel : FunctionalKernel
            Any.
        pairs : ndarray
            Density matrix of the partial waves, packed as GPAW does, (nspin, npair).

        Returns
        -------
        float
            Hartree, without the reference energy of the free atom.
        ndarray
            Derivative with respect to `pairs`, (nspin, npair), Hartree.
        """
        nspin = len(pairs)
        harmonics, slopes = self.data.Y_nL, self.data.rnablaY_nLv
        matrix = np.einsum("sp,pqL->sLq", pairs, self.data.B_pqL, optimize=True)
        radial = matrix @ self.products  # (nspin, nL, 2 nr)
        density = harmonics @ radial + self.core / nspin  # (nspin, 50, 2 nr)
        fields = [density]
        if kernel.type != "LDA":
            outward = harmonics @ (matrix @ self.product_slopes) + self.core_slope / nspin
            # The gradient's other components, times r, (3, nspin, 50, 2 nr).
            sideways = np.moveaxis(slopes, 2, 0)[:, None] @ radial

            def product(s: int, t: int) -> Array:
                across: Array = (sideways[:, s] * sideways[:, t]).sum(0) * self.inverse_r2
                return outward[s] * outward[t] + across

            spins = [(0, 0)] if nspin == 1 else [(0, 0), (0, 1), (1, 1)]
            fields.append(np.stack([product(*pair) for pair in spins]))
        if kernel.type == "MGGA":
            tau = np.moveaxis(pairs @ self.kinetic_pairs, 1, 0)
            fields.append(tau + self.kinetic_core / nspin)
        energies, by_density, *others = _evaluated(kernel, fields)
        weights = self.direction_weights[:, None] * self.volumes
        total = float((weights * energies).sum())

        # Derivatives with respect to the coefficients of harmonics and products, (nspin, nq, nL).
        gradient = np.einsum("snq,nL->sqL", (weights * by_density) @ self.products.T, harmonics)
        if others:
            by_sigma = weights * others[0]
            with_slope = _by_gradient(by_sigma, outward) @ self.product_slopes.T
            gradient += np.einsum("snq,nL->sqL", with_slope, harmonics)
            for axis, component in enumerate(sideways):
                across = _by_gradient(by_sigma, component) * self.inverse_r2
                gradient += np.einsum("snq,nL->sqL", across @ self.products.T, slopes[:, :, axis])
        derivative = np.einsum("sqL,pqL->sp", gradient, self.data.B_pqL, optimize=True)
        if len(others) > 1:
            by_tau = np.moveaxis(weights * others[1], 0, 2)
            derivative += (self.kinetic_pairs @ by_tau).sum(0).T
        return total, derivative

    def _both(self, true: Array, smooth: Array) -> Array:
        return np.concatenate((true[..., 1:], smooth[..., 1:]), axis=-1)

    def _slopes(self, functions: Array) -> Array:
        return np.stack([self.data.rgd.derivative(np.ascontiguousarray(f)) for f in functions])


def _by_gradient(by_sigma: Array, component: Array) -> Array:
    """Derivative with respect to one component of the gradients, (nspin, 50, 2 nr)."""
    if len(component) == 1:
        return 2.0 * by_sigma * component
    return 2.0 * by_sigma[::2] * component + by_sigma[1] * component[::-1]


def _evaluated(kernel: FunctionalKernel, fields: list[Array]) -> list[Array]:
    """Energies (50, 2 nr), and derivatives with respect to each field, (number, 50, 2 nr)."""
    energies = np.empty(fields[0].shape[1:])
    arguments = [fields[0], np.zeros_like(fields[0])]
    for field in fields[1:]:
        arguments += [field, np.empty_like(field)]
    kernel.calculate(energies, *arguments)
    return [energies, *arguments[1::2]]
