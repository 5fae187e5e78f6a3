"""Derivatives of fixed points, against closed forms and finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.numerics.implicit import attach_implicit, explicit_gradients, solve_adjoint
from tests.differences import assert_derivative

REFUSED = "no second derivatives of a toy"


class FixedPoint:
    """The fixed point of a map of x and parameters, found by plain iteration."""

    def __init__(
        self, function: Callable[..., Tensor], start: Tensor, inputs: Sequence[Tensor]
    ) -> None:
        self.function, self.backward_passes, self.steps = function, 0, 0
        self.x = start
        with torch.no_grad():
            for self.steps in range(400):
                before, self.x = self.x, function(self.x, *inputs)
                if torch.equal(before, self.x):
                    break

    def values(self) -> tuple[Tensor, ...]:
        return self.x, self.x.square().sum()

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> list[Tensor | None]:
        self.backward_passes += 1
        own = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
        with torch.enable_grad():
            x = self.x.detach().requires_grad_()
            image = self.function(x, *own)

        def vjp(n: Tensor, accuracy: float) -> Tensor:
            return torch.autograd.grad(image, x, n, retain_graph=True)[0]

        right = cotangents[0] + 2.0 * cotangents[1] * self.x
        n = solve_adjoint(vjp, right, 1e-12)
        with torch.enable_grad():
            return explicit_gradients((n * image).sum(), own)


def curved(x: Tensor, matrix: Tensor, shift: Tensor) -> Tensor:
    """A contracting map that is not linear in anything."""
    return torch.tanh(matrix @ x) * torch.cos(shift) + shift


def parameters() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    matrix = 0.2 * torch.randn(4, 4, dtype=torch.float64)
    return matrix, torch.linspace(0.1, 0.9, 4, dtype=torch.float64)


def solution(*inputs: Tensor) -> FixedPoint:
    return FixedPoint(curved, torch.zeros(4, dtype=torch.float64), inputs)


def test_a_linear_fixed_point_has_the_derivatives_of_its_closed_form() -> None:
    """x = A x + b is (1 - A)^-1 b."""
    matrix, shift = (x.requires_grad_() for x in parameters())
    toy = FixedPoint(
        lambda x, a, b: 0.3 * a @ x + b, torch.zeros(4, dtype=torch.float64), (matrix, shift)
    )
    (x, _) = attach_implicit(toy, (matrix, shift), REFUSED)
    found = torch.autograd.grad(x.sin().sum(), (matrix, shift))
    closed = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - 0.3 * matrix, shift)
    torch.testing.assert_close(x, closed)
    expected = torch.autograd.grad(closed.sin().sum(), (matrix, shift))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_nonlinear_fixed_point_has_the_derivatives_of_its_differences() -> None:
    matrix, shift = parameters()
    along = torch.randn(4, 4, dtype=torch.float64)

    def loss(size: float) -> float:
        x, square = solution(matrix + size * along, shift).values()
        return float(x[0] * x[2] + square)

    trained = matrix.clone().requires_grad_()
    toy = solution(trained, shift)
    x, square = attach_implicit(toy, (trained, shift), REFUSED)
    (x[0] * x[2] + square).backward()
    assert trained.grad is not None
    assert_derivative(float((trained.grad * along).sum()), loss, 1e-2, rel=1e-6)


def test_the_equation_is_solved_once_for_all_losses_of_a_backward_pass() -> None:
    matrix, shift = (x.requires_grad_() for x in parameters())
    toy = solution(matrix, shift)
    x, square = attach_implicit(toy, (matrix, shift), REFUSED)
    together = torch.autograd.grad(
        x[0] + 3.0 * x[1].exp() + square, (matrix, shift), retain_graph=True
    )
    assert toy.backward_passes == 1
    apart = [
        torch.autograd.grad(part, (matrix, shift), retain_graph=True)
        for part in (x[0], 3.0 * x[1].exp(), square)
    ]
    for i, gradient in enumerate(together):
        torch.testing.assert_close(gradient, sum(part[i] for part in apart))


def test_inputs_that_require_no_gradient_get_none() -> None:
    matrix, shift = parameters()
    x, _ = attach_implicit(solution(matrix, shift), (matrix, shift), REFUSED)
    assert not x.requires_grad
    shift.requires_grad_()
    x, _ = attach_implicit(solution(matrix, shift), (matrix, shift), REFUSED)
    x.sum().backward()
    assert matrix.grad is None and shift.grad is not None


def test_second_derivatives_are_refused_and_a_graph_that_is_not_used_does_no_harm() -> None:
    matrix, shift = (x.requires_grad_() for x in parameters())
    x, _ = attach_implicit(solution(matrix, shift), (matrix, shift), REFUSED)
    plain = torch.autograd.grad(x.sum(), (matrix, shift), retain_graph=True)
    kept = torch.autograd.grad(x.sum(), (matrix, shift), create_graph=True)
    for a, b in zip(plain, kept, strict=True):
        assert torch.equal(a, b.detach())
    with pytest.raises(NotImplementedError, match=REFUSED):
        sum(g.square().sum() for g in kept).backward()


def test_gradients_are_computed_in_double_precision_under_autocast() -> None:
    matrix, shift = (x.requires_grad_() for x in parameters())
    x, _ = attach_implicit(solution(matrix, shift), (matrix, shift), REFUSED)
    plain = torch.autograd.grad(x.sum(), (matrix, shift), retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        other = torch.autograd.grad(x.sum(), (matrix, shift))
    for a, b in zip(plain, other, strict=True):
        assert torch.equal(a, b)


def test_an_adjoint_equation_without_solution_is_an_error() -> None:
    """The map x -> p + x has no fixed point, and its adjoint equation no solution."""
    with pytest.raises(ResponseConvergenceError, match="the adjoint equation did not converge"):
        solve_adjoint(lambda n, accuracy: n, torch.ones(2, dtype=torch.float64), 1e-8)


def test_the_inner_product_decides_what_the_tolerance_means() -> None:
    """What has no weight needs no digits."""
    slope = torch.tensor([0.5, -3.0], dtype=torch.float64)
    products: list[float] = []

    def vjp(n: Tensor, accuracy: float) -> Tensor:
        products.append(accuracy)
        return slope * n

    right = torch.ones(2, dtype=torch.float64)
    solve_adjoint(vjp, right, 1e-8, inner=lambda a, b: a[0] * b[0])
    assert len(products) == 1
    solve_adjoint(vjp, right, 1e-8)
    assert len(products) == 3
