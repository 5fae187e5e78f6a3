"""Trainings and predictions whose calculations run in other processes: numbers, losses, deaths."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import EntryError, SkippedWarning, XCModel, side_by_side
from deepchem_xc.models.side_by_side import JobsError
from deepchem_xc.parallel import ClusterError, parallel_map
from deepchem_xc.xc import PBE
from tests.models.systems import (
    LOOSE,
    SCALES,
    aluminium,
    dataset,
    make,
    quick,
    three_entries,
    weights,
)
from tests.models.test_predictions import hopeless

FIT: Any = {"checkpoint_interval": 0, "deterministic": True}
# Energies differ by the loop's tolerance, because volumes start from other densities.
NEAR = 1e-5


def volumes() -> DFTEntry:
    """Energies of five volumes of aluminium."""
    system = aluminium(ecut=100.0, kpts=[1, 1, 1], convergence=LOOSE)
    energies = np.array([0.2, 0.1, 0.0, 0.1, 0.2])
    return DFTEntry.create("eos", energies, [system], scales=SCALES)


def test_a_training_with_jobs_is_the_one_without() -> None:
    data = dataset(*three_entries()[:2], volumes())
    alone, shared = (make(batch_size=3, scf_interval=2, jobs=jobs) for jobs in (None, 1))
    for model in (alone, shared):
        model.fit(data, nb_epoch=2, **FIT)
    for one, other in zip(alone.history, shared.history, strict=True):
        assert other.calculations == one.calculations
        assert other.losses == pytest.approx(one.losses, abs=NEAR, rel=NEAR)
    # The stress in both epochs, energies of kept densities in the second.
    assert [record.calculations for record in shared.history] == [7, 1]
    assert weights(shared).numpy() == pytest.approx(weights(alone).numpy(), abs=1e-6)


def test_predictions_with_jobs_are_those_without_and_failures_are_named() -> None:
    data = dataset(*three_entries(), volumes(), hopeless())
    models = [make(on_failure="skip"), make(on_failure="skip", jobs=1)]
    found = []
    for model in models:
        with pytest.warns(SkippedWarning, match="1 of 5 entries failed"):
            found.append(model.predict(data))
    assert found[1] == pytest.approx(found[0], abs=NEAR, nan_ok=True)
    assert models[1].skipped == models[0].skipped and len(models[1].skipped) == 1
    strict = make(jobs=1)
    with pytest.raises(EntryError, match="hopeless. failed: SCFConvergenceError"):
        strict.predict(dataset(hopeless()))
    with pytest.raises(EntryError, match="hopeless. failed in epoch 0: SCFConvergenceError"):
        strict.fit(dataset(three_entries()[0], hopeless()), nb_epoch=1, **FIT)


def test_what_does_not_come_back_is_named_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(DFTEntry.create("energy", -215.0, [quick()]), volumes())
    solve = side_by_side._solve

    def lost(calculation: Any, *arguments: Any) -> Any:
        if calculation.scale > 1.1:
            raise MemoryError("no more")
        return solve(calculation, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(side_by_side, "_solve", lost)
        model = make(tmp_path, jobs=1)
        with pytest.raises(JobsError, match=r"1 of 6 .*: Al 1\.12 .*MemoryError: no more"):
            model.fit(data, nb_epoch=1, checkpoint_interval=1)
        with pytest.raises(JobsError, match="1 of 1 calculations"):
            model.predict(data)  # five are known from the fit
    assert model.history == []
    again = make(tmp_path, jobs=1)
    again.fit(data, nb_epoch=1, restore=True)
    assert [record.calculations for record in again.history] == [1]


def test_what_came_back_before_the_scheduler_was_gone_is_in_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(DFTEntry.create("energy", -215.0, [quick()]), volumes())
    rounds: list[int] = []

    def gone_in_the_second(function: Any, calls: Any, **how: Any) -> Any:
        rounds.append(len(calls))
        if len(rounds) == 2:
            raise ClusterError("the connection to the scheduler was lost")
        return parallel_map(function, calls, **how)

    with monkeypatch.context() as patch:
        patch.setattr(side_by_side, "parallel_map", gone_in_the_second)
        with pytest.raises(ClusterError, match="was lost"):
            make(tmp_path, jobs=1).fit(data, nb_epoch=1, checkpoint_interval=1)
    again = make(tmp_path, jobs=1)
    again.fit(data, nb_epoch=1, restore=True)
    # The only energy and the middle volume came first.
    assert rounds == [2, 4] and [record.calculations for record in again.history] == [4]


def test_jobs_without_an_effect_are_told() -> None:
    stress = dataset(three_entries()[1])
    with pytest.warns(UserWarning, match="effect on predictions alone.*entries of these types"):
        make(jobs=1).fit(stress, nb_epoch=1, **FIT)
    with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
        make(jobs=0)


@pytest.mark.slow
def test_a_worker_killed_in_a_training_costs_only_its_calculation() -> None:
    pytest.importorskip("distributed")
    from deepchem_xc.parallel import connected

    data = dataset(DFTEntry.create("energy", -215.0, [quick()]), volumes())
    settings: Any = {"batch_size": 2, "scf_interval": 2, "learning_rate": 1e-3}
    alone = XCModel(functional=PBE(trainable=True), **settings)
    alone.fit(data, nb_epoch=3, **FIT)
    with connected("local", processes=2) as client:
        model = XCModel(functional=PBE(trainable=True), jobs=client, **settings)
        done: list[str] = []

        def kill_one(calculation: Any) -> None:
            done.append(calculation.key)
            if len(done) in (2, 9):  # in both self-consistent epochs
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        model.ground_states.on_calculation = kill_one
        model.fit(data, nb_epoch=3, **FIT)
    assert [record.calculations for record in model.history] == [6, 0, 6]
    assert all(len(set(part)) == 6 for part in (done[:6], done[6:]))
    for one, other in zip(alone.history, model.history, strict=True):
        assert other.losses == pytest.approx(one.losses, abs=NEAR, rel=NEAR)
    assert weights(model).numpy() == pytest.approx(weights(alone).numpy(), abs=1e-6)
