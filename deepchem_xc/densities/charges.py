"""Charge that moves along pairs of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepchem_xc.densities.layers import Edges, perceptron

#: Typical electrons that one pair exchanges, before training.
_SIZE = 0.01


class ChargeFlow(nn.Module):
    """Electrons that each atom receives from its neighbours: q_i = sum_j q_ij, q_ij = -q_ji.

    What one atom gains another loses, so that the sum is zero for any parameters, for a cell, its
    supercell and each separate fragment.

    Parameters
    ----------
    channels : int
        Number of scalars of an atom.
    nradial : int
        Number of radial inputs.
    """

    def __init__(self, channels: int, nradial: int) -> None:
        super().__init__()
        self.flow = perceptron(2 * channels + nradial, 2 * channels, 1)

    def forward(self, scalars: Tensor, edges: Edges) -> Tensor:
        """Electrons gained by each atom, (natom,), float64.

        Parameters
        ----------
        scalars : Tensor
            Features with l = 0, (natom, channels).
        edges : Edges
            All pairs of atoms, in both directions.
        """
        inputs = [scalars[edges.receivers], scalars[edges.senders], edges.radial]
        moved = self.flow(torch.cat(inputs, -1)).squeeze(-1) * edges.decay
        # In float64, and the same numbers with both signs: the sum is zero to rounding.
        moved = _SIZE * moved.to(torch.float64)
        gained = moved.new_zeros(len(scalars)).index_add(0, edges.receivers, moved)
        return gained.index_add(0, edges.senders, -moved)
