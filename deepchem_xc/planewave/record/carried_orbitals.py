"""Orbitals of an earlier calculation, on the plane waves of the present one.

Plane waves are matched by their integers: coefficients outside the new sphere are lost, and
coefficients of new plane waves start at zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deepchem_xc.planewave.eigen.davidson import orthonormalize
from deepchem_xc.planewave.problem import KohnShamProblem

# Largest difference between reduced coordinates of two k-points that count as the same.
_SAME_K = 1e-10


@dataclass(frozen=True, eq=False)
class Orbitals:
    """Orbitals and their plane waves, all without units.

    Attributes
    ----------
    k_coordinates : Tensor
        Reduced coordinates, (nk, 3).
    g_vectors : Tensor
        Integer G, (nk, npw, 3), padded.
    mask : Tensor
        1.0 where a plane wave exists, (nk, npw).
    coefficients : Tensor
        (nspin, nk, nband, npw).
    """

    k_coordinates: Tensor
    g_vectors: Tensor
    mask: Tensor
    coefficients: Tensor


def carried_orbitals(problem: KohnShamProblem, old: Orbitals | None) -> Tensor | None:
    """Orbitals of an earlier calculation on the plane waves of this one.

    Parameters
    ----------
    problem : KohnShamProblem
        The problem to solve.
    old : Orbitals or None
        Orbitals of the earlier calculation.

    Returns
    -------
    Tensor or None
        Orthonormal, (nspin, nk, nband, npw). None if `old` is None, if its k-points or number of
        spins differ, or if it has more bands than there are plane waves.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> old, new = (scf(bulk("Si"), ecut=ecut) for ecut in (80.0, 100.0))
    >>> b = old.basis
    >>> kept = Orbitals(b.k_coordinates, b.orbital_g_vectors, b.mask, old.orbitals)
    >>> carried_orbitals(new.problem, kept).shape == new.orbitals.shape
    True
    """
    basis = problem.basis
    if old is None or len(old.coefficients) != problem.nspin:
        return None
    k_coordinates = old.k_coordinates.to(basis.device)
    if k_coordinates.shape != basis.k_coordinates.shape or not torch.allclose(
        k_coordinates, basis.k_coordinates, rtol=0.0, atol=_SAME_K
    ):
        return None
    g, coefficients = old.g_vectors.to(basis.device), old.coefficients.to(basis.device)
    if torch.equal(g, basis.orbital_g_vectors):
        return coefficients
    nspin, nk, nband = coefficients.shape[:3]
    if nband > min(basis.npw_per_k):
        return None
    index, found = match_plane_waves(g, basis.orbital_g_vectors, old.mask.to(basis.device))
    index = index[None, :, None].expand(nspin, nk, nband, -1)
    # Near a smoothed cutoff coefficients must be small: scale them down, or they dominate the
    # residual. When the cell shrinks, plane waves move there from lower energies.
    bare, kinetic = 0.5 * basis.orbital_q.detach().square().sum(-1), basis.kinetic.detach()
    damping = torch.where(kinetic > bare, bare / kinetic, 1.0)
    kept = coefficients.gather(3, index) * (found * basis.mask * damping)[None, :, None]
    return orthonormalize(kept.flatten(0, 1)).view(kept.shape)


def match_plane_waves(
    source: Tensor, target: Tensor, source_mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Index of each `target` (n, m, 3) in `source` (n, k, 3), and whether it is there, both (n, m).

    Both hold integers; `source_mask`, (n, k), is 0 where a row of `source` is padding.

    Examples
    --------
    >>> source = torch.tensor([[[0, 0, 0], [0, 0, 1]]])
    >>> match_plane_waves(source, torch.tensor([[[0, 0, 1], [1, 0, 0]]]))[1]
    tensor([[ True, False]])
    """
    reach = int(max(source.abs().max(), target.abs().max()))
    radix = torch.tensor(
        [(2 * reach + 1) ** 2, 2 * reach + 1, 1], dtype=source.dtype, device=source.device
    )
    source_key = ((source + reach) * radix).sum(-1)
    if source_mask is not None:
        source_key = torch.where(source_mask > 0, source_key, (2 * reach + 1) ** 3)
    target_key = ((target + reach) * radix).sum(-1)
    ordered, order = torch.sort(source_key, dim=-1)
    position = torch.searchsorted(ordered, target_key).clamp_max(source_key.shape[-1] - 1)
    found = ordered.gather(-1, position) == target_key
    return order.gather(-1, position), found
