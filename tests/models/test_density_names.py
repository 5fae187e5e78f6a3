"""Density models by path and by the name of a shipped one, wherever a density is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc import _files
from deepchem_xc.densities import DensityPredictor
from deepchem_xc.feat.schema import CrystalSpec
from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, SCFResult, non_self_consistent, scf
from deepchem_xc.planewave.record import density_source
from deepchem_xc.planewave.record.model_files import shipped_models

SETTINGS: dict[str, Any] = {"ecut": 80.0, "kpts": (1, 1, 1)}


@pytest.fixture(scope="module")
def model() -> DensityModel:
    return DensityModel("Si", network_options={"channels": 4, "l_max": 1})


@pytest.fixture(scope="module")
def result() -> SCFResult:
    return scf(bulk("Si"), **SETTINGS)


@pytest.fixture
def shipped(model: DensityModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose data/ holds one model, with a name in two cases."""
    folder = tmp_path / "checkout" / "data"
    folder.mkdir(parents=True)
    path = folder / "density_of_Tests.safetensors"
    model.save(path)
    monkeypatch.setattr(_files, "__file__", str(folder.parent / "deepchem_xc" / "_files.py"))
    monkeypatch.setattr(_files.importlib.metadata, "files", lambda distribution: [])
    return path


def test_a_shipped_model_is_found_by_its_name_from_any_folder(
    model: DensityModel, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped_models() == ["density_of_Tests"]
    (expected,) = model.predict(bulk("Si"), ecut=80.0)
    for name in ("density_of_Tests", "DENSITY_of_tests", "density_of_Tests.safetensors", shipped):
        (found,) = DensityModel.load(name).predict(bulk("Si"), ecut=80.0)
        assert found.digest == expected.digest
    for given in ("density_of_tests", str(shipped), shipped):
        assert isinstance(density_source(given), DensityPredictor)


def test_a_models_file_is_one_under_any_name(model: DensityModel, tmp_path: Path) -> None:
    for name in ("si.pt", "si", "CHGCAR"):
        model.save(tmp_path / name)
        found = density_source(tmp_path / name)
        assert isinstance(found, DensityPredictor) and found.elements == ("Si",)


@pytest.mark.filterwarnings("ignore:Kohn-Sham and Harris")
def test_calculations_and_systems_take_the_name(
    result: SCFResult, model: DensityModel, shipped: Path, tmp_path: Path
) -> None:
    started = scf(bulk("Si"), start="density_of_tests", **SETTINGS)
    assert started.start is not None
    assert abs(float(started.free_energy - result.free_energy)) < 1e-6
    same = non_self_consistent(bulk("Si"), density="density_of_tests", **SETTINGS)
    expected = model.density_for(same.problem).density
    assert torch.allclose(same.given.fields.density, expected, rtol=0.0, atol=1e-12)
    keys = {"ecut": 80.0, "structure": bulk("Si")}
    context = {"folder": tmp_path}
    spec = CrystalSpec.model_validate({**keys, "start": "density_of_tests"}, context=context)
    assert spec.start == "density_of_tests"
    spec = CrystalSpec.model_validate({**keys, "start": "si.npz"}, context=context)
    assert spec.start is not None and Path(spec.start) == tmp_path / "si.npz"


def test_a_file_takes_precedence_over_a_name(
    result: SCFResult, shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    DensityRecord.of(result).save(tmp_path / "density_of_tests")
    assert isinstance(density_source("density_of_tests"), DensityRecord)


def test_unknown_names_are_answered_with_the_valid_ones(
    shipped: Path, model: DensityModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in (
        lambda: DensityModel.load("density_of_nothing"),
        lambda: density_source("density_of_nothing"),
        lambda: density_source("nothing.safetensors"),
    ):
        with pytest.raises(FileNotFoundError, match="shipped models are density_of_Tests"):
            call()
    shipped.unlink()
    with pytest.raises(FileNotFoundError, match="no models are shipped"):
        density_source("density_of_tests")


def test_an_installed_package_names_its_models(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the list of files of a wheel, or in share/ beside a package in its own folder."""
    name = shipped.name
    beside = tmp_path / "share" / "deepchem_xc" / name
    beside.parent.mkdir(parents=True)
    shipped.rename(beside)
    monkeypatch.setattr(_files, "__file__", str(tmp_path / "deepchem_xc" / "_files.py"))
    assert shipped_models() == ["density_of_Tests"]
    entry = _files.importlib.metadata.PackagePath("..", "..", "share", "deepchem_xc", name)
    monkeypatch.setattr(entry, "locate", lambda: beside, raising=False)
    monkeypatch.setattr(_files, "__file__", str(tmp_path / "lib" / "deepchem_xc" / "_files.py"))
    monkeypatch.setattr(_files.importlib.metadata, "files", lambda distribution: [entry])
    assert shipped_models() == ["density_of_Tests"]
    assert DensityModel.load("density_of_tests").elements == ("Si",)
