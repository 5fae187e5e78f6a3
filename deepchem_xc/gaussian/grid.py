"""Points around the atoms, their weights, and the basis functions at them.

PySCF makes the grid (Becke's partition, pruned, points sorted so that neighbours follow each other)
and evaluates the basis functions. They are handed out in batches of points, each in blocks of
neighbouring points with only those functions that are not negligible there. Batches are kept as
long as all of them fit into `KEPT_VALUES`; otherwise each pass over the grid evaluates them again,
and the memory is that of one batch. Several molecules share `KEPT_VALUES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from pyscf.dft import gen_grid, numint, radi
from pyscf.gto import Mole
from torch import Tensor

from deepchem_xc._values import whole_number
from deepchem_xc.gaussian.shared_memory import SharedMemory

#: Bytes that kept values of basis functions may take, of all molecules together.
KEPT_VALUES = 2**30
#: Values that are kept at present.
ALL_VALUES = SharedMemory(KEPT_VALUES)
# Points whose values are computed together, and points of a block, in PySCF's blocks of screening:
# values of a block stay in the processor's cache.
_BATCH, _BATCH_WITH_DERIVATIVES, _BLOCK = 256, 64, 16
# Highest level of PySCF's grids.
_HIGHEST_LEVEL = 9
#: PySCF's level of the grid if none is given.
STANDARD_LEVEL = 3


class Block(NamedTuple):
    """Basis functions at some points.

    Attributes
    ----------
    points : slice
        Which points of the grid.
    functions : Tensor or None
        Indices of the functions that are not negligible, (n,); None for all of them.
    values : Tensor
        (ncomponent, n, npoint): the functions, then their three derivatives, bohr^-3/2 and so on;
        then their second derivatives xx, xy, xz, yy, yz, zz.
    """

    points: slice
    functions: Tensor | None
    values: Tensor

    def among(self, matrices: Tensor) -> Tensor:
        """The part of matrices (n, nao, nao) that belongs to the functions of the block."""
        if self.functions is None:
            return matrices
        return matrices[:, self.functions[:, None], self.functions]

    def add_to(self, matrix: Tensor, part: Tensor) -> None:
        """Add a matrix between the functions of the block to one of all functions."""
        if self.functions is None:
            matrix += part
        else:
            matrix[self.functions[:, None], self.functions] += part


def checked_level(level: Any) -> int:
    """The level of a grid as an int, if PySCF has it.

    Examples
    --------
    >>> checked_level(11)
    Traceback (most recent call last):
    ValueError: grid_level must be 0 to 9, got 11; 3 is PySCF's default.
    """
    level = whole_number(level, "grid_level", minimum=0)
    if level > _HIGHEST_LEVEL:
        raise ValueError(
            f"grid_level must be 0 to {_HIGHEST_LEVEL}, got {level}; 3 is PySCF's default."
        )
    return level


class Grid:
    """The integration grid of a molecule.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    level : int
        PySCF's level, 0 to 9.
    derivatives : bool
        Whether first derivatives of the basis functions are needed.
    memory : int, optional
        Bytes that kept values may take.

    Attributes
    ----------
    coordinates : Tensor
        (npoint, 3), bohr.
    weights : Tensor
        Volumes of the points, (npoint,), bohr^3.
    atoms : Tensor
        Index of the atom that a point belongs to, (npoint,); the first one for PySCF's padding.
    volumes : Tensor
        Volumes of the points around their atom alone, before Becke's partition, (npoint,), bohr^3.
    radii_shifts : Tensor
        Becke's shifts of the boundary between two atoms by their sizes, (natom, natom).

    Raises
    ------
    ValueError
        For a level that PySCF does not have.

    Examples
    --------
    >>> from pyscf import gto
    >>> grid = Grid(gto.M(atom="He", basis="sto-3g", verbose=0), level=3, derivatives=True)
    >>> block = next(grid.blocks())
    >>> block.values.shape[:2]
    torch.Size([4, 1])
    """

    def __init__(self, mole: Mole, level: int, derivatives: bool, memory: int = KEPT_VALUES):
        level = checked_level(level)
        self.level, self._mole, self._derivatives = level, mole, derivatives
        made = gen_grid.Grids(mole)
        made.level = level
        # The partition whose derivatives forces need, whatever PySCF's configuration says.
        made.becke_scheme = gen_grid.original_becke
        made.radii_adjust = radi.treutler_atomic_radii_adjust
        made.atomic_radii = radi.BRAGG_RADII
        made.build(with_non0tab=True)
        self.coordinates = torch.from_numpy(np.ascontiguousarray(made.coords))
        self.weights = torch.from_numpy(np.ascontiguousarray(made.weights))
        self.atoms = torch.from_numpy(np.maximum(made.atm_idx, 0).astype(np.int64))
        self.volumes = torch.from_numpy(np.ascontiguousarray(made.quadrature_weights))
        shift = made.radii_adjust(mole, made.atomic_radii)
        natom = range(mole.natm)
        self.radii_shifts = torch.tensor(
            [[float(shift(i, j, 0.0)) for j in natom] for i in natom], dtype=torch.float64
        )
        self._nonzero = made.non0tab
        self._kept: list[list[Block]] | None = None
        size = 8 * (4 if derivatives else 1) * mole.nao * len(self.weights)
        self._keeps = size <= memory

    @property
    def npoint(self) -> int:
        """Number of points."""
        return len(self.weights)

    @property
    def nbytes(self) -> int:
        """Bytes of the grid without values of basis functions."""
        points = self.coordinates, self.weights, self.atoms, self.volumes
        return sum(one.nbytes for one in points) + int(self._nonzero.nbytes)

    def batches(self) -> Iterator[list[Block]]:
        """Blocks of neighbouring points, in batches; together they hold each point once."""
        known = self._kept
        if known is not None:
            yield from known
            return
        kept = []
        step = _BATCH * gen_grid.BLKSIZE
        for start in range(0, self.npoint, step):
            stop = min(start + step, self.npoint)
            batch = self._evaluated(start, stop, int(self._derivatives))
            if self._keeps:
                kept.append(batch)
            yield batch
        if self._keeps:
            self._kept = kept
            ALL_VALUES.keep(self, sum(one.values.nbytes for batch in kept for one in batch))

    def release(self) -> None:
        """Forget kept values; the next pass computes them again."""
        self._kept = None

    def blocks(self) -> Iterator[Block]:
        """All blocks."""
        for batch in self.batches():
            yield from batch

    def batches_with_derivatives(self) -> Iterator[list[Block]]:
        """The same with one more order of derivatives, computed at each call and not kept."""
        step = _BATCH_WITH_DERIVATIVES * gen_grid.BLKSIZE
        for start in range(0, self.npoint, step):
            stop = min(start + step, self.npoint)
            yield self._evaluated(start, stop, int(self._derivatives) + 1)

    def _evaluated(self, start: int, stop: int, order: int) -> list[Block]:
        size = gen_grid.BLKSIZE
        mask = self._nonzero[start // size : -(-stop // size)]
        coordinates = self.coordinates[start:stop].numpy()
        values = numint.eval_ao(self._mole, coordinates, deriv=order, non0tab=mask)
        values = values.reshape(-1, stop - start, self._mole.nao)
        ends = self._mole.ao_loc_nr()
        found = []
        for first in range(0, len(mask), _BLOCK):
            inside = slice(first * size, min((first + _BLOCK) * size, stop - start))
            shells = mask[first : first + _BLOCK].any(0)
            functions = np.flatnonzero(np.repeat(shells, np.diff(ends)))
            piece = values[:, inside].transpose(0, 2, 1)
            every = len(functions) == self._mole.nao
            if not every:
                piece = piece[:, functions]
            found.append(
                Block(
                    slice(start + inside.start, start + inside.stop),
                    None if every else torch.from_numpy(functions),
                    torch.from_numpy(np.array(piece, order="C")),
                )
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        """State without kept values, which are computed again when they are needed."""
        return {**self.__dict__, "_kept": None}
