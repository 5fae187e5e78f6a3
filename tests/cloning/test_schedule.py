"""The learning rate of the protocol."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.cloning import CloningRate


def test_the_rate_is_constant_to_half_linear_to_nine_tenths_and_constant_again() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule = CloningRate()._create_pytorch_schedule(optimizer)
    rates = []
    for _ in range(20_000):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert set(rates[:10_001]) == {1e-3}
    assert rates[14_000] == pytest.approx(0.5 * (1e-3 + 1e-5))
    assert rates[18_000:] == pytest.approx([1e-5] * 2_000)
    assert rates[12_000] - rates[13_000] == pytest.approx(rates[16_000] - rates[17_000])


@pytest.mark.parametrize(
    "options", [{"initial_rate": 0.0}, {"last_part": 1.1}, {"steps": 0}, {"last_part": 0.0}]
)
def test_impossible_rates_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        CloningRate(**options)
