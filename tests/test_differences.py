"""The comparison with differences passes for right derivatives, and for no others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.differences import (
    assert_agreement,
    assert_derivative,
    assert_exact_derivatives,
    differences,
    named_differences,
)


def smooth(x: float) -> float:
    return float(np.exp(0.7 * np.sin(3.0 * x + 0.4)))


SLOPE = 0.7 * 3.0 * np.cos(0.4) * smooth(0.0)


def noisy(size: float, seed: int) -> Callable[[float], float]:
    """With an error that is another one at each point, as of a loop that stops at a tolerance."""
    random = np.random.default_rng(seed)
    return lambda x: smooth(x) + size * float(random.standard_normal())


@pytest.mark.parametrize(("halvings", "rel"), [(2, 1e-5), (3, 1e-9)])
def test_an_exact_function(halvings: int, rel: float) -> None:
    found = differences(smooth, 0.02, halvings)
    assert abs(found.value - SLOPE) < found.uncertainty < rel * SLOPE
    assert_derivative(SLOPE, smooth, 0.02, rel=1e-5)


@pytest.mark.parametrize("error", [1e-4, -1e-4])
def test_a_wrong_derivative_fails(error: float) -> None:
    with pytest.raises(AssertionError, match="not that of the differences"):
        assert_derivative(SLOPE * (1.0 + error), smooth, 0.02, rel=1e-5)


@pytest.mark.parametrize("halvings", [2, 3])
@pytest.mark.parametrize("size", [1e-13, 1e-11, 1e-9])
def test_the_uncertainty_holds_the_noise(size: float, halvings: int) -> None:
    """The error is rarely three times as large, and hardly ever ten times."""
    found = [differences(noisy(size, seed), 0.01, halvings) for seed in range(2000)]
    error = np.array([abs(x.value - SLOPE) for x in found])
    uncertainty = np.array([x.uncertainty for x in found])
    assert (error > 3.0 * uncertainty).mean() < 0.04
    assert (error > 10.0 * uncertainty).mean() < 0.005
    if size > 1e-10:  # else truncation is the larger part
        assert 0.3 < np.median(error) / np.median(uncertainty) < 1.0


def test_noise_below_the_tolerance_never_fails() -> None:
    """A tenth of the tolerance of noise, and a derivative that is right."""
    for seed in range(2000):
        assert_derivative(SLOPE, noisy(1e-9, seed), 0.02, rel=1e-5 * 0.3)


def test_an_error_that_has_the_sign_of_the_step_is_seen() -> None:
    found = differences(lambda x: smooth(x) + 1e-8 * np.sign(x), 0.02)
    assert 1e-7 < abs(found.value - SLOPE) < 3.0 * found.uncertainty


@pytest.mark.parametrize("seed", range(20))
def test_differences_that_cannot_tell_fail_whatever_the_derivative(seed: int) -> None:
    with pytest.raises(AssertionError, match="too uncertain to tell"):
        assert_derivative(SLOPE, noisy(1e-5, seed), 0.02, rel=1e-5)


def test_a_step_that_is_too_large_fails() -> None:
    with pytest.raises(AssertionError, match="too uncertain to tell"):
        assert_derivative(SLOPE, smooth, 0.5, rel=1e-5)


def test_a_constant_needs_a_scale() -> None:
    found = differences(lambda x: 3.0, 0.01)
    with pytest.raises(AssertionError, match="too uncertain"):
        assert_agreement(0.0, found)
    assert_agreement(0.0, found, scale=1.0)
    with pytest.raises(AssertionError, match="not that of"):
        assert_agreement(1e-4, found, scale=1.0)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_what_is_not_finite_fails(broken: float) -> None:
    with pytest.raises(AssertionError):
        assert_derivative(broken, smooth, 0.02)
    with pytest.raises(AssertionError), np.errstate(invalid="ignore"):
        assert_derivative(SLOPE, lambda x: broken, 0.02)


def test_arrays_and_names() -> None:
    """One step an element, and one that is wrong among those that are right."""
    x = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    steps = 0.01 * x.numpy()

    def cube(h: np.ndarray) -> torch.Tensor:
        return (x + torch.as_tensor(h)) ** 3

    assert_derivative(3.0 * x**2, cube, steps, rel=1e-9)
    with pytest.raises(AssertionError, match="not that of"):
        assert_derivative(3.0 * x**2 * torch.tensor([1.0, 1.0, 1.0001]), cube, steps, rel=1e-6)
    both = named_differences(lambda h: {"sine": np.sin(h), "twice": 2.0 * h}, 0.01)
    assert both["sine"].value == pytest.approx(1.0, abs=1e-9)
    assert both["twice"].value == pytest.approx(2.0, abs=1e-12)


class Wrong(torch.autograd.Function):
    """x^3, whose derivative is off by a part."""

    part = 0.0

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, cotangent: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3.0 * (1.0 + Wrong.part) * x**2 * cotangent


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_all_orders_are_checked_for_every_element(order: int) -> None:
    x, y = torch.tensor([0.7, -1.3, 0.0]).double(), torch.tensor([[2.0, 1e-3]]).double()

    def function(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.sin(x).sum() * y, (x**4).sum()

    assert_exact_derivatives(function, x, y, orders=tuple(range(1, order + 1)))


def test_a_wrong_derivative_of_one_element_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([0.7, -1.3, 2.0]).double()
    assert_exact_derivatives(Wrong.apply, x, orders=(1, 2))
    monkeypatch.setattr(Wrong, "part", 1e-5)
    with pytest.raises(AssertionError, match="not that of the differences\nderivative 1"):
        assert_exact_derivatives(Wrong.apply, x)
    cut = lambda x: x**2 + (x[0] - x[0].detach()) * x[1].detach() ** 2  # noqa: E731
    with pytest.raises(AssertionError, match="not that of the differences\nderivative 1"):
        assert_exact_derivatives(cut, x)
