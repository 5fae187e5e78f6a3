"""Transforms of orbitals between plane waves and the grid, in pieces that fit the processor."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.column_transforms import ColumnTransforms
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

# Size of the pieces in which FFTs run. Larger arrays leave the processor's caches and cause page
# faults for every temporary; a GPU works best on pieces as large as possible. See
# docs/performance.md.
_CPU_PIECE_BYTES = 2**20
_CUDA_PIECE_BYTES = 512 * 2**20
_COMPLEX_BYTES = 16


class GridPieces:
    """Cuts (k-point, band) arrays into pieces whose FFT boxes fit the processor.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid and k-points.
    piece_bytes : int, optional
        Size of one piece's complex boxes; the default suits the basis's device.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> GridPieces(basis, piece_bytes=3 * 16 * basis.orbital_ngrid).split(range(1), 5)
    [(slice(0, 1, None), slice(0, 3, None)), (slice(0, 1, None), slice(3, 5, None))]
    """

    def __init__(self, basis: PlaneWaveBasis, piece_bytes: int | None = None) -> None:
        self.basis = basis
        if piece_bytes is None:
            cuda = basis.device.type == "cuda"
            piece_bytes = _CUDA_PIECE_BYTES if cuda else _CPU_PIECE_BYTES * torch.get_num_threads()
        self.grids = max(1, piece_bytes // (_COMPLEX_BYTES * basis.orbital_ngrid))
        self._transforms = ColumnTransforms(basis)

    def split(
        self, ks: range, nband: int, dtype: torch.dtype = torch.complex128
    ) -> list[tuple[slice, slice]]:
        """Pieces as (k slice, band slice); several k-points only if all their bands fit.

        Parameters
        ----------
        ks : range
            k-points.
        nband : int
            Number of bands of each.
        dtype : torch.dtype, optional
            Type of the boxes: twice as many fit in complex64.
        """
        pieces = []
        grids = self.grids * _COMPLEX_BYTES // dtype.itemsize
        if grids >= 2 * nband:
            step = grids // nband
            for k in range(ks.start, ks.stop, step):
                pieces.append((slice(k, min(k + step, ks.stop)), slice(0, nband)))
        else:
            step = -(-nband // -(-nband // grids))  # even pieces, none nearly empty
            for k in ks:
                for b in range(0, nband, step):
                    pieces.append((slice(k, k + 1), slice(b, min(b + step, nband))))
        return pieces

    def release(self) -> None:
        """Free the memory that is kept for boxes; it is allocated again when needed."""
        self._transforms.release()

    def to_grid(self, orbitals: Tensor, ks: slice) -> Tensor:
        """Periodic parts of the orbitals of the k-points `ks` on the orbital grid.

        Parameters
        ----------
        orbitals : Tensor
            Coefficients, (nk, nband, npw), complex.
        ks : slice
            Their k-points.

        Returns
        -------
        Tensor
            (nk, nband, n1, n2, n3), complex: the sum over G of c_G exp(iG.r). Its square has the
            mean 1 for a normalised orbital; divided by the volume it is in bohr^-3.
        """
        return self._transforms.to_grid(orbitals, ks)

    def from_grid(self, values: Tensor, ks: slice) -> Tensor:
        """Coefficients (nk, nband, npw) of functions on the orbital grid (nk, nband, n1, n2, n3).

        They are in the functions' unit times the number of grid points, by which the caller must
        divide.
        """
        return self._transforms.from_grid(values, ks)
