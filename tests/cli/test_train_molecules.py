"""`deepchem-xc train` on molecules and crystals together."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepchem_xc.models.config import read_training
from deepchem_xc.report import write_html_report
from deepchem_xc.xc import load_functional
from tests.cli.options import Call
from tests.models.molecules import atomisation
from tests.models.systems import silicon

ENTRIES = [
    {"e_type": "ae", "true_val": "0.17", "systems": atomisation("H2", {"H": 2})},
    {"e_type": "energy", "true_val": -215.0, "systems": [silicon(ecut=80.0)]},
]


def written(folder: Path, **changes: Any) -> Path:
    (folder / "data.yaml").write_text(yaml.safe_dump(ENTRIES))
    words = {"dataset": "data.yaml", "functional": {"type": "PBE"}, "epochs": 2, "batch_size": 2}
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({**words, **changes}))
    return path


def test_a_training_of_both_writes_a_functional_and_a_report(call: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    solver = {"nbands": 8, "molecules": {"convergence": {"energy": 1e-8}}}
    done = call("train", written(tmp_path, solver=solver), "-o", run)
    assert done.exit_code == 0, done.stderr
    assert "training  ae      Hartree" in done.stdout
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    assert [(row["type"], row["unit"]) for row in rows] == [("ae", "Hartree"), ("energy", "eV")]
    load_functional(run / "functional.safetensors")
    assert "Hartree" in write_html_report(run).read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"levelshift": 0.1}, "did you mean 'level_shift'. Valid: convergence, occupations"),
        ({"damping": 5}, "got 5; give a number from 0 to 0.99"),
        ({"convergence": {"density": 1.0}}, "unknown key 'density' of convergence"),
    ],
)
def test_keys_of_molecules_are_judged_by_their_own_rules(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"(?s)solver\.molecules.*{message}"):
        read_training(written(tmp_path, solver={"molecules": wrong}))
