"""Means of degenerate eigenvalues, and the band gap."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.response.multiplets import DEGENERATE


def multiplet_means(eigenvalues: Tensor) -> Tensor:
    """Eigenvalues with every degenerate set replaced by its mean, Hartree.

    Parameters
    ----------
    eigenvalues : Tensor
        (..., nband), Hartree, ascending.

    Returns
    -------
    Tensor
        The same to within 1e-6 Ha, in the graph of the eigenvalues. The mean of a degenerate set
        has derivatives; its single eigenvalues do not.

    Examples
    --------
    >>> multiplet_means(torch.tensor([0.1, 0.2, 0.2], dtype=torch.float64))
    tensor([0.1000, 0.2000, 0.2000], dtype=torch.float64)
    """
    steps = (eigenvalues.detach().diff(dim=-1) >= DEGENERATE).to(torch.int64)
    sets = torch.cat([steps.new_zeros((*steps.shape[:-1], 1)), steps.cumsum(-1)], dim=-1)
    sums = torch.zeros_like(eigenvalues).scatter_add(-1, sets, eigenvalues)
    sizes = torch.zeros_like(eigenvalues).scatter_add(-1, sets, torch.ones_like(eigenvalues))
    return (sums / sizes.clamp_min(1.0)).gather(-1, sets)


def band_gap(levels: Tensor, occupations: Tensor) -> Tensor:
    """Smallest difference between empty and filled states, 0-d, Hartree; 0 for a metal.

    Parameters
    ----------
    levels : Tensor
        Means of degenerate sets, (nspin, nk, nband), Hartree, ascending.
    occupations : Tensor
        Electrons in each state, (nspin, nk, nband), at most 2 / nspin. A state with more than half
        of that counts as filled.

    Raises
    ------
    ValueError
        If there is no empty band.

    Examples
    --------
    >>> levels = torch.tensor([[[-0.3, 0.1], [-0.2, 0.2]]], dtype=torch.float64)
    >>> band_gap(levels, torch.tensor([[[2.0, 0.0], [2.0, 0.0]]]))
    tensor(0.3000, dtype=torch.float64)
    """
    filled = occupations > 1.0 / len(occupations)
    if bool(filled.all()):
        raise ValueError("the band gap needs at least one empty band: ask for more with nbands=")
    half_filled = not bool(filled.any())  # the lowest level holds one electron of two
    if half_filled or bool((filled.any(1) & ~filled.all(1)).any()):
        return levels.new_zeros(())
    empty, full = levels[~filled], levels[filled]
    return torch.clamp_min(_mean_near(empty, empty.min()) - _mean_near(full, full.max()), 0.0)


def _mean_near(levels: Tensor, edge: Tensor) -> Tensor:
    """Mean of the levels at an edge: rounding decides which of several equal ones is the last."""
    return levels[(levels.detach() - edge.detach()).abs() < DEGENERATE].mean()
