"""The exchange-correlation energy of points and their weights."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from deepchem_xc.xc import (
    PBE,
    FunctionalValueError,
    PBECorrelation,
    SpinParam,
    ValGrad,
    integrated_energies,
    integrated_energy,
)
from deepchem_xc.xc.sampling import sample_points


@pytest.mark.parametrize("spins", [1, 2])
def test_weights_stand_for_repeated_points(spins):
    points = sample_points(spins, 5)
    counts = torch.tensor([1, 2, 1, 3, 1])

    def repeated(channel):
        fields = (channel.value, channel.grad, channel.lapl, channel.kin)
        return ValGrad(*(None if x is None else x.repeat_interleave(counts, -1) for x in fields))

    twice = repeated(points) if spins == 1 else SpinParam(repeated(points.u), repeated(points.d))
    weighted = integrated_energy(PBE(), points, 0.1 * counts.double())
    assert_close(weighted, integrated_energy(PBE(), twice, 0.1), rtol=1e-13, atol=0.0)


def test_a_volume_is_in_the_graph():
    points, volume = sample_points(1, 5), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    energy = integrated_energy(PBE(), points, volume)
    energy.backward()
    assert_close(2.0 * volume.grad, energy.detach(), rtol=1e-14, atol=0.0)


def test_densities_on_the_same_points_have_the_energies_of_each():
    """Weights of two axes, as of directions and radii, and three densities."""
    points = [sample_points(1, 6) for _ in range(3)]
    for i, one in enumerate(points):
        one.value, one.grad = one.value * (1.0 + i), one.grad * (1.0 + i)
    weights = torch.tensor([[0.1, 0.3, 0.2], [0.4, -0.1, 0.5]]).double()
    together = ValGrad(
        value=torch.stack([one.value.view(2, 3) for one in points]),
        grad=torch.stack([one.grad.view(3, 2, 3).movedim(0, 1) for one in points]),
    )
    energies = integrated_energies(PBE(), together, weights)
    expected = torch.stack([integrated_energy(PBE(), one, weights.flatten()) for one in points])
    assert_close(energies, expected, rtol=1e-13, atol=0.0)
    assert len(set(energies.tolist())) == 3


def test_what_is_not_finite_is_named():
    n, gradient = torch.tensor([0.05]).double(), torch.full((3, 1), 0.02).double()
    with pytest.raises(FunctionalValueError, match="gga_c_pbe gives nan as energy"):
        integrated_energy(PBECorrelation(beta=-0.6), ValGrad(value=n, grad=gradient), 1.0)
    with pytest.raises(FunctionalValueError, match="gga_c_pbe gives nan as energy"):
        one = torch.ones(1).double()
        integrated_energies(PBECorrelation(beta=-0.6), ValGrad(value=n, grad=gradient), one)
