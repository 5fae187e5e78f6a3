"""`deepchem-xc density`: densities of data sets, and models of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from ase.io.cube import read_cube_data

from deepchem_xc.data import read_density
from deepchem_xc.models import DensityModel
from deepchem_xc.models.training_log import read_log
from deepchem_xc.molnet import DensitySet, DensityStructure
from deepchem_xc.planewave import DensityRecord
from tests.cli.options import Call


def tiny(convergence: dict[str, float]) -> DensitySet:
    keywords = {"ecut": 60.0, "kpts": [1, 1, 1], "convergence": convergence}
    names = ("small", "large")
    structures = {
        name: DensityStructure(name, "train", "diamond", "ASE", bulk("Si", a=a), keywords)
        for name, a in zip(names, (5.3, 5.6), strict=True)
    }
    return DensitySet("silicon", "Diamond", structures, ("small",))


def test_a_set_is_computed_into_a_folder(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tiny({"density": 1e-3})
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: found))
    run = call("density", "data", "silicon", "--quick", "--data-dir", tmp_path, "--jobs", 1)
    assert run.exit_code == 0, run.stderr
    folder = tmp_path / "density_silicon"
    assert run.stderr == f"deepchem-xc: 1 densities in {folder}\n"
    assert [path.name for path in folder.iterdir()] == ["small.npz"]
    run = call("density", "data", "--data-dir", tmp_path, "--jobs", 1)
    assert run.exit_code == 0 and "2 densities" in run.stderr


def test_failures_and_unknown_sets_are_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = call("density", "data", "si", "--data-dir", tmp_path)
    assert run.exit_code == 1 and "'silicon', 'mixed', 'molecules', 'magnets'" in run.stderr
    found = tiny({"maxiter": 1})
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: found))
    run = call("density", "data", "--data-dir", tmp_path, "--jobs", 1)
    assert run.exit_code == 1
    assert "2 of 2 densities of 'silicon' could not be computed (small: SCFConv" in run.stderr


def split(parts: tuple[str, ...]) -> DensitySet:
    keywords = {
        "ecut": 60.0,
        "kpts": [1, 1, 1],
        "convergence": {"density": 1e-3},
        "pseudopotentials": "gth-pbe",
    }
    structures = {
        part: DensityStructure(part, part, "diamond", "ASE", bulk("Si", a=5.3 + 0.1 * i), keywords)
        for i, part in enumerate(parts)
    }
    return DensitySet("silicon", "Diamond", structures, parts)


def test_an_evaluation_computes_its_part_alone_and_for_known_elements(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "si.safetensors"
    DensityModel("Si", network_options={"channels": 4, "l_max": 1}).save(model)
    found = split(("train", "valid", "test"))
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: found))
    where = ("--data-dir", tmp_path, "--jobs", 1)
    run = call("density", "evaluate", model, *where)
    assert run.exit_code == 0 and "test" in run.stdout, run.stderr
    assert [path.name for path in (tmp_path / "density_silicon").iterdir()] == ["test.npz"]
    other = replace(found.structures["valid"], atoms=bulk("Ge"))
    found = replace(found, structures={**found.structures, "valid": other})
    run = call("density", "evaluate", model, "--part", "valid", *where)
    assert run.exit_code == 1 and "does not know Ge" in run.stderr
    assert not (tmp_path / "density_silicon" / "valid.npz").exists()


def test_a_model_is_trained_resumed_compared_and_used(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = split(("train", "valid", "test"))
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: found))
    model, where = tmp_path / "si.safetensors", ("--data-dir", tmp_path, "--jobs", 1)
    log = tmp_path / "si.safetensors.log.csv"
    losses = []
    for epochs, said in ((30, "1 structures to train on, 1 to valid"), (40, "resuming after 30")):
        rate = ("--learning-rate", 0.01)
        run = call("density", "train", "-o", model, "--epochs", epochs, *rate, *where)
        assert run.exit_code == 0, run.stderr
        assert said in run.stderr and "best validation" in run.stdout
        losses.append(read_log(log)[-1].loss)
    assert len(read_log(log)) == 40 and losses[1] < losses[0]
    run = call("density", "train", "-o", model, "--epochs", 41, "--energy-weight", 100.0, *where)
    assert run.exit_code == 0 and "resuming after 40" in run.stderr, run.stderr
    before = model.read_bytes()
    run = call("density", "train", "-o", model, "--epochs", 41, *where)
    assert run.exit_code == 0 and "all 41: more --epochs continue" in run.stderr, run.stderr
    for change in (("--seed", 1), ("--ecut", 80.0), ("--target", "total"), ("--batch-size", 2)):
        run = call("density", "train", "-o", model, "--epochs", 41, *change, *where)
        said = f"{change[0][2:].replace('-', '_')} "
        assert run.exit_code == 1 and f"holds another training ({said}" in run.stderr, run.stderr
    more = split(("valid", "train", "test"))  # at other lattice constants
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: more))
    run = call("density", "train", "-o", model, "--epochs", 41, *where)
    assert run.exit_code == 1 and "holds another training (structures " in run.stderr, run.stderr
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: found))
    assert model.read_bytes() == before
    results = tmp_path / "errors.json"
    run = call("density", "evaluate", model, *where, "-o", results)
    assert run.exit_code == 0, run.stderr
    errors = json.loads(results.read_text())["density_error_percent"]["test"]
    assert errors["model"] < 0.5 * errors["superposition"]
    structure = tmp_path / "si.xyz"
    write(structure, bulk("Si", a=5.5), format="extxyz")
    for name in ("si.npz", "si.cube", "CHGCAR"):
        run = call("density", "predict", model, structure, "-o", tmp_path / name, "--ecut", 80)
        assert run.exit_code == 0 and "8.000000 electrons" in run.stdout, run.stderr
    record = DensityRecord.load(tmp_path / "si.npz")
    data, _ = read_cube_data(str(tmp_path / "si.cube"))
    # Five digits after the point are in the file.
    assert abs(data - record.density.sum(0).numpy()).max() < 1e-5
    assert read_density(tmp_path / "CHGCAR").density.electrons == pytest.approx(8.0, abs=1e-6)
    run = call("density", "predict", model, structure, "-o", tmp_path / "si.txt")
    assert run.exit_code == 1 and "must end in .npz or .cube" in run.stderr
