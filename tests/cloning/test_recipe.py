"""Clones in stages: what each stage adds, and how an interrupted one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from deepchem.data import NumpyDataset

from deepchem_xc.cloning import (
    FunctionalCloning,
    KeptDensity,
    KeptEnergies,
    clone_dataset,
    train_clone,
)
from deepchem_xc.xc import get_xc


@pytest.fixture(scope="module")
def dataset(kept: list[KeptDensity]) -> NumpyDataset:
    return clone_dataset(kept, 100, grid_level=1)


def weights_of(model: FunctionalCloning) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in model.functional.parameters()]


def test_each_stage_improves_on_the_one_before(
    dataset: NumpyDataset, kept: list[KeptDensity]
) -> None:
    """Measured: F_x is 5.3e-2, 3.3e-3 wrong; energies 20, 6.5, 0.4 mHa at most."""
    energies = KeptEnergies(get_xc("PBE"), kept)
    options = ({}, {"polish": 15}, {"polish": 15, "energies": energies, "energy_weight": 10.0})
    models = [train_clone("PBE", dataset, steps=100, energy_steps=8, **given) for given in options]
    factors = [model.evaluate(dataset)["exchange"] for model in models]
    errors = [float(energies.errors(model.functional).abs().max()) for model in models]
    assert factors[1] < 0.3 * factors[0]
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("stage", ["", "polish", "energies"])
def test_a_clone_that_is_interrupted_in_any_stage_ends_with_the_same_weights(
    stage: str,
    dataset: NumpyDataset,
    kept: list[KeptDensity],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {
        "student": "unconstrained",
        "steps": 20,
        "polish": 12,
        "energies": KeptEnergies(get_xc("PBE"), kept[:1]),
        "energy_weight": 1.0,
        "energy_steps": 12,
    }
    monkeypatch.setattr("deepchem_xc.cloning.recipe._ADAM_INTERVAL", 10)
    whole = train_clone("PBE", dataset, **options)
    step = FunctionalCloning._step
    calls = 0

    def interrupted(self: FunctionalCloning, loss: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == {"": 15, "polish": 31, "energies": 43}[stage]:
            raise KeyboardInterrupt
        return step(self, loss)

    monkeypatch.setattr(FunctionalCloning, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_clone("PBE", dataset, tmp_path, **options)
    monkeypatch.setattr(FunctionalCloning, "_step", step)
    assert weights_of(train_clone("PBE", dataset, tmp_path, **options)) == weights_of(whole)


def test_a_callback_that_saves_and_stops_loses_no_step(
    dataset: NumpyDataset, tmp_path: Path
) -> None:
    options = {"steps": 7, "polish": 3}
    whole = train_clone("PBE", dataset, **options)
    done: list[int] = []

    def stop(model: FunctionalCloning, step: int) -> None:
        done.append(step)
        if step % 2 == 0:
            model.save_checkpoint(1)
            raise TimeoutError

    runs = 0
    while True:
        try:
            last = train_clone("PBE", dataset, tmp_path, callbacks=stop, **options)
            break
        except TimeoutError:
            runs += 1
    assert runs == 4
    assert done == [*range(1, 8), *range(1, 4)]
    assert weights_of(last) == weights_of(whole)


def test_a_weight_of_energies_without_energies_is_refused(dataset: NumpyDataset) -> None:
    with pytest.raises(ValueError, match="energy_weight = 1.0 has no effect without energies"):
        train_clone("PBE", dataset, steps=1, energy_weight=1.0)
