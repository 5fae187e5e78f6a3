"""`deepchem-xc density`: densities of data sets."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk

from deepchem_xc.molnet import DensitySet, DensityStructure
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
