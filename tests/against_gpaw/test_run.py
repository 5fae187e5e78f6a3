from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepchem_xc.against_gpaw import BenchmarkError, Case, run_benchmark
from deepchem_xc.against_gpaw.store import PointStore
from deepchem_xc.eos.scales import VOLUME_SCALES

Run = Callable[..., dict[str, list[dict[str, Any]]]]


class Solver:
    """Stands in for the solver: counts, and fails or is killed where it is told to."""

    def __init__(self) -> None:
        self.computed: list[tuple[str, float]] = []
        self.stop_after = 1000
        self.fails_at: tuple[float, ...] = ()

    def __call__(self, case: Case, scale: float, device: str | None = None) -> dict[str, Any]:
        if len(self.computed) == self.stop_after:
            raise KeyboardInterrupt
        if scale in self.fails_at:
            raise RuntimeError("the loop did not converge")
        self.computed.append((case.system, scale))
        return {"scale": scale, "energy": -case.ecut * scale}


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> Solver:
    solver = Solver()
    monkeypatch.setattr("deepchem_xc.against_gpaw.points.compute_point", solver)
    return solver


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(cases: dict[str, Case], **keywords: Any) -> dict[str, list[dict[str, Any]]]:
        return run_benchmark(cases, tmp_path, jobs=1, progress=False, **keywords)

    return run


def test_an_interrupted_run_computes_only_what_is_missing(
    al: Case, solver: Solver, run: Run
) -> None:
    solver.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        run({"Al": al})
    first = list(solver.computed)
    assert len(first) == 3
    solver.stop_after = 1000
    notices: list[str] = []
    points = run({"Al": al}, notify=notices.append)["Al"]
    assert [point["scale"] for point in points] == list(VOLUME_SCALES)
    assert sorted(scale for _, scale in solver.computed) == list(VOLUME_SCALES)
    assert solver.computed[:3] == first
    assert len(notices) == 1
    assert notices[0].startswith("3 of 7 points are kept from before")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("-550.0", "-551.0"),
        lambda text: "[1, 2]",
        lambda text: "null",
        lambda text: json.dumps({**json.loads(text), "sha256": None}),
        lambda text: json.dumps({"sha256": json.loads(text)["sha256"]}),
    ],
    ids=["cut", "empty", "altered", "list", "null", "no-checksum", "only-checksum"],
)
def test_a_damaged_file_is_computed_again_with_a_notice(
    damage: Callable[[str], str], al: Case, solver: Solver, run: Run, tmp_path: Path
) -> None:
    al = replace(al, ecut=550)
    whole = run({"Al": al})
    path = PointStore(tmp_path / "points").path(al, 1.0)
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    solver.computed.clear()
    notices: list[str] = []
    assert run({"Al": al}, notify=notices.append) == whole
    assert solver.computed == [("Al", 1.0)]
    assert any(path.name in notice and "damaged" in notice for notice in notices)


def test_a_file_that_is_not_text_is_computed_again(
    al: Case, solver: Solver, run: Run, tmp_path: Path
) -> None:
    whole = run({"Al": al})
    PointStore(tmp_path / "points").path(al, 1.0).write_bytes(b"\xff\xfe\x00")
    solver.computed.clear()
    assert run({"Al": al}) == whole
    assert solver.computed == [("Al", 1.0)]


def test_results_of_other_settings_are_not_used_and_not_lost(
    al: Case, solver: Solver, run: Run
) -> None:
    finer = replace(al, ecut=al.ecut + 100)
    run({"Al": al})
    points = run({"Al": finer})["Al"]
    assert len(solver.computed) == 14
    assert {point["energy"] / point["scale"] for point in points} == {-finer.ecut}
    run({"Al": al})
    assert len(solver.computed) == 14


def test_one_system_can_come_with_several_settings(al: Case, solver: Solver, run: Run) -> None:
    points = run(
        {
            "coarse": replace(al, ecut=200, scales=(1.0,)),
            "fine": replace(al, ecut=400, scales=(1.0,)),
        }
    )
    assert {name: found[0]["energy"] for name, found in points.items()} == {
        "coarse": -200,
        "fine": -400,
    }


def test_a_file_under_the_name_of_other_settings_is_not_believed(
    al: Case, solver: Solver, run: Run, tmp_path: Path
) -> None:
    store = PointStore(tmp_path / "points")
    finer = replace(al, ecut=al.ecut + 100)
    run({"Al": al})
    store.path(al, 1.0).rename(store.path(finer, 1.0))
    notices: list[str] = []
    point = run({"Al": finer}, notify=notices.append)["Al"][3]
    assert point["energy"] == -finer.ecut
    assert any("other settings" in notice for notice in notices)


