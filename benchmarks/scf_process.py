"""Programs run in fresh processes, timed from outside, and the best of several runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The modules that start processes import little: on Linux the memory of a parent counts as its
# children's peak.
WORKER = Path(__file__).with_name("scf_worker.py")
TIMES = ("scf_wall", "scf_cpu", "process_wall", "process_cpu")


class Failed(RuntimeError):
    """A measurement failed."""


def run(
    command: list[str], folder: Path, threads: int, limit: float | None = None
) -> dict[str, float]:
    """Run a program and return its wall and processor seconds and its peak memory (MiB).

    Raises
    ------
    Failed
        If it fails, or takes longer than `limit` seconds.
    """
    environment = dict(os.environ)
    for name in ("OMP", "MKL", "OPENBLAS"):
        environment[f"{name}_NUM_THREADS"] = str(threads)
    with (folder / "log").open("wb") as log:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            pid = 0
            while pid == 0:
                # Without a limit wait4 blocks; with a limit it is polled.
                pid, status, usage = os.wait4(child.pid, 0 if limit is None else os.WNOHANG)
                if pid == 0:
                    if time.perf_counter() - started > limit:
                        raise Failed(f"stopped after {limit:.0f} s")
                    time.sleep(0.05)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        tail = (folder / "log").read_text(errors="replace").strip().splitlines()
        raise Failed(tail[-1] if tail else f"exit status {child.returncode}")
    return {
        "process_wall": wall,
        "process_cpu": usage.ru_utime + usage.ru_stime,
        "peak_MiB": usage.ru_maxrss / 1024,
    }


def work(task: str, threads: int, limit: float | None = None, **job: Any) -> dict[str, Any]:
    """Do one task of `scf_worker.py` in a fresh process."""
    with tempfile.TemporaryDirectory(prefix="scf-") as scratch:
        folder = Path(scratch)
        request, answer = folder / "job.json", folder / "answer.json"
        request.write_text(json.dumps({"task": task, "threads": threads, **job}))
        command = [sys.executable, str(WORKER), str(request), str(answer)]
        resources = run(command, folder, threads, limit)
        return {**resources, **json.loads(answer.read_text())}


def abinit(
    program: str, system: dict[str, Any], tolerance: str, bands: int | None, threads: int
) -> dict[str, Any]:
    """Run ABINIT once; its start-up is measured by an input that stops before any work."""
    spec = {key: value for key, value in system.items() if key != "fft_size"}
    if bands is not None:
        spec["nband"] = bands
    with tempfile.TemporaryDirectory(prefix="abinit-") as scratch:
        folder = Path(scratch)
        job = {"folder": scratch, "system": spec, "tolerance": tolerance}
        work("abinit_write", 1, **job)
        idle = run([program, "idle.abi"], folder, threads)
        resources = run([program, "run.abi"], folder, threads)
        numbers = work("abinit_read", 1, **job)
    numbers = {key: value for key, value in numbers.items() if key not in resources}
    for kind in ("wall", "cpu"):
        resources[f"import_{kind}"] = idle[f"process_{kind}"]
        resources[f"scf_{kind}"] = resources[f"process_{kind}"] - idle[f"process_{kind}"]
    return {**resources, **numbers}


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Smallest times and memory of several equal runs, with a list of all runs."""
    chosen = dict(runs[0])
    for key in (*TIMES, "import_wall", "import_cpu", "loop_wall", "loop_cpu", "peak_MiB"):
        if key in chosen:
            chosen[key] = min(run[key] for run in runs)
    chosen["repeats"] = [{key: run[key] for key in TIMES} for run in runs]
    return chosen


def compare(
    programs: dict[str, Callable[[], dict[str, Any]]], repeat: int
) -> dict[str, dict[str, Any]]:
    """Run programs in turn, `repeat` times each, so that a disturbance meets all of them."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
    failed: dict[str, str] = {}
    for _ in range(repeat):
        for name, program in programs.items():
            if name not in failed:
                try:
                    runs[name].append(program())
                except Failed as error:
                    failed[name] = str(error)
    results = {name: best(done) for name, done in runs.items() if done and name not in failed}
    return {**results, **{name: {"failed": reason} for name, reason in failed.items()}}


def add_ratios(entry: dict[str, Any], ours: str = "ours") -> None:
    """Our time relative to that of each other code."""
    for name, result in entry.items():
        if name != ours and "failed" not in result and "failed" not in entry[ours]:
            result["ours_over_this"] = {
                key: entry[ours][key] / result[key] for key in TIMES if result[key] > 0
            }
