"""Symmetry-equivalent points of the real-space grid."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.structure.symmetry import SymmetryGroup

# Largest distance, in grid spacings, at which a translation counts as one of the grid.
_ON_GRID = 1e-6


def irreducible_points(symmetry: SymmetryGroup, fft_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """One grid point of each set of equivalent ones, and the sizes of the sets.

    The integral over the cell of any function with the crystal's symmetry is a weighted sum over
    these points. Operations that do not map the grid onto itself are left out.

    Parameters
    ----------
    symmetry : SymmetryGroup
        Group of the crystal.
    fft_size : (int, int, int)
        The grid.

    Returns
    -------
    index : Tensor
        (n,), int64, indices into the flattened grid.
    count : Tensor
        (n,), float64; the sum is the number of grid points.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> group = find_symmetry(Crystal.from_ase(bulk("Al")))
    >>> index, count = irreducible_points(group, (12, 12, 12))
    >>> len(index), int(count.sum())
    (72, 1728)
    """
    size = tuple(int(n) for n in fft_size)
    content = (symmetry.rotations.tobytes(), symmetry.translations.tobytes())
    return _orbits(content, len(symmetry), size)


@functools.lru_cache(maxsize=64)
def _orbits(content: tuple[bytes, bytes], nop: int, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    rotations = np.frombuffer(content[0], dtype=np.int64).reshape(nop, 3, 3)
    translations = np.frombuffer(content[1], dtype=np.float64).reshape(nop, 3)
    n = np.array(size)
    points = np.indices(size).reshape(3, -1)
    first = np.arange(points.shape[1])
    for rotation, translation in zip(rotations, translations, strict=True):
        # x = i / n, so that W acts on the integers i as n_row W / n_column.
        scaled, remainder = np.divmod(rotation * n[:, None], n[None, :])
        shift = translation * n
        if remainder.any() or np.abs(shift - np.rint(shift)).max() > _ON_GRID:
            continue
        image = (scaled @ points + np.rint(shift).astype(np.int64)[:, None]) % n[:, None]
        first = np.minimum(first, np.ravel_multi_index(tuple(image), size))
    index, count = np.unique(first, return_counts=True)
    return torch.from_numpy(index), torch.from_numpy(count.astype(np.float64))
