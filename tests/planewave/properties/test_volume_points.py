"""Curves whose volumes are computed side by side: one set of numbers, from any number of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import equation_of_state
from deepchem_xc.planewave.properties import kept_points
from deepchem_xc.planewave.properties.kept_points import KeptPoints
from deepchem_xc.planewave.properties.volume_points import VolumeError, VolumePoint
from deepchem_xc.planewave.properties.volume_series import volume_series
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.xc import PBE

WORDS: dict[str, Any] = {
    "ecut": 100.0,
    "kpts": (1, 1, 1),
    "scales": (0.92, 0.96, 1.0, 1.04, 1.08),
    "convergence": {"energy": 1e-9, "density": 1e-7},
}


def test_numbers_do_not_depend_on_the_number_of_processes() -> None:
    seen: list[VolumePoint] = []
    curves = [
        equation_of_state(bulk("Si"), "PBE", jobs=jobs, callback=seen.append, **WORDS)
        for jobs in (1, 2)
    ]
    one, two = curves
    assert [point.scale for point in one.points] == list(WORDS["scales"])
    assert seen[0].scale == seen[5].scale == 1.0  # the others start from it
    for left, right in zip(one.points, two.points, strict=True):
        # Another process repeats a calculation to rounding, within the loop's tolerance.
        assert left.energy == pytest.approx(right.energy, abs=1e-8)
        assert left.steps == right.steps
    chained = equation_of_state(bulk("Si"), "PBE", **WORDS)
    for left, right in zip(one.points, chained.points, strict=True):
        assert left.energy == pytest.approx(right.energy, abs=1e-6)


def test_a_functional_that_would_lose_its_derivatives_is_refused() -> None:
    functional = PBE(trainable=True)
    with pytest.raises(ValueError, match="derivatives .* do not come back.*torch.no_grad"):
        equation_of_state(bulk("Si"), functional, jobs=1, **WORDS)
    with torch.no_grad():
        curve = equation_of_state(bulk("Si"), functional, jobs=1, **WORDS)
    assert curve.energies is None and len(curve.points) == 5


def test_a_volume_that_fails_is_named_after_the_others_are_done() -> None:
    seen: list[VolumePoint] = []
    # One step is enough for nothing: the middle volume fails, and the others have no start.
    words = {**WORDS, "convergence": {"maxiter": 1}}
    with pytest.raises(VolumeError, match="1 of 5 volumes failed: scale 1: SCFConvergenceError"):
        equation_of_state(bulk("Si"), "PBE", jobs=1, callback=seen.append, **words)
    assert not seen


def test_jobs_that_are_neither_numbers_nor_schedulers_are_refused() -> None:
    with pytest.raises(ValueError, match="jobs must be a number of processes, the address of a D"):
        equation_of_state(bulk("Si"), "PBE", jobs=2.5, **WORDS)


SETTINGS = {"ecut": 100.0, "kpts": (1, 1, 1)}


def test_points_of_another_source_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = volume_series(bulk("Si"), Settings.of(SETTINGS))
    KeptPoints(tmp_path, series, "PBE", SETTINGS).write(1.0, {"energy": -214.0})
    assert KeptPoints(tmp_path, series, "PBE", SETTINGS).read(1.0) == {"energy": -214.0}
    monkeypatch.setattr(kept_points, "source_digest", lambda: "changed")
    assert KeptPoints(tmp_path, series, "PBE", SETTINGS).read(1.0) is None


def test_points_of_a_magnet_belong_to_the_content_of_their_start(tmp_path: Path) -> None:
    """A record selects the magnetic state, whatever the initial moments are."""
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    one.write_bytes(b"ferromagnet")
    other.write_bytes(b"antiferromagnet")

    def kept(atoms: Atoms, **start: Any) -> KeptPoints:
        series = volume_series(atoms, Settings.of(SETTINGS))
        return KeptPoints(tmp_path, series, "PBE", {**SETTINGS, **start})

    magnet = bulk("Ni")
    magnet.set_initial_magnetic_moments([1.0])
    kept(magnet, start=str(one)).write(1.0, {"energy": -214.0})
    assert kept(magnet, start=str(other)).read(1.0) is None
    assert kept(magnet).read(1.0) is None
    other.write_bytes(b"ferromagnet")
    assert kept(magnet, start=str(other)).read(1.0) == {"energy": -214.0}
    model = DensityModel("Ni", spin=True, network_options={"channels": 2, "l_max": 1})
    with pytest.raises(ValueError, match="DensityModel in memory cannot be compared.*saved model"):
        kept(magnet, start=model)
    # With one spin channel all starts end in the same state.
    kept(bulk("Si"), start=model).write(1.0, {"energy": -214.0})
    assert kept(bulk("Si")).read(1.0) == {"energy": -214.0}


def test_paw_volumes_start_from_the_middle_one_in_other_processes(tmp_path: Path) -> None:
    pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    words = {**WORDS, "ecut": 150.0, "pseudopotentials": "paw-pbe"}
    found = equation_of_state(bulk("Si"), "PBE", jobs=2, keep_in=tmp_path, **words)
    chained = equation_of_state(bulk("Si"), "PBE", **words)
    for left, right in zip(found.points, chained.points, strict=True):
        assert left.energy == pytest.approx(right.energy, abs=1e-6)
    steps = {point.scale: point.steps for point in found.points}
    assert max(steps[scale] for scale in steps if scale != 1.0) < steps[1.0]
    again = equation_of_state(bulk("Si"), "PBE", jobs=1, keep_in=tmp_path, **words)
    assert again.points == found.points


def test_kept_points_of_a_dataset_are_not_those_of_another_one(tmp_path: Path) -> None:
    data = pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    series = volume_series(bulk("Si"), Settings.of(SETTINGS))
    file = str(data.datapath() / "Si.PBE.gz")
    kept = {
        name: KeptPoints(tmp_path, series, "PBE", {"ecut": 100.0, "pseudopotentials": name})
        for name in ("paw-pbe", "paw-lda", "gth-pbe", file)
    }
    kept["paw-pbe"].write(1.0, {"energy": -8.0})
    assert kept[file].read(1.0) == {"energy": -8.0}, "the same content under another name"
    assert kept["paw-lda"].read(1.0) is None and kept["gth-pbe"].read(1.0) is None
