"""The functional of the density at points: its energy, potential, kernel and derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.gaussian.grid import Block, Grid
from deepchem_xc.gaussian.point_densities import add_potential_matrix, density_rows, rows_on_grid
from deepchem_xc.numerics.implicit import added_gradients, explicit_gradients
from deepchem_xc.xc import XCFunctional, integrated_energy
from deepchem_xc.xc.density_derivatives import (
    density_of_rows,
    energy_derivatives,
    number_of_rows,
)

# Points whose energies are in a graph at the same time: a network keeps some kilobytes a point.
_GRAPH_PIECE = 16384


class SlopeGradients(NamedTuple):
    """Derivatives of an energy's slope, and of the energy.

    Attributes
    ----------
    of_rows : Tensor
        Of the slope with respect to the rows, at fixed changes, (nspin, nrow, npoint).
    slopes : Tensor
        Of the energy with respect to the rows, and so of the slope with respect to their change.
    of_inputs : list of (Tensor or None)
        Of the slope with respect to each input; None if it does not depend on it.
    """

    of_rows: Tensor
    slopes: Tensor
    of_inputs: list[Tensor | None]


class Semilocal:
    """A functional on the grid of a molecule, without its share of exact exchange.

    Parameters
    ----------
    functional : XCFunctional
        Any.
    grid : Grid
        With derivatives of the basis functions, unless the functional is an LDA.

    Examples
    --------
    >>> from pyscf import gto
    >>> from deepchem_xc.xc import get_xc
    >>> grid = Grid(gto.M(atom="He", basis="sto-3g", verbose=0), level=3, derivatives=True)
    >>> density = torch.full((1, 1, 1), 2.0, dtype=torch.float64)
    >>> energy, potential = Semilocal(get_xc("PBE"), grid).energy_and_potential(density)
    >>> energy
    -1.0781
    """

    def __init__(self, functional: XCFunctional, grid: Grid) -> None:
        self.functional, self.grid = functional, grid
        self.nrow = number_of_rows(functional.ingredients)

    def energy_and_potential(self, density: Tensor) -> tuple[float, Tensor]:
        """Energy, Hartree, and its derivative with respect to the density matrices.

        Parameters
        ----------
        density : Tensor
            (nspin, nao, nao): total, or up and down; without a graph.
        """
        energy, potential = 0.0, torch.zeros_like(density)
        rows = self._empty_rows(density)
        for batch in self.grid.batches():
            density_rows(batch, density, self.nrow, rows)
            points = points_of(batch)
            weights = self.grid.weights[points]
            values, slopes = energy_derivatives(self.functional, rows[:, :, points].numpy(), 1)
            energy += float(weights @ torch.from_numpy(values))
            rows[:, :, points] = weights * torch.from_numpy(slopes).view_as(rows[:, :, points])
            add_potential_matrix(batch, rows, potential)
        return energy, potential

    def kernel(self, density: Tensor) -> SemilocalKernel:
        """Second derivatives of the energy at these density matrices, (nspin, nao, nao)."""
        rows = rows_on_grid(density, self.grid, self.nrow)
        size = len(density) * self.nrow
        second = rows.new_empty((size, size, self.grid.npoint))
        for start in range(0, self.grid.npoint, _GRAPH_PIECE):
            piece = slice(start, start + _GRAPH_PIECE)
            values = energy_derivatives(self.functional, rows[:, :, piece].numpy(), 2)[2]
            second[:, :, piece] = torch.from_numpy(values)
        return SemilocalKernel(self.grid, self.nrow, second.mul_(self.grid.weights))

    def energy_in_graph(self, density: Tensor) -> Tensor:
        """Energy, 0-d, Hartree, in the graphs of the density matrices and of the functional."""
        rows = rows_on_grid(density, self.grid, self.nrow)
        parts = []
        for piece in self._pieces():
            weights = self.grid.weights[piece]
            parts.append(self._energy(_flat(rows, piece), len(density), weights))
        return torch.stack(parts).sum()

    def parameter_gradients(
        self, density: Tensor, inputs: Sequence[Tensor], direction: Tensor | None = None
    ) -> list[Tensor | None]:
        """Derivatives of the energy, or of its slope along a change of the density matrices.

        Parameters
        ----------
        density : Tensor
            (nspin, nao, nao), without a graph.
        inputs : sequence of Tensor
            Parameters of the functional that require gradients.
        direction : Tensor, optional
            Change of the density matrices, symmetric. With it, derivatives are those of the
            energy's derivative along the change.

        Returns
        -------
        list of (Tensor or None)
            None for inputs on which the energy does not depend.
        """
        rows = rows_on_grid(density, self.grid, self.nrow)
        change = None if direction is None else rows_on_grid(direction, self.grid, self.nrow)
        total: list[Tensor | None] = [None] * len(inputs)
        for piece in self._pieces():
            with torch.enable_grad():
                points = _flat(rows, piece)
                points.requires_grad_(change is not None)
                value = self._energy(points, len(density), self.grid.weights[piece])
                if change is not None:
                    slopes = torch.autograd.grad(value, points, create_graph=True)[0]
                    value = (slopes * _flat(change, piece)).sum()
            total = added_gradients(total, _gradients(value, inputs))
        return total

    def slope_gradients(
        self, rows: Tensor, change: Tensor, growth: Tensor, inputs: Sequence[Tensor]
    ) -> SlopeGradients:
        """Derivatives of the energy's slope while densities and weights at the points change.

        Parameters
        ----------
        rows, change : Tensor
            Rows of the densities and their change, (nspin, nrow, npoint).
        growth : Tensor
            Change of the weights, (npoint,).
        inputs : sequence of Tensor
            Parameters of the functional that require gradients.
        """
        of_rows, slopes = torch.empty_like(rows), torch.empty_like(rows)
        total: list[Tensor | None] = [None] * len(inputs)
        for piece in self._pieces():
            with torch.enable_grad():
                points = _flat(rows, piece).requires_grad_()
                weights = self.grid.weights[piece].clone().requires_grad_()
                energy = self._energy(points, len(rows), weights)
                first, densities = torch.autograd.grad(
                    energy, [points, weights], create_graph=True, materialize_grads=True
                )
                value = (first * _flat(change, piece)).sum() + growth[piece] @ densities
            second, *rest = _gradients(value, [points, *inputs])
            total = added_gradients(total, rest)
            slopes[:, :, piece] = first.detach().view_as(slopes[:, :, piece])
            second = torch.zeros_like(points) if second is None else second
            of_rows[:, :, piece] = second.view_as(of_rows[:, :, piece])
        return SlopeGradients(of_rows, slopes, total)

    def _energy(self, points: Tensor, nspin: int, weights: Tensor) -> Tensor:
        return integrated_energy(self.functional, density_of_rows(points, nspin), weights)

    def _pieces(self) -> list[slice]:
        starts = range(0, self.grid.npoint, _GRAPH_PIECE)
        return [slice(start, start + _GRAPH_PIECE) for start in starts]

    def _empty_rows(self, density: Tensor) -> Tensor:
        return density.new_empty((len(density), self.nrow, self.grid.npoint))


class SemilocalKernel:
    """Derivative of the functional's potential with respect to the density matrices.

    Parameters
    ----------
    grid : Grid
        The grid of the functional.
    nrow : int
        Rows of a density that the functional reads.
    second : Tensor
        Second derivatives of the energy, (nspin nrow, nspin nrow, npoint), times the weights.
    """

    def __init__(self, grid: Grid, nrow: int, second: Tensor) -> None:
        self._grid, self._nrow, self._second = grid, nrow, second

    def __call__(self, change: Tensor) -> Tensor:
        """Change of the potential, (nspin, nao, nao), of a change of the density matrices."""
        result = torch.zeros_like(change)
        rows = change.new_empty((len(change), self._nrow, self._grid.npoint))
        for batch in self._grid.batches():
            density_rows(batch, change, self._nrow, rows)
            points = points_of(batch)
            flat = rows[:, :, points].reshape(len(self._second), -1)
            slopes = (self._second[:, :, points] * flat).sum(1)
            rows[:, :, points] = slopes.view_as(rows[:, :, points])
            add_potential_matrix(batch, rows, result)
        return result


def points_of(batch: list[Block]) -> slice:
    """Points of the grid that a batch of blocks holds."""
    return slice(batch[0].points.start, batch[-1].points.stop)


def _flat(rows: Tensor, piece: slice) -> Tensor:
    """Rows of all channels at some points, (nspin nrow, npoint)."""
    return rows[:, :, piece].reshape(rows.shape[0] * rows.shape[1], -1)


def _gradients(value: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Derivatives with respect to inputs; none if the value is in no graph."""
    return explicit_gradients(value, inputs) if value.requires_grad else [None] * len(inputs)
