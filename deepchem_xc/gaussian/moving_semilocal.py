"""The functional of the density, while atoms move with their basis functions and their points.

Its energy changes because weights of points do (`partition`) and because densities at the points do
(`moving_points`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepchem_xc.gaussian.molecule import Molecule
from deepchem_xc.gaussian.moving_core import homes_of
from deepchem_xc.gaussian.moving_points import (
    MovingBlocks,
    add_gradient_of_rows,
    without_last_derivatives,
)
from deepchem_xc.gaussian.partition import Partition
from deepchem_xc.gaussian.point_densities import density_rows, rows_on_grid, transposed_rows
from deepchem_xc.gaussian.semilocal import Semilocal, points_of
from deepchem_xc.xc.density_derivatives import energy_derivatives


class MovingSemilocal:
    """A functional on the grid of a molecule whose atoms move.

    Parameters
    ----------
    semilocal : Semilocal
        The functional and the grid.
    molecule : Molecule
        Where the atoms are.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.gaussian.inputs import make_problem
    >>> problem = make_problem(Atoms("H2", [[0, 0, 0], [0, 0, 0.7]]), "PBE", basis="sto-3g")
    >>> moving = MovingSemilocal(problem.semilocal, problem.molecule)
    >>> gradient = moving.gradient(torch.full((1, 2, 2), 0.6).double())
    >>> bool(gradient.sum(0).abs().max() < 1e-10)
    True
    """

    def __init__(self, semilocal: Semilocal, molecule: Molecule) -> None:
        self._semilocal, self._grid = semilocal, semilocal.grid
        self._homes = homes_of(molecule.mole)
        self._positions = torch.from_numpy(molecule.positions)
        self._partition = Partition(self._grid, self._positions)

    def gradient(self, density: Tensor) -> Tensor:
        """Derivative of the energy with respect to positions at fixed density matrices, (natom, 3).

        Parameters
        ----------
        density : Tensor
            (nspin, nao, nao): total, or up and down; without a graph.
        """
        grid, nrow = self._grid, self._semilocal.nrow
        total, energies = torch.zeros_like(self._positions), torch.empty_like(grid.weights)
        rows = density.new_empty((len(density), nrow, grid.npoint))
        for batch in grid.batches_with_derivatives():
            density_rows(without_last_derivatives(batch, nrow), density, nrow, rows)
            points = points_of(batch)
            here = rows[:, :, points]
            values, slopes = energy_derivatives(self._semilocal.functional, here.numpy(), 1)
            energies[points] = torch.from_numpy(values)
            rows[:, :, points] = grid.weights[points] * torch.from_numpy(slopes).view_as(here)
            add_gradient_of_rows(batch, density, rows, grid, self._homes, total)
        return total + self._partition.gradient(energies)

    def slope_gradients(
        self, density: Tensor, velocities: Tensor, change: Tensor, inputs: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Derivatives of the energy's slope while atoms move and density matrices change.

        Parameters
        ----------
        density : Tensor
            (nspin, nao, nao), without a graph.
        velocities : Tensor
            Of the atoms, (natom, 3), bohr per unit of time.
        change : Tensor
            Of the density matrices, per unit of time, symmetric.
        inputs : sequence of Tensor
            Parameters of the functional that require gradients.

        Returns
        -------
        (Tensor, list of (Tensor or None))
            With respect to the density matrices, at a fixed `change`, (nspin, nao, nao), and to the
            inputs.
        """
        grid, nrow = self._grid, self._semilocal.nrow
        moving = MovingBlocks(grid, self._homes, velocities)
        rows = rows_on_grid(density, grid, nrow)
        moved = moving.rows(density, nrow) + rows_on_grid(change, grid, nrow)
        found = self._semilocal.slope_gradients(
            rows, moved, self._partition.change(velocities), inputs
        )
        # The rows change with the density matrices, and so does the change of the rows.
        of_density = transposed_rows(found.of_rows, grid, density.shape)
        return of_density + moving.matrices(found.slopes, density.shape[-1]), found.of_inputs
