"""The learning rate is a function of the whole training, also of one that was made longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from deepchem.data import NumpyDataset
from deepchem.models.optimizers import ExponentialDecay

from deepchem_xc.models import DensityModel, FallingRate

SMALL: dict[str, Any] = {"channels": 4, "l_max": 1, "layers": 1, "cutoff": 4.0}


@pytest.fixture(scope="module")
def data() -> NumpyDataset:
    """The density of another model, which needs no calculation."""
    x = np.empty(2, dtype=object)
    x[:] = DensityModel("Si", network_options=SMALL, seed=7).predict(
        [bulk("Si", a=a) for a in (5.3, 5.5)], ecut=60.0
    )
    return NumpyDataset(x)


def model(folder: Path, steps: int | None, seed: int = 0, rate: float = 0.01) -> DensityModel:
    falls = ExponentialDecay(rate, 0.1, 1) if steps is None else FallingRate(rate, 0.04, steps)
    return DensityModel(
        "Si",
        network_options=SMALL,
        learning_rate=falls,
        model_dir=str(folder),
        seed=seed,
        progress=False,
    )


def rates(of: DensityModel, data: NumpyDataset, epochs: int, **keywords: Any) -> list[float]:
    """Of each step that is taken."""
    seen: list[float] = []

    def after(trained: DensityModel, step: int) -> None:
        # The schedule has set the rate of the next step already.
        seen.append(trained._pytorch_optimizer.param_groups[0]["lr"])

    of.fit(data, epochs, callbacks=after, **keywords)
    return seen


def test_it_falls_to_the_last_step_and_a_longer_training_follows_its_own_curve(
    data: NumpyDataset, tmp_path: Path
) -> None:
    short = model(tmp_path, 4)
    assert rates(short, data, 2) == pytest.approx([0.01 * 0.04 ** (n / 4) for n in range(1, 5)])
    longer = model(tmp_path, 8)
    longer.restore()
    assert longer._pytorch_optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.2)
    seen = rates(longer, data, 2, restore=True)
    assert seen == pytest.approx([0.01 * 0.04 ** (n / 8) for n in range(5, 9)])
    assert longer.epoch == 4
    # Another first rate that is given is the one that is used.
    slower = model(tmp_path, 8, rate=0.005)
    slower.restore()
    assert slower._pytorch_optimizer.param_groups[0]["lr"] == pytest.approx(0.005 * 0.04)


def test_an_interrupted_training_equals_an_uninterrupted_one(
    data: NumpyDataset, tmp_path: Path
) -> None:
    whole = model(tmp_path / "whole", 6)
    expected = rates(whole, data, 3)
    first = model(tmp_path / "parts", 6)
    seen = rates(first, data, 1)
    second = model(tmp_path / "parts", 6)
    seen += rates(second, data, 2, restore=True)
    assert seen == expected
    pairs = zip(whole.network.parameters(), second.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_checkpoint_with_a_schedule_of_another_kind_is_refused(
    data: NumpyDataset, tmp_path: Path
) -> None:
    model(tmp_path, None).fit(data, 1)
    fresh = model(tmp_path, 4)
    before = [p.detach().clone() for p in fresh.network.parameters()]
    with pytest.raises(ValueError, match="learning-rate schedules of different kinds"):
        fresh.restore()
    assert all(map(torch.equal, before, fresh.network.parameters()))


def test_values_that_make_no_rate_are_refused() -> None:
    for given in (
        (0.0, 0.1, 5),
        (float("nan"), 0.1, 5),
        (0.1, 0.0, 5),
        (0.1, 1.1, 5),
        (0.1, 0.1, 0),
    ):
        with pytest.raises(ValueError, match="must"):
            FallingRate(*given)
