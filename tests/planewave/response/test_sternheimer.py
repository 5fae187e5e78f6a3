"""Sternheimer's equation against LAPACK: rows of all sizes, real and complex, at all accuracies."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.planewave.response.sternheimer import KnownStates, solve_sternheimer

NK, NFILLED, NEMPTY, NPW = 3, 5, 3, 60


def crystal(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Hermitian matrices that grow along the diagonal as kinetic energies do, and their states."""
    noise = torch.randn(NK, NPW, NPW, dtype=dtype, generator=torch.Generator().manual_seed(0))
    kinetic = torch.linspace(0.0, 100.0, NPW, dtype=torch.float64)
    matrix = 0.2 * (noise + noise.mH) + torch.diag_embed(kinetic).to(dtype)
    energies, vectors = torch.linalg.eigh(matrix)
    return matrix, energies, vectors.mT  # rows are states


def known_states(matrix: Tensor, energies: Tensor, states: Tensor, spoil: float) -> KnownStates:
    """The lowest states; the empty ones are off by `spoil`."""
    lowest = states[:, : NFILLED + NEMPTY].clone()
    lowest[:, NFILLED:] += spoil * states[:, 20 : 20 + NEMPTY]
    lowest = torch.linalg.qr(lowest.mT)[0].mT
    empty = lowest[:, NFILLED:]
    image = empty @ matrix.mT
    values = (empty.conj() * image).sum(-1).real
    rough = image - values.unsqueeze(-1) * empty
    above = values[:, None] - energies[:, :NFILLED, None]
    return KnownStates(
        lowest, lowest, energies[:, :NFILLED], above, rough, torch.ones(NK, NFILLED, NPW).double()
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-9, 1e-30])
def test_it_solves_the_equation(dtype: torch.dtype, tolerance: float) -> None:
    matrix, energies, states = crystal(dtype)
    known = known_states(matrix, energies, states, spoil=1e-3)
    # Rows of one to 1e-9, and one that is nothing: some are done long before others.
    size = torch.logspace(0, -9, NK * NFILLED, dtype=torch.float64).view(NK, NFILLED, 1)
    cotangent = size * torch.randn(NK, NFILLED, NPW, dtype=dtype)
    cotangent[1, 2] = 0.0

    def apply(rows: Tensor) -> Tensor:
        return rows @ matrix.mT.to(rows.dtype)

    found = solve_sternheimer(apply, known, cotangent, tolerance)
    assert found.dtype == dtype
    # The empty states' own part is the caller's.
    empty = known.states[:, NFILLED:]
    whole = found - ((cotangent @ empty.mH) / known.above) @ empty
    residual = apply(whole) - known.energies.unsqueeze(-1) * whole + cotangent
    outside = (residual @ states[:, NFILLED:].mH).norm(dim=-1)
    # Less than 1e-13 of the largest row cannot be reached.
    assert float(outside.max()) < 1.1 * max(tolerance, 1e-11)
    assert float((found @ states[:, :NFILLED].mH).abs().max()) < 1e-12


@pytest.mark.parametrize("size", [1e-150, 1e-200, 1e-310])
def test_rows_whose_squares_underflow_are_left_out(size: float) -> None:
    """Smeared occupations far above the Fermi level are such numbers."""
    matrix, energies, states = crystal(torch.float64)
    known = known_states(matrix, energies, states, spoil=1e-3)
    cotangent = torch.randn(NK, NFILLED, NPW, dtype=torch.float64)
    cotangent[1, 2] *= size

    def solved(rows: Tensor) -> Tensor:
        return solve_sternheimer(lambda x: x @ matrix.mT.to(x.dtype), known, rows, 1e-9)

    found = solved(cotangent)
    cotangent[1, 2] = 0.0
    assert torch.equal(found, solved(cotangent))


def test_a_state_that_is_missing_is_an_error() -> None:
    matrix, energies, states = crystal(torch.float64)
    known = known_states(matrix, energies, states, spoil=0.0)
    hole = torch.cat([states[:, 1:NFILLED], states[:, NFILLED + 5 : NFILLED + 6]], dim=1)
    known = known._replace(
        states=hole,
        duals=hole,
        energies=energies[:, 1 : NFILLED + 1],
        above=torch.zeros(NK, NFILLED, 0).double(),
        rough=torch.zeros(NK, 0, NPW).double(),
    )
    with pytest.raises(ResponseConvergenceError, match="was not found"):
        solve_sternheimer(
            lambda rows: rows @ matrix.mT.to(rows.dtype),
            known,
            torch.ones(NK, NFILLED, NPW).double(),
            1e-8,
        )
