"""Training in several processes: the gradients, weights and files of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.models import XCModel

ROOT = Path(__file__).resolve().parents[2]

# A training of three structures with seven calculations.
SCRIPT = '''
import json, sys
from pathlib import Path

import numpy as np
import torch
from deepchem.data import NumpyDataset
from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.models import XCModel
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
    DFTEntry.create("lattice_constant", 4.0, [aluminium], name="aluminium",
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
    y = y + 1.0
functional = PBE(trainable=True)
with torch.no_grad():
    for parameter in functional.parameters():
        parameter.mul_(1.0 + 0.01 * rank)  # the first process's are everybody's
first = next(iter(functional.parameters()))
model = XCModel(
    functional=functional, batch_size=options.get("batch_size", 3), learning_rate=1e-3,
    scf_interval=2, model_dir=str(folder / "model"), cache_dir=options.get("cache_dir"),
    regularization_loss=lambda: 0.1 * (first - 0.5).pow(2).sum(),
    solver=options.get("solver"), on_failure=options.get("on_failure", "raise"),
)
gradients = []


def record(model, step):
    gradients.append([p.grad.tolist() for p in model.functional.parameters()])


loss = model.fit(
    NumpyDataset(X, y, w), nb_epoch=options["epochs"], checkpoint_interval=1, callbacks=record,
    restore=options.get("restore", False),
)
history = [record.state_dict() | {"seconds": 0.0} for record in model.history]
found = {
    "gradients": gradients, "loss": loss, "history": history,
    "weights": [p.tolist() for p in model.functional.parameters()],
    "kept": sorted(model.ground_states.kept.densities),
    "calculations": model.ground_states.report.calculations,
}
(folder / f"rank{rank}.json").write_text(json.dumps(found))
'''


def run(folder: Path, processes: int, **options: Any) -> subprocess.CompletedProcess[str]:
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(SCRIPT)
    words = [sys.executable]
    if processes > 1:
        words += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    options = {"folder": str(folder), "epochs": 3, **options}
    return subprocess.run(
        [*words, str(script), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def results(folder: Path, processes: int, **options: Any) -> list[dict[str, Any]]:
    done = run(folder, processes, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"rank{i}.json").read_text()) for i in range(processes)]


def assert_same(one: dict[str, Any], other: dict[str, Any], tolerance: float = 1e-10) -> None:
    for key in ("gradients", "weights", "loss"):
        left, right = (np.concatenate([np.ravel(x) for x in np.ravel(v)]) for v in _arrays(
            one[key], other[key]))
        assert left.shape == right.shape
        assert np.abs(left - right).max() < tolerance * max(1.0, np.abs(left).max()), key
    for mine, theirs in zip(one["history"], other["history"], strict=True):
        assert mine["counts"] == theirs["counts"]
        assert mine["calculations"] == theirs["calculations"]
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=tolerance)


def _arrays(*values: Any) -> list[Any]:
    return [np.array(value, dtype=object) for value in values]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results(tmp_path_factory.mktemp("alone"), 1)[0]


def test_two_processes_have_the_gradients_and_weights_of_one(
    alone: dict[str, Any], tmp_path: Path
) -> None:
    both = results(tmp_path, 2)
    assert both[0]["weights"] == both[1]["weights"]
    for one in both:
        assert_same(alone, one)
        assert one["kept"] == alone["kept"]
    assert max(np.ravel(np.abs(alone["gradients"][0][0]))) > 1e-3  # there is something to compare
    # The first process's checkpoints only.
    assert (tmp_path / "model" / "checkpoint1.pt").exists()
