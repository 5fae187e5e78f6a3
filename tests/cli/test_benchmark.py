"""`deepchem-xc benchmark`: tables, figures, and GPAW run beside it."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepchem_xc.against_gpaw import CASES, Case
from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS, load_gpaw_eos
from deepchem_xc.against_gpaw.report import make_curve
from deepchem_xc.against_gpaw.trainings import Training
from deepchem_xc.plotting import fitted_energy
from deepchem_xc.xc import ConstrainedGGA
from tests.cli.options import Call

PBE_OF_AL = ("benchmark", "--pbe-only", "--systems", "al", "--jobs", "1")


@pytest.fixture
def gpaws_own_points(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = load_gpaw_eos()

    def compute_point(case: Case, scale: float, device: str | None = None) -> dict[str, Any]:
        points = reference[case.system]["points"]
        found = [p for p in points if p["scale"] == scale]
        if not found:
            size = case.atoms(scale).get_volume()
            energy = float(fitted_energy(make_curve(points).fit, size))
            found = [{**points[0], "scale": scale, "volume": size, "energy": energy}]
        return {"irreducible_kpoints": 1, "plane_waves": 1, "bands": 1, **found[0]}

    monkeypatch.setattr("deepchem_xc.against_gpaw.points.compute_point", compute_point)


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_writes_table_json_and_figure(call: Call, tmp_path: Path) -> None:
    arguments = (*PBE_OF_AL, "-o", tmp_path / "out")
    run = call(*arguments)
    assert run.exit_code == 0, run.stderr
    assert "+0.00 %" in run.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "benchmark.json",
        "benchmark.md",
        "benchmark.png",
        "points",
    ]
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert list(content["systems"]) == ["Al"]
    assert content["versions"]["torch"]
    assert content["quick"] is False
    again = call(*arguments)
    assert "7 of 7 points are kept from before" in again.stderr


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_live_gpaw_takes_the_reference_from_a_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_gpaw_eos(systems: Any, path: Path, on_point: Any) -> dict[str, Any]:
        results = {name: load_gpaw_eos()[name] for name in systems}
        for point in results["Al"]["points"]:
            point["energy"] *= 2
            on_point("Al", point)
        return results

    monkeypatch.setattr("deepchem_xc.against_gpaw.gpaw_reference.find_spec", lambda name: True)
    monkeypatch.setattr("deepchem_xc.against_gpaw.gpaw_reference.run_gpaw_eos", run_gpaw_eos)
    run = call(*PBE_OF_AL, "-o", tmp_path, "--live-gpaw")
    assert run.exit_code == 0, run.stderr
    assert "-50.00 % !" in run.stdout
    assert "computed here (--live-gpaw)" in run.stdout
    assert "computed here (--live-gpaw)" in (tmp_path / "benchmark.md").read_text()
    assert json.loads((tmp_path / "benchmark.json").read_text())["live_gpaw"] is True


@pytest.mark.gpaw
@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_live_gpaw_shows_what_gpaw_computes(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPAW itself, with settings so coarse that its lattice constant is visibly another."""
    coarse = replace(GPAW_SETTINGS["Al"], ecut=250, kpts=(3, 3, 3), gpts=(12, 12, 12))
    monkeypatch.setattr("deepchem_xc.against_gpaw.gpaw_reference.GPAW_SETTINGS", {"Al": coarse})
    run = call(*PBE_OF_AL, "-o", tmp_path, "--live-gpaw")
    assert run.exit_code == 0, run.stderr
    live, stored = (load_gpaw_eos(path)["Al"] for path in (tmp_path / "gpaw_eos.json", None))
    cells = [cell.strip() for cell in run.stdout.splitlines()[2].split("|")[1:-1]]
    assert cells[1] == f"{stored['fit']['energy']['a']:.4f}"  # in the place of our own
    assert cells[2] == f"{live['fit']['energy']['a']:.4f}" != cells[1]
    assert cells[5] == f"{live['fit']['energy']['bulk_modulus']:.1f}" != cells[4]
    content = json.loads((tmp_path / "benchmark.json").read_text())
    assert content["systems"]["Al"]["gpaw"]["energies"] == [p["energy"] for p in live["points"]]
    assert content["gpaw_seconds"] > 0


