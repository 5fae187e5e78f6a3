"""Anderson's extrapolation on fixed points that are known."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from deepchem_xc.numerics.anderson import Anderson


def steps_to(
    anderson: Anderson[Tensor], response: Tensor, step: float = 1.0, most: int = 40
) -> int:
    """Steps until the residual of x -> target + response (x - target) is 1e-10 of the first."""
    target = torch.linspace(1.0, 2.0, len(response), dtype=torch.float64)
    x, first = torch.zeros_like(target), 0.0
    for count in range(most):
        residual = target + response * (x - target) - x
        size = float(torch.linalg.vector_norm(residual))
        first = first or size
        if size < 1e-10 * first:
            return count
        x = anderson.next_input(x, residual, step)
    return most


@pytest.mark.parametrize("eigenvalues", [(-2.0,), (-2.0, 0.5), (3.0, -4.0, 0.9)])
def test_a_linear_map_takes_one_step_more_than_it_has_eigenvalues(
    eigenvalues: tuple[float, ...],
) -> None:
    """On linear maps the method is GMRES, which ends after as many steps; none is contracting."""
    response = torch.tensor(eigenvalues * 4, dtype=torch.float64)
    assert steps_to(Anderson(history=8), response) == len(eigenvalues) + 1


def test_no_history_is_plain_iteration() -> None:
    x, residual = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -0.5])
    anderson: Anderson[Tensor] = Anderson(history=0)
    for _ in range(3):
        torch.testing.assert_close(anderson.next_input(x, residual, 0.4), x + 0.4 * residual)
        residual = -2.0 * residual


@pytest.mark.parametrize("history", [1, 2, 5])
def test_only_so_many_earlier_steps_are_combined(history: int) -> None:
    """What is older than that does not matter."""
    torch.manual_seed(0)
    steps = torch.randn(8, 2, 6, dtype=torch.float64)
    with_all, with_few = (Anderson[Tensor](history) for _ in range(2))
    for x, residual in steps:
        last = with_all.next_input(x, residual)
    for x, residual in steps[-history - 1 :]:
        again = with_few.next_input(x, residual)
    assert torch.equal(last, again)


def test_the_inner_product_decides_which_residual_is_smallest() -> None:
    """With all the weight on one component, this component of the residual vanishes."""
    torch.manual_seed(1)
    weight = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    anderson: Anderson[Tensor] = Anderson(4, lambda a, b: (weight * a * b).sum())
    steps = torch.randn(2, 2, 3, dtype=torch.float64)
    for x, residual in steps:
        _, smallest = anderson.extrapolated(x, residual)
    assert abs(float(smallest[0])) < 1e-14
    assert abs(float(smallest[1])) > 1e-3


def test_the_extrapolated_residual_is_orthogonal_to_all_changes() -> None:
    """The condition of least squares, with residuals that differ by many orders of magnitude."""
    torch.manual_seed(2)
    metric = torch.rand(20, dtype=torch.float64) + 0.1

    def inner(a: Tensor, b: Tensor) -> float:
        return float(torch.vdot(metric * a, b).real)

    anderson: Anderson[Tensor] = Anderson(5, inner)
    residuals = torch.randn(5, 20, dtype=torch.complex128)
    residuals *= 10.0 ** -torch.arange(5.0, dtype=torch.float64)[:, None]
    for residual in residuals:
        _, smallest = anderson.extrapolated(torch.zeros_like(residual), residual)
    for earlier in residuals[:-1]:
        change = residuals[-1] - earlier
        scale = (inner(change, change) * inner(smallest, smallest)) ** 0.5
        assert abs(inner(change, smallest)) < 1e-9 * scale


def test_a_step_goes_along_the_preconditioned_residual() -> None:
    x, residual = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 4.0])
    halved = Anderson[Tensor](3).next_input(x, residual, 0.5, lambda f: 0.5 * f)
    assert halved.tolist() == [1.5, 2.0]


def test_a_preconditioner_that_knows_the_response_needs_one_step() -> None:
    response = torch.tensor([-3.0, 0.5, 0.9], dtype=torch.float64)
    target = torch.ones(3, dtype=torch.float64)
    residual = target - response * target  # of x = 0
    found = Anderson[Tensor](3).next_input(
        torch.zeros_like(target), residual, 1.0, lambda f: f / (1.0 - response)
    )
    torch.testing.assert_close(found, target, rtol=1e-14, atol=0.0)


def test_a_nonlinear_fixed_point_is_found_where_plain_iteration_cycles() -> None:
    """x = 2 cos x, where the slope of the map is -1.7."""
    plain = x = torch.tensor([1.0], dtype=torch.float64)
    anderson: Anderson[Tensor] = Anderson(4)
    for _ in range(15):
        x = anderson.next_input(x, 2.0 * torch.cos(x) - x)
        plain = 2.0 * torch.cos(plain)
    assert abs(float(x - 2.0 * torch.cos(x))) < 1e-10
    assert abs(float(plain - 2.0 * torch.cos(plain))) > 1e-2


def test_equal_steps_and_a_residual_that_is_zero_do_no_harm() -> None:
    anderson: Anderson[Tensor] = Anderson(3)
    x, nothing = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for _ in range(3):
        assert torch.equal(anderson.next_input(x, nothing), x)


@dataclass(frozen=True)
class Pair:
    """The least that a vector has to offer."""

    first: Tensor
    second: float

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.first + other.first, self.second + other.second)

    def __sub__(self, other: Pair) -> Pair:
        return Pair(self.first - other.first, self.second - other.second)

    def __rmul__(self, number: float) -> Pair:
        return Pair(number * self.first, number * self.second)


def test_records_are_extrapolated_as_the_tensors_that_they_hold() -> None:
    torch.manual_seed(3)
    steps = torch.randn(4, 2, 5, dtype=torch.float64)
    tensors: Anderson[Tensor] = Anderson(3)
    records: Anderson[Pair] = Anderson(
        3, lambda a, b: torch.dot(a.first, b.first) + a.second * b.second
    )
    for x, residual in steps:
        plain = tensors.next_input(x, residual, 0.7)
        pairs = [Pair(v[:4], float(v[4])) for v in (x, residual)]
        pair = records.next_input(*pairs, 0.7)
    torch.testing.assert_close(torch.cat([pair.first, torch.tensor([pair.second])]), plain)


def test_a_negative_history_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Anderson(history=-1)
