"""What every pseudopotential promises, whatever its format (see pseudo/base.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.planewave.pseudo import Pseudopotential, load_gth, read_psp8, read_upf
from tests.devices import GPU
from tests.differences import assert_agreement, differences


@pytest.fixture(params=["Si gth-pbe", "Ni gth-pbe", "Ce gth-pade", "psp8", "upf"])
def potential(request, psp8_text, upf_text, write) -> Pseudopotential:
    if request.param == "psp8":
        return read_psp8(write("Si.psp8", psp8_text()), "Si")
    if request.param == "upf":
        return read_upf(write("Si.upf", upf_text("logarithmic")), "Si")
    return load_gth(*request.param.split())


def functions(potential: Pseudopotential, at_zero: bool) -> dict:
    named = {f"projectors {c.l}": i for i, c in enumerate(potential.channels)}
    found = {
        name: lambda q2, i=i: potential.projectors(i, q2).sum(dim=0) for name, i in named.items()
    }
    found["atomic density"] = potential.atomic_density
    if potential.has_core_density:
        found["core density"] = potential.core_density
    if not at_zero:
        found["local"] = potential.local
    return found


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_shapes_and_types(potential, shape: tuple[int, ...]) -> None:
    q2 = torch.full(shape, 2.0, dtype=torch.float64)
    for name, function in functions(potential, at_zero=False).items():
        value = function(q2)
        assert value.shape == shape and value.dtype == torch.float64, name
    for i, channel in enumerate(potential.channels):
        n = channel.coupling.shape[0]
        assert potential.projectors(i, q2).shape == (n, *shape)
        assert channel.coupling.shape == (n, n) and channel.coupling.dtype == torch.float64
        assert torch.equal(channel.coupling, channel.coupling.T)


def test_derivatives_equal_finite_differences(potential) -> None:
    q2 = torch.tensor([0.01, 0.3, 2.0, 17.0], dtype=torch.float64, requires_grad=True)
    at = q2.detach()
    step = 4e-3 * at.numpy()
    for name, function in functions(potential, at_zero=False).items():

        def slope(x: torch.Tensor, function: Any = function) -> torch.Tensor:
            x = x.requires_grad_()
            return torch.autograd.grad(function(x).sum(), x, create_graph=True)[0]

        value = function(q2)
        (first,) = torch.autograd.grad(value.sum(), q2, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), q2)
        scale = value.detach().abs().max()
        for order, derivative, of in ((1, first, function), (2, second, slope)):
            assert_agreement(
                derivative,
                differences(lambda h, of=of: of(at + torch.as_tensor(h)), step),
                rel=1e-8,
                scale=scale / at**order,
                name=name,
            )


def test_values_and_derivatives_are_finite_and_smooth_at_zero(potential) -> None:
    points = torch.tensor([0.0, 1e-300, 1e-12, 1e-7], dtype=torch.float64, requires_grad=True)
    for name, function in functions(potential, at_zero=True).items():
        value = function(points)
        (first,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), points)
        for order, x in enumerate((value, first, second)):
            assert torch.isfinite(x).all(), (name, order)
            np.testing.assert_allclose(
                x.detach(), x[0].expand(4).detach(), rtol=1e-4, err_msg=f"{name} {order}"
            )


def test_alpha_is_the_limit_of_the_local_potential(potential) -> None:
    q2 = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    without_coulomb = potential.local(q2) + 4 * torch.pi * potential.valence / q2
    limit = 2 * without_coulomb[0] - without_coulomb[1]  # linear extrapolation
    assert limit.item() == pytest.approx(potential.alpha, abs=1e-4)


def test_densities_hold_their_electrons_and_decay(potential) -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    assert potential.atomic_density(zero).item() == pytest.approx(potential.valence, abs=1e-9)
    far = torch.tensor([900.0], dtype=torch.float64)
    assert potential.atomic_density(far).abs().item() < 1e-3
    if potential.has_core_density:
        assert potential.core_density(zero).item() == pytest.approx(0.7, abs=1e-9)


@pytest.mark.gpu
def test_results_follow_the_device(potential) -> None:
    q2 = torch.linspace(0.1, 50, 31, dtype=torch.float64)
    for name, function in functions(potential, at_zero=False).items():
        on_gpu = function(q2.to(GPU))
        assert on_gpu.device.type == GPU, name
        torch.testing.assert_close(on_gpu.cpu(), function(q2), rtol=1e-12, atol=1e-12)
