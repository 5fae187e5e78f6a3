"""Small dense eigenproblems A x = e S x, batched."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.numerics.errors import DiagonalizationError


def generalized_eigh(matrix: Tensor, overlap: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of A x = e S x, with x^+ S x = 1.

    By Cholesky decomposition of S: eigenvalues lose as many digits as the condition number of S
    has.

    Parameters
    ----------
    matrix : Tensor
        Hermitian A, (..., n, n); only its lower triangle is read.
    overlap : Tensor, optional
        Hermitian positive definite S, (..., n, n), of which the lower triangle is read; None is
        S = 1.

    Returns
    -------
    eigenvalues : Tensor
        Ascending, (..., n), in the unit of A.
    vectors : Tensor
        Columns, (..., n, n).

    Raises
    ------
    DiagonalizationError
        If S is not positive definite.

    Examples
    --------
    >>> matrix, overlap = torch.diag(torch.tensor([6.0, 4.0])), torch.diag(torch.tensor([2.0, 4.0]))
    >>> generalized_eigh(matrix, overlap)[0].tolist()
    [1.0, 3.0]
    """
    if overlap is None:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    factor = cholesky_of_overlap(overlap)
    whole = matrix.tril() + matrix.tril(-1).mH
    half = torch.linalg.solve_triangular(factor, whole, upper=False)
    reduced = torch.linalg.solve_triangular(factor, half.mH, upper=False)
    values, vectors = torch.linalg.eigh(reduced)
    return values, torch.linalg.solve_triangular(factor.mH, vectors, upper=True)


def cholesky_of_overlap(overlap: Tensor) -> Tensor:
    """Lower triangular L with L L^+ = S, (..., n, n).

    Raises
    ------
    DiagonalizationError
        If S is not positive definite.

    Examples
    --------
    >>> cholesky_of_overlap(torch.tensor([[4.0]])).tolist()
    [[2.0]]
    """
    factor, info = torch.linalg.cholesky_ex(overlap)
    if bool((info != 0).any()):
        raise DiagonalizationError(
            "the overlap of the orbitals is not positive definite: the overlap matrix of the "
            "projectors makes the norm of a state negative. Spheres of atoms that overlap too much "
            "do that (larger distances, or datasets with smaller spheres), and so does a dataset "
            "that does not belong to its projectors."
        )
    return factor
