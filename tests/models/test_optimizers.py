"""How steps are taken: limited gradients, weight decay, LBFGS; and what is shown meanwhile."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from deepchem.models.optimizers import Adam, AdamW, ExponentialDecay, GradientDescent

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import LBFGS, EntryError, XCModel
from deepchem_xc.xc import PBE
from tests.models.systems import LOOSE, aluminium, dataset, make, quick, weights

DATA = dataset(DFTEntry.create("energy", -215.0, [quick()]))
FIT: Any = {"nb_epoch": 1, "checkpoint_interval": 0}


def step_of(**options: Any) -> tuple[torch.Tensor, XCModel]:
    model = make(**options)
    before = weights(model).clone()
    model.fit(DATA, **FIT)
    return weights(model) - before, model


def test_gradients_are_scaled_down_to_the_given_norm() -> None:
    """A step of gradient descent is the gradient times the rate."""
    free, model = step_of(optimizer=GradientDescent(1e-6))
    norm = float(free.norm()) / 1e-6
    assert model.history[0].gradient_norm == pytest.approx(norm, rel=1e-6)
    limited, model = step_of(optimizer=GradientDescent(1e-6), max_gradient_norm=norm / 4)
    torch.testing.assert_close(limited, free / 4, rtol=1e-5, atol=0)
    assert model.history[0].gradient_norm == pytest.approx(norm, rel=1e-6)
    wide, _ = step_of(optimizer=GradientDescent(1e-6), max_gradient_norm=4 * norm)
    torch.testing.assert_close(wide, free, rtol=1e-9, atol=0)


def test_the_norm_is_that_of_the_trained_parameters() -> None:
    model = make(optimizer=GradientDescent(1e-6), max_gradient_norm=1e-3)
    bias = model.functional.network[2].bias
    before = bias.detach().clone()
    model.fit(DATA, variables=[bias], **FIT)
    moved = bias.detach() - before
    assert float(moved.norm()) == pytest.approx(1e-9, rel=1e-4)


def test_decay_shrinks_matrices_alone() -> None:
    """As AdamW does: by learning rate times decay, beside the step without it."""
    model, plain = make(weight_decay=0.5), make()
    matrices = {name for name, p in model.functional.named_parameters() if p.ndim == 2}
    before = {name: p.detach().clone() for name, p in model.functional.named_parameters()}
    model.fit(DATA, **FIT)
    plain.fit(DATA, **FIT)
    assert matrices == {"network.0.weight", "network.2.weight"}
    for (name, p), other in zip(
        model.functional.named_parameters(), plain.functional.parameters(), strict=True
    ):
        shrunk = 1e-3 * 0.5 * before[name] if name in matrices else torch.zeros_like(p)
        torch.testing.assert_close(other - p, shrunk, rtol=1e-4, atol=1e-9)


def test_a_resumed_training_needs_the_same_decay(tmp_path: Path) -> None:
    make(tmp_path, weight_decay=0.1).fit(DATA, nb_epoch=1)
    again = make(tmp_path, weight_decay=0.1)
    again.fit(DATA, nb_epoch=1, restore=True)
    assert again.epoch == 2
    plain = make(tmp_path, optimizer=AdamW(1e-3, weight_decay=0.0))
    for other in (plain, make(tmp_path, weight_decay=0.2)):
        with pytest.raises(ValueError, match="written with .*decay.* give the same weight_decay"):
            other.fit(DATA, nb_epoch=1, restore=True)


def test_options_that_cannot_be_met_are_refused() -> None:
    for options, message in (
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"weight_decay": "much"}, "weight_decay must be a number, got 'much'"),
        ({"max_gradient_norm": 0.0}, "max_gradient_norm must be positive, got 0.0"),
        ({"progress": "yes"}, "progress must be"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)
    flat = XCModel(functional=PBE(trainable=True), weight_decay=0.1)
    with pytest.raises(ValueError, match="acts on the matrices of networks.*no effect"):
        flat.fit(DATA, **FIT)
    with pytest.raises(ValueError, match="LBFGS has no weight decay"):
        make(optimizer=LBFGS(), weight_decay=0.1).fit(DATA, **FIT)
    model = make(optimizer=LBFGS(), max_gradient_norm=1.0)
    with pytest.raises(ValueError, match="max_gradient_norm has no place in LBFGS"):
        model.fit(DATA, **FIT)
    assert model.ground_states.report.calculations == 0


def test_a_schedule_and_an_optimiser_of_ones_own_decay_too() -> None:
    rate = ExponentialDecay(1e-3, 0.5, 1)
    model = make(optimizer=AdamW(rate, weight_decay=0.3), weight_decay=0.1)
    model.fit(DATA, **FIT)
    groups = model._pytorch_optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [group["lr"] for group in groups] == [5e-4, 5e-4]
    assert isinstance(make(optimizer=Adam(1e-3)).optimizer, Adam)


def test_lbfgs_at_kept_densities_learns_more_from_as_many_calculations() -> None:
    """Three energies of a functional that is to be found; Adam takes one step for each epoch."""
    teacher = XCModel(functional=PBE(trainable=True))
    exchange = teacher.functional.terms[0]
    with torch.no_grad():
        exchange.kappa.fill_(0.9)
        exchange.mu.fill_(0.26)
    systems = quick(), quick(displaced=True), aluminium(ecut=100.0, convergence=LOOSE)
    asked = dataset(*(DFTEntry.create("energy", None, [system]) for system in systems))
    labels = teacher.predict(asked)[:, 0].tolist()
    data = dataset(
        *(DFTEntry.create("energy", x, [system]) for x, system in zip(labels, systems, strict=True))
    )
    losses, calculations = [], []
    for options in ({"optimizer": LBFGS()}, {"learning_rate": 1e-2}, {"learning_rate": 5e-2}):
        model = XCModel(functional=PBE(trainable=True), batch_size=3, scf_interval=4, **options)
        model.fit(data, nb_epoch=8, checkpoint_interval=0)
        calculations.append(sum(record.calculations for record in model.history))
        losses.append(model.validation_loss(data))
    assert calculations == [2 * len(systems)] * 3
    assert losses[0] < 0.1 * min(losses[1:])


def test_a_search_turns_back_where_nothing_can_be_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here the loss is a parabola that ends at 1.5, and its Newton step would lead to 2."""
    model = XCModel(functional=PBE(trainable=True), optimizer=LBFGS(max_iter=8), batch_size=1)
    mu = model.functional.terms[0].mu
    start = float(mu.detach())
    tried: list[float] = []

    def value(entry: DFTEntry, epoch: int) -> torch.Tensor:
        tried.append(float(mu.detach()) - start)
        if tried[-1] > 1.5:
            raise EntryError([entry], FloatingPointError("too far"), epoch)
        return -215.0 + 0.05 * (2.0 - (mu - start)).reshape(1)

    monkeypatch.setattr(model.model, "training_value", value)
    model.fit(DATA, variables=[mu], **FIT)
    assert max(tried) > 1.5
    assert 0.5 < float(mu.detach()) - start <= 1.5
    assert model.history[0].skipped == {}


def test_epochs_and_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="deepchem_xc.models"):
        make(log_frequency=2).fit(DATA, nb_epoch=4, checkpoint_interval=0)
    steps = [text for text in caplog.messages if text.startswith("step")]
    assert [text.split(":")[0] for text in steps] == ["step 2", "step 4"]
    epochs = [text for text in caplog.messages if text.startswith("epoch")]
    assert [text.split(":")[0] for text in epochs] == [f"epoch {i}" for i in range(4)]


@pytest.mark.parametrize("progress", [None, True, False])
def test_a_bar_is_shown_where_it_is_asked_for(
    progress: bool | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """By default on a terminal alone, which a test is not."""
    model = make(progress=progress)
    model.fit(DATA, nb_epoch=2, checkpoint_interval=0)
    model.predict(DATA)
    shown = capfd.readouterr().err
    assert ("training" in shown and "2/2" in shown and "predicting" in shown) == bool(progress)
    assert ("calculations=1" in shown) == bool(progress)
    assert model.ground_states.on_calculation is None
