"""FFTs of orbitals that leave out the empty columns of their box.

The sphere of an orbital's plane waves has half the diameter of the density's, which fills the box:
in the plane of the last two axes it covers a sixth of the places. So the transform along the first
axis has to be done for these columns only, which is a matrix product, and the other two axes are
left to the FFT. It takes 0.5 to 0.8 of the time of three-dimensional FFTs on processors
(docs/performance.md).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.numerics.precision import all_digits
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis


class ColumnTransforms:
    """Transforms between plane waves of orbitals and the orbital grid of a basis.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid and k-points.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> transforms, everywhere = ColumnTransforms(basis), slice(0, 1)
    >>> waves = torch.rand(1, 2, basis.npw, dtype=torch.complex128)
    >>> again = transforms.from_grid(transforms.to_grid(waves, everywhere), everywhere)
    >>> bool(torch.allclose(again / basis.orbital_ngrid, waves))
    True
    """

    def __init__(self, basis: PlaneWaveBasis) -> None:
        self._size = basis.orbital_fft_size
        side, plane = self._size[0], self._size[1] * self._size[2]
        # Padding has a row and a column of its own: the box's corners, outside of all spheres.
        index = basis.orbital_index.cpu().numpy()
        rows, row = np.unique(index // plane, return_inverse=True)
        columns, column = np.unique(index % plane, return_inverse=True)
        places = row.reshape(index.shape) * len(columns) + column.reshape(index.shape)
        self._places = torch.as_tensor(places, device=basis.device)  # (nk, npw)
        self._columns = torch.as_tensor(columns, device=basis.device)
        self._shape = len(rows), len(columns)
        turns = np.outer(np.arange(side), rows) % side / side
        self._matrix = torch.as_tensor(np.exp(2j * np.pi * turns), device=basis.device)
        self._matrices: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        self._zeros: dict[tuple[str, torch.dtype], Tensor] = {}

    def release(self) -> None:
        """Free the memory that is kept from call to call; it is allocated again when needed."""
        self._zeros.clear()

    def to_grid(self, orbitals: Tensor, ks: slice) -> Tensor:
        """Periodic parts of orbitals (nk, nband, npw) on the orbital grid.

        Returns
        -------
        Tensor
            (nk, nband, n1, n2, n3), as `GridPieces.to_grid` describes them.
        """
        nk, nband, npw = orbitals.shape
        first, second, third = self._size
        nrow, ncolumn = self._shape
        index = self._places[ks].unsqueeze(1).expand(nk, nband, npw)
        packed, zeros = self._zeroed("packed", (nk, nband, nrow * ncolumn), orbitals)
        packed.scatter_(2, index, orbitals)
        with all_digits():
            columns = self._forth_and_back(orbitals.dtype)[0] @ packed.view(-1, nrow, ncolumn)
        packed.scatter_(2, index, 0.0)
        self._zeros["packed", orbitals.dtype] = zeros
        # All columns are overwritten at the next call, and the others stay zero.
        planes, zeros = self._zeroed("planes", (nk * nband, first, second * third), orbitals)
        planes.scatter_(2, self._columns.expand(columns.shape), columns)
        self._zeros["planes", orbitals.dtype] = zeros
        grid = planes.view(nk, nband, first, second, third)
        return torch.fft.ifftn(grid, dim=(-2, -1), norm="forward")

    def from_grid(self, values: Tensor, ks: slice) -> Tensor:
        """Coefficients (nk, nband, npw) of functions on the grid, times the number of points.

        Parameters
        ----------
        values : Tensor
            (nk, nband, n1, n2, n3), complex.
        ks : slice
            Their k-points.
        """
        nk, nband = values.shape[:2]
        nrow, ncolumn = self._shape
        planes = torch.fft.fftn(values, dim=(-2, -1)).view(nk * nband, self._size[0], -1)
        columns = planes.gather(2, self._columns.expand(nk * nband, self._size[0], ncolumn))
        with all_digits():
            packed = self._forth_and_back(values.dtype)[1] @ columns
        index = self._places[ks].unsqueeze(1).expand(nk, nband, -1)
        return packed.view(nk, nband, nrow * ncolumn).gather(2, index)

    def _forth_and_back(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Matrices (n1, nrow) and (nrow, n1) of the transforms along the first axis."""
        if dtype not in self._matrices:
            forth = self._matrix.to(dtype)
            self._matrices[dtype] = forth, forth.mH.resolve_conj().contiguous()
        return self._matrices[dtype]

    def _zeroed(self, use: str, shape: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor]:
        """Zeroed memory of some shape, and the whole, to keep once it can be used again.

        A new allocation costs a third of an FFT.
        """
        size = math.prod(shape)
        zeros = self._zeros.pop((use, like.dtype), None)
        if zeros is None or len(zeros) < size:
            zeros = like.new_zeros(size)
        return zeros[:size].view(shape), zeros
