"""`deepchem-xc train`: a training from files to a functional's file."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from deepchem_xc.cli.commands import app
from deepchem_xc.models.config import FunctionalSpec, read_training
from deepchem_xc.models.own_class import load_class
from deepchem_xc.report import write_html_report
from deepchem_xc.xc import XCFunctional, load_functional
from tests.models.systems import silicon

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = silicon(ecut=80.0, convergence={"energy": 1e-8, "density": 1e-7})
ENTRIES = [
    {"e_type": "energy", "true_val": -215.0, "systems": [SYSTEM]},
    {"e_type": "band_gap", "true_val": 1.1, "systems": [SYSTEM]},
]
CONFIG: dict[str, Any] = {
    "dataset": "data.yaml",
    "validation": ["valid.yaml"],
    "functional": {"type": "PBE"},
    "epochs": 3,
    "batch_size": 2,
    "learning_rate": {"initial": 5e-3, "decay": 0.9, "steps": 1},
    "validation_interval": 2,
    "scf_interval": 2,
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "data.yaml").write_text(yaml.safe_dump(ENTRIES))
    (folder / "valid.yaml").write_text(yaml.safe_dump(ENTRIES[:1]))
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    return path


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_training_writes_log_curves_and_functional_and_goes_on(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run = call(write(tmp_path), "-o", one)
    assert run.exit_code == 0, run.stderr
    assert "epoch 2: loss" in run.stderr and "band_gap" in run.stderr
    assert "validation: mean absolute errors energy" in run.stderr
    assert "training    band_gap" in run.stdout and "validation  energy" in run.stdout
    rows = list(csv.DictReader((one / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert float(rows[2]["loss"]) < float(rows[0]["loss"])
    assert (one / "training.png").read_bytes().startswith(b"\x89PNG")
    assert [p[0] for p in json.loads((one / "validation.json").read_text())["energy (eV)"]] == [1]
    compared = list(csv.DictReader((one / "predictions.csv").open()))
    assert [(row["set"], row["type"]) for row in compared] == [
        ("training", "energy"),
        ("training", "band_gap"),
        ("validation", "energy"),
    ]
    energy = compared[0]
    error = abs(float(energy["prediction"]) - float(energy["label"]))
    assert energy["label"] == "-215.0" and f"{error:.5g}" in run.stdout
    assert "torch" in json.loads((one / "versions.json").read_text())["versions"]
    page = write_html_report(one).read_text("utf-8")
    assert page.count("data:image/png") == 4  # curves, two parities, enhancement factors
    assert "0 skipped entries" in page and "could not be drawn" not in page

    # In two parts it gives the same functional.
    first = call(write(tmp_path, epochs=1, final_errors=False), "-o", two)
    assert first.exit_code == 0, first.stderr
    assert "training    band_gap" not in first.stdout and "Written" in first.stdout
    second = call(write(tmp_path), "-o", two)
    assert second.exit_code == 0, second.stderr
    assert "resuming after 1 epochs" in second.stderr
    states = [load_functional(f / "functional.safetensors").state_dict() for f in (one, two)]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-8), name
    assert len(list(csv.DictReader((two / "log.csv").open()))) == 3


def test_a_dead_scheduler_is_told_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    run = call(write(tmp_path), "-o", tmp_path / "out", "--scheduler", address)
    assert run.exit_code == 1 and f"no Dask scheduler answers at '{address}'" in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_training_on_workers_writes_the_functional_of_one_without(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    found = []
    for name, more in (("alone", ()), ("shared", ("--scheduler", "local", "--jobs", "2"))):
        run = call(write(tmp_path), "-o", tmp_path / name, *more)
        assert run.exit_code == 0, run.stderr
        found.append(load_functional(tmp_path / name / "functional.safetensors").state_dict())
    assert "2 workers of the scheduler" in run.stderr
    for name, value in found[0].items():
        assert torch.allclose(value, found[1][name], atol=1e-6), name


@pytest.mark.slow
def test_two_processes_train_together_stop_together_and_say_everything_once(tmp_path: Path) -> None:
    opposite = [{**ENTRIES[0], "true_val": -200.0}]
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    said = ""
    for epochs in (1, 4):
        config = write(
            tmp_path, epochs=epochs, validation_interval=1, patience=1, final_errors=False
        )
        (tmp_path / "valid.yaml").write_text(yaml.safe_dump(opposite))
        run = subprocess.run(
            [sys.executable, *words, "-m", "deepchem_xc.cli", "train", config, "-o", "out"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-3000:]
        assert run.stdout.count("Written: ") == 1
        said += run.stderr
    messages = (
        "epoch 0: loss",
        "resuming after 1 epochs",
        "epoch 1: loss",
        "stopped after 2 of 4 epochs",
    )
    assert [said.count(message) for message in messages] == [1, 1, 1, 1]
    last, best = (
        load_functional(tmp_path / "out" / name).state_dict()
        for name in ("functional.safetensors", "best.safetensors")
    )
    assert any(not torch.equal(value, best[name]) for name, value in last.items())


def test_what_entropies_do_is_written_out(tmp_path: Path) -> None:
    """So that a training goes on as it was begun, whatever is the default later."""
    exact = [
        read_training(write(tmp_path, **changes)).entropy_response
        for changes in ({"scf_interval": 1}, {}, {"scf_interval": 1, "entropy_response": False})
    ]
    assert exact == [True, False, False]


def test_other_settings_need_another_folder_or_a_fresh_start(tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert call(write(tmp_path, epochs=1, validation=[]), "-o", output).exit_code == 0
    changed = write(tmp_path, epochs=1, validation=[], learning_rate=1e-2)
    run = call(changed, "-o", output)
    assert run.exit_code == 1
    assert "with other settings (learning_rate)" in run.stderr and "--fresh" in run.stderr
    again = call(changed, "-o", output, "--fresh")
    assert again.exit_code == 0, again.stderr
    assert "resuming" not in again.stderr


def test_validation_that_fails_altogether_does_not_end_a_training(tmp_path: Path) -> None:
    path = write(tmp_path, epochs=2, on_failure="skip", validation_interval=1)
    hopeless = {**SYSTEM, "convergence": {"maxiter": 1}}
    entry = {"e_type": "energy", "true_val": 0.0, "systems": [hopeless]}
    (tmp_path / "valid.yaml").write_text(yaml.safe_dump([entry]))
    run = call(path, "-o", tmp_path / "run")
    assert run.exit_code == 0, run.stderr
    assert "no errors: all 1 entries failed; the first: DFTEntry(energy, Si2)" in run.stderr
    assert "epoch 1: loss" in run.stderr and "training  band_gap" in run.stdout
    (tmp_path / "valid.yaml").write_text(yaml.safe_dump([ENTRIES[0], entry]))
    run = call(write_only(path, epochs=3), "-o", tmp_path / "run")
    assert run.exit_code == 0, run.stderr
    assert "1 of 2 entries failed and are left out" in run.stderr


def write_only(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
    return path


def test_entries_are_told_by_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same names in another folder are other files; a file that moved is the same."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, epochs=1, validation=[], final_errors=False)
    output = tmp_path / "run"
    monkeypatch.chdir(tmp_path / "a")
    assert call("train.yaml", "-o", output).exit_code == 0
    # What is kept beside the training can be trained with, from anywhere.
    monkeypatch.chdir(tmp_path)
    again = call(output / "config.yaml", "-o", output)
    assert again.exit_code == 0 and "resuming after 1 epochs" in again.stderr
    moved = call("b/train.yaml", "-o", output)
    assert moved.exit_code == 0 and "resuming after 1 epochs" in moved.stderr
    other = [{**ENTRIES[0], "true_val": -214.0}, ENTRIES[1]]
    (tmp_path / "b" / "data.yaml").write_text(yaml.safe_dump(other))
    run = call("b/train.yaml", "-o", output)
    assert run.exit_code == 1
    assert "other settings (entries of the dataset)" in run.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "train.yaml is not valid:\n  epochs: input should be greater than 0"),
        ({"epoch": 5}, "epoch: unknown key, did you mean 'epochs'? Valid: dataset, validation"),
        ({"functional": {}}, "functional: give one of type, class, file and xcstr"),
        ({"functional": {"class": "PBE"}}, "functional.class: must be a path such as package.mod"),
        (
            {"functional": {"class": "none.such.PBE"}},
            "there is no module 'none' among the installed",
        ),
        ({"functional": {"class": "math.pi"}}, "math.pi is not a subclass of deepchem_xc.xc.XCFun"),
        (
            {"functional": {"class": "deepchem_xc.xc.PBF"}},
            "has no 'PBF'. Its functionals: ",
        ),
        (
            {"functional": {"class": "deepchem_xc.xc.HybridXC", "options": {"aweight0": 0.1}}},
            "functional.options: HybridXC cannot be made: missing a required argument",
        ),
        ({"patience": 2, "validation": []}, "patience needs validation, the entries to judge by"),
        ({"optimizer": "lbfgs", "weight_decay": 0.1}, "weight_decay cannot be combined with lbfgs"),
        ({"optimizer": "sgd"}, "optimizer: input should be 'adam', 'adamw' or 'lbfgs', got 'sgd'"),
        ({"weight_decay": -0.1}, "weight_decay: input should be greater than or equal to 0"),
        ({"max_gradient_norm": 0}, "max_gradient_norm: input should be greater than 0"),
        ({"functional": {"type": "PBF"}}, "functional.type: input should be 'ConstrainedGGA'"),
        (
            {"functional": {"type": "ConstrainedGGA", "options": {"with": 4}}},
            "functional.options: ConstrainedGGA has no ['with']. Valid: width, depth",
        ),
        ({"functional": {"xcstr": "lda_x", "hidden": 4}}, "functional.hidden: unknown key"),
        ({"functional": {"file": "none.safetensors"}}, "none.safetensors"),
        (
            {"functional": {"type": "PBE", "hidden_size": 64}},
            "functional: hidden_size=64 would have no effect beside type",
        ),
        (
            {"functional": {"file": "f.safetensors", "aweight0": 0.5, "modeltype": 2}},
            "functional: modeltype=2, aweight0=0.5 would have no effect beside file",
        ),
        ({"type_weights": {"energy": 0.0, "band_gap": 0}}, "type_weights are 0 for all entries"),
        ({"learning_rate": -1}, "learning_rate: input should be greater than 0"),
        ({"type_weights": {"eoss": 1.0}}, "type_weights: unknown entry types ['eoss']"),
        ({"dataset": "none.yaml"}, "there is no file"),
    ],
)
def test_mistakes_name_the_key_and_what_is_valid(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    run = call(write(tmp_path, **changes), "-o", tmp_path / "run")
    assert run.exit_code == 1
    assert message in run.stderr


def test_a_network_beside_a_known_functional_and_a_file(tmp_path: Path) -> None:
    spec = read_training(
        write(tmp_path, functional={"xcstr": "lda_x", "hidden_size": 3, "aweight0": 0.1})
    )
    model = spec.make_model(tmp_path, tmp_path / "run")
    model.functional.save(tmp_path / "start.safetensors")
    again = read_training(write(tmp_path, functional={"file": "start.safetensors"}, cache=True))
    copy = again.make_model(tmp_path, tmp_path / "other")
    assert copy.functional.name == model.functional.name == "a*NNLDA+b*lda_x"
    assert copy.ground_states.cache_dir == tmp_path / "other" / "densities"


def test_what_could_not_be_saved_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(XCFunctional):
        name, family = "own", 1

        def __init__(self) -> None:
            super().__init__()
            self.c = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

        def energy_density(self, variables: Any) -> torch.Tensor:
            return -self.c * variables.density * variables.inverse_rs

    monkeypatch.setattr(FunctionalSpec, "make_functional", lambda self, folder: Own())
    called = call(write(tmp_path), "-o", tmp_path / "out")
    assert called.exit_code != 0
    message = " ".join((called.output + str(called.exception)).split())
    assert "Own is not a functional of deepchem_xc" in message
    assert not list((tmp_path / "out").glob("**/*.pt"))


OWN = """
import torch
from deepchem_xc.xc import XCFunctional

