r"""Densities at points, while the atoms move with their basis functions and their points.

With velocities u of the atoms, the value of a function of atom B at a point p of atom A changes by

.. math:: \dot\phi_i(p) = (u_A - u_B) \cdot \nabla \phi_i(p),

and each row of a density (see `point_densities`) by the terms in which one function of a pair has
changed. `add_gradient_of_rows` is the transpose, for all atoms, at fixed density matrices.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from deepchem_xc.gaussian.grid import Block, Grid

# Components of a block's values that are derivatives of component c in x, y, z: of the function,
# then of its derivatives.
_DERIVATIVES = ((1, 2, 3), (4, 5, 6), (5, 7, 8), (6, 8, 9))


def without_last_derivatives(blocks: Iterable[Block], nrow: int) -> list[Block]:
    """Blocks with as many derivatives as the rows of a density need."""
    count = 1 if nrow == 1 else 4
    return [block._replace(values=block.values[:count]) for block in blocks]


def add_gradient_of_rows(
    blocks: Iterable[Block],
    matrices: Tensor,
    weights: Tensor,
    grid: Grid,
    homes: Tensor,
    gradient: Tensor,
) -> None:
    """Add the derivative of weighted rows of densities with respect to the positions of the atoms.

    Parameters
    ----------
    blocks : iterable of Block
        With one more order of derivatives than the rows need.
    matrices : Tensor
        Density matrices, (nspin, nao, nao), symmetric.
    weights : Tensor
        Weights of the rows, (nspin, nrow, npoint), such as derivatives of an energy.
    grid : Grid
        The grid of these blocks.
    homes : Tensor
        Index of the atom of each function, (nao,).
    gradient : Tensor
        (natom, 3), to which it is added.

    Examples
    --------
    >>> from pyscf import gto
    >>> mole = gto.M(atom="He 0 0 0; He 0 0 3", basis="sto-3g", verbose=0)
    >>> grid, homes = Grid(mole, level=0, derivatives=False), torch.tensor([0, 1])
    >>> matrices, gradient = torch.ones(1, 2, 2).double(), torch.zeros(2, 3).double()
    >>> weights = torch.ones(1, 1, grid.npoint).double()
    >>> for batch in grid.batches_with_derivatives():
    ...     add_gradient_of_rows(batch, matrices, weights, grid, homes, gradient)
    >>> bool(gradient.sum(0).abs().max() < 1e-12)
    True
    """
    nrow = weights.shape[1]
    for block in blocks:
        values, spots = block.values, grid.atoms[block.points]
        own = homes if block.functions is None else homes[block.functions]
        # Derivative with respect to the values of the functions, summed over spins.
        slopes = values.new_zeros((1 if nrow == 1 else 4, *values.shape[1:]))
        for matrix, row in zip(block.among(matrices), weights[:, :, block.points], strict=True):
            half = matrix @ values[0]
            slopes[0] += 2.0 * row[0] * half
            if nrow > 1:
                slopes[0] += 2.0 * (matrix @ (values[1:4] * row[1:4, None]).sum(0))
                slopes[1:] += 2.0 * row[1:4, None] * half
            if nrow == 5:
                slopes[1:] += row[4] * (matrix @ values[1:4])
        for axis in range(3):
            derivatives = [components[axis] for components in _DERIVATIVES[: len(slopes)]]
            parts = sum(values[c] * slope for c, slope in zip(derivatives, slopes, strict=True))
            gradient[:, axis].index_add_(0, own, -parts.sum(1))
            gradient[:, axis].index_add_(0, spots, parts.sum(0))


class MovingBlocks:
    """Values of basis functions at points, and their change at given velocities of the atoms.

    Parameters
    ----------
    grid : Grid
        Points.
    homes : Tensor
        Index of the atom of each function, (nao,).
    velocities : Tensor
        (natom, 3), bohr per unit of time.

    Examples
    --------
    Atoms that move together change no density at their points:

    >>> from pyscf import gto
    >>> mole = gto.M(atom="He 0 0 0; He 0 0 3", basis="sto-3g", verbose=0)
    >>> grid = Grid(mole, level=0, derivatives=False)
    >>> moving = MovingBlocks(grid, torch.tensor([0, 1]), torch.ones(2, 3).double())
    >>> moving.rows(torch.ones(1, 2, 2).double(), nrow=1).abs().max()
    tensor(0., dtype=torch.float64)
    """

    def __init__(self, grid: Grid, homes: Tensor, velocities: Tensor) -> None:
        self._grid, self._homes, self._velocities = grid, homes, velocities

    def rows(self, matrices: Tensor, nrow: int) -> Tensor:
        """Change of the rows of densities, (nspin, nrow, npoint), at fixed density matrices."""
        rows = matrices.new_empty((len(matrices), nrow, self._grid.npoint))
        for batch in self._grid.batches_with_derivatives():
            for block in batch:
                values, moved = block.values, self._moved(block, nrow)
                for matrix, row in zip(
                    block.among(matrices), rows[:, :, block.points], strict=True
                ):
                    half = matrix @ values[0]
                    row[0] = 2.0 * (moved[0] * half).sum(0)
                    if nrow > 1:
                        other = matrix @ moved[0]
                        row[1:4] = 2.0 * (moved[1:] * half + values[1:4] * other).sum(1)
                    if nrow == 5:
                        row[4] = (moved[1:] * (matrix @ values[1:4])).sum((0, 1))
        return rows

    def matrices(self, weights: Tensor, nao: int) -> Tensor:
        """Transpose of `rows`: symmetric matrices, (nspin, nao, nao), of weights of the rows."""
        nspin, nrow, _ = weights.shape
        result = weights.new_zeros((nspin, nao, nao))
        for batch in self._grid.batches_with_derivatives():
            for block in batch:
                values, moved = block.values, self._moved(block, nrow)
                for spin in range(nspin):
                    row = weights[spin, :, block.points]
                    scaled = row[0] * values[0]
                    if nrow > 1:
                        scaled = scaled + (values[1:4] * row[1:4, None]).sum(0)
                    half = moved[0] @ scaled.T
                    if nrow > 1:
                        half += (moved[1:] * row[1:4, None]).sum(0) @ values[0].T
                    if nrow == 5:
                        for one, other in zip(moved[1:], values[1:4], strict=True):
                            half += (0.5 * row[4] * one) @ other.T
                    block.add_to(result[spin], half + half.T)
        return result

    def _moved(self, block: Block, nrow: int) -> Tensor:
        """Change of the values, (1 or 4, n, npoint)."""
        own = self._homes if block.functions is None else self._homes[block.functions]
        spots = self._grid.atoms[block.points]
        relative = self._velocities[spots] - self._velocities[own][:, None]
        moved = []
        for derivatives in _DERIVATIVES[: 1 if nrow == 1 else 4]:
            parts = [relative[:, :, axis] * block.values[c] for axis, c in enumerate(derivatives)]
            moved.append(parts[0] + parts[1] + parts[2])
        return torch.stack(moved)
