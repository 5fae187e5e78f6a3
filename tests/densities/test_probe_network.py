"""The network with probe points: grid and points agree, electrons before and after the constant."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.densities import ProbeDensityNetwork, probe_network
from deepchem_xc.planewave import Crystal
from tests.crystals import cubic, doubles
from tests.densities.shared import LATTICE, POSITIONS, crystal, network, sphere
from tests.differences import assert_derivative

MOMENTS = (0.4, -1.0, 2.0)


def _made(**options: object) -> ProbeDensityNetwork:
    made = network(ProbeDensityNetwork, **options)
    assert isinstance(made, ProbeDensityNetwork)
    return made


@pytest.mark.parametrize("target", ["difference", "total"])
def test_a_constant_makes_the_electrons_right(target: str) -> None:
    made = _made(target=target, spin=True)
    basis = sphere(crystal(MOMENTS), 1.0)
    right = 13.0 if target == "total" else 0.0
    with torch.no_grad():
        own, density = made.on_grid(basis), made.density(basis)
    error = made.electron_error(basis)
    electrons = float(own.sum() / basis.ngrid * basis.volume)
    assert electrons - right == pytest.approx(error, rel=1e-10)
    assert abs(error) > 1e-3
    total = float((density[:, 0].sum() * basis.volume).real)
    assert abs(total - right) < 1e-10 * 13.0
    # The constant changes neither the shape nor the magnetisation.
    expected = basis.to_sphere(own)
    torch.testing.assert_close(density[:, 1:], expected[:, 1:])
    torch.testing.assert_close(density[0] - density[1], expected[0] - expected[1])


def test_points_in_pieces_give_the_same_values_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _made()
    points = torch.rand(11, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outcomes = []
    for size in (512, 4):
        monkeypatch.setattr(probe_network, "_AT_A_TIME", size)
        values = made.at_points(crystal(), points)
        gradients = torch.autograd.grad(values.square().sum(), list(made.parameters()))
        outcomes.append([values.detach(), *gradients])
    for whole, pieces in zip(*outcomes):
        torch.testing.assert_close(pieces, whole, rtol=1e-10, atol=1e-16)


def test_points_in_pieces_can_be_differentiated_with_other_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in forces at the density of a model, whose parameters are left out of the graph."""
    made = _made()
    fixed = {name: parameter.detach() for name, parameter in made.named_parameters()}
    outcomes = []
    for size in (512, 100):
        monkeypatch.setattr(probe_network, "_AT_A_TIME", size)
        lattice = LATTICE.clone().requires_grad_()
        basis = sphere(Crystal(lattice, crystal().symbols, POSITIONS), 1.0)
        assert basis.ngrid > 100
        (density,) = torch.func.functional_call(made, fixed, ([basis],))
        outcomes.append(torch.autograd.grad(density.abs().square().sum(), lattice)[0])
    torch.testing.assert_close(*outcomes, rtol=1e-9, atol=1e-16)


def test_derivatives_with_respect_to_positions_also_at_a_nucleus() -> None:
    made = _made()
    of = crystal()
    generator = torch.Generator().manual_seed(2)
    shift = 0.1 * torch.randn(3, 3, generator=generator).double()
    points = torch.cat([POSITIONS[:1], torch.rand(4, 3, generator=generator).double()])
    positions = POSITIONS.clone().requires_grad_()
    value = made.at_points(of.with_geometry(positions=positions), points).sum()
    (slope,) = torch.autograd.grad(value, positions)
    assert torch.isfinite(slope).all()

    def along(x: float) -> torch.Tensor:
        with torch.no_grad():
            moved = of.with_geometry(positions=POSITIONS + x * shift)
            return made.at_points(moved, points[1:]).sum()

    value = made.at_points(of.with_geometry(positions=positions), points[1:]).sum()
    (slope,) = torch.autograd.grad(value, positions)
    assert_derivative((slope * shift).sum(), along, 1e-3, rel=1e-6)


def test_every_parameter_has_a_gradient() -> None:
    made = _made(spin=True)
    points = torch.rand(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([[1.0], [0.3]])
    (made.at_points(crystal(MOMENTS), points) * weights).square().sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0.0, name


def test_a_point_without_neighbours_has_a_density() -> None:
    made = _made(cutoff=3.0)
    of = Crystal(cubic(30.0), ("Ga",), doubles([[0.0, 0.0, 0.0]]))
    values = made.at_points(of, doubles([[0.5, 0.5, 0.5], [0.5, 0.0, 0.4]]))
    assert torch.isfinite(values).all() and values[0, 0] == values[0, 1]
