"""Training in several processes: the gradients, weights and files of one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

# A training of three structures with seven calculations.
SCRIPT = """
import json, logging, sys
from pathlib import Path

import numpy as np
import torch
from deepchem.data import NumpyDataset
from deepchem.models.optimizers import Adam
from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.models import LBFGS, XCModel
from deepchem_xc.models.distributed import Team
from deepchem_xc.xc import PBE

options = json.loads(sys.argv[1])
folder = Path(options["folder"])


def crystal(symbol, a, sites, **more):
    cell = (a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])).tolist()
    structure = {"symbols": [symbol] * len(sites), "cell": cell, "scaled_positions": sites}
    return {"structure": structure, "ecut": 80.0, "kpts": [1, 1, 1],
            "convergence": {"energy": 1e-9, "density": 1e-7}, **more}


diamond = [[0, 0, 0], [0.25, 0.25, 0.25]]
silicon = crystal("Si", 5.43, diamond)
moved = crystal("Si", 5.5, [[0, 0, 0], [0.27, 0.25, 0.25]])
aluminium = crystal("Al", 4.05, [[0, 0, 0]], occupations={"name": "fermi-dirac", "width": 0.3})
entries = [
    DFTEntry.create("energy", -215.0, [silicon], name="silicon"),
    DFTEntry.create("eos", [0.2, 0.1, -0.1, -0.1, -0.1], [aluminium], name="aluminium",
                    scales=[0.9, 0.95, 1.0, 1.05, 1.1]),
    DFTEntry.create("forces", [[0.1, 0, 0], [-0.1, 0, 0]], [moved], name="forces"),
]
X, y, w = entry_arrays(entries)
w = np.array(options.get("weights", [1.0, 0.5, 2.0])).reshape(w.shape)
rank = Team().rank
if options.get("fails_on") == rank:
    from deepchem_xc.models.ground_states import GroundStates

    def broken(self, *arguments):
        raise ZeroDivisionError("no such number")

    GroundStates._solve = broken
if options.get("other_data_on") == rank:
    w = 2.0 * w
if options.get("stops_on"):
    from deepchem_xc.models.ground_states import GroundStates
    from deepchem_xc.numerics.errors import SCFConvergenceError

    solve = GroundStates._solve
    (stops,) = [entry for entry in entries if entry.name == options["stops_on"]]
    keys = {one.key for one in stops.calculations}

    def solve_or_stop(self, calculation, start):
        if calculation.key in keys:
            raise SCFConvergenceError("it does not converge", [])
        return solve(self, calculation, start)

    GroundStates._solve = solve_or_stop
functional = PBE(trainable=True)
with torch.no_grad():
    for parameter in functional.parameters():
        parameter.mul_(1.0 + 0.01 * rank)  # the first process's are everybody's
model = XCModel(
    functional=functional, batch_size=options.get("batch_size", 3),
    scf_interval=2, model_dir=str(folder / "model"), cache_dir=options.get("cache_dir"),
    solver=options.get("solver"), on_failure=options.get("on_failure", "raise"),
    max_gradient_norm=options.get("max_gradient_norm"),
    optimizer=LBFGS(0.01, max_iter=3) if options.get("lbfgs") else Adam(1e-3),
)
first = next(iter(model.functional.parameters()))
model.regularization_loss = lambda: 0.1 * (first - 0.5).pow(2).sum()
trained = [first] if options.get("only_first") else None
turns = []
if options.get("stops_beyond"):
    from deepchem_xc.models.ground_states import GroundStates
    from deepchem_xc.numerics.errors import SCFConvergenceError

    solve = GroundStates._solve
    (stops,) = [one for entry in entries if entry.name == "forces" for one in entry.calculations]
    begin = {"value": None}

    def solve_nearby(self, calculation, start):
        if calculation.key == stops.key:
            here = torch.cat([p.detach().reshape(-1) for p in self.functional.parameters()])
            if begin["value"] is None:
                begin["value"] = here
            if float((here - begin["value"]).norm()) > options["stops_beyond"]:
                turns.append(here.tolist())
                raise SCFConvergenceError("too far", [])
        return solve(self, calculation, start)

    GroundStates._solve = solve_nearby