def test_fresh_computes_everything_again(al: Case, solver: Solver, run: Run) -> None:
    run({"Al": al})
    run({"Al": al}, fresh=True)
    assert len(solver.computed) == 14


def test_a_failed_point_is_named_and_the_others_are_kept(
    al: Case, solver: Solver, run: Run
) -> None:
    solver.fails_at = (0.98,)
    with pytest.raises(BenchmarkError, match=r"1 of 7 .*\n  Al at scale 0.98: .*converge") as error:
        run({"Al": al})
    assert "Traceback" in error.value.details
    solver.fails_at = ()
    solver.computed.clear()
    assert len(run({"Al": al})["Al"]) == 7
    assert solver.computed == [("Al", 0.98)]


def test_a_full_disk_is_an_error_and_leaves_no_point(
    al: Case, solver: Solver, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BenchmarkError, match="No space left"):
            run({"Al": al})
    assert not list((tmp_path / "points").iterdir())
    run({"Al": al})
    assert len(list((tmp_path / "points").iterdir())) == 7


SLEEPER = """
import sys, time
from pathlib import Path
from deepchem_xc.against_gpaw import CASES, points, run_benchmark

def compute_point(case, scale, device=None):
    if scale > 1.0:
        Path(sys.argv[1], "started").touch()
        time.sleep(600)
    return {"scale": scale}

points.compute_point = compute_point
run_benchmark({"Al": CASES["gth"]["Al"]}, sys.argv[1], jobs=1, progress=False)
"""


def test_a_killed_process_leaves_whole_points_only(
    al: Case, solver: Solver, run: Run, tmp_path: Path
) -> None:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, str(tmp_path)])
    try:
        limit = time.monotonic() + 100
        while not (tmp_path / "started").exists():
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    run({"Al": al})
    assert [scale for _, scale in solver.computed] == [1.02, 1.04, 1.06]


def test_points_can_be_computed_by_another_executor(
    al: Case, solver: Solver, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(2) as executor:
        points = run_benchmark({"Al": al}, tmp_path, executor=executor, progress=False)["Al"]
    assert [point["scale"] for point in points] == list(VOLUME_SCALES)
    assert run_benchmark({"Al": al}, tmp_path, jobs=1, progress=False)["Al"] == points
    assert len(solver.computed) == len(VOLUME_SCALES)


def test_points_of_workers_with_disks_of_their_own_are_kept_here(
    al: Case, solver: Solver, tmp_path: Path
) -> None:
    class Elsewhere(ThreadPoolExecutor):
        def submit(self, attempt: Any, function: Any, arguments: Any, *more: Any) -> Any:
            case, scale, _, device = arguments
            moved = (case, scale, tmp_path / "elsewhere", device)
            return super().submit(attempt, function, moved, *more)

    with Elsewhere(1) as executor:
        points = run_benchmark({"Al": al}, tmp_path / "here", executor=executor, progress=False)
    assert run_benchmark({"Al": al}, tmp_path / "here", jobs=1, progress=False) == points
    assert len(solver.computed) == len(VOLUME_SCALES)


def test_a_repeated_call_finds_the_point_that_was_kept_before_its_worker_died(
    al: Case, solver: Solver, tmp_path: Path
) -> None:
    from deepchem_xc.against_gpaw.run import _compute_and_keep

    first = _compute_and_keep(al, 1.0, tmp_path, None)
    assert _compute_and_keep(al, 1.0, tmp_path, None) == first
    assert solver.computed == [(al.system, 1.0)]


def test_two_processes_give_what_one_gives(tmp_path: Path, al: Case) -> None:
    # The real solver, as small as it can be: other processes do not see a stand-in.
    case = replace(al, ecut=100, kpts=(1, 1, 1), scales=(0.99, 1.01))
    one = run_benchmark({"Al": case}, tmp_path / "1", jobs=1, progress=False)
    two = run_benchmark({"Al": case}, tmp_path / "2", jobs=2, progress=False)
    for left, right in zip(one["Al"], two["Al"]):
        assert left["scale"] == right["scale"]
        # Even one process repeats itself only to 1e-9 eV: rounding, within the loop's tolerance.
        assert left["energy"] == pytest.approx(right["energy"], abs=1e-7)
    assert one["Al"][0]["energy"] != one["Al"][1]["energy"]
