"""Calculations that fail in a training: raised, or skipped and counted."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import pytest
import torch

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import EntryError
from deepchem_xc.numerics.errors import ResponseConvergenceError
from deepchem_xc.numerics.implicit import solve_adjoint
from deepchem_xc.planewave import SCFConvergenceError
from deepchem_xc.planewave.response import adjoint as response
from tests.models.systems import (
    ROUNDING,
    aluminium,
    dataset,
    make,
    quick,
    three_entries,
    weights,
)


def failing(**more: Any) -> DFTEntry:
    hopeless = {**quick(), "convergence": {"maxiter": 1}}
    return DFTEntry.create("energy", -1.0, [hopeless], name="hopeless", **more)


def test_a_calculation_that_fails_raises_or_is_skipped_and_counted() -> None:
    good = three_entries()[0]
    with pytest.raises(EntryError, match="hopeless.*did not converge"):
        make().fit(dataset(good, failing()), nb_epoch=1, checkpoint_interval=0)
    model, alone = make(on_failure="skip"), make()
    model.fit(dataset(good, failing()), nb_epoch=2, checkpoint_interval=0)
    alone.fit(dataset(good), nb_epoch=2, checkpoint_interval=0)
    torch.testing.assert_close(weights(model), weights(alone), rtol=0, atol=ROUNDING)
    assert [set(record.skipped) for record in model.history] == [{"hopeless"}] * 2
    assert "did not converge" in model.history[0].skipped["hopeless"]
    assert "1 skipped: hopeless" in model.history[0].line()
    with pytest.raises(RuntimeError, match="all entries of epoch 0 failed"):
        make(on_failure="skip").fit(dataset(failing()), nb_epoch=1, checkpoint_interval=0)


def test_batches_of_a_generator_may_fail_as_a_whole() -> None:
    """The others are trained on; all of them may not."""
    good = three_entries()[0]
    model, alone = make(on_failure="skip", batch_size=1), make(batch_size=1)
    data = dataset(failing(), good)
    model.fit_generator(model.default_generator(data), checkpoint_interval=0)
    alone.fit(dataset(good), nb_epoch=1, checkpoint_interval=0)
    torch.testing.assert_close(weights(model), weights(alone), rtol=0, atol=ROUNDING)
    assert [len(record.skipped) for record in model.history] == [1, 0]
    assert "loss nan" in model.history[0].line()
    only = model.default_generator(dataset(failing(), failing()))
    with pytest.raises(RuntimeError, match="all 2 batches failed; the first: .*hopeless"):
        model.fit_generator(only, checkpoint_interval=0)


def test_errors_come_back_from_other_processes() -> None:
    with pytest.raises(EntryError) as caught:
        make().fit(dataset(failing()), nb_epoch=1, checkpoint_interval=0)
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)
    assert [entry.name for entry in copied.entries] == ["hopeless"]
    assert isinstance(copied.error, SCFConvergenceError)
    assert copied.error.history == caught.value.error.history != []
    response = pickle.loads(pickle.dumps(ResponseConvergenceError("no solution", [1.0, 0.9])))
    assert (str(response), response.history) == ("no solution", [1.0, 0.9])


def test_entries_of_one_name_are_counted_one_by_one() -> None:
    hopeless = {**quick(), "convergence": {"maxiter": 1}}
    same = [
        DFTEntry.create("energy", -1.0, [hopeless]),
        DFTEntry.create("eos", [0.0] * 9, [hopeless]),
    ]
    model = make(on_failure="skip")
    model.fit(dataset(three_entries()[0], *same), nb_epoch=1, checkpoint_interval=0)
    assert set(model.history[0].skipped) == {"Si2", "Si2 (2)"}


def test_a_model_goes_on_after_a_failure() -> None:
    good = three_entries()[0]
    model = make(on_failure="skip")
    with pytest.raises(RuntimeError, match="all entries of epoch 0 failed"):
        model.fit(dataset(failing(), failing()), nb_epoch=1, checkpoint_interval=0)
    model.fit(dataset(good), nb_epoch=1, checkpoint_interval=0)
    assert model.history[0].counts == {"energy": 1} and not model.history[0].skipped
    model = make(batch_size=1)
    with pytest.raises(EntryError, match="hopeless"):
        model.fit(dataset(good, failing()), 1, checkpoint_interval=0, deterministic=True)
    model.fit(dataset(good), nb_epoch=1, checkpoint_interval=0)
    assert model.history[0].counts == {"energy": 1}


def test_a_gap_of_zero_has_no_derivative() -> None:
    metal = DFTEntry.create("band_gap", 1.0, [aluminium(ecut=100.0)])
    with pytest.raises(EntryError, match="does not depend on the functional's parameters here"):
        make().fit(dataset(metal), nb_epoch=1, checkpoint_interval=0)


def test_curves_without_a_minimum_are_failures_of_their_entry() -> None:
    small = [0.6, 0.65, 0.7, 0.75, 0.8]
    entry = DFTEntry.create("lattice_constant", 4.0, [aluminium(ecut=100.0)], scales=small)
    with pytest.raises(EntryError, match="NoMinimumError: .* does not enclose a minimum"):
        make().fit(dataset(entry), nb_epoch=1, checkpoint_interval=0)


def test_an_adjoint_equation_that_fails_drops_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of a gradient is used."""
    monkeypatch.setattr(response, "solve_adjoint", partial(solve_adjoint, maxiter=1))
    cut = DFTEntry.create("band_gap", 1.1, [quick(kpts=[1, 1, 1], nbands=9)])
    model = make(on_failure="skip", batch_size=2)
    before = weights(model)
    with pytest.raises(RuntimeError, match="all entries of epoch 0 failed"):
        model.fit(dataset(cut), nb_epoch=1, checkpoint_interval=0)
    assert torch.equal(weights(model), before)
    with pytest.raises(EntryError, match="in 1 iterations"):
        make().fit(dataset(cut), nb_epoch=1, checkpoint_interval=0)
