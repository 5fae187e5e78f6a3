"""Labels are y of the data set, whoever asks: fit, evaluate, transformers, callbacks, searches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pytest
import torch
from ase.build import bulk
from deepchem.data import DiskDataset, NumpyDataset
from deepchem.trans import MinMaxTransformer, NormalizationTransformer

from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.feat import PeriodicSystemFeaturizer
from deepchem_xc.models import LabelWarning, XCModel
from deepchem_xc.models.labels import entries_of, labels_of
from deepchem_xc.xc import PBE
from tests.models.systems import aluminium, dataset, make, quick, weights

MAE = dc.metrics.Metric(dc.metrics.mean_absolute_error)
FIT: Any = {"nb_epoch": 1, "checkpoint_interval": 0}


def metal(a: float, label: float | None) -> DFTEntry:
    system = aluminium(ecut=100.0)
    system["structure"]["cell"] = [[0, a, a], [a, 0, a], [a, a, 0]]
    return DFTEntry.create("energy", label, [system])


def two_metals() -> NumpyDataset:
    return dataset(metal(2.02, -57.2), metal(2.1, -57.0))


def trained(data: Any, transformers: Sequence[Any] = ()) -> tuple[XCModel, float]:
    model = XCModel(functional=PBE(trainable=True), batch_size=2, transformers=transformers)
    return model, model.fit(data, **FIT)


def with_y(data: NumpyDataset, y: Any) -> NumpyDataset:
    return NumpyDataset(data.X, np.asarray(y), np.ones(len(data)))


@pytest.mark.parametrize("kind", [NormalizationTransformer, MinMaxTransformer])
@pytest.mark.parametrize("told", [True, False])
def test_transformers_of_y_change_neither_training_nor_metrics(kind: Any, told: bool) -> None:
    data = two_metals()
    if kind is NormalizationTransformer:  # the other takes columns only
        data = with_y(data, data.y[:, 0])
    scale = kind(transform_y=True, dataset=data)
    changed = scale.transform(data)
    assert abs(changed.y[0] - data.y[0]) > 50.0
    plain, loss = trained(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if told else "ignore", LabelWarning)
        other, found = trained(changed, [scale] if told else [])
        errors = other.errors_by_type(changed)
    assert found == pytest.approx(loss, rel=1e-6)
    expected = plain.evaluate(data, [MAE])["mean_absolute_error"]
    assert expected == pytest.approx(np.abs(plain.predict(data) - data.y).mean())
    for metrics in (other.evaluate(changed, [MAE], [scale]), other.evaluate(data, MAE)):
        assert metrics["mean_absolute_error"] == pytest.approx(expected, abs=1e-6)
    assert other.predict(changed, [scale]) == pytest.approx(plain.predict(data), abs=1e-6)
    assert errors["energy"][0] == pytest.approx(expected, abs=1e-6)
    batches = list(other.default_generator(changed))
    metrics = other.evaluate_generator(iter(batches), [MAE], [scale])
    assert metrics["mean_absolute_error"] == pytest.approx(expected, abs=1e-6)


def test_other_labels_in_y_are_trained_on_and_compared_with() -> None:
    data = two_metals()
    shifted = with_y(data, data.y + 5.0)
    entries = [metal(2.02, -52.2), metal(2.1, -52.0)]
    rewritten, loss = trained(dataset(*entries))
    with pytest.warns(LabelWarning, match=r"differs from the labels of 2 of 2 .* y = -52"):
        model, found = trained(shifted)
    assert found == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(weights(model), weights(rewritten), atol=1e-6)
    with pytest.warns(LabelWarning):
        error = model.evaluate(shifted, [MAE])["mean_absolute_error"]
    assert error == pytest.approx(np.abs(model.predict(data) - data.y - 5.0).mean())
    with pytest.warns(LabelWarning):
        assert model.errors_by_type(shifted)["energy"][0] == pytest.approx(error)
    with pytest.warns(LabelWarning):
        batch = model.fit_on_batch(shifted.X, shifted.y, shifted.w, checkpoint=False)
    assert batch < found


@pytest.mark.parametrize("columns", [(), (1,)])
def test_y_labels_entries_that_have_none(columns: tuple[int, ...], tmp_path: Path) -> None:
    """As a column of a table does, whose featurizer makes entries."""
    shape = (2, *columns)
    x = np.empty(shape, dtype=object)
    x.reshape(-1)[:] = [metal(2.02, None), metal(2.1, None)]
    y = np.array([-57.2, -57.0]).reshape(shape)
    labelled, loss = trained(two_metals())
    for data in (
        NumpyDataset(x, y),
        DiskDataset.from_numpy(x, y, data_dir=str(tmp_path / "disk")),
    ):
        model, found = trained(data)
        assert found == pytest.approx(loss, rel=1e-6)
        metrics = model.evaluate(data, [MAE])
        assert metrics == pytest.approx(labelled.evaluate(two_metals(), [MAE]), abs=1e-6)
        assert model.predict(data).shape == shape
        scale = NormalizationTransformer(transform_y=True, dataset=data)
        changed = scale.transform(data)
        assert model.evaluate(changed, [MAE], [scale]) == pytest.approx(metrics, abs=1e-6)
        assert trained(changed, [scale])[1] == pytest.approx(loss, rel=1e-6)


class Cells(dc.feat.Featurizer):
    """Aluminium's lattice vector to the crystal."""

    def _featurize(self, datapoint: Any, **keywords: Any) -> DFTEntry:
        return metal(float(datapoint), None)


