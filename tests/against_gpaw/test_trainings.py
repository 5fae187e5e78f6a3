"""Trainings beside the benchmark: in turn, ended with it, and never silently failed."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from deepchem_xc.against_gpaw.trainings import Training, TrainingError, train_beside


@pytest.fixture
def trainings(tmp_path: Path) -> list[Training]:
    return [Training(seed, tmp_path / f"training-{seed}") for seed in (1, 2)]


def run_instead(monkeypatch: pytest.MonkeyPatch, *command: str) -> list[subprocess.Popen[bytes]]:
    started = []
    original = subprocess.Popen

    def popen(_: list[str], **keywords: object) -> subprocess.Popen[bytes]:
        assert all(process.poll() is not None for process in started)  # one after another
        started.append(original(command, **keywords))
        return started[-1]

    monkeypatch.setattr("deepchem_xc.against_gpaw.trainings.subprocess.Popen", popen)
    return started


def test_one_after_another(monkeypatch: pytest.MonkeyPatch, trainings: list[Training]) -> None:
    started = run_instead(monkeypatch, "sleep", "0.5")
    with train_beside(trainings):
        pass
    assert [process.returncode for process in started] == [0, 0]
    assert all(training.log.exists() for training in trainings)


def test_a_training_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainings: list[Training]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("{dataset: nowhere.yaml, functional: {type: PBE}}")
    monkeypatch.setattr("deepchem_xc.against_gpaw.trainings.data_file", lambda name: bad)
    said: list[str] = []
    with (
        pytest.raises(TrainingError, match="seed 1 failed(.|\n)*nowhere.yaml"),
        train_beside(trainings, notify=said.append),
    ):
        for _ in range(600):  # at once, not at the block's end
            if len(said) > 1:
                break
            time.sleep(0.1)
    assert "seed 1: in" in said[0] and "seed 1 failed" in said[1]
    assert not trainings[1].folder.exists()


def test_it_ends_with_the_block_that_fails(
    monkeypatch: pytest.MonkeyPatch, trainings: list[Training]
) -> None:
    started = run_instead(monkeypatch, "sleep", "100")
    with pytest.raises(KeyboardInterrupt), train_beside(trainings):
        for _ in range(100):
            if started:
                break
            time.sleep(0.1)
        raise KeyboardInterrupt
    assert len(started) == 1 and started[0].poll() is not None


def test_the_command_names_seed_folder_and_options(trainings: list[Training]) -> None:
    command = trainings[0].command("--fresh")
    assert command[2:4] == ["deepchem_xc.cli", "train"]
    assert command[-5:] == ["--output", str(trainings[0].folder), "--seed", "1", "--fresh"]
