"""Calls in processes of this machine (joblib's), or on an executor that was given."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, TypeAlias

from deepchem_xc.parallel.attempts import Answer, Outcome, attempt

#: A name and arguments.
Call: TypeAlias = tuple[str, Sequence[Any]]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Seconds between a worker's checks that its parent is alive.
_INTERVAL = 1.0
# Seconds to wait for the end of a pool's thread before its processes are killed again.
_PAUSE = 0.1


def in_processes(
    function: Callable[..., Any], todo: deque[Call], jobs: int, threads: int, retries: int
) -> Generator[Outcome[Any], None, None]:
    """Outcomes of calls in new processes of this machine; see `parallel_map`.

    Parameters
    ----------
    function : callable
        The function.
    todo : deque of (str, sequence)
        Names and arguments; it is emptied.
    jobs, threads, retries : int
        As for `parallel_map`.

    Yields
    ------
    Outcome

    Examples
    --------
    >>> calls = deque([("a", (7, 2)), ("b", (7, 0))])
    >>> {one.name: one.value for one in in_processes(divmod, calls, 1, 1, 0)}
    {'a': (3, 1), 'b': None}
    """
    # Calls that were running when a process died, and how often. Only one of them ran in that
    # process; repeating them one by one shows which.
    suspects: deque[Call] = deque()
    deaths: Counter[str] = Counter()
    while todo or suspects:
        queue, size = (suspects, 1) if suspects else (todo, jobs)
        lost: list[tuple[Call, BaseException]] = []
        with _processes(size, threads) as pool:
            for call, future in _as_done(function, queue, pool, size, {}):
                error = future.exception()
                if isinstance(error, BrokenExecutor):
                    lost.append((call, error))
                else:
                    yield _result(call[0], future)
        deaths.update(name for (name, _), _ in lost)
        for call, error in lost:
            if deaths[call[0]] <= retries:
                suspects.append(call)
            else:
                yield Outcome(call[0], None, _death(len(lost)), str(error))


def _death(running: int) -> str:
    if running > 1:
        return f"one of {running} processes, which may be its own, was killed (too little memory?)"
    return "its process was killed, with nothing running beside it (too little memory?)"


def on_executor(
    function: Callable[..., Any], todo: deque[Call], executor: Executor, threads: int
) -> Generator[Outcome[Any], None, None]:
    """Outcomes of calls on an executor, which gets all of them at once; see `parallel_map`.

    Parameters
    ----------
    function, todo, threads
        As for `in_processes`.
    executor : Executor
        Stays open.

    Yields
    ------
    Outcome

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(1) as executor:
    ...     [one.value for one in on_executor(divmod, deque([("a", (7, 2))]), executor, 1)]
    [(3, 1)]
    """
    running: dict[Future[Answer], Call] = {}
    try:
        done = _as_done(function, todo, executor, len(todo), running, threads)
        for (name, _), future in done:
            yield _result(name, future)
    finally:
        for future in running:
            future.cancel()
    for name, _ in todo:
        yield Outcome(name, None, "the executor broke before it began")


def _as_done(
    function: Callable[..., Any],
    queue: deque[Call],
    executor: Executor,
    size: int,
    running: dict[Future[Answer], Call],
    threads: int | None = None,
) -> Iterator[tuple[Call, Future[Answer]]]:
    """Calls of a queue as they finish; never more than `size` are submitted, so all these run.

    `running` holds the calls that were submitted and have not finished.
    """
    # Not concurrent.futures.wait, which takes the locks of all futures one after another: a
    # Control-C in between would leave some locked, and the executor would never end.
    finished: SimpleQueue[Future[Answer]] = SimpleQueue()
    broken = False

    def begin() -> None:
        nonlocal broken
        while queue and not broken and len(running) < size:
            try:
                future = executor.submit(attempt, function, queue[0][1], threads)
            except BrokenExecutor:
                broken = True
            else:
                running[future] = queue.popleft()
                future.add_done_callback(finished.put)

    begin()
    while running:
        future = finished.get()
        call = running.pop(future)
        broken = broken or isinstance(future.exception(), BrokenExecutor)
        begin()
        yield call, future


@contextmanager
def _processes(jobs: int, threads: int) -> Iterator[Executor]:
    """New processes, killed at the end of the block, when nobody needs their results any more."""
    from joblib.externals.loky import ProcessPoolExecutor

    # Torch and linear-algebra libraries read these when they are loaded.
    environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    pool = ProcessPoolExecutor(
        jobs, initializer=_start_worker, initargs=(os.getpid(),), env=environment
    )
    try:
        yield pool
    finally:
        _end(pool)


def _end(pool: Any) -> None:
    """Kill the processes of a pool, with all calls that they are running.

    `shutdown(kill_workers=True)` of loky can leave them running: the thread that should kill them
    fails if a call that was just submitted has not reached it, or was cancelled. The same thread
    ends without errors when processes die, so they die here first. That takes private attributes,
    since loky has no other public way to end processes.
    """
    from joblib.externals.loky.backend.utils import kill_process_tree

    while True:
        for process in list(pool._processes.values()):
            kill_process_tree(process)
        thread = pool._executor_manager_thread
        if thread is None or not thread.is_alive() or not pool._pending_work_items:
            break
        # Again, because the thread may just have replaced a process that had ended.
        thread.join(_PAUSE)
    pool.shutdown()


def _start_worker(parent: int) -> None:
    # Control-C reaches the workers too, but only the parent should act on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        # If the parent is killed, workers would wait forever.
        while os.getppid() == parent:
            time.sleep(_INTERVAL)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _result(name: str, future: Future[Answer]) -> Outcome[Any]:
    error = future.exception()
    if error is None:
        return Outcome(name, *future.result())
    if not isinstance(error, Exception):
        raise error  # an interruption
    # An error of the executor: an object that cannot be pickled, or a lost cluster worker.
    trace = "".join(traceback.format_exception(error))
    return Outcome(name, None, f"{type(error).__name__}: {error}", trace)
