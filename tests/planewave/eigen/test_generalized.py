"""Small generalised eigenproblems against LAPACK's own driver."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from deepchem_xc.numerics.errors import DiagonalizationError
from deepchem_xc.planewave.eigen.generalized import generalized_eigh


def pencils(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two Hermitian matrices and two overlaps with condition numbers of about 1e3, (2, 9, 9)."""
    a, b = torch.randn(2, 2, 9, 9, dtype=dtype)
    q = torch.linalg.qr(b)[0]
    spectrum = torch.logspace(-1, 2, 9, dtype=torch.float64).to(dtype)
    return a + a.mH, (q * spectrum) @ q.mH


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_values_are_lapacks_and_vectors_solve_the_problem(dtype: torch.dtype) -> None:
    matrix, overlap = pencils(dtype)
    values, vectors = generalized_eigh(matrix, overlap)
    for i in range(2):
        expected = scipy.linalg.eigh(matrix[i].numpy(), overlap[i].numpy(), eigvals_only=True)
        np.testing.assert_allclose(values[i], expected, rtol=1e-11, atol=1e-11)
    residual = matrix @ vectors - (overlap @ vectors) * values.unsqueeze(-2)
    assert float(residual.abs().max()) < 1e-10
    unit = torch.eye(9, dtype=dtype).expand(2, 9, 9)
    torch.testing.assert_close(vectors.mH @ overlap @ vectors, unit, rtol=0, atol=1e-12)


def test_only_lower_triangles_are_read() -> None:
    matrix, overlap = pencils(torch.complex128)
    expected = generalized_eigh(matrix, overlap)[0]
    upper = torch.full((9, 9), torch.nan, dtype=torch.complex128).triu(1)
    found = generalized_eigh(matrix + upper, overlap + upper)[0]
    assert torch.equal(found, expected)
    alone = generalized_eigh(matrix + upper)[0]
    torch.testing.assert_close(alone, torch.linalg.eigvalsh(matrix), rtol=0, atol=1e-12)


def test_an_indefinite_overlap_is_refused() -> None:
    matrix, overlap = pencils(torch.float64)
    overlap[1] -= torch.eye(9, dtype=torch.float64)
    with pytest.raises(DiagonalizationError, match="not positive definite"):
        generalized_eigh(matrix, overlap)
