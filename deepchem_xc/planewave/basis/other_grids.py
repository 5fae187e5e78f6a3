"""Real functions on grids that are not the basis' own: other codes', and arrays of users."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.fft_boxes import box_index
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

# Part by which a sphere stays inside the first plane waves that its grid lacks.
_INSIDE = 1e-6


def from_any_grid(basis: PlaneWaveBasis, values: Tensor) -> Tensor:
    """Coefficients on the sphere of `basis` of a real function on any grid of the cell.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves; those that the grid does not have are zero.
    values : Tensor
        (..., n1, n2, n3), real.

    Returns
    -------
    Tensor
        (..., nG), complex, in the graph of `values`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> wave = torch.cos(torch.arange(4) * torch.pi / 2).view(4, 1, 1).expand(4, 3, 3)
    >>> at_one = (basis.g_vectors.abs() == torch.tensor([1, 0, 0])).all(-1)
    >>> [round(x, 6) for x in from_any_grid(basis, wave)[at_one].real.tolist()]
    [0.5, 0.5]
    """
    size = torch.tensor(values.shape[-3:], device=basis.device)
    g = basis.g_vectors
    twice = 2 * g.abs()
    inside = (twice <= size).all(-1)
    # An even grid does not tell +n/2 from -n/2: each gets half of what both have.
    share = torch.where(twice == size, 0.5, 1.0).to(torch.float64).prod(-1) * inside
    places = box_index(g.cpu().numpy(), values.shape[-3:])
    index = torch.as_tensor(places, device=basis.device)
    box = torch.fft.fftn(values, dim=(-3, -2, -1), norm="forward").flatten(-3)
    return box.index_select(-1, index) * share


def to_any_grid(g_vectors: Tensor, coefficients: Tensor, size: Sequence[int]) -> Tensor:
    """Values of a real function at the points of any grid of the cell.

    They are those of the full Fourier sum, also of plane waves that the grid does not tell apart:
    right at each point, but the mean over the grid is that of the function only if the grid holds
    all plane waves.

    Parameters
    ----------
    g_vectors : Tensor
        Integer plane waves, (n, 3).
    coefficients : Tensor
        (..., n), complex, of a real function.
    size : (int, int, int)
        Points along each axis.

    Returns
    -------
    Tensor
        (..., n1, n2, n3), in the graph of `coefficients`.

    Examples
    --------
    cos(2 pi 3 x), on a grid of two points along x:

    >>> g = torch.tensor([[3, 0, 0], [-3, 0, 0]])
    >>> to_any_grid(g, torch.tensor([0.5, 0.5]) + 0j, (2, 1, 1)).flatten().tolist()
    [1.0, -1.0]
    """
    index = torch.as_tensor(box_index(g_vectors.cpu().numpy(), size), device=coefficients.device)
    box = coefficients.new_zeros((*coefficients.shape[:-1], math.prod(size)))
    box = box.index_add(-1, index, coefficients).unflatten(-1, tuple(size))
    return torch.fft.ifftn(box, dim=(-3, -2, -1), norm="forward").real


def largest_cutoff(lattice: np.ndarray, size: Sequence[int]) -> float:
    """Largest cutoff of orbitals whose density a grid holds, Hartree.

    The sphere of the density, with twice the radius of the orbitals' sphere, then contains only
    plane waves that the grid tells apart.

    Parameters
    ----------
    lattice : ndarray
        (3, 3), rows, bohr.
    size : (int, int, int)
        Points of the grid along each axis.

    Examples
    --------
    A cube of 10 bohr with 24 points holds plane waves up to 11 along each axis:

    >>> cutoff = largest_cutoff(10.0 * np.eye(3), (24, 24, 24))
    >>> round((8.0 * cutoff) ** 0.5 * 10.0 / (2.0 * np.pi), 4)
    12.0
    """
    lengths = np.linalg.norm(lattice, axis=1)
    first_missing = (np.asarray(size) - 1) // 2 + 1
    radius = (1.0 - _INSIDE) * float((2.0 * np.pi * first_missing / lengths).min())
    return radius**2 / 8.0
