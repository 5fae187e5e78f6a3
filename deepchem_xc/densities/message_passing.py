"""Features of atoms from their surroundings, by equivariant message passing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepchem_xc.densities.angular import solid_harmonics
from deepchem_xc.densities.layers import Edges, Features, Layer
from deepchem_xc.densities.radial import radial_basis, smooth_cutoff


class MessagePassing(nn.Module):
    """From elements, moments and vectors between atoms to features of the atoms.

    Parameters
    ----------
    nelement : int
        Number of elements.
    layers : int
        Rounds of messages.
    channels : int
        Number of features of each component.
    l_max : int
        Largest l between the rounds, and of the factors of products.
    l_last : int
        Largest l after the last round.
    cutoff : float
        Distance beyond which atoms do not see each other, bohr.
    radial : int
        Number of radial functions.
    neighbours : float
        Typical number of neighbours, by which sums are scaled.
    spin : bool
        Whether there are features that are odd in the moments.
    """

    def __init__(
        self,
        nelement: int,
        layers: int,
        channels: int,
        l_max: int,
        l_last: int,
        cutoff: float,
        radial: int,
        neighbours: float,
        spin: bool,
    ) -> None:
        super().__init__()
        self.cutoff, self.nradial = cutoff, radial
        self.l_harmonics = max(l_max, l_last)
        self.embedding = nn.Embedding(nelement, channels)
        self.pair_embedding = nn.Embedding(nelement, EMBEDDING)
        self.moments_even = nn.Embedding(nelement, 2 * channels) if spin else None
        self.moments_odd = nn.Embedding(nelement, 2 * channels) if spin else None
        for embedding in (self.moments_even, self.moments_odd):
            if embedding is not None:  # the size counts only as far as a training finds
                nn.init.zeros_(embedding.weight[:, channels:])
        ls = [0] + [l_max] * (layers - 1) + [l_last]
        self.layers = nn.ModuleList(
            Layer(
                channels, before, after, min(l_max, after), radial + 2 * EMBEDDING,
                nelement, neighbours, spin,
            )
            for before, after in zip(ls, ls[1:])
        )  # fmt: skip
        self.ls: Sequence[int] = ls

    def edges(self, vectors: Tensor, receivers: Tensor, senders: Tensor, elements: Tensor) -> Edges:
        """What messages between atoms depend on; vectors (npair, 3) in bohr."""
        radial, harmonics, decay = self.geometry(vectors)
        embedded = self.pair_embedding(elements)
        inputs = torch.cat([radial, embedded[receivers], embedded[senders]], -1)
        return Edges(receivers, senders, harmonics, inputs, decay, len(elements))

    def geometry(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Radial functions, harmonics of the directions and decay of some vectors (npair, 3)."""
        distances = torch.linalg.vector_norm(vectors, dim=-1)
        radial = radial_basis(distances, self.cutoff, self.nradial)
        harmonics = solid_harmonics(vectors / distances.unsqueeze(-1), self.l_harmonics)
        return radial, harmonics, smooth_cutoff(distances, self.cutoff)

    def forward(self, elements: Tensor, moments: Tensor | None, edges: Edges) -> list[Features]:
        """Features before the first round and after each, (natom, channels, components).

        Parameters
        ----------
        elements : Tensor
            Index of each atom's element, (natom,).
        moments : Tensor or None
            Initial moments, (natom,), mu_B; None without spin.
        edges : Edges
            Of the pairs of atoms.
        """
        features = self._start(elements, moments)
        found = [features]
        for layer in self.layers:
            features = layer(features, edges, elements)
            found.append(features)
        return found

    def _start(self, elements: Tensor, moments: Tensor | None) -> Features:
        """Scalars of the element and its moment."""
        even = self.embedding(elements)
        if self.moments_even is None or self.moments_odd is None:
            return Features(even.unsqueeze(-1))
        assert moments is not None
        # Smooth, odd and bounded: the sign of a moment, and a function of its size.
        scales = moments.new_tensor([SIGN, SIZE])
        functions = moments.unsqueeze(-1) / (moments.square().unsqueeze(-1) + scales**2).sqrt()
        factors = self.moments_odd(elements).unflatten(-1, (2, -1))
        odd = torch.einsum("np,npc->nc", functions, factors)
        factors = self.moments_even(elements).unflatten(-1, (2, -1))
        even = even + torch.einsum("np,npc->nc", functions.square(), factors)
        return Features(even.unsqueeze(-1), odd.unsqueeze(-1))


#: Initial moment (mu_B) above which the sign alone counts: half of the function of its size is
#: reached there, and 0.986 at 0.3 mu_B.
SIGN = 0.05
#: Initial moment (mu_B) around which functions of the size vary.
SIZE = 1.0
#: Length of the vectors that tell the elements of a pair to the functions of their distance.
EMBEDDING = 8
