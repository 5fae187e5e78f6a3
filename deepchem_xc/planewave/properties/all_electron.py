r"""All-electron densities of PAW results on any grid.

.. math:: n(r) = \tilde n(r) + \tilde n_c(r) + \sum_a \Big[ \sum_{ij} D^a_{ij}
    (\phi_i \phi_j - \tilde\phi_i \tilde\phi_j) + n^a_c - \tilde n^a_c \Big](r - R_a)

(P. E. Bloechl, Phys. Rev. B 50, 17953 (1994)). Fourier series give the smooth parts and splines on
the dataset's radial mesh the differences, which end at the spheres' radii.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from deepchem_xc.numerics.harmonics import harmonics
from deepchem_xc.planewave.basis.other_grids import to_any_grid
from deepchem_xc.planewave.paw import PAWDataset
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.terms.superposed import core_density
from deepchem_xc.planewave.values import grid_size

# Difference of all-electron and smooth functions, relative to the largest value of the latter, at
# which a sphere ends.
_EQUAL = 1e-8
# Distance (bohr) up to which points of the grid count as equally near to a nucleus.
_AS_NEAR = 1e-6


def all_electron_density(result: SCFResult, size: Any = None, core: bool = True) -> Tensor:
    """Density of all electrons on a grid (bohr^-3), without derivatives.

    The sum over the grid is the number of electrons: what the grid misses of an atom's peak is
    added at the point next to its nucleus (in equal parts if several are equally near), as GPAW
    does. The value there is no density; all others are.

    Parameters
    ----------
    result : SCFResult
        Ground state with PAW datasets.
    size : int or (int, int, int), optional
        Points along each axis, at least those of the result's grid, which is the default.
    core : bool, optional
        Include the frozen core. Without it the density is that of the valence electrons, with
        their nodes near the nuclei.

    Returns
    -------
    Tensor
        (nspin, n1, n2, n3): total, or up and down with half of the core each.

    Raises
    ------
    NotImplementedError
        If the potentials are norm-conserving, which know no density inside of their cores.
    ValueError
        If the grid is smaller than the result's.
    """
    spheres = result.problem.paw_spheres("an all-electron density")
    result = result.detach()
    basis, fields = result.basis, result.fields
    chosen = grid_size(size, "size") if size is not None else basis.fft_size
    if any(n < least for n, least in zip(chosen, basis.fft_size, strict=True)):
        raise ValueError(
            f"a grid of {chosen} points cannot hold the smooth density: give at least "
            f"{basis.fft_size}, the grid of this calculation, or leave size out."
        )
    nspin = len(fields.density)
    smooth = fields.density
    if core:
        smooth = smooth + core_density(basis, spheres.potentials) / nspin
    density = to_any_grid(basis.g_vectors, smooth, chosen).cpu()
    assert fields.spheres is not None
    positions = basis.crystal.positions.detach().cpu().numpy()
    lattice = basis.crystal.lattice.detach().cpu().numpy()
    for species, matrices in spheres.matrices(fields.spheres.cpu()).items():
        sphere = _Sphere(spheres.potentials[species].dataset, core)
        for number, atom in enumerate(spheres.atoms[species]):
            points, vectors = _points_near(lattice, positions[atom], chosen, sphere.radius)
            sphere.add(density, points, vectors, matrices[:, number], float(basis.volume))
    return density.to(basis.device)


class _Sphere:
    """All-electron less smooth density around an atom of a dataset.

    Attributes
    ----------
    radius : float
        Where it ends, bohr.
    """

    def __init__(self, dataset: PAWDataset, core: bool) -> None:
        grid = dataset.grid
        pairs = [
            (dataset.all_electron_waves, dataset.smooth_waves),
            (dataset.core_density[None], dataset.smooth_core_density[None]),
        ]
        last = max(
            int(np.nonzero(np.abs(one - two) > _EQUAL * np.abs(two).max())[1].max(initial=1))
            for one, two in pairs
        )
        self.radius = float(grid.r[last])
        waves = np.concatenate(pairs[0])
        difference = (pairs[1][0] - pairs[1][1])[0]
        self._waves = CubicSpline(grid.r, waves, axis=1)
        self._core = CubicSpline(grid.r, difference) if core else None
        self._channel = [j for j, _ in dataset.states]
        self._harmonic = [dataset.waves[j].l ** 2 + m for j, m in dataset.states]
        self._highest = max(dataset.angular_momenta)
        self._core_electrons = 4.0 * math.pi * float(grid.integrate(difference)) if core else 0.0
        products = waves[:, None] * waves[None]
        count = len(dataset.waves)
        overlap = grid.integrate(products[:count, :count] - products[count:, count:])
        same = np.equal.outer(self._harmonic, self._harmonic)
        pairs_of_states = np.ix_(self._channel, self._channel)
        self._overlap = torch.from_numpy(np.where(same, overlap[pairs_of_states], 0.0))

    def add(
        self, density: Tensor, points: Tensor, vectors: Tensor, occupations: Tensor, volume: float
    ) -> None:
        """Add to a density (nspin, n1, n2, n3) at flat `points`, `vectors` from the nucleus."""
        nspin = len(density)
        found = self._at(vectors, occupations)
        electrons = (occupations * self._overlap).sum((-1, -2)) + self._core_electrons / nspin
        voxel = volume / density[0].numel()
        r = vectors.norm(dim=1)
        nearest = (r < r.min() + _AS_NEAR).to(r)
        missing = electrons / voxel - found.sum(1)
        found = found + missing[:, None] * nearest / nearest.sum()
        density.view(nspin, -1).index_add_(1, points, found)

    def _at(self, vectors: Tensor, occupations: Tensor) -> Tensor:
        """Differences (nspin, n) at vectors (n, 3) inside of the radius."""
        r = vectors.norm(dim=1)
        waves = torch.from_numpy(self._waves(r.numpy()))  # (2 nwave, n)
        # At the nucleus itself harmonics of l > 0 are zero, like their waves.
        directions = vectors / r.clamp_min(1e-12)[:, None]
        angular = harmonics(self._highest, directions)[self._harmonic]
        both = waves.unflatten(0, (2, -1))[:, self._channel] * angular  # (2, nstate, n)
        true, smooth = torch.einsum("tin,sij,tjn->tsn", both, occupations, both)
        found = true - smooth
        if self._core is not None:
            found = found + torch.from_numpy(self._core(r.numpy())) / len(occupations)
        return found


def _points_near(
    lattice: NDArray, position: NDArray, size: tuple[int, int, int], radius: float
) -> tuple[Tensor, Tensor]:
    """Points of a periodic grid inside a sphere, each image once.

    Parameters
    ----------
    lattice : ndarray
        (3, 3), rows, bohr.
    position : ndarray
        Centre, (3,), reduced.
    size : (int, int, int)
        Points along each axis.
    radius : float
        Of the sphere, bohr; if it holds no point, the nearest ones are returned.

    Returns
    -------
    Tensor, Tensor
        Flat indices in the grid, (n,), and vectors from the centre, (n, 3), bohr.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    counts = np.asarray(size)
    reach = np.ceil(radius / heights * counts).astype(int) + 1
    centre = position * counts
    axes = [np.arange(-n, n + 1) + int(round(c)) for n, c in zip(reach, centre, strict=True)]
    integers = np.array(list(itertools.product(*axes)))
    vectors = (integers - centre) / counts @ lattice
    r = np.linalg.norm(vectors, axis=1)
    inside = r <= max(radius, r.min() + _AS_NEAR)
    flat = np.ravel_multi_index(tuple((integers[inside] % counts).T), size)
    return torch.from_numpy(flat), torch.from_numpy(vectors[inside])
