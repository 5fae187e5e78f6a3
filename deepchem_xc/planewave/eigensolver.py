"""Block Davidson for the lowest states, batched over k-points.

Rows are bands: an array (nk, nband, npw) holds orbitals, and every step is a batched matrix
product, Cholesky or small eigenproblem over k. The subspace holds at most
``1 + expansions`` blocks and is not restarted: in a self-consistency loop two expansions a step,
warm-started, do most good for each application of H.

References
----------
.. [1] E. R. Davidson, J. Comput. Phys. 17, 87 (1975).
.. [2] M. P. Teter, M. C. Payne, D. C. Allan, Phys. Rev. B 40, 12255 (1989) (preconditioner).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def teter_preconditioner(kinetic: Tensor, orbitals: Tensor) -> Tensor:
    """Approximate inverse of H - e for plane waves well above a band's own kinetic energy.

    Parameters
    ----------
    kinetic : Tensor
        |k+G|^2 / 2, (nk, npw), Hartree.
    orbitals : Tensor
        Normalised bands, (nk, nband, npw).

    Returns
    -------
    Tensor
        Real factors, (nk, nband, npw).
    """
    own = torch.einsum("kbg,kg->kb", torch.view_as_real(orbitals).square().sum(-1), kinetic)
    x = kinetic.unsqueeze(1) / own.clamp_min(1e-3).unsqueeze(-1)
    top = 27.0 + x * (18.0 + x * (12.0 + 8.0 * x))
    return top / (top + 16.0 * x.pow(4))


def orthonormalize(block: Tensor) -> Tensor:
    """Orthonormal rows with the same span, (nk, n, npw); Cholesky, or QR where that breaks down."""
    gram = block @ block.mH
    factor, info = torch.linalg.cholesky_ex(gram)
    if bool((info != 0).any()):
        return torch.linalg.qr(block.mT)[0].mT.contiguous()
    return torch.linalg.solve_triangular(factor, block, upper=False)


def _complement(block: Tensor, space: Tensor) -> Tensor:
    """Orthonormal basis of `block` with `space` projected out; twice, as once is not enough."""
    block = block - (block @ space.mH) @ space
    norm = torch.linalg.vector_norm(block, dim=-1, keepdim=True)
    # A band whose residual is exactly zero leaves an arbitrary direction, not 0/0.
    block = orthonormalize(block / norm.clamp_min(1e-300))
    block = block - (block @ space.mH) @ space
    return orthonormalize(block)


def davidson(
    apply: Callable[[Tensor], Tensor],
    orbitals: Tensor,
    kinetic: Tensor,
    expansions: int = 2,
    tolerance: float = 0.0,
    wanted: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Improve the lowest eigenstates of a Hermitian operator.

    Parameters
    ----------
    apply : callable
        (nk, n, npw) -> the operator applied to it.
    orbitals : Tensor
        Start, orthonormal rows, (nk, nband, npw).
    kinetic : Tensor
        Kinetic energies, (nk, npw), Hartree.
    expansions : int, optional
        Largest number of blocks of preconditioned residuals added to the subspace.
    tolerance : float, optional
        Stop before that once the residual norms of the wanted bands are below this, Hartree.
    wanted : int, optional
        How many of the lowest bands the tolerance is for; all by default.

    Returns
    -------
    eigenvalues : Tensor
        Ascending, (nk, nband), Hartree.
    orbitals : Tensor
        (nk, nband, npw).
    residuals : Tensor
        Norms of H psi - e psi, (nk, nband), Hartree.
    """
    nband = orbitals.shape[1]
    wanted = nband if wanted is None else wanted
    space, image = orbitals, apply(orbitals)
    matrix = space @ image.mH
    for expansion in range(expansions + 1):
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        eigenvalues = eigenvalues[:, :nband]
        vectors = vectors[:, :, :nband].mH
        current = vectors @ space
        residual = torch.baddbmm(
            vectors @ image, torch.diag_embed(eigenvalues).to(current.dtype), current, alpha=-1
        )
        norms = torch.linalg.vector_norm(residual, dim=-1)
        if expansion == expansions or float(norms[:, :wanted].max()) < tolerance:
            break
        block = _complement(teter_preconditioner(kinetic, current) * residual, space)
        block_image = apply(block)
        cross = space @ block_image.mH
        corner = block @ block_image.mH
        matrix = torch.cat(
            [torch.cat([matrix, cross], dim=2), torch.cat([cross.mH, corner], dim=2)], dim=1
        )
        space = torch.cat([space, block], dim=1)
        image = torch.cat([image, block_image], dim=1)
    return eigenvalues, current, norms
