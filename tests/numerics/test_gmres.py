"""GMRES on small linear equations that can be solved directly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.numerics.gmres import gmres


def equation(size: int, complex_: bool = False) -> tuple[Tensor, Tensor]:
    torch.manual_seed(size)
    dtype = torch.complex128 if complex_ else torch.float64
    matrix = torch.eye(size, dtype=dtype) + 0.3 * torch.randn(size, size, dtype=dtype) / size**0.5
    return matrix, torch.randn(size, dtype=dtype)


@pytest.mark.parametrize("complex_", [False, True])
def test_the_solution_is_that_of_a_direct_solver(complex_: bool) -> None:
    matrix, right = equation(12, complex_)
    found = gmres(lambda x, accuracy: matrix @ x, right, 1e-12)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, right), rtol=1e-10, atol=1e-10)


def test_operators_need_be_linear_over_the_real_numbers_only() -> None:
    right = torch.tensor([1.0 + 2.0j], dtype=torch.complex128)
    found = gmres(lambda x, accuracy: 2.0 * x + x.conj(), right, 1e-12)
    torch.testing.assert_close(2.0 * found + found.conj(), right)


def test_products_may_be_as_inexact_as_they_are_allowed_to_be() -> None:
    matrix, right = equation(12)
    allowed: list[float] = []

    def rough(x: Tensor, accuracy: float) -> Tensor:
        allowed.append(accuracy)
        noise = torch.randn_like(x)
        return matrix @ x + accuracy * float(x.norm() / noise.norm()) * noise

    found = gmres(rough, right, 1e-6)
    assert float((matrix @ found - right).norm() / right.norm()) < 2e-6
    assert allowed == sorted(allowed) and allowed[-1] > 100.0 * allowed[0]


def test_the_norm_of_the_inner_product_is_what_is_minimised() -> None:
    """After one product: the multiple of the right-hand side with the smallest residual in it."""
    matrix, right = equation(6)
    metric = torch.logspace(-2.0, 2.0, 6, dtype=torch.float64)

    def size(x: Tensor) -> float:
        return float((metric * x * x).sum())

    found = gmres(
        lambda x, accuracy: matrix @ x,
        right,
        1e-12,
        maxiter=1,
        inner=lambda a, b: (metric * a * b).sum(),
        strict=False,
    )
    image = matrix @ right
    best = float((metric * image * right).sum() / (metric * image * image).sum())
    torch.testing.assert_close(found, best * right)
    assert size(right - matrix @ found) < size(right - matrix @ (1.01 * found))


@pytest.mark.parametrize("maxiter", [1, 3, 5])
def test_too_few_products_are_an_error_or_the_best_that_they_give(maxiter: int) -> None:
    matrix, right = equation(12)

    def apply(x: Tensor, accuracy: float) -> Tensor:
        return matrix @ x

    with pytest.raises(
        ResponseConvergenceError, match=f"toy equation did not .* in {maxiter} it.*Think again"
    ) as error:
        gmres(apply, right, 1e-12, maxiter, equation="the toy equation", advice="Think again.")
    assert len(error.value.history) == maxiter + 1
    best = gmres(apply, right, 1e-12, maxiter, strict=False)
    left = float((matrix @ best - right).norm() / right.norm())
    assert left == pytest.approx(error.value.history[-1], rel=1e-8)


def test_nothing_on_the_right_hand_side_has_nothing_as_its_solution() -> None:
    def never(x: Tensor, accuracy: float) -> Tensor:
        raise AssertionError("no product is needed")

    assert gmres(never, torch.zeros(3), 1e-8).tolist() == [0.0, 0.0, 0.0]


def test_an_operator_that_gives_nothing_has_no_solution() -> None:
    right = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ResponseConvergenceError, match="its residual is 1.0e"):
        gmres(lambda x, accuracy: 0.0 * x, right, 1e-8)
    assert gmres(lambda x, accuracy: 0.0 * x, right, 1e-8, strict=False).tolist() == [0.0] * 3


@pytest.mark.parametrize("strict", [True, False])
def test_what_is_not_a_number_is_never_a_solution(strict: bool) -> None:
    right = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ResponseConvergenceError, match="its residual is nan"):
        gmres(lambda x, accuracy: torch.nan * x, right, 1e-8, strict=strict)
