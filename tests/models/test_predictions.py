"""Predictions and metrics where some calculations fail, and torch's modes around them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import EntryError, SkippedWarning, XCModel
from deepchem_xc.xc import PBE
from tests.models.systems import SCALES, aluminium, dataset, make, quick, three_entries, weights

MAE = dc.metrics.Metric(dc.metrics.mean_absolute_error)
FIT: Any = {"nb_epoch": 1, "checkpoint_interval": 0}


def hopeless() -> DFTEntry:
    system = {**quick(), "convergence": {"maxiter": 1}}
    return DFTEntry.create("energy", -1.0, [system], name="hopeless")


def without_minimum() -> DFTEntry:
    small = [0.6, 0.65, 0.7, 0.75, 0.8]
    system = aluminium(ecut=100.0)
    return DFTEntry.create("lattice_constant", 3.4, [system], scales=small, name="squeezed")


def test_entries_that_fail_are_nan_and_metrics_are_those_of_the_rest() -> None:
    good = three_entries()
    model = make(on_failure="skip")
    data = dataset(good[0], hopeless(), *good[1:], hopeless())
    with pytest.warns(SkippedWarning, match=r"2 of 5 entries failed .*\(hopeless, hopeless \(2\)"):
        predictions = model.predict(data)
    alone = make().predict(dataset(*good))
    assert np.isnan(predictions[:, 0]).tolist() == [False, True, False, False, True]
    assert predictions[[0, 2, 3]] == pytest.approx(alone, abs=1e-5)
    assert set(model.skipped) == {"hopeless", "hopeless (2)"}
    assert "did not converge" in model.skipped["hopeless"]
    with pytest.warns(SkippedWarning):
        values = model.predict_values(data)
    assert np.isnan(values[1]).all() and values[1].shape == (1,)
    assert values[2].shape == (3, 3)
    with pytest.warns(SkippedWarning):
        score = model.evaluate(data, [MAE], use_sample_weights=True)
    plain = make().evaluate(dataset(*good), [MAE], use_sample_weights=True)
    assert score == pytest.approx(plain, abs=1e-5)
    with pytest.warns(SkippedWarning):
        assert {n for _, _, n in model.errors_by_type(data).values()} == {1}
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkippedWarning)
        model.predict(dataset(*good))
    assert model.skipped == {}


def test_failures_raise_where_they_are_not_to_be_skipped_or_nothing_is_left() -> None:
    data = dataset(three_entries()[0], hopeless())
    model = make()
    for call in (model.predict, model.predict_values, model.errors_by_type):
        with pytest.raises(EntryError, match="hopeless. failed: SCFConvergenceError"):
            call(data)
    with pytest.raises(EntryError):
        model.evaluate(data, [MAE])
    skipping = make(on_failure="skip")
    for call in (skipping.predict, skipping.predict_values, skipping.errors_by_type):
        with pytest.raises(RuntimeError, match="all 2 entries failed; the first: .*hopeless"):
            call(dataset(hopeless(), hopeless()))


def test_callbacks_and_searches_go_on_without_what_fails() -> None:
    good, bad = three_entries()[0], without_minimum()
    model = make(on_failure="skip")
    hook = dc.models.ValidationCallback(dataset(good, bad), 1, [MAE])
    with pytest.warns(SkippedWarning, match="squeezed.*move the range to larger volumes"):
        model.fit(dataset(good), nb_epoch=2, checkpoint_interval=0, callbacks=hook)
    assert model.epoch == 2 and np.isfinite(hook.get_best_score())
    search = dc.hyper.GridHyperparamOpt(
        lambda model_dir, **options: make(on_failure="skip", **options)
    )
    with pytest.warns(SkippedWarning):
        _, _, scores = search.hyperparam_search(
            {"learning_rate": [1e-3, 2e-3]},
            dataset(good, bad),
            dataset(good, bad),
            MAE,
            [],
            1,
            False,
        )
    assert len(scores) == 2 and np.isfinite(list(scores.values())).all()


def test_modules_are_evaluated_and_then_as_they_were() -> None:
    model = make()
    seen: list[bool] = []
    model.functional.register_forward_hook(lambda *_: None)
    network = model.functional.network
    network[1].register_forward_hook(lambda module, *_: seen.append(module.training))
    data = dataset(three_entries()[0])
    model.predict(data)  # the first use tries whether modes change anything
    seen.clear()
    model.model.train()
    network[0].eval()
    for call in (model.predict, model.predict_values, model.errors_by_type):
        call(data)
        assert model.functional.training and network[1].training and not network[0].training
    model.evaluate(data, [MAE])
    assert seen and not any(seen) and network[1].training
    assert model.predict(data)[0] == pytest.approx(model.predict_values(data)[0][0], abs=1e-5)


def test_wrong_objects_and_columns() -> None:
    model = make()
    with pytest.raises(ValueError, match=r"X must hold DFTEntry objects.*got 0\.0"):
        model.predict(NumpyDataset(np.zeros((2, 1))))
    for call in (model.predict_values, model.errors_by_type, lambda d: model.evaluate(d, MAE)):
        with pytest.raises(ValueError, match="X must hold DFTEntry objects"):
            call(NumpyDataset(np.zeros(2), np.zeros(2)))
    column = dataset(*three_entries())
    assert column.y.shape == column.w.shape == (3, 1)
    expected, score = model.predict(column), model.evaluate(column, MAE)
    assert expected.shape == (3, 1)
    # Data sets of 0.1.0 have y and w of shape (n,), and the difference from y has no other shape.
    row = NumpyDataset(column.X, column.y[:, 0], column.w[:, 0])
    assert model.predict(row) == pytest.approx(expected[:, 0], abs=1e-5)
    for other in (row, NumpyDataset(column.X[:, None], column.y, column.w)):
        assert model.evaluate(other, MAE) == pytest.approx(score, abs=1e-5)
        assert len(model.predict_values(other)) == 3
    assert model.predict_on_batch(column.X[:1]).shape == (1, 1)


def test_inference_mode_is_no_obstacle_to_predictions_and_no_grad_is_one_to_training() -> None:
    model = make()
    data = dataset(*three_entries())
    expected = model.predict(data)
    with torch.inference_mode():
        assert model.predict(data) == pytest.approx(expected, abs=1e-5)
        assert model.predict_values(data)[0][0] == pytest.approx(expected[0], abs=1e-5)
        model.evaluate(data, [MAE])
    for mode in (torch.no_grad, torch.inference_mode):
        with mode(), pytest.raises(RuntimeError, match=rf"torch\.{mode.__name__}\(\) switches off"):
            model.fit(data, **FIT)
    model.fit(data, **FIT)


def test_frozen_and_foreign_parameters_are_named() -> None:
    data = dataset(three_entries()[0])
    model = make()
    other = torch.nn.Linear(2, 1)
    with pytest.raises(
        ValueError, match=r"2 of 2 are not \(shapes .*It has exchange|It has network"
    ):
        model.fit(data, variables=other.parameters(), **FIT)
    bias = model.functional.network[2].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"no parameter requires gradients \(network\.2\.bias\)"):
        model.fit(data, variables=[bias], **FIT)
    for parameter in model.functional.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match=r"nothing to train.*requires_grad_\(True\)"):
        model.fit(data, **FIT)
    model = make()

    def freeze(model: XCModel, step: int) -> None:
        for parameter in model.functional.parameters():
            parameter.requires_grad_(False)

    with pytest.raises(ValueError, match="nothing to train"):
        model.fit(data, nb_epoch=2, checkpoint_interval=0, callbacks=freeze)


def test_numbers_of_epochs_and_entries_are_positive_and_whole() -> None:
    for size in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1"):
            make(batch_size=size)
    model = make(batch_size=np.int64(2))
    for epochs in (0, -1, 1.5, None):
        with pytest.raises(ValueError, match=f"nb_epoch must be a whole number .*, got {epochs}"):
            model.fit(dataset(three_entries()[0]), nb_epoch=epochs)
    model.fit(dataset(three_entries()[0]), nb_epoch=np.int64(1), checkpoint_interval=0)
    assert model.epoch == 1


class SecondOrder(dc.models.optimizers.Optimizer):
    """Torch's LBFGS."""

    def _create_pytorch_optimizer(self, params: Any) -> torch.optim.Optimizer:
        rate: Any = self.learning_rate
        return torch.optim.LBFGS(params, lr=rate, line_search_fn="strong_wolfe")


