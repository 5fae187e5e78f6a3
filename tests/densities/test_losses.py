"""Losses of densities against the metric, the Hartree energy and Parseval's theorem."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.densities import DensityLoss
from deepchem_xc.metrics import density_error
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.terms.hartree import Hartree
from tests.densities.shared import crystal, sphere

BASIS = sphere(crystal())


def _random(nspin: int, seed: int) -> torch.Tensor:
    """A smooth positive density with 8 electrons."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(nspin, *BASIS.fft_size, generator=generator, dtype=torch.float64)
    waves = BASIS.to_sphere(0.1 + values)
    return waves * (8.0 / (waves[:, 0].real.sum() * BASIS.volume))


def test_the_absolute_error_is_the_metric() -> None:
    one, other = _random(1, 0), _random(1, 1)
    found = DensityLoss("absolute")([BASIS], [one], [other], [8.0])
    grids = [BASIS.to_grid(x).numpy() for x in (one, other)]
    assert 100.0 * float(found) == pytest.approx(density_error(*grids), rel=1e-10)


def test_the_coulomb_norm_is_the_hartree_energy_of_the_difference() -> None:
    one, other = _random(1, 0), _random(1, 1)
    found = DensityLoss("coulomb").error(BASIS, one, other)
    assert float(found) == pytest.approx(float(Hartree().energy(BASIS, Fields(one - other))))


def test_the_squared_error_is_an_integral_over_space() -> None:
    one, other = _random(1, 0), _random(1, 1)
    found = DensityLoss("squared").error(BASIS, one, other)
    mean = BASIS.to_grid(one - other).square().mean()
    assert float(found) == pytest.approx(float(mean * BASIS.volume), rel=1e-10)


@pytest.mark.parametrize("kind", ["absolute", "squared", "coulomb"])
def test_channels_count_as_total_and_magnetisation(kind: str) -> None:
    """Equal channels give what the total alone gives; opposite changes leave the total alone."""
    loss = DensityLoss(kind)
    one, other = _random(1, 0), _random(1, 1)
    alone = loss.error(BASIS, one, other)
    halves = [torch.cat([x, x]) / 2.0 for x in (one, other)]
    assert float(loss.error(BASIS, *halves)) == pytest.approx(float(alone))
    opposite = torch.cat([one - other, other - one]) / 2.0
    found = loss.error(BASIS, opposite, torch.zeros_like(opposite))
    assert float(found) == pytest.approx(float(alone))


def test_structures_count_by_electrons_or_equally() -> None:
    zero = torch.zeros_like(_random(1, 0))
    densities = [_random(1, 0), _random(1, 1)]
    single = [float(DensityLoss("squared").error(BASIS, x, zero)) for x in densities]
    arguments = ([BASIS, BASIS], densities, [zero, zero], [2.0, 6.0])
    by_electrons = float(DensityLoss("squared")(*arguments))
    equally = float(DensityLoss("squared", weights="equal")(*arguments))
    assert by_electrons == pytest.approx(sum(single) / 8.0)
    assert equally == pytest.approx((single[0] / 2.0 + single[1] / 6.0) / 2.0)


def test_unknown_kinds_and_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="absolute, squared, coulomb; got 'l1'"):
        DensityLoss("l1")
    with pytest.raises(ValueError, match="electrons, equal; got 'none'"):
        DensityLoss("squared", weights="none")
    with pytest.raises(ValueError, match="equal channels"):
        DensityLoss("squared").error(BASIS, _random(1, 0), _random(2, 0))
