"""Data sets with one column of entries, and with one column for each task."""

from __future__ import annotations

import deepchem as dc
import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.models.tasks import task_entries
from tests.models.systems import ROUNDING, dataset, make, quick, weights

MAE = dc.metrics.Metric(dc.metrics.mean_absolute_error)
RMS = dc.metrics.Metric(dc.metrics.rms_score)


def table() -> NumpyDataset:
    """Two crystals, an energy and a gap of each; the second gap is an empty cell."""
    rows = [
        [
            DFTEntry.create("energy", -215.0, [quick()]),
            DFTEntry.create("band_gap", 1.1, [quick(kpts=[1, 1, 1], nbands=9)]),
        ],
        [
            DFTEntry.create("energy", -214.0, [quick(displaced=True)], weight=2.0),
            DFTEntry.create("band_gap", None, [quick()]),
        ],
    ]
    x = np.array(rows, dtype=object)
    y = np.array([[-215.0, 1.1], [-214.0, 0.0]])
    return NumpyDataset(x, y, np.array([[1.0, 1.0], [2.0, 0.0]]))


def test_a_column_for_each_task_trains_as_one_column_of_all() -> None:
    data = table()
    column = dataset(*data.X.reshape(-1)[:3])
    models = make(batch_size=3), make(batch_size=3)
    for model, given in zip(models, (data, column), strict=True):
        model.fit(given, nb_epoch=2, checkpoint_interval=0, deterministic=True)
    assert models[0].history[0].counts == {"energy": 2, "band_gap": 1}
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=0, atol=ROUNDING)
    assert models[0].evaluate(data, MAE) == pytest.approx(models[1].evaluate(column, MAE), abs=1e-5)
    found = models[0].predict(data)
    assert found.shape == (2, 2) and np.isfinite(found).all()
    assert found.reshape(-1)[:3] == pytest.approx(models[1].predict(column)[:, 0], abs=1e-5)
    assert models[0].predict_on_batch(data.X).shape == (2, 2)
    batches = models[0].default_generator(data)
    assert models[0].evaluate_generator(batches, MAE) == pytest.approx(
        models[0].evaluate(data, MAE), abs=1e-5
    )


def test_metrics_of_a_type_are_those_of_its_entries_alone() -> None:
    data = table()
    model = make()
    by_type = model.evaluate_by_type(data, [MAE, RMS])
    assert list(by_type) == ["band_gap", "energy"]
    for name, task in (("energy", 0), ("band_gap", 1)):
        kept = data.w[:, task] > 0
        alone = dataset(*data.X[kept, task])
        assert by_type[name] == pytest.approx(model.evaluate(alone, [MAE, RMS]), abs=1e-5)
    errors = {name: error for name, (error, _, _) in model.errors_by_type(data).items()}
    assert errors == pytest.approx(
        {name: found["mean_absolute_error"] for name, found in by_type.items()}, abs=1e-5
    )
    deviations = np.abs(model.predict(data) - data.y)[:, 0]
    weighted = model.evaluate_by_type(data, MAE, use_sample_weights=True)
    expected = (deviations * [1.0, 2.0]).sum() / 3.0
    assert weighted["energy"]["mean_absolute_error"] == pytest.approx(expected, abs=1e-5)


def test_the_task_splitter_takes_columns_of_entries_along() -> None:
    data = table()
    train, valid, _ = dc.splits.TaskSplitter().train_valid_test_split(
        data, frac_train=0.5, frac_valid=0.5, frac_test=0.0
    )
    for part, name in ((train, "energy"), (valid, "band_gap")):
        rows = task_entries(part.X, part.y, part.w)
        assert {entry.entry_type for entry in rows.entries} == {name}
        assert rows.shape == (2, 1) and rows.weights.tolist() == part.w.reshape(-1).tolist()
    model = make()
    model.fit(train, nb_epoch=1, checkpoint_interval=0)
    assert model.history[0].counts == {"energy": 2}
    assert model.predict(valid).shape == (2, 1)
    other = NumpyDataset(data.X, data.y[:, :1] + 3.0, data.w[:, :1])
    with pytest.raises(ValueError, match=r"TaskSplitter takes columns .*NumpyDataset\(X\[:, tasks"):
        model.fit(other, nb_epoch=1)


def test_shapes_that_do_not_fit_are_refused() -> None:
    x, y, w = entry_arrays([DFTEntry.create("energy", -215.0, [quick()])] * 2)
    with pytest.raises(ValueError, match=r"X must be \(n,\), \(n, 1\) or \(n, ntasks\), got"):
        make().predict(NumpyDataset(x[:, None, None], y, w))
    with pytest.raises(ValueError, match=r"shape \(2,\) or \(2, 1\); got \(2, 3\)"):
        make().fit(NumpyDataset(x, np.repeat(y, 3, axis=1), w), nb_epoch=1)
    with pytest.raises(ValueError, match="2 entries in a row.*shape .2, 3. instead of .2, 2."):
        make().predict(NumpyDataset(np.stack([x, x], 1), np.ones((2, 3)), np.ones((2, 3))))


def test_a_model_knows_its_task_as_deepchem_asks_for_it() -> None:
    assert make().get_task_type() == "regression" and make().get_num_tasks() == 1
    assert make(n_tasks=3).get_num_tasks() == 3
