"""Works through all points of a benchmark: in parallel, with a progress bar, resuming."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from deepchem_xc.benchmark.cases import Case
from deepchem_xc.benchmark.store import PointStore

# Name, case, scale.
Task = tuple[str, Case, float]
# What a worker gives back: the point, or the error's one line and its traceback.
Outcome = tuple[dict[str, Any] | None, str, str]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class BenchmarkError(RuntimeError):
    """Some points failed; those that did not are kept. `details` holds the tracebacks."""

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_benchmark(
    cases: Mapping[str, Case],
    output: str | Path,
    *,
    jobs: int | None = None,
    threads: int = 1,
    device: str | None = None,
    fresh: bool = False,
    progress: bool = True,
    notify: Callable[[str], None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Compute every point that is not there yet.

    Parameters
    ----------
    cases : mapping
        `Case` by name, see `select_cases`; a system may come with several settings.
    output : path
        Folder; finished points are kept in its ``points``. A run that was interrupted goes on
        where it stopped when it is given the same folder.
    jobs : int, optional
        Points computed at the same time, each in a process of its own; by default as many as
        there are cores for `threads` each, or one on a `device`.
    threads : int, optional
        Threads of each.
    device : str, optional
        Torch device.
    fresh : bool, optional
        Compute all points anew.
    progress : bool, optional
        Show a progress bar on standard error.
    notify : callable, optional
        Called with sentences about points that were found, or found damaged.

    Returns
    -------
    dict
        ``{name: points}``, see `compute_point`, by increasing scale.

    Raises
    ------
    BenchmarkError
        If points failed, after all others are done.
    """
    notify = notify or (lambda message: None)
    store = PointStore(Path(output) / "points", notify)
    tasks = [(name, case, scale) for name, case in cases.items() for scale in sorted(case.scales)]
    done: dict[tuple[str, float], dict[str, Any]] = {}
    for name, case, scale in tasks:
        if fresh:
            store.discard(case, scale)
        elif (point := store.read(case, scale)) is not None:
            done[name, scale] = point
    todo = [task for task in tasks if (task[0], task[2]) not in done]
    if done:
        notify(f"{len(done)} of {len(tasks)} points were there already in {store.folder}")
    # The longest first, so that no process works alone at the end.
    todo.sort(key=lambda task: -task[1].cost())
    if jobs is None:
        jobs = 1 if device not in (None, "cpu") else max(1, available_cores() // threads)

    failures: list[str] = []
    details: list[str] = []
    outcomes = _compute(todo, store.folder, min(jobs, len(todo)), threads, device)
    for (name, _, scale), (point, error, trace) in _with_progress(
        outcomes, len(done), len(tasks), progress
    ):
        if point is None:
            failures.append(f"{name} at scale {scale:.2f}: {error}")
            details.append(trace)
        else:
            done[name, scale] = point
    if failures:
        raise BenchmarkError(
            f"{len(failures)} of {len(tasks)} points failed (the others are kept):\n  "
            + "\n  ".join(failures),
            "\n".join(details),
        )
    return {name: [done[name, scale] for scale in sorted(cases[name].scales)] for name in cases}


def _with_progress(
    outcomes: Iterator[tuple[Task, Outcome]], done: int, total: int, show: bool
) -> Iterator[tuple[Task, Outcome]]:
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit="point", disable=not show, leave=False) as bar:
        for task, outcome in outcomes:
            bar.set_postfix_str(f"{task[0]} {task[2]:.2f}", refresh=False)
            bar.update()
            yield task, outcome


def _compute(
    todo: list[Task], folder: Path, jobs: int, threads: int, device: str | None
) -> Iterator[tuple[Task, Outcome]]:
    if jobs <= 1:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            for task in todo:
                yield task, _attempt(task, folder, device)
        finally:
            torch.set_num_threads(before)
        return
    with _environment(threads):
        # Not fork: the parent may have started threads, which a forked child would wait for.
        pool = ProcessPoolExecutor(
            jobs, multiprocessing.get_context("spawn"), _start_worker, (threads,)
        )
        try:
            futures: dict[Future[Outcome], Task] = {
                pool.submit(_attempt, task, folder, device): task for task in todo
            }
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise BenchmarkError(
                "a process that computed a point was killed (too little memory?). Finished points "
                "are kept: run again, with fewer at a time (jobs)."
            ) from error
        finally:
            _stop(pool)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now: what they are computing is not wanted any more."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """Set the number of threads of processes started inside: libraries read it when loaded."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    # Control-C reaches the workers too: the parent reports it, they just end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        # A killed parent would leave workers waiting for ever.
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _attempt(task: Task, folder: Path, device: str | None) -> Outcome:
    """Compute and keep one point. Errors come back as text: not every exception can be sent."""
    from deepchem_xc.benchmark.points import compute_point

    _, case, scale = task
    try:
        point = compute_point(case, scale, device)
        PointStore(folder).write(case, scale, point)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}", traceback.format_exc()
    return point, "", ""
