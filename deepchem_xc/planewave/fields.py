"""What the loop mixes: the density, and for meta-GGAs the kinetic energy density."""

from __future__ import annotations

from torch import Tensor


def split_fields(density: Tensor) -> tuple[Tensor, Tensor | None]:
    """Density (nspin, nG), and kinetic energy density or None, of what may hold both.

    Examples
    --------
    >>> import torch
    >>> density, kinetic = split_fields(torch.zeros(2, 1, 5))
    >>> density.shape, kinetic.shape
    (torch.Size([1, 5]), torch.Size([1, 5]))
    """
    return (density, None) if density.ndim == 2 else (density[0], density[1])