class Slater(XCFunctional):
    name, family = "slater", 1

    def __init__(self, start=0.7):
        super().__init__()
        self.start = start
        self.c = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def energy_density(self, variables):
        return -self.c * variables.density * variables.inverse_rs
"""


def test_a_class_of_ones_own_is_trained_saved_and_resumed(tmp_path: Path) -> None:
    """Its module lies beside the file of the training, which may be elsewhere than the shell."""
    (tmp_path / "slaters_of_mine.py").write_text(OWN)
    functional = {"class": "slaters_of_mine.Slater", "options": {"start": 0.72}}
    settings: dict[str, Any] = {"functional": functional, "validation": [], "final_errors": False}
    for epochs in (1, 2):
        run = call(write(tmp_path, epochs=epochs, **settings), "-o", tmp_path / "run")
        assert run.exit_code == 0, run.stderr
    assert "resuming after 1 epochs" in run.stderr
    assert "load_functional(path, classes=[Slater])" in run.stderr
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["functional"]["class"] == "slaters_of_mine.Slater"
    made = load_class("slaters_of_mine.Slater", tmp_path)
    found = load_functional(tmp_path / "run" / "functional.safetensors", classes=[made])
    (c,) = found.parameters()
    assert c.item() != 0.72 and found.start == 0.72
    (tmp_path / "slaters_of_mine2.py").write_text("import none_such_module")
    wrong = call(write(tmp_path, functional={"class": "slaters_of_mine2.X"}), "-o", tmp_path / "x")
    assert "importing slaters_of_mine2 failed: ModuleNotFoundError: No module named" in wrong.stderr


def test_a_training_that_stops_early_keeps_the_best_functional(tmp_path: Path) -> None:
    path = write(tmp_path, epochs=9, patience=1, validation_interval=1, learning_rate=5e-3)
    # Entries that pull the other way: the first validation is the best one.
    opposite = [{**ENTRIES[0], "true_val": -200.0}]
    (tmp_path / "valid.yaml").write_text(yaml.safe_dump(opposite))
    output = tmp_path / "run"
    run = call(path, "-o", output)
    assert run.exit_code == 0, run.stderr
    assert "stopped after 2 of 9 epochs: 1 validations without an improvement" in run.stderr
    assert "best.safetensors is the functional of the best validation, after epoch 0" in run.stderr
    best, last = (
        load_functional(output / name).state_dict()
        for name in ("best.safetensors", "functional.safetensors")
    )
    assert any(not torch.equal(best[name], last[name]) for name in best)
    rows = list(csv.DictReader((output / "log.csv").open()))
    assert float(rows[0]["validation_loss"]) < float(rows[1]["validation_loss"])
    # It stays stopped, and settings that it did not know when it began do not matter.
    settings = yaml.safe_load((output / "config.yaml").read_text())
    for name in ("optimizer", "weight_decay", "max_gradient_norm"):
        del settings[name]
    del settings["functional"]["class"]
    (output / "config.yaml").write_text(yaml.safe_dump(settings))
    again = call(path, "-o", output)
    assert again.exit_code == 0 and "stopped after 2 of 9 epochs" in again.stderr


def test_optimisers_of_a_file_are_those_of_the_model(tmp_path: Path) -> None:
    found = []
    for changes in (
        {},
        {"optimizer": "lbfgs"},
        {"optimizer": "adamw"},
        {"weight_decay": 0.1, "learning_rate": 0.5},
    ):
        path = write(tmp_path)
        content = {key: value for key, value in CONFIG.items() if key != "learning_rate"}
        path.write_text(yaml.safe_dump({**content, **changes}))
        functional = {"type": "ConstrainedGGA"}
        spec = read_training(write_only(path, functional=functional))
        model = spec.make_model(tmp_path, tmp_path / "run")
        model.training_state()
        made = model._pytorch_optimizer
        groups = [(group["lr"], group.get("weight_decay")) for group in made.param_groups]
        found.append((type(made).__name__, groups))
    assert found == [
        ("Adam", [(1e-3, 0)]),
        ("LBFGS", [(1.0, None)]),
        ("AdamW", [(1e-3, 0.0)]),
        ("AdamW", [(0.5, 0.1), (0.5, 0.0)]),
    ]
    clipped = read_training(write(tmp_path, max_gradient_norm=0.5))
    assert clipped.make_model(tmp_path, tmp_path / "run").max_gradient_norm == 0.5
