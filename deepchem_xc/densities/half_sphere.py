"""One of each pair G and -G of a sphere, for real functions of space."""

from __future__ import annotations

import torch
from torch import Tensor


class HalfSphere:
    """G = 0 and one of each pair of opposite plane waves.

    Parameters
    ----------
    g_vectors : Tensor
        Integers, (nG, 3), in any order.

    Attributes
    ----------
    g_vectors : Tensor
        The chosen ones.

    Raises
    ------
    ValueError
        If -G is missing for some G.

    Examples
    --------
    >>> import torch
    >>> half = HalfSphere(torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, -1]]))
    >>> half.complete(torch.tensor([1.0 + 0j, 2.0 + 3j]))
    tensor([1.+0.j, 2.+3.j, 2.-3.j])
    """

    def __init__(self, g_vectors: Tensor) -> None:
        extent = int(g_vectors.abs().max()) if len(g_vectors) else 0
        base = 2 * extent + 1
        powers = torch.tensor([base * base, base, 1], device=g_vectors.device)
        # Opposite vectors have opposite keys.
        key = g_vectors @ powers
        ordered, order = torch.sort(key)
        if not torch.equal(ordered, -ordered.flip(0)):
            raise ValueError(
                "a real density needs -G for every plane wave G, but some are missing among the "
                f"{len(g_vectors)} given: take the sphere of a PlaneWaveBasis."
            )
        chosen = (key >= 0).nonzero().squeeze(1)
        self.g_vectors = g_vectors[chosen]
        place = torch.empty_like(key)
        place[chosen] = torch.arange(len(chosen), device=key.device)
        opposite = torch.empty_like(key)
        opposite[order] = order.flip(0)
        self._conjugate = key < 0
        self._place = torch.where(self._conjugate, place[opposite], place)

    def complete(self, values: Tensor) -> Tensor:
        """Values of all G, (..., nG), from those of `g_vectors`; opposite ones are conjugates."""
        found = values[..., self._place]
        return torch.where(self._conjugate, found.conj(), found)
