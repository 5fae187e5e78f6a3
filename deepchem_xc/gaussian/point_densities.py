r"""From density matrices to densities at points, and back from potentials to matrices.

Rows of a density are what functionals read: the density, the three components of its gradient, and
the kinetic energy density,

.. math:: n = \sum_{ij} D_{ij} \phi_i \phi_j, \quad
    \nabla n = 2 \sum_{ij} D_{ij} \phi_i \nabla \phi_j, \quad
    \tau = \tfrac12 \sum_{ij} D_{ij} \nabla \phi_i \cdot \nabla \phi_j,

for symmetric D. The map is linear; its transpose turns derivatives of an energy with respect to
the rows into the matrix of a potential.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deepchem_xc.gaussian.grid import Block, Grid


def density_rows(blocks: Iterable[Block], matrices: Tensor, nrow: int, rows: Tensor) -> None:
    """Fill in the rows of densities at the points of some blocks.

    Parameters
    ----------
    blocks : iterable of Block
        Basis functions at points, with derivatives unless only the density is wanted.
    matrices : Tensor
        Density matrices, (nspin, nao, nao), symmetric.
    nrow : int
        1, 4 or 5.
    rows : Tensor
        (nspin, nrow, npoint) of the whole grid; the points of these blocks are overwritten.

    Examples
    --------
    >>> from pyscf import gto
    >>> grid = Grid(gto.M(atom="He", basis="sto-3g", verbose=0), level=3, derivatives=False)
    >>> rows = torch.empty(1, 1, grid.npoint, dtype=torch.float64)
    >>> density_rows(grid.blocks(), torch.full((1, 1, 1), 2.0, dtype=torch.float64), 1, rows)
    >>> (rows[0, 0] * grid.weights).sum()
    tensor(2.0000, dtype=torch.float64)
    """
    for block in blocks:
        values = block.values
        for spin, matrix in enumerate(block.among(matrices)):
            out = rows[spin, :, block.points]
            half = matrix @ values[0]
            if nrow == 1:
                out[0] = torch.linalg.vecdot(half, values[0], dim=0)
                continue
            # The product of all components with the same matrix, summed over functions.
            out[:4] = (values * half).sum(1)
            out[1:4] *= 2.0
            if nrow == 5:
                out[4] = 0.5 * ((matrix @ values[1:]) * values[1:]).sum((0, 1))


def add_potential_matrix(blocks: Iterable[Block], rows: Tensor, matrices: Tensor) -> None:
    """Add the transpose of `density_rows`: matrices whose products with D are those with its rows.

    Parameters
    ----------
    blocks : iterable of Block
        As for `density_rows`.
    rows : Tensor
        Weights of the rows, (nspin, nrow, npoint), such as derivatives of an energy.
    matrices : Tensor
        (nspin, nao, nao); the lower and upper halves of symmetric matrices are added to it.

    Examples
    --------
    >>> from pyscf import gto
    >>> grid = Grid(gto.M(atom="He", basis="sto-3g", verbose=0), level=3, derivatives=False)
    >>> overlap = torch.zeros(1, 1, 1, dtype=torch.float64)
    >>> add_potential_matrix(grid.blocks(), grid.weights[None, None], overlap)
    >>> overlap
    tensor([[[1.0000]]], dtype=torch.float64)
    """
    nrow = rows.shape[1]
    for block in blocks:
        values = block.values
        for spin in range(len(rows)):
            weights = rows[spin, :, block.points]
            scaled = values[0] * (0.5 * weights[0])
            if nrow > 1:
                scaled += (values[1:] * weights[1:4, None]).sum(0)
            half = values[0] @ scaled.T
            if nrow == 5:
                for derivative in values[1:]:
                    half += (0.25 * weights[4] * derivative) @ derivative.T
            block.add_to(matrices[spin], half + half.T)


def rows_on_grid(matrices: Tensor, grid: Grid, nrow: int) -> Tensor:
    """Rows of densities at all points, (nspin, nrow, npoint), in the graph of the matrices.

    Parameters
    ----------
    matrices : Tensor
        Density matrices, (nspin, nao, nao), symmetric.
    grid : Grid
        Points; with derivatives unless only the density is wanted.
    nrow : int
        1, 4 or 5.
    """
    rows: Tensor = _RowsOnGrid.apply(matrices, grid, nrow)
    return rows


def transposed_rows(weights: Tensor, grid: Grid, shape: torch.Size) -> Tensor:
    """Matrices, of a shape (nspin, nao, nao), that weights of the rows at all points belong to."""
    matrices = weights.new_zeros(shape)
    add_potential_matrix(grid.blocks(), weights, matrices)
    return matrices


class _RowsOnGrid(torch.autograd.Function):
    """A linear map and its transpose: products of basis functions are not kept for the graph."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, grid: Grid, nrow: int) -> Tensor:
        ctx.grid, ctx.shape = grid, matrices.shape
        rows = matrices.new_empty((len(matrices), nrow, grid.npoint))
        density_rows(grid.blocks(), matrices, nrow, rows)
        return rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:
        return transposed_rows(cotangent, ctx.grid, ctx.shape), None, None