def test_benchmark_live_gpaw_without_gpaw_is_refused_before_anything_is_computed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: Any) -> Any:
        raise AssertionError("a point was computed")

    monkeypatch.setattr("deepchem_xc.against_gpaw.gpaw_reference.find_spec", lambda name: None)
    monkeypatch.setattr("deepchem_xc.against_gpaw.points.compute_point", computed)
    run = call(*PBE_OF_AL, "-o", tmp_path, "--live-gpaw")
    assert run.exit_code == 1
    assert "make gpaw" in run.stderr and "was computed" not in run.stderr


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_shows_gth_potentials_beside_paw(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    run = call(*PBE_OF_AL, "-o", tmp_path)
    assert run.exit_code == 0, run.stderr
    assert "a, GTH" in run.stdout and "4.0378 (-0.10 %)" in run.stdout
    entry = json.loads((tmp_path / "benchmark.json").read_text())["systems"]["Al"]
    assert entry["settings"]["pseudopotential"] == "paw-pbe"
    run = call(*PBE_OF_AL, "--potentials", "gth", "-o", tmp_path / "gth")
    assert run.exit_code == 0, run.stderr
    assert "a, GTH" not in run.stdout


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_without_gpaws_datasets_says_that_it_takes_gth_potentials(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gpaw_data", None)
    run = call(*PBE_OF_AL, "-o", tmp_path)
    assert run.exit_code == 0, run.stderr
    assert "GTH potentials are used" in run.stderr and "gpaw-data" in run.stderr
    entry = json.loads((tmp_path / "benchmark.json").read_text())["systems"]["Al"]
    assert entry["settings"]["pseudopotential"] == "gth-pbe"
    run = call(*PBE_OF_AL, "--potentials", "paw", "-o", tmp_path)
    assert run.exit_code == 1
    assert "pip install 'deepchem-xc[paw]'" in run.stderr


def test_benchmark_with_failed_points_is_an_error(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(case: Case, scale: float, device: str | None = None) -> dict[str, Any]:
        raise RuntimeError("the loop did not converge")

    monkeypatch.setattr("deepchem_xc.against_gpaw.points.compute_point", fails)
    run = call(*PBE_OF_AL, "-o", tmp_path)
    assert run.exit_code == 1
    assert "7 of 7 points failed" in run.stderr
    assert not (tmp_path / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--systems", "xx"], "has Al, Ni, Ca, graphene"),
        (["--jobs", "0"], "jobs must be"),
        (["--quick", "--functionals"], "--quick computes PBE alone"),
        (
            ["--pbe-only", "--seeds", "nonsense"],
            "--seeds nonsense would have no effect",
        ),
        (["--quick", "--seeds", "0"], "--seeds 0 would have no effect: --quick trains nothing"),
        (["--seeds", "nonsense"], "--seeds takes different whole numbers"),
    ],
)
def test_benchmark_refuses_bad_options(call: Call, options: list[str], message: str) -> None:
    run = call("benchmark", *options)
    assert run.exit_code == 1
    assert message in run.stderr


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_sets_functionals_side_by_side(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def beside(trainings: Sequence[Training], *options: object) -> Iterator[None]:
        yield
        for training in trainings:
            training.folder.mkdir(parents=True)
            ConstrainedGGA(start="random", seed=training.seed).save(training.functional)

    monkeypatch.setattr("deepchem_xc.cli.benchmark.train_beside", beside)
    options = ("--systems", "al,ca", "--jobs", "1", "--seeds", "1,2", "-o", tmp_path)
    run = call("benchmark", *options)
    assert run.exit_code == 0, run.stderr
    content = json.loads((tmp_path / "functionals.json").read_text())
    names = ["PBE", "LDA", "trained, seed 1", "trained, seed 2"]
    assert list(content["mean_errors"]) == names
    # The stand-in for the solver gives GPAW's energies whatever the functional.
    assert content["mean_errors"]["trained, seed 2"] < 1e-3
    assert "5-10 %" in run.stdout
    assert (tmp_path / "functionals.png").stat().st_size > 1000


@pytest.mark.slow
def test_quick_benchmark_of_aluminium_is_near_gpaw(call: Call, tmp_path: Path) -> None:
    run = call("benchmark", "--quick", "--systems", "al", "-o", tmp_path)
    assert run.exit_code == 0, run.stderr
    assert "Coarse settings" in run.stdout
    entry = json.loads((tmp_path / "benchmark.json").read_text())["systems"]["Al"]
    assert abs(entry["errors"]["a"]) < 0.01
    assert abs(entry["errors"]["modulus"]) < 0.1
    assert entry["settings"]["ecut"] < CASES["paw"]["Al"].ecut