gradients = []


def record(model, step):
    gradients.append([p.grad.tolist() for p in model.functional.parameters()])
    if options.get("other_weights_on") == rank:
        with torch.no_grad():
            first.mul_(1.001)


validation = None
if options.get("validated"):
    label = options["validated"]
    other = DFTEntry.create("energy", label, [crystal("Si", 5.6, diamond)], name="other")
    validation = NumpyDataset(*entry_arrays([other]))
# The first process alone has this callback, as one that writes files.
callbacks = record if rank == 0 or not options.get("called_in_first") else None
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
loss = model.fit(
    NumpyDataset(X, y, w), nb_epoch=options["epochs"], checkpoint_interval=1, callbacks=callbacks,
    restore=options.get("restore", False), variables=trained,
    validation=validation, patience=options.get("patience"),
)
best = model.best_functional() if model.best_epoch is not None else None
history = [record.state_dict() | {"seconds": 0.0} for record in model.history]
found = {
    "gradients": gradients, "loss": loss, "history": history,
    "weights": [p.tolist() for p in model.functional.parameters()],
    "kept": sorted(model.ground_states.kept.densities),
    "turns": turns, "best_epoch": model.best_epoch,
    "best": best and [p.tolist() for p in best.parameters()],
    "own": sorted(group for group, owner in model._team._owners.items() if owner == rank),
}
(folder / f"rank{rank}.json").write_text(json.dumps(found))
"""


def run(folder: Path, processes: int, **options: Any) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    words = [sys.executable]
    if processes > 1:
        words += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    options = {"folder": str(folder), "epochs": 3, **options}
    done = subprocess.run(
        [*words, str(script), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "stdout").write_text(done.stdout)
    return done


def results(folder: Path, processes: int, **options: Any) -> list[dict[str, Any]]:
    done = run(folder, processes, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{i}.json").read_text()) for i in range(processes)]


def flat(nested: Any) -> list[float]:
    """All numbers of nested lists, in order."""
    if isinstance(nested, (int, float)):
        return [float(nested)]
    return [number for part in nested for number in flat(part)]


def assert_same(one: dict[str, Any], other: dict[str, Any], tolerance: float = 1e-10) -> None:
    for key in ("gradients", "weights", "loss"):
        assert flat(other[key]) == pytest.approx(flat(one[key]), rel=tolerance, abs=tolerance), key
    for mine, theirs in zip(one["history"], other["history"], strict=True):
        assert mine["counts"] == theirs["counts"]
        assert mine["calculations"] == theirs["calculations"]
        assert theirs["losses"] == pytest.approx(mine["losses"], rel=tolerance)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results(tmp_path_factory.mktemp("alone"), 1)[0]


@pytest.mark.slow
def test_two_processes_have_the_gradients_and_weights_of_one(
    alone: dict[str, Any], tmp_path: Path
) -> None:
    both = results(tmp_path, 2)
    assert both[0]["weights"] == both[1]["weights"]
    for one in both:
        assert_same(alone, one)
        assert one["kept"] == alone["kept"]
    assert max(map(abs, flat(alone["gradients"]))) > 1e-3  # there is something to compare
    # Both did a part of it: the forces of three epochs, and energies of two.
    assert alone["history"][0]["calculations"] == 7
    owners = {tuple(one["own"]) for one in both}
    assert len(owners) == 2 and all(owners)


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_goes_on_in_one_and_in_three(tmp_path: Path) -> None:
    results(tmp_path, 2, epochs=1)
    # Of three, one has nothing to do.
    more = {"epochs": 1, "restore": True}
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "model", again / "model")
    (three,) = {json.dumps(r["weights"]) for r in results(again, 3, **more)}
    (one,) = results(tmp_path, 1, **more)
    assert flat(json.loads(three)) == pytest.approx(flat(one["weights"]), rel=1e-7)


@pytest.mark.slow
def test_batches_of_one_entry_leave_a_process_without_work(tmp_path: Path) -> None:
    # Parameters that are not trained have gradients too, which must not add up.
    words = {"batch_size": 1, "epochs": 1, "only_first": True, "cache_dir": str(tmp_path / "cache")}
    (alone,) = results(tmp_path / "one", 1, **{**words, "cache_dir": str(tmp_path / "own")})
    for one in results(tmp_path / "two", 2, **words):
        assert_same(alone, one)
    # A common folder of densities holds each of them once.
    assert len(list((tmp_path / "cache").iterdir())) == len(alone["kept"])


@pytest.mark.slow
def test_gradients_are_limited_and_trainings_stopped_as_in_one_process(tmp_path: Path) -> None:
    # The label pulls up, those of the training down: the first validation is the best.
    words = {"epochs": 4, "max_gradient_norm": 100.0, "validated": -190.0, "patience": 1}
    (alone,) = results(tmp_path / "one", 1, **words)
    assert len(alone["history"]) == 2 and alone["best_epoch"] == 0
    assert alone["history"][0]["gradient_norm"] > 1000.0
    assert np.linalg.norm(flat(alone["gradients"][0])) == pytest.approx(100.0, rel=1e-4)
    both = results(tmp_path / "two", 2, called_in_first=True, **words)
    assert_same(alone, both[0])
    for one in both:
        assert one["weights"] == both[0]["weights"] and one["loss"] == both[0]["loss"]
        assert one["best_epoch"] == 0 and one["best"] == both[0]["best"] != one["weights"]
        assert flat(one["best"]) == pytest.approx(flat(alone["best"]), rel=1e-10)
        for mine, theirs in zip(alone["history"], one["history"], strict=True):
            assert theirs["gradient_norm"] == pytest.approx(mine["gradient_norm"], rel=1e-10)
            # The first process starts from densities of the others, but not from their orbitals.
            assert theirs["validation_loss"] == pytest.approx(mine["validation_loss"], rel=1e-6)
            assert theirs["validation_loss"] == both[0]["history"][mine["epoch"]]["validation_loss"]
    # Each message once.
    log = (tmp_path / "two" / "stdout").read_text()
    assert log.count("epoch 1: loss") == log.count("stopped after epoch 1") == 1


@pytest.mark.slow
def test_a_line_search_turns_back_in_all_processes_where_one_cannot_compute(tmp_path: Path) -> None:
    words = {"epochs": 1, "lbfgs": True, "stops_beyond": 2e-3}
    (alone,) = results(tmp_path / "one", 1, **words)
    assert alone["turns"] and alone["weights"] != [0.804, 0.2195149727645171, 0.06672455060314922]
    both = results(tmp_path / "two", 2, **words)
    # One of the two has the forces; the other learns from it.
    assert sorted(len(one["turns"]) for one in both) == [0, len(alone["turns"])]
    assert both[0]["weights"] == both[1]["weights"]
    for one in both:
        assert_same(alone, one, 1e-8)


@pytest.mark.slow
def test_weights_that_change_in_one_process_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path, 2, epochs=2, other_weights_on=1)
    assert done.returncode != 0
    assert "process 1 has other weights than process 0" in done.stderr
    assert not list(tmp_path.glob("rank*.json"))


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_it(tmp_path: Path) -> None:
    done = run(tmp_path, 2, epochs=1, fails_on=1)
    assert done.returncode != 0
    assert "ZeroDivisionError: no such number" in done.stderr
    assert not (tmp_path / "rank0.json").exists()


@pytest.mark.slow
def test_an_entry_that_fails_is_skipped_in_all_processes(tmp_path: Path) -> None:
    words = {"epochs": 1, "on_failure": "skip", "stops_on": "aluminium"}
    (alone,) = results(tmp_path / "one", 1, **words)
    assert list(alone["history"][0]["skipped"]) == ["aluminium"]
    for one in results(tmp_path / "two", 2, **words):
        assert_same(alone, one)
        assert list(one["history"][0]["skipped"]) == ["aluminium"]


@pytest.mark.slow
def test_processes_with_different_data_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path, 2, epochs=1, other_data_on=1)
    assert done.returncode != 0
    assert "process 1 has another batch than process 0" in done.stderr