def test_a_table_with_a_column_of_labels_trains(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("half,energy\n2.02,-57.2\n2.1,-57.0\n2.2,\n")
    loader = dc.data.CSVLoader(["energy"], feature_field="half", featurizer=Cells())
    data = loader.create_dataset(str(path))
    assert data.w.tolist() == [[1.0], [1.0], [0.0]]  # the last one has no label
    model = XCModel(functional=PBE(trainable=True), batch_size=3)
    loss = model.fit(data, **FIT)
    # The empty cell is neither counted nor computed, and no label of zero.
    assert loss == pytest.approx(trained(two_metals())[1], rel=1e-6)
    assert model.history[0].counts == {"energy": 2} and model.history[0].calculations == 2
    errors = np.abs(model.predict(data)[:2, 0] - [-57.2, -57.0])
    for weighted in (True, False):
        score = model.evaluate(data, MAE, use_sample_weights=weighted)
        assert score["mean_absolute_error"] == pytest.approx(errors.mean())
    assert model.errors_by_type(data)["energy"][2] == 2
    scale = NormalizationTransformer(transform_y=True, dataset=data)
    assert model.errors_by_type(scale.transform(data), [scale])["energy"][2] == 2


def test_callbacks_and_searches_compare_with_y(capsys: pytest.CaptureFixture[str]) -> None:
    data = two_metals()
    scale = NormalizationTransformer(transform_y=True, dataset=data)
    changed = scale.transform(data)
    model = XCModel(functional=PBE(trainable=True), batch_size=2, transformers=[scale])
    hook = dc.models.ValidationCallback(changed, 1, [MAE], transformers=[scale])
    model.fit(changed, callbacks=hook, **FIT)
    error = model.evaluate(data, [MAE])["mean_absolute_error"]
    assert hook.get_best_score() == pytest.approx(error, abs=1e-6)
    search = dc.hyper.GridHyperparamOpt(
        lambda **options: XCModel(functional=PBE(trainable=True), transformers=[scale], **options)
    )
    _, _, scores = search.hyperparam_search(
        {"learning_rate": [1e-3], "batch_size": [2]}, changed, changed, MAE, [scale], 1, False
    )
    assert list(scores.values()) == [pytest.approx(error, abs=1e-6)]


def test_arrays_keep_the_labels_of_their_entries() -> None:
    entries = [metal(2.02, -57.2), DFTEntry.create("stress", np.full((3, 3), 0.1), [quick()])]
    data = dataset(*entries)
    scale = NormalizationTransformer(transform_y=True, dataset=data)
    changed = scale.transform(data)
    for y, transformers in ((data.y, []), (changed.y, [scale])):
        number, array = labels_of(entries, y, transformers)
        assert number == pytest.approx(-57.2) and array.tolist() == [[0.1] * 3] * 3
    with pytest.raises(ValueError, match="its label is an array, which a number cannot replace"):
        labels_of(entries, [-57.2, 1.0])
    with pytest.raises(ValueError, match="true_val: missing"):
        labels_of([DFTEntry.create("stress", None, [quick()])], [0.0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.0, 0.0, 0.0], "0 throughout, DeepChem's default if none is given"),
        ([-2.102, -2.095, -2.084], r"it is 0.03675 times them and a constant\): .* y = -2.1"),
        ([0.3, -0.1, 0.9], "of another size"),
        ([np.nan, -57.0, -56.7], r"y of DFTEntry\(energy, Al\) is nan: give a number, or a weight"),
        ([[1.0, 2.0]] * 3, r"shape \(3,\) or \(3, 1\); got \(3, 2\)"),
        ([1.0], r"shape \(3,\) or \(3, 1\); got \(1,\)"),
        (["a", "b", "c"], "y must hold one number for each entry"),
    ],
)
def test_y_that_cannot_be_the_labels_is_refused(y: Any, message: str) -> None:
    own = np.array([-57.2, -57.0, -56.7])
    entries = [metal(a, label) for a, label in zip((2.0, 2.1, 2.2), own, strict=True)]
    if "0.03675" in message:
        y = own / 27.211386
    with pytest.raises(ValueError, match=message):
        labels_of(entries, y)


