"""Densities at the points of a PAW sphere, as linear functions of partial-wave occupations.

Points are directions v times radii r, once for the all-electron and once for the smooth density:

    n(r, v) = sum_q c_q(v) f_q(r) + core,    c_q(v) = sum_{ij of q} D_ij sum_L G^L_ij Y_L(v),

where q is a pair of radial channels, f_q the product of their partial waves, and G^L_ij are Gaunt
coefficients. Occupations are contracted with angular functions first; then one product of small
matrices gives all points (P. E. Bloechl, Phys. Rev. B 50, 17953 (1994)).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.numerics.harmonics import gaunt, harmonics

from .dataset import PAWDataset
from .sphere_directions import SphereDirections, all_directions

__all__ = ["SphereDensity", "SpherePoints"]

# Largest l in the expansion of densities, as in GPAW.
_LARGEST_L = 4
# Difference between all-electron and smooth functions, relative to their largest value, up to which
# they count as equal.
_EQUAL = 1e-13


class SphereDensity(NamedTuple):
    """A density at the points of spheres; for each spin, (..., nspin, nv, 2 nr).

    Gradients have three components, outward and along two tangents of the sphere,
    (..., nspin, nv, 3, 2 nr).
    """

    value: Tensor
    gradient: Tensor | None
    tau: Tensor | None


class SpherePoints:
    """The points of a dataset's spheres.

    Each direction has 2 nr points: the radii of the all-electron density, then those of the smooth
    one. Left out are the nucleus, which has no volume, and radii at which both densities are equal
    whatever the occupations.

    Parameters
    ----------
    dataset : PAWDataset
        Of the atoms.
    directions : SphereDirections, optional
        By default those of `all_directions`.
    device : torch.device or str, optional
        Where the densities are computed.

    Attributes
    ----------
    volumes : Tensor
        Volumes of the points in bohr^3, negative for the smooth density, (nv, 2 nr).
    radii : Tensor
        Distances from the nucleus in bohr, (2 nr,).
    """

    def __init__(
        self,
        dataset: PAWDataset,
        directions: SphereDirections | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dataset, self._device = dataset, torch.device(device)
        self.directions = all_directions() if directions is None else directions
        grid = dataset.grid
        first, second = np.triu_indices(len(dataset.waves))
        self._channels = first, second
        waves = dataset.all_electron_waves, dataset.smooth_waves
        products = [phi[first] * phi[second] for phi in waves]
        cores = [dataset.core_density, dataset.smooth_core_density]
        # Central differences reach one radius further.
        last = 1 + _last_difference((products[0], products[1]), (cores[0], cores[1]))
        self._used = slice(1, last + 1)
        r, dr = grid.r[self._used], grid.dr[self._used]
        self.radii = self._tensor(np.tile(r, 2))
        shells = 4.0 * math.pi * r**2 * dr
        self.volumes = self._tensor(
            np.outer(self.directions.weights, np.concatenate((shells, -shells)))
        )
        self._products = self._along(*products)  # (nq, 2 nr)
        # Central differences, with which the datasets were made; splines shift energies by 1e-3 Ha.
        self._product_slopes = self._along(*map(grid.derivative, products))
        self._core = self._along(*cores)  # (2 nr,)
        self._core_slope = self._along(*map(grid.derivative, cores))
        number = np.zeros((len(dataset.waves),) * 2, dtype=np.int64)
        number[first, second] = number[second, first] = np.arange(len(first))
        channel = [j for j, _ in dataset.states]
        self._product_of = self._tensor(number[np.ix_(channel, channel)].ravel())
        self._harmonics, self._tangential = self._angular_products()
        self._tau: tuple[Tensor, ...] | None = None

    def density(self, occupations: Tensor, gradient: bool, tau: bool) -> SphereDensity:
        """Densities of atoms in the graph of their occupations.

        Parameters
        ----------
        occupations : Tensor
            (..., nspin, nstate, nstate); for one spin of all electrons, for two of up and down.
        gradient, tau : bool
            Whether gradients and kinetic energy densities are wanted.

        Returns
        -------
        SphereDensity
            bohr^-3, bohr^-4 and Ha bohr^-3. The core is shared equally by the spins.

        Raises
        ------
        ValueError
            If the kinetic energy density is wanted and the dataset has none for its core.
        """
        core_share = 1.0 / occupations.shape[-3]
        nv = len(self.directions)
        by_product = self._contracted(occupations, self._harmonics)  # (..., nspin, nv, nq)
        value = by_product @ self._products + core_share * self._core
        slopes = kinetic = None
        if gradient:
            outward = by_product @ self._product_slopes + core_share * self._core_slope
            tangential = self._contracted(occupations, self._tangential)
            tangential = tangential @ (self._products / self.radii)  # (..., nspin, 2 nv, 2 nr)
            across = tangential.unflatten(-2, (nv, 2))
            slopes = torch.cat((outward.unsqueeze(-2), across), dim=-2)
        if tau:
            radial, angular, values, slopes_along, core = self._kinetic_tables()
            kinetic = self._contracted(occupations, radial) @ slopes_along
            kinetic = kinetic + self._contracted(occupations, angular) @ values
            kinetic = 0.5 * kinetic + core_share * core
        return SphereDensity(value, slopes, kinetic)

    def _contracted(self, occupations: Tensor, angular: Tensor) -> Tensor:
        """Coefficients (..., nspin, nangular, nq) from a table (nstate^2, nangular)."""
        terms = occupations.flatten(-2).unsqueeze(-1) * angular
        *leading, _, number = terms.shape
        summed = terms.new_zeros((*leading, len(self._products), number))
        return summed.index_add(-2, self._product_of, terms).transpose(-1, -2)

    def _angular_products(self) -> tuple[Tensor, Tensor]:
        """Products of two harmonics, and r times their tangential gradients.

        (nstate^2, nv), and (nstate^2, 2 nv) with both tangents of a direction in succession.
        """
        lmax = max(self.dataset.angular_momenta)
        largest = min(2 * lmax, _LARGEST_L)
        vectors = self._tensor(self.directions.vectors)
        along = _surface_gradients(largest, vectors)  # (nL, nv, 2)
        coefficients = self._tensor(gaunt(lmax, lmax, largest))
        which = self._harmonic_of_states()
        coefficients = coefficients[:, which][:, :, which].flatten(1)  # (nL, nstate^2)
        values = coefficients.T @ harmonics(largest, vectors)
        return values, coefficients.T @ along.flatten(1)

    def _harmonic_of_states(self) -> list[int]:
        """Position of each state's harmonic among those of all l."""
        momenta = self.dataset.angular_momenta
        return [momenta[j] ** 2 + m for j, m in self.dataset.states]

    def _kinetic_tables(self) -> tuple[Tensor, ...]:
        """Angular (nstate^2, nv) and radial (nq, 2 nr) factors of both parts of tau, and its core.

        They are made when a meta-GGA first needs them.
        """
        if self._tau is None:
            dataset = self.dataset
            cores = dataset.core_kinetic_density, dataset.smooth_core_kinetic_density
            if cores[0] is None or cores[1] is None:
                raise ValueError(
                    f"the PAW dataset {dataset.name!r} of {dataset.symbol} has no kinetic energy "
                    "density of its core, which a meta-GGA needs; take a dataset with "
                    "<ae_core_kinetic_energy_density>, or an LDA or GGA"
                )
            lmax = max(dataset.angular_momenta)
            vectors = self._tensor(self.directions.vectors)
            which = self._harmonic_of_states()
            values = harmonics(lmax, vectors)[which]  # (nstate, nv)
            along = _surface_gradients(lmax, vectors)[which]  # (nstate, nv, 2)
            radial = torch.einsum("iv,jv->ijv", values, values).flatten(0, 1)
            angular = torch.einsum("ivt,jvt->ijv", along, along).flatten(0, 1)
            first, second = self._channels
            waves = dataset.all_electron_waves, dataset.smooth_waves
            slopes = [dataset.grid.derivative(phi) for phi in waves]
            slopes_along = self._along(*(slope[first] * slope[second] for slope in slopes))
            values_along = self._products / self.radii.square()
            self._tau = radial, angular, values_along, slopes_along, self._along(cores[0], cores[1])
        return self._tau

    def _along(self, all_electron: NDArray, smooth: NDArray) -> Tensor:
        """Both functions (..., n) at the radii in use, (..., 2 nr)."""
        both = all_electron[..., self._used], smooth[..., self._used]
        return self._tensor(np.concatenate(both, axis=-1))

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _last_difference(*pairs: tuple[NDArray, NDArray]) -> int:
    """Index of the last radius at which any all-electron function and its smooth one differ."""
    last = 0
    for all_electron, smooth in pairs:
        scale = np.abs(smooth).max(axis=-1, keepdims=True)
        differing = np.abs(all_electron - smooth) > _EQUAL * scale
        last = max(last, int(np.nonzero(differing)[-1].max(initial=0)))
    return last


def _surface_gradients(highest: int, vectors: Tensor) -> Tensor:
    """r times the gradients of all harmonics along two tangents at each direction, (nL, nv, 2)."""
    # Tangents: perpendicular to the direction, and to the axis that is farthest from it.
    axis = torch.nn.functional.one_hot(vectors.abs().argmin(1), 3).to(vectors)
    one = torch.nn.functional.normalize(torch.linalg.cross(vectors, axis), dim=1)
    tangents = torch.stack((one, torch.linalg.cross(vectors, one)), dim=1)  # (nv, 2, 3)
    with torch.enable_grad():
        leaf = vectors.clone().requires_grad_()
        # The constant of l = 0 alone would have no graph.
        sums = harmonics(max(highest, 1), leaf).sum(1)[: (highest + 1) ** 2]
        # Not torch.func.jacrev, whose first use takes a second.
        gradients = [
            torch.autograd.grad(one, leaf, retain_graph=True, materialize_grads=True)[0]
            for one in sums
        ]
    return torch.einsum("Lvx,vtx->Lvt", torch.stack(gradients), tangents)
