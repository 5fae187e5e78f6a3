r"""Derivatives of the points' weights with respect to the positions of the atoms.

Becke's partition gives a point of atom A the share :math:`q_A` of its volume v,

.. math:: w = v\, q_A, \quad q_i = P_i / \sum_k P_k, \quad P_i = \prod_{j \ne i} s(\nu_{ij}), \quad
    \nu_{ij} = \mu_{ij} + a_{ij} (1 - \mu_{ij}^2), \quad
    \mu_{ij} = \frac{|r - R_i| - |r - R_j|}{|R_i - R_j|},

where s falls from 1 to 0, and a shifts boundaries by the atoms' sizes. The points move with their
atoms.

References
----------
A. D. Becke, J. Chem. Phys. 88, 2547 (1988); O. Treutler, R. Ahlrichs, J. Chem. Phys. 102, 346
(1995); B. G. Johnson, P. M. W. Gill, J. A. Pople, J. Chem. Phys. 98, 5612 (1993).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from deepchem_xc.gaussian.grid import Grid

# Numbers in an array over pairs of atoms and points, a few of which stay in the processor's cache,
# and least number of points, so that many atoms do not make many small arrays.
_PIECE, _LEAST_POINTS = 2**18, 64
# Added to shares, and least distance: quotients stay finite.
_LEAST = 1e-200


class Partition:
    """Becke's partition of the points of a grid.

    Parameters
    ----------
    grid : Grid
        Any.
    positions : Tensor
        Positions of the nuclei, (natom, 3), bohr.

    Examples
    --------
    Moving all atoms together changes no weight:

    >>> from deepchem_xc.gaussian import Molecule
    >>> from ase.build import molecule
    >>> water = Molecule.of(molecule("H2O"), basis="sto-3g")
    >>> positions = torch.from_numpy(water.positions)
    >>> partition = Partition(Grid(water.mole, level=0, derivatives=False), positions)
    >>> float(partition.change(torch.ones_like(positions)).abs().max()) < 1e-12
    True
    """

    def __init__(self, grid: Grid, positions: Tensor) -> None:
        self._grid, self._positions = grid, positions
        apart = positions[:, None] - positions
        self._distances = apart.norm(dim=-1) + torch.eye(len(positions)).to(positions)
        self._directions = apart / self._distances[:, :, None]

    def gradient(self, densities: Tensor) -> Tensor:
        """Derivative of ``sum(weights * densities)`` at fixed densities, (natom, 3).

        Parameters
        ----------
        densities : Tensor
            (npoint,), such as energies per volume, Hartree / bohr^3.
        """
        result = torch.zeros_like(self._positions)
        stretch = torch.zeros_like(self._distances)
        for points, own in self._pieces():
            shares, slopes, mu, towards = self._at(points)
            weighted = self._grid.volumes[points] * shares.gather(0, own)[0] * densities[points]
            # Derivatives with respect to the logarithms of P, then to mu.
            of_shares = -weighted * shares
            of_shares.scatter_add_(0, own, weighted[None])
            of_mu = of_shares[:, None] * slopes / self._distances[:, :, None]
            of_distances = of_mu.sum(1) - of_mu.sum(0)
            pull = of_distances[:, None] * towards
            result -= pull.sum(-1)
            result.index_add_(0, own[0], pull.sum(0).T)
            stretch -= (of_mu * mu).sum(-1)
        stretch = stretch + stretch.T
        return result + (stretch[:, :, None] * self._directions).sum(1)

    def change(self, velocities: Tensor) -> Tensor:
        """Change of the weights where atoms move, (npoint,), bohr^3 per unit of time.

        Parameters
        ----------
        velocities : Tensor
            (natom, 3), bohr per unit of time.
        """
        parts = []
        relative = velocities[:, None] - velocities
        stretching = (relative * self._directions).sum(-1)[:, :, None]
        for points, own in self._pieces():
            shares, slopes, mu, towards = self._at(points)
            passing = velocities[own[0]].T - velocities[:, :, None]
            growth = (towards * passing).sum(1)
            of_mu = growth[:, None] - growth - mu * stretching
            of_logs = (slopes * of_mu / self._distances[:, :, None]).sum(1)
            of_own = of_logs.gather(0, own)[0] - (shares * of_logs).sum(0)
            parts.append(self._grid.volumes[points] * shares.gather(0, own)[0] * of_own)
        return torch.cat(parts)

    def weights(self) -> Tensor:
        """Weights of the points, (npoint,), bohr^3; those of the grid."""
        parts = []
        for points, own in self._pieces():
            parts.append(self._grid.volumes[points] * self._at(points)[0].gather(0, own)[0])
        return torch.cat(parts)

    def _at(self, points: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Shares of atoms, slopes of ln s with mu, mu, directions from the atoms to the points.

        (natom, npoint), (natom, natom, npoint) twice, (natom, 3, npoint).
        """
        apart = self._grid.coordinates[points].T - self._positions[:, :, None]
        distances = apart.norm(dim=1).clamp_min(_LEAST)
        mu = (distances[:, None] - distances) / self._distances[:, :, None]
        shifts = self._grid.radii_shifts[:, :, None]
        step = mu + shifts * (1.0 - mu**2)
        slope = 1.0 - 2.0 * shifts * mu
        for _ in range(3):
            slope = slope * (1.5 * (1.0 - step**2))
            step = 0.5 * (3.0 - step**2) * step
        cell, slope = 0.5 * (1.0 - step + _LEAST), -0.5 * slope
        cell.diagonal().fill_(1.0)
        slope.diagonal().fill_(0.0)
        shares = cell.prod(1)
        return shares / shares.sum(0), slope / cell, mu, apart / distances[:, None]

    def _pieces(self) -> Iterator[tuple[slice, Tensor]]:
        """Points that are treated together, and their atoms, (1, npoint)."""
        size = max(_LEAST_POINTS, _PIECE // len(self._positions) ** 2)
        for start in range(0, self._grid.npoint, size):
            points = slice(start, min(start + size, self._grid.npoint))
            yield points, self._grid.atoms[None, points]