def test_parts_of_a_normalised_data_set_ask_for_the_transformer() -> None:
    entries = [metal(a, -57.0 - a) for a in (2.0, 2.1, 2.25, 2.3, 2.4)]
    data = dataset(*entries)
    scale = NormalizationTransformer(transform_y=True, dataset=data)
    changed = scale.transform(data)
    for part in (changed.select(range(3)), changed.select([1, 2])):
        with pytest.raises(ValueError, match=r"XCModel\(\.\.\., transformers=\[\.\.\.\]\)"):
            labels_of(list(part.X), part.y)
        labels = labels_of(list(part.X), part.y, [scale])
        own = [entry.get_true_val()[0] for entry in part.X]
        assert [float(x[0]) for x in labels] == pytest.approx(own)


def test_transformers_that_take_columns_say_so() -> None:
    data = two_metals()
    data = with_y(data, data.y[:, 0])
    scale = MinMaxTransformer(transform_y=True, dataset=data)
    with pytest.raises(
        ValueError, match=r"MinMaxTransformer cannot .* make data sets with y\[:, N"
    ):
        labels_of(list(data.X), scale.transform(data).y, [scale])


def test_transformers_that_change_the_shape_or_cannot_be_undone() -> None:
    data = two_metals()
    column = with_y(data, -data.y)
    powers = dc.trans.PowerTransformer(transform_y=True, dataset=column, powers=[1, 2])
    changed = powers.transform(column)
    assert changed.y.shape == (2, 2)
    entries = [metal(2.02, None), metal(2.1, None)]
    found = labels_of(entries, changed.y, [powers])
    assert [float(x[0]) for x in found] == pytest.approx([57.2, 57.0])
    clipped = dc.trans.ClippingTransformer(transform_y=True, y_max=1.0)
    with pytest.raises(ValueError, match="ClippingTransformer cannot be undone"):
        labels_of(entries, [1.0, 0.5], [clipped])
    with pytest.raises(ValueError, match="the data set is empty"):
        make().evaluate(NumpyDataset(data.X[:0], data.y[:0]), MAE)


def test_transformed_y_of_entries_without_labels_does_not_pass_unnoticed() -> None:
    entries = [metal(a, None) for a in (2.0, 2.1, 2.2)]
    x, _, _ = entry_arrays(entries)
    data = NumpyDataset(x, np.array([-57.2, -57.0, -56.7]))
    scale = NormalizationTransformer(transform_y=True, dataset=data)
    changed = scale.transform(data)
    with pytest.raises(ValueError, match="mean 0 and standard deviation 1.*pass them to the model"):
        trained(changed)
    part = changed.select([1, 2])
    with pytest.warns(
        LabelWarning, match=r"has y = .* eV, and -5\d\.\d* was computed: is y in this"
    ):
        trained(part)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LabelWarning)
        trained(part, [scale])


def test_single_precision_is_no_other_label() -> None:
    entries = [metal(2.02, -57.2), metal(2.1, -57.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", LabelWarning)
        labels = labels_of(entries, np.array([-57.2, -57.0], dtype=np.float32))
    assert [float(x[0]) for x in labels] == [-57.2, -57.0]


def test_entries_without_weight_need_no_label() -> None:
    entries = [metal(2.02, -57.2), metal(2.1, None)]
    x, y, _ = entry_arrays(entries)
    data = NumpyDataset(x, y, np.array([1.0, 0.0]))
    model, loss = trained(data)
    assert np.isfinite(loss) and loss > 0
    with pytest.raises(ValueError, match="true_val: missing"):
        trained(NumpyDataset(x, y, np.ones(2)))


def test_a_data_set_without_weights_says_so() -> None:
    x, y, _ = entry_arrays([metal(2.02, -57.2)])
    for data in (NumpyDataset(x), NumpyDataset(x, y, np.zeros(1))):
        with pytest.raises(ValueError, match=r"all weights are 0.*or give w|0 throughout"):
            make().fit(data, **FIT)


def test_labels_that_no_crystal_has_are_refused() -> None:
    system = {"structure": bulk("Al"), "ecut": 150.0}
    with pytest.raises(ValueError, match="true_val: a bulk_modulus is positive, got -77"):
        DFTEntry.create("bulk_modulus", -77.0, [system])
    entries = [DFTEntry.create("lattice_constant", None, [system]) for _ in range(2)]
    with pytest.raises(ValueError, match="y of .*: a lattice_constant is positive, got 0"):
        labels_of(entries, [[4.05], [0.0]])
    assert labels_of(entries, [[4.05], [0.0]], weights=[1.0, 0.0])[0] == [4.05]


def test_what_is_not_an_entry_is_named_in_few_words() -> None:
    calculations = PeriodicSystemFeaturizer(ecut=150.0, kpts=[1, 1, 1]).featurize([bulk("Al")])
    with pytest.raises(ValueError, match=r"PeriodicSystemFeaturizer\(e_type=.*; got calculations"):
        entries_of(calculations)
