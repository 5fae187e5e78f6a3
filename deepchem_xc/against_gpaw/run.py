"""Computes all points of a benchmark in parallel, with a progress bar, and resumes earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from deepchem_xc.against_gpaw.cases import Case
from deepchem_xc.against_gpaw.store import PointStore
from deepchem_xc.parallel import Jobs, default_jobs, parallel_map


class BenchmarkError(RuntimeError):
    """Some points failed; the others are kept. `details` holds the tracebacks."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def run_benchmark(
    cases: Mapping[str, Case],
    output: str | Path,
    *,
    jobs: Jobs | None = None,
    threads: int = 1,
    device: str | None = None,
    executor: Executor | None = None,
    fresh: bool = False,
    progress: bool = True,
    notify: Callable[[str], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Compute every point that is not kept from an earlier run.

    Parameters
    ----------
    cases : mapping
        `Case` by name, see `select_cases`; a system may appear with several settings.
    output : path
        Folder; finished points are kept in its ``points``. An interrupted run resumes where it
        stopped when it is given the same folder.
    jobs : int, str or distributed.Client, optional
        Number of points computed at the same time, each in its own process; by default one for
        each `threads` cores, or one on a `device`. Or the address of a Dask scheduler, or a client
        of one; its workers need no access to the folder, but keep points from the moment they are
        computed if they have it.
    threads : int, optional
        Threads of each process.
    device : str, optional
        Torch device.
    executor : Executor, optional
        Computes the points instead of processes of this machine, see `parallel_map`.
    fresh : bool, optional
        Compute all points again.
    progress : bool, optional
        Show a progress bar on standard error.
    notify : callable, optional
        Called with sentences about points that were kept, or are damaged.

    Returns
    -------
    dict
        ``{name: points}``, see `compute_point`, in order of increasing scale.

    Raises
    ------
    BenchmarkError
        If points failed, after all others are computed.
    """
    from tqdm import tqdm

    notify = notify or (lambda message: None)
    # Absolute, because workers of a cluster have other working directories.
    store = PointStore(Path(output).absolute() / "points", notify)
    tasks = [(name, case, scale) for name, case in cases.items() for scale in sorted(case.scales)]
    done: dict[tuple[str, float], dict[str, Any]] = {}
    for name, case, scale in tasks:
        if fresh:
            store.discard(case, scale)
        elif (point := store.read(case, scale)) is not None:
            done[name, scale] = point
    if done:
        notify(f"{len(done)} of {len(tasks)} points are kept from before in {store.folder}")
    # The longest start first, so that no process works alone at the end.
    todo = {
        f"{name} at scale {scale:g}": (name, case, scale)
        for name, case, scale in sorted(tasks, key=lambda task: -task[1].cost())
        if (name, scale) not in done
    }
    if jobs is None and executor is None:
        jobs = 1 if device not in (None, "cpu") else default_jobs(threads)

    failures: list[str] = []
    details: list[str] = []
    calls = {label: (case, scale, store.folder, device) for label, (_, case, scale) in todo.items()}
    with tqdm(
        total=len(tasks), initial=len(done), unit="point", disable=not progress, leave=False
    ) as bar:
        for outcome in parallel_map(
            _compute_and_keep, calls, jobs=jobs, threads=threads, executor=executor, bar=bar
        ):
            if outcome.value is None:
                failures.append(f"{outcome.name}: {outcome.error}")
                details.append(outcome.details)
            else:
                name, case, scale = todo[outcome.name]
                done[name, scale] = outcome.value
                # A worker of a cluster may have written it to a disk of its own.
                if PointStore(store.folder).read(case, scale) is None:
                    store.write(case, scale, outcome.value)
    if failures:
        raise BenchmarkError(
            f"{len(failures)} of {len(tasks)} points failed (the others are kept):\n  "
            + "\n  ".join(failures),
            "\n".join(details),
        )
    return {name: [done[name, scale] for scale in sorted(cases[name].scales)] for name in cases}


def _compute_and_keep(case: Case, scale: float, folder: Path, device: str | None) -> dict[str, Any]:
    """Compute one point, and keep it from within the process that computes it."""
    from deepchem_xc.against_gpaw.points import compute_point

    store = PointStore(folder)
    # A process that died after it had kept the point, before it could return it.
    if (kept := store.read(case, scale)) is not None:
        return kept
    point = compute_point(case, scale, device)
    store.write(case, scale, point)
    return point
