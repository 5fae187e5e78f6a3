"""Block Davidson for the lowest states, batched over k-points.

Rows are bands: an array (nk, nband, npw) holds orbitals, and every step is a batched matrix
product, Cholesky decomposition or small eigenproblem over k. The subspace holds at most
``1 + expansions`` blocks and is not restarted: in a self-consistency loop, warm starts with two
expansions a step gain most for each application of H.

The basis of the subspace is orthonormal by itself also where the states solve H c = e S c. The
small eigenproblem is then a generalised one, no worse conditioned than S, however dependent the
residuals are.

References
----------
.. [1] E. R. Davidson, J. Comput. Phys. 17, 87 (1975).
.. [2] M. P. Teter, M. C. Payne, D. C. Allan, Phys. Rev. B 40, 12255 (1989) (preconditioner).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deepchem_xc.numerics.precision import all_digits, to_single
from deepchem_xc.planewave.eigen.generalized import cholesky_of_overlap, generalized_eigh

# Residuals, in units of the tolerance, below which H is applied to corrections in single precision:
# rounding is some 1e-6 of them.
_CORRECTED = 1e4

#: Function that applies H, or both H and the overlap S, to rows (nk, n, npw).
Operator = Callable[[Tensor], Tensor] | Callable[[Tensor], tuple[Tensor, Tensor]]


def teter_preconditioner(kinetic: Tensor, orbitals: Tensor) -> Tensor:
    """Approximate inverse of H - e for plane waves well above a band's own kinetic energy.

    With x the ratio of the plane wave's kinetic energy to the band's, it is [2]_
    ``(27 + 18 x + 12 x^2 + 8 x^3) / (27 + 18 x + 12 x^2 + 8 x^3 + 16 x^4)``.

    Parameters
    ----------
    kinetic : Tensor
        |k+G|^2 / 2, (nk, npw), Hartree.
    orbitals : Tensor
        Normalised bands, (nk, nband, npw), real or complex.

    Returns
    -------
    Tensor
        Real factors, (nk, nband, npw), without unit.

    Examples
    --------
    Close to 1 for slow plane waves, 1 / 2x for fast ones:

    >>> kinetic = torch.tensor([[0.0, 1.0, 1000.0]], dtype=torch.float64)
    >>> band = torch.tensor([[[0.0, 1.0, 0.0]]], dtype=torch.float64)  # its own energy is 1 Ha
    >>> factors = teter_preconditioner(kinetic, band).flatten().tolist()
    >>> print([f"{factor:.4f}" for factor in factors])
    ['1.0000', '0.8025', '0.0005']
    """
    if orbitals.is_complex():
        weight = torch.view_as_real(orbitals).square().sum(-1)
    else:
        weight = orbitals.square()
    own = (weight @ kinetic.unsqueeze(-1)).squeeze(-1)
    x = kinetic.unsqueeze(1) / own.clamp_min(1e-3).unsqueeze(-1)
    top = 27.0 + x * (18.0 + x * (12.0 + 8.0 * x))
    return top / (top + 16.0 * x.pow(4))


def row_norms(block: Tensor) -> Tensor:
    """Euclidean norms of the rows, (nk, n); much faster than the complex norm of torch."""
    rows = torch.view_as_real(block).flatten(-2) if block.is_complex() else block
    return torch.linalg.vector_norm(rows, dim=-1)


def orthonormalize(
    block: Tensor, apply_overlap: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Orthonormal rows with the same span, by Cholesky, or QR if that breaks down.

    Parameters
    ----------
    block : Tensor
        (nk, n, npw), real or complex.
    apply_overlap : callable, optional
        Applies S to such rows, for rows with c S c^+ = 1.

    Returns
    -------
    Tensor
        (nk, n, npw).

    Raises
    ------
    DiagonalizationError
        If S is not positive definite.

    Examples
    --------
    >>> orthonormalize(torch.tensor([[[2.0, 0.0], [3.0, 5.0]]])).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    factor, info = torch.linalg.cholesky_ex(block @ block.mH)
    if bool((info != 0).any()):
        rows = torch.linalg.qr(block.mT)[0].mT.contiguous()
    else:
        rows = _inverse(factor) @ block
    if apply_overlap is None:
        return rows
    # Of orthonormal rows S is no worse conditioned than S itself, however dependent the given were.
    return _inverse(cholesky_of_overlap(rows @ apply_overlap(rows).mH)) @ rows


def _inverse(factor: Tensor) -> Tensor:
    """Inverse of lower triangular matrices, (nk, n, n)."""
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)


def _complement(block: Tensor, space: Tensor) -> Tensor:
    """Orthonormal basis of `block` with `space` projected out (twice: once is not enough)."""
    block = torch.baddbmm(block, block @ space.mH, space, alpha=-1)
    # A band whose residual is exactly zero leaves an arbitrary direction, not 0/0.
    norms = row_norms(block)
    block = orthonormalize(block / norms.clamp_min(torch.finfo(norms.dtype).tiny).unsqueeze(-1))
    block = torch.baddbmm(block, block @ space.mH, space, alpha=-1)
    return orthonormalize(block)


def davidson(
    apply: Operator,
    orbitals: Tensor,
    kinetic: Tensor,
    nband: int | None = None,
    expansions: int = 2,
    tolerance: Tensor | float = 0.0,
    dimension: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Improve the lowest states of H c = e c or, with an overlap S, of H c = e S c.

    Corrections are as small, relative to the orbitals, as the residuals. The operator is applied to
    them in single precision if the rounding stays far below the tolerance, but never to orbitals.

    Parameters
    ----------
    apply : callable
        Applies the operator to (nk, n, npw), in its argument's precision: returns H c, or the pair
        of H c and S c.
    orbitals : Tensor
        Start, (nk, nstart, npw); real or complex, single or double precision. Its rows are
        orthonormal by themselves, whatever S is.
    kinetic : Tensor
        Kinetic energies, (nk, npw), Hartree, in the orbitals' precision.
    nband : int, optional
        Number of wanted states, at most nstart; all nstart by default.
    expansions : int, optional
        Largest number of times that preconditioned residuals are added to the subspace.
    tolerance : float or Tensor, optional
        Residual norm at which a band counts as converged, Hartree; one number, or one for each band
        (nk, nband). Bands that are converged at all k-points are no longer expanded.
    dimension : int, optional
        Smallest number of plane waves at any k-point, npw by default: the subspace cannot exceed
        it.

    Returns
    -------
    eigenvalues : Tensor
        Ascending, (nk, nband), Hartree, in double precision.
    orbitals : Tensor
        (nk, nband, npw), orthonormal, c S c^+ = 1.
    residuals : Tensor
        Norms of H c - e S c, (nk, nband), Hartree.

    Raises
    ------
    DiagonalizationError
        If S is not positive definite.

    Examples
    --------
    Tunnelling (0.1 Ha) between the sites of a ring: -0.2 cos(2 pi m / 8) for m = 0, 1, -1.

    >>> hop = lambda x: -0.1 * (x.roll(1, -1) + x.roll(-1, -1))
    >>> start = orthonormalize(torch.rand(1, 3, 8, dtype=torch.float64))
    >>> levels, _, _ = davidson(hop, start, torch.ones(1, 8, dtype=torch.float64), expansions=9)
    >>> print([f"{level:.6f}" for level in levels[0]])
    ['-0.200000', '-0.141421', '-0.141421']
    """
    nk, nstart, npw = orbitals.shape
    nband = nstart if nband is None else nband
    # The subspace grows in place: concatenation would cost as much as the products with it.
    dimension = npw if dimension is None else dimension
    room = min(nstart + expansions * nband, dimension)
    space_buffer = orbitals.new_empty((nk, room, npw))
    space_buffer[:, :nstart] = orbitals
    # Of H, and of S if there is one: images of the subspace, and matrices between its rows. Small
    # eigenproblems are solved in double precision, whatever precision the orbitals have.
    fine = torch.complex128 if orbitals.is_complex() else torch.float64
    image_buffers: list[Tensor] = []
    matrix_buffers: list[Tensor] = []
    size, added, single = 0, nstart, False
    for expansion in range(expansions + 1):
        old, size = size, size + added
        space = space_buffer[:, :size]
        new_images = _images(apply, space[:, old:], single)
        if not image_buffers:
            image_buffers = [torch.empty_like(space_buffer) for _ in new_images]
            matrix_buffers = [orbitals.new_empty((nk, room, room), dtype=fine) for _ in new_images]
        images = [buffer[:, :size] for buffer in image_buffers]
        matrices = [buffer[:, :size, :size] for buffer in matrix_buffers]
        for image, matrix, new in zip(images, matrices, new_images, strict=True):
            image[:, old:] = new
            # Only lower triangles are read: compute them from the older images, which are more
            # exact.
            matrix[:, old:] = space[:, old:] @ image.mH
        eigenvalues, vectors = generalized_eigh(matrices[0], *matrices[1:])
        eigenvalues = eigenvalues[:, :nband]
        vectors = vectors[:, :, :nband].mH.to(orbitals.dtype)
        current = vectors @ space
        residual = torch.baddbmm(
            vectors @ images[0],
            torch.diag_embed(eigenvalues).to(current.dtype),
            vectors @ images[1] if len(images) > 1 else current,
            alpha=-1,
        )
        norms = row_norms(residual)
        if expansion == expansions:
            break
        active = (norms > tolerance).any(0).nonzero().squeeze(1)[: room - size]
        added = len(active)
        if added == 0:
            break
        single = bool((norms < _CORRECTED * tolerance)[:, active].all())
        block = teter_preconditioner(kinetic, current[:, active]) * residual[:, active]
        space_buffer[:, size : size + added] = _complement(block, space)
    return eigenvalues, current, norms


def _images(apply: Operator, block: Tensor, single: bool) -> tuple[Tensor, ...]:
    """H c, and S c if there is an S, in the precision of `block`."""
    if single:
        with all_digits():
            found = apply(to_single(block))
    else:
        found = apply(block)
    images = found if isinstance(found, tuple) else (found,)
    return tuple(image.to(block.dtype) for image in images)
