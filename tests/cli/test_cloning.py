"""`deepchem-xc clone`: a file that get_xc reads, errors beside it, one line for mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deepchem_xc import cloning
from deepchem_xc.cloning import comparison, densities
from deepchem_xc.xc import get_xc
from tests.cli.options import Call


def test_a_quick_clone_is_written_with_its_errors(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloning, "QUICK", ("H2", "LiH"))
    # Small molecules and a small basis: what is tested is the command.
    for room in (densities.parent_densities, comparison.compare_energies):
        monkeypatch.setitem(room.__kwdefaults__, "basis", "sto-3g")
        monkeypatch.setitem(room.__kwdefaults__, "grid_level", 1)
    monkeypatch.setattr("deepchem_xc.cli.cloning._QUICK_HELD_OUT", ("Li2",))
    file, errors = tmp_path / "pbe.safetensors", tmp_path / "errors.json"
    command = ("clone", "PBE", "--quick", "--data-dir", tmp_path, "-o", file, "--points", 50)
    run = call(*command, "--steps", 20, "--polish", 5, "--results", errors)
    assert run.exit_code == 0, run.stderr
    assert get_xc(file).name == "clone of PBE"
    found = json.loads(errors.read_text())
    assert set(found["energy_errors"]["atomisation_kcal_per_mol"]) == {"Li2"}
    assert f"F_x {found['factor_errors']['exchange']:.2e}" in run.stdout
    assert f"Written: {file}" in run.stdout
    # The same command has nothing left to train, and writes the same clone.
    first = file.read_bytes()
    run = call(*command, "--steps", 20, "--polish", 5, "--no-compare")
    assert run.exit_code == 0, run.stderr
    assert file.read_bytes() == first
    # Another number of steps would be another training, also of the stage after it.
    run = call(*command, "--steps", 10, "--polish", 5, "--no-compare")
    assert run.exit_code == 1 and re.search("training of 20 steps.*--fresh", run.stderr)
    run = call(*command, "--steps", 20, "--seed", 1, "--no-compare")
    assert run.exit_code == 1 and re.search("student differ.*--fresh", run.stderr)
    # Other points do not go on with this training, except with --fresh.
    run = call(*command[:-1], 40, "--steps", 20, "--no-compare")
    assert run.exit_code == 1 and "other points" in run.stderr
    energies = ("--energy-weight", 10, "--sampling", "spread", "--student", "unconstrained")
    run = call(*command, "--steps", 2, "--no-compare", "--fresh", *energies)
    assert run.exit_code == 0, run.stderr
    run = call(
        *command, "--steps", 2, "--no-compare", "--fresh", "--student", "linear", "--uniform", 30
    )
    assert run.exit_code == 0 and "and 30 of none, 2 steps" in run.stderr, run.stderr
    assert get_xc(file).linear_limit


def test_an_interruption_names_checkpoints_only_if_there_are_any(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cloning, "QUICK", ("H2",))
    monkeypatch.setitem(densities.parent_densities.__kwdefaults__, "basis", "sto-3g")
    monkeypatch.setattr(cloning, "train_clone", interrupted)
    file = tmp_path / "pbe.safetensors"
    command = ("clone", "PBE", "--quick", "--data-dir", tmp_path, "-o", file, "--points", 50)
    assert "checkpoints" not in call(*command).stderr
    folder = tmp_path / "pbe.safetensors.checkpoints"
    folder.mkdir()
    (folder / "checkpoint1.pt").touch()
    assert f"checkpoints are kept in {folder}" in call(*command).stderr


def test_mistakes_are_one_line(call: Call, tmp_path: Path) -> None:
    run = call("clone", "PBEE", "--data-dir", tmp_path, "-o", tmp_path / "a.safetensors")
    assert run.exit_code == 1 and "unknown functional 'PBEE'" in run.stderr
    for parent, message in (("PBE0", "is a hybrid"), ("lda_x", "has no correlation")):
        run = call("clone", parent, "--data-dir", tmp_path, "-o", tmp_path / "a.safetensors")
        assert run.exit_code == 1 and message in run.stderr
    assert not list(tmp_path.iterdir())  # no density was computed
    run = call("clone", "PBE", "-o", tmp_path / "a.pt")
    assert run.exit_code == 1 and "must end in .safetensors" in run.stderr
