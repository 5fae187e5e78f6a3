"""`Fields` and `Potential` are vectors, and the derivative of an energy is a potential."""

from __future__ import annotations

from dataclasses import fields as members

import pytest
import torch
from ase.build import bulk
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential, derivative, stack
from deepchem_xc.planewave.terms.xc import xc_energy, xc_potential
from deepchem_xc.xc import get_xc
from tests.differences import assert_derivative

BASIS = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 6.0, (1, 1, 1))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128)


def both() -> Fields:
    return Fields(random(2, 7), tau=random(2, 7), spheres=random(2, 5).real)


def positive(nspin: int) -> Fields:
    """A density and a kinetic energy density above that of von Weizsaecker, as orbitals make."""
    density = BASIS.to_sphere(0.02 + 0.01 * torch.rand(nspin, *BASIS.fft_size).double())
    tau = BASIS.to_sphere(0.05 + 0.02 * torch.rand(nspin, *BASIS.fft_size).double())
    smooth = torch.exp(-BASIS.density_q2)
    return Fields(density * smooth, tau * smooth)


def test_every_operation_reaches_every_member() -> None:
    a, b = both(), both()
    names = [member.name for member in members(Fields)]
    assert len(names) == len(a.leaves)
    for name in names:
        x, y = getattr(a, name), getattr(b, name)
        expected = {"sum": x + y, "difference": x - y, "twice": 2.0 * x, "half": x / 2.0}
        found = {"sum": a + b, "difference": a - b, "twice": 2.0 * a, "half": a / 2.0}
        for operation, value in expected.items():
            assert torch.equal(getattr(found[operation], name), value), operation
        assert torch.equal(getattr(stack([a, b]), name), torch.stack([x, y]))
        assert torch.equal(getattr(a.map(torch.conj), name), x.conj())


def test_a_member_that_is_none_is_zero() -> None:
    density, whole = Fields(random(2, 7)), both()
    for total in (density + whole, whole + density):
        assert total.tau is whole.tau
    assert torch.equal((whole - density).tau, whole.tau)  # type: ignore[arg-type]
    assert torch.equal((density - whole).tau, -whole.tau)  # type: ignore[operator, arg-type]
    assert density.dot(whole) == density.dot(Fields(whole.density))
    assert (density + density).tau is None


def test_a_record_is_not_changed_by_what_is_made_of_it() -> None:
    whole = both()
    before = whole.map(Tensor.clone)
    (2.0 * whole - whole / 3.0).detach()
    assert all(map(torch.equal, whole.leaves, before.leaves))
    with pytest.raises(AttributeError):
        whole.density = before.density  # type: ignore[misc]


def test_the_scalar_product_is_real_and_that_of_the_grid() -> None:
    """Parseval: the sphere's product is the integral over the cell."""
    fields = positive(2)
    potential = Potential(positive(2).density, positive(2).density)
    grids = (
        (BASIS.to_grid(x) * BASIS.to_grid(y)).sum(0).mean() * BASIS.volume
        for x, y in zip(potential.leaves, fields.leaves, strict=True)
    )
    torch.testing.assert_close(potential.energy(fields, BASIS.volume), sum(grids))
    a, b = both(), both()
    assert float(a.dot(b)) == pytest.approx(float(b.dot(a)))
    assert float(a.dot(a)) > 0.0


def test_densities_and_electrons_are_inverse() -> None:
    fields = both()
    volume = torch.tensor(270.0, dtype=torch.float64)
    again = fields.to_electrons(volume).to_densities(volume)
    for x, y in zip(again.leaves, fields.leaves, strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("nspin", [1, 2])
def test_the_potential_of_a_meta_gga_is_the_derivative_by_both_members(nspin: int) -> None:
    """Of density and kinetic energy density, along random directions of each, by differences."""
    functional, fields = get_xc("r2SCAN"), positive(nspin).symmetrized(BASIS)
    _, potential = xc_potential(BASIS, functional, fields)
    assert potential.v_tau is not None
    change = positive(nspin).symmetrized(BASIS)
    assert change.tau is not None
    alone = Fields(change.density), Fields(torch.zeros_like(change.density), change.tau)
    for direction in alone:

        def energy(step: float, direction: Fields = direction) -> float:
            return float(xc_energy(BASIS, functional, fields + step * direction))

        slope = float(potential.energy(direction, BASIS.volume))
        assert_derivative(slope, energy, 0.02, rel=1e-6)


def test_what_an_energy_does_not_depend_on_has_no_potential() -> None:
    electrons = positive(1).map(Tensor.requires_grad_)
    potential = derivative(electrons.density.abs().square().sum(), electrons)
    assert potential.v_tau is not None
    assert float(potential.v.abs().max()) > 0.0 == float(potential.v_tau.abs().max())
