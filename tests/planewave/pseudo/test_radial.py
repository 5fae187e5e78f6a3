"""Radial transforms against analytic Gaussians, other quadratures and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deepchem_xc.planewave.pseudo.radial import RadialTransform, quadrature_weights
from tests.devices import GPU


def gaussian_form_factor(l: int, q2: torch.Tensor, a: float) -> torch.Tensor:
    """Transform of r^l exp(-a r^2), divided by q^l (Gradshteyn and Ryzhik, 6.631.4)."""
    return (math.pi / a) ** 1.5 / (2 * a) ** l * torch.exp(-q2 / (4 * a))


def make(l: int, a: float = 1.1) -> RadialTransform:
    r = np.linspace(0.0, 7.0, 701)
    f = np.array([r ** (l + 2) * np.exp(-a * r**2), 2 * r ** (l + 2) * np.exp(-a * r**2)])
    return RadialTransform(l, r, quadrature_weights(r), f)


@pytest.mark.parametrize("l", [0, 1, 2, 3])
def test_gaussians_are_transformed_exactly(l: int) -> None:
    q2 = torch.cat([torch.zeros(1), torch.logspace(-12, 3, 4001)]).double()
    ours = make(l)(q2)
    exact = gaussian_form_factor(l, q2, 1.1)
    assert ours.shape == (2, *q2.shape)
    # q^l times the form factor is what enters the energy
    scale = q2 ** (0.5 * l)
    largest = (exact * scale).max()
    assert ((ours[0] - exact) * scale).abs().max() < 1e-11 * largest
    assert (ours[0] - exact).abs().max() < 1e-10 * exact.max()
    torch.testing.assert_close(ours[1], 2 * ours[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("l", [0, 1, 2, 3])
def test_first_and_second_derivatives_are_exact_also_at_zero(l: int) -> None:
    q2 = torch.tensor([0.0, 1e-14, 1e-3, 0.05, 0.0816, 0.0817, 1.0, 30.0], dtype=torch.float64)
    q2.requires_grad_()
    for function, tolerance in ((make(l), 1e-8),):
        value = function(q2)[0].sum()
        (first,) = torch.autograd.grad(value, q2, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), q2)
        exact = gaussian_form_factor(l, q2.detach(), 1.1)
        assert (first + exact / 4.4).abs().max() < tolerance * exact[0]
        assert (second - exact / 4.4**2).abs().max() < tolerance * exact[0]


def test_nodes_of_the_table_are_the_plain_sums_over_the_mesh() -> None:
    function = make(0)
    q = 0.01 * torch.arange(400, 1200, dtype=torch.float64)  # nodes, far from the series at zero
    r = torch.linspace(0.0, 7.0, 701, dtype=torch.float64)
    shape = r**2 * torch.exp(-1.1 * r**2) * torch.from_numpy(quadrature_weights(r.numpy()))
    plain = 4.0 * math.pi * (torch.sinc(q[:, None] * r / math.pi) @ shape)
    torch.testing.assert_close(function(q**2)[0], plain, rtol=0, atol=1e-14)


def test_the_table_grows_when_larger_wave_vectors_are_asked_for() -> None:
    function = make(0)
    small = torch.tensor([4.0], dtype=torch.float64)
    before = function(small)
    large = torch.tensor([3000.0, 4.0], dtype=torch.float64)
    after = function(large)
    assert torch.equal(before[:, 0], after[:, 1])
    assert after[:, 0].abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 4)])
def test_any_shape_is_kept(shape: tuple[int, ...]) -> None:
    assert make(1)(torch.ones(shape, dtype=torch.float64)).shape == (2, *shape)


def test_wave_vectors_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        make(0)(torch.tensor([float("nan")], dtype=torch.float64))


def test_logarithmic_meshes_are_integrated() -> None:
    r = 1e-5 * np.exp(0.0125 * np.arange(1130))
    value = quadrature_weights(r, 0.0125 * r) @ (r**2 * np.exp(-(r**2)))
    assert value == pytest.approx(math.sqrt(math.pi) / 4, abs=1e-13)


def test_functions_that_end_abruptly_are_integrated() -> None:
    r = np.linspace(0.0, 2.0, 201)
    assert quadrature_weights(r) @ r**2 == pytest.approx(8 / 3, abs=1e-5)


@pytest.mark.parametrize(
    "r, rab, message",
    [
        (np.linspace(0, 1, 5), None, "at least 8"),
        (np.linspace(1, 0, 50), None, "increasing"),
        (np.linspace(-1, 1, 50), None, "from r >= 0"),
        (np.linspace(0, 1, 50) ** 2, None, "not equidistant"),
        (np.linspace(0, 1, 50), np.full(50, 0.5), "does not match"),
        (np.linspace(0, 1, 50), np.full(40, 1 / 49), "does not match"),
    ],
)
def test_bad_meshes_are_refused(r: np.ndarray, rab: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quadrature_weights(r, rab)


def test_a_function_that_is_zero_everywhere_has_a_form_factor_of_zero() -> None:
    """The smooth core of hydrogen's PAW dataset; wave vectors of any length may be asked for."""
    r = np.linspace(0.0, 6.0, 301)
    nothing = RadialTransform(0, r, quadrature_weights(r), np.zeros((1, 301)))
    q2 = torch.tensor([0.0, 1e-6, 0.2, 9.0, 400.0], dtype=torch.float64)
    assert nothing(q2).tolist() == [[0.0] * 5]


@pytest.mark.gpu
def test_tables_follow_the_device() -> None:
    function = make(2)
    q2 = torch.linspace(0, 100, 57, dtype=torch.float64)
    on_gpu = function(q2.to(GPU))
    assert on_gpu.device.type == GPU
    torch.testing.assert_close(on_gpu.cpu(), function(q2), rtol=1e-13, atol=1e-13)


def test_functions_that_vanish_have_no_form_factor() -> None:
    """The smooth core of hydrogen, on a mesh that starts with small radii."""
    r = 0.4 * np.arange(300) / (300 - np.arange(300))
    zero = RadialTransform(0, r, np.gradient(r), np.zeros((2, len(r))))
    q2 = torch.linspace(0.0, 100.0, 7, dtype=torch.float64)
    assert torch.equal(zero(q2), torch.zeros(2, 7, dtype=torch.float64))
