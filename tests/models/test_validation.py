"""Validation while training: losses, the best functional, early stopping, resuming."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import SkippedWarning, XCModel, write_log
from deepchem_xc.models.progress import Best
from deepchem_xc.xc import PBE
from tests.models.systems import ROUNDING, dataset, make, quick, weights

ENTRY = DFTEntry.create("energy", -215.0, [quick()])
TRAINING = dataset(ENTRY)
# The energy at which training begins is about -214.7: its labels pull in opposite directions.
OPPOSITE = dataset(DFTEntry.create("energy", -200.0, [quick()]))
HOPELESS = {**quick(), "convergence": {"maxiter": 1}}
FAILING = DFTEntry.create("energy", -215.0, [HOPELESS], name="hopeless")


def test_its_loss_is_the_objective_of_self_consistent_predictions(tmp_path: Path) -> None:
    model = make(tmp_path, type_weights={"band_gap": 0.0})
    gap = DFTEntry.create("band_gap", 1.1, [quick()])
    data = dataset(ENTRY, DFTEntry.create("energy", -214.0, [quick()], weight=2.0), gap)
    model.fit(TRAINING, nb_epoch=3, validation=data, validation_interval=2)
    losses = [record.validation_loss for record in model.history]
    assert losses[0] is None and losses[2] is None
    model.restore(str(tmp_path / "best.pt"))  # after the second epoch
    assert model.epoch == 2 and model.best_epoch == 1
    deviations = (model.predict(data)[:2, 0] - [-215.0, -214.0]) / 0.05
    # What has no weight is not computed.
    assert losses[1] == pytest.approx((deviations**2 * [1.0, 2.0]).mean(), rel=1e-4)
    assert list(model.history[1].validation_errors) == ["energy (eV)"]
    error = model.history[1].validation_errors["energy (eV)"]
    assert error == pytest.approx(0.05 * np.abs(deviations).mean(), rel=1e-4)
    assert model.validation_loss(data) == pytest.approx(losses[1], rel=1e-4)
    assert "validation" in model.history[1].line()
    write_log(model.history, tmp_path / "log.csv")
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [row["validation_loss"] == "" for row in rows] == [True, False]
    assert float(rows[0]["gradient_norm"]) > 0


def test_training_stops_when_validation_no_longer_improves(tmp_path: Path) -> None:
    model = make(tmp_path, learning_rate=5e-3)
    start = weights(model).clone()
    model.fit(TRAINING, nb_epoch=9, validation=OPPOSITE, patience=2, checkpoint_interval=0)
    losses = [record.validation_loss for record in model.history]
    assert losses == sorted(losses) and len(losses) == 3  # one best, two that are worse
    assert model.best_epoch == 0
    best = model.best_functional()
    first = make(learning_rate=5e-3)
    first.fit(TRAINING, nb_epoch=1, checkpoint_interval=0)
    found = torch.cat([p.detach().flatten() for p in best.parameters()])
    torch.testing.assert_close(found, weights(first), rtol=0, atol=ROUNDING)
    assert not torch.equal(found, start) and not torch.equal(found, weights(model))
    # Another call counts from there, but the best so far remains.
    model.fit(TRAINING, nb_epoch=9, validation=OPPOSITE, patience=1, checkpoint_interval=0)
    assert len(model.history) == 4 and model.best_epoch == 0
    # Losses of other entries cannot be compared.
    model.fit(TRAINING, nb_epoch=2, validation=TRAINING, patience=1, checkpoint_interval=0)
    assert model.best_epoch == 5


def test_a_training_that_goes_on_counts_earlier_validations(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    options: dict[str, Any] = {"validation": OPPOSITE, "patience": 3}
    one.fit(TRAINING, nb_epoch=9, **options)
    two.fit(TRAINING, nb_epoch=2, **options)
    again = make(tmp_path / "two")
    again.fit(TRAINING, nb_epoch=7, restore=True, **options)
    assert len(again.history) == len(one.history) == 4
    found = [record.validation_loss for record in again.history]
    assert found == pytest.approx([record.validation_loss for record in one.history], rel=1e-6)
    # It is over: nothing is trained any more.
    over = make(tmp_path / "two")
    assert math.isnan(over.fit(TRAINING, nb_epoch=5, restore=True, **options))
    assert over.epoch == 4 and torch.equal(weights(over), weights(again))


def test_entries_that_fail_make_a_validation_worse_and_do_not_end_a_training() -> None:
    assert Best("", 5.0, 0, 0).is_better_than(Best("", 1.0, 1, 0))
    assert not Best("", 1.0, 1, 0).is_better_than(Best("", 5.0, 0, 0))
    model = make(on_failure="skip")
    with pytest.warns(SkippedWarning, match="no errors: all 1 entries failed; the first"):
        model.fit(TRAINING, nb_epoch=1, validation=dataset(FAILING), checkpoint_interval=0)
    assert model.history[0].validation_loss == math.inf and model.best_epoch is None
    with pytest.warns(SkippedWarning, match="1 of 2 entries failed"):
        model.fit(TRAINING, nb_epoch=1, validation=dataset(ENTRY, FAILING), checkpoint_interval=0)
    assert model.best_epoch == 1 and math.isfinite(model.history[1].validation_loss or math.inf)
    with pytest.raises(ValueError, match=r"there is no .*best.pt: fit\(\.\.\., validation=dataset"):
        make().best_functional()


def test_what_makes_no_sense_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    for options, message in (
        ({"patience": 2}, "patience needs validation"),
        ({"validation": TRAINING, "patience": 0}, "patience must be a whole number of at least 1"),
        ({"validation": TRAINING, "validation_interval": 0.5}, "validation_interval must be"),
        ({"validation": [ENTRY]}, "a data set must be one of deepchem.data"),
        ({"validation": dataset(DFTEntry.create("energy", None, [quick()]))}, "missing"),
    ):
        model = make(tmp_path)
        with pytest.raises(ValueError, match=message):
            model.fit(TRAINING, nb_epoch=1, **options)
        assert model.ground_states.report.calculations == 0


def test_the_best_of_another_functional_is_refused(tmp_path: Path) -> None:
    make(tmp_path).fit(TRAINING, nb_epoch=1, validation=TRAINING, checkpoint_interval=0)
    other = XCModel(functional=PBE(trainable=True), model_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"best.pt belongs to another functional"):
        other.best_functional()