def test_lbfgs_gets_its_losses_at_kept_densities() -> None:
    entry = DFTEntry.create("energy", -215.0, [quick()])
    model = make(optimizer=SecondOrder(1.0), scf_interval=10)
    losses = [model.fit(dataset(entry), **FIT) for _ in range(2)]
    assert [record.calculations for record in model.history] == [1, 0]
    assert [record.counts for record in model.history] == [{"energy": 1}] * 2
    assert model.history[0].loss == pytest.approx(losses[0])
    assert losses[1] < 1e-3 * losses[0]
    # What is left is that the density was kept, of second order in the change.
    assert model.predict(dataset(entry))[0] == pytest.approx(-215.0, abs=0.02)


def test_lbfgs_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    data = dataset(DFTEntry.create("energy", -215.0, [quick()]))
    models = [make(tmp_path / name, optimizer=SecondOrder(1e-2)) for name in ("a", "b")]
    models[0].fit(data, nb_epoch=2, checkpoint_interval=0)
    models[1].fit(data, nb_epoch=1)
    again = make(tmp_path / "b", optimizer=SecondOrder(1e-2))
    again.fit(data, nb_epoch=1, restore=True)
    assert weights(again).numpy() == pytest.approx(weights(models[0]).numpy(), abs=1e-5)


def test_a_search_that_fails_leaves_everything_as_it_was() -> None:
    model = XCModel(
        functional=PBE(trainable=True),
        optimizer=SecondOrder(1e6),
        batch_size=1,
        scf_interval=10,
        on_failure="skip",
    )
    entry = without_minimum()
    good = DFTEntry.create("lattice_constant", 4.0, [aluminium(ecut=100.0)], scales=SCALES)
    before = [p.detach().clone() for p in model.functional.parameters()]
    calls = {"n": 0}
    value = model.model.training_value

    def fails_later(e: DFTEntry, epoch: int) -> torch.Tensor:
        calls["n"] += 1
        if calls["n"] > 1:
            raise EntryError([entry], FloatingPointError("too far"), epoch)
        return value(e, epoch)

    model.model.training_value = fails_later
    with pytest.raises(RuntimeError, match="all entries of epoch 0 failed; .*too far"):
        model.fit(dataset(good), **FIT)
    assert calls["n"] > 1
    for parameter, old in zip(model.functional.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_what_deepchem_offers_and_this_model_has_not_is_refused_in_words() -> None:
    model, data = make(), dataset(*three_entries())
    with pytest.raises(ValueError, match="forces and stress"):
        model.compute_saliency(data.X)
    for method in (model.predict_uncertainty, model.predict_embedding):
        with pytest.raises(ValueError, match="This model cannot compute"):
            method(data)
