"""Calls of one function, distributed over processes and collected as they finish.

Contract: a function, named sets of arguments and the number of simultaneous calls in; one `Outcome`
for each name out, in order of completion: a value, or an error in words. A call that fails, or
kills its process, does not affect the others. The function computed does not matter. Processes are
joblib's (loky), or the workers of a Dask scheduler (`cluster`), or those of any
`concurrent.futures.Executor`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from distributed import Client

#: Where calls run: a number of processes of this machine, the address of a Dask scheduler, or a
#: client of one.
Jobs: TypeAlias = "int | str | Client"

Value = TypeVar("Value")
# A name and arguments.
_Call = tuple[str, Sequence[Any]]
# Value, error and traceback from another process; as text, because not every exception can be sent.
_Answer = tuple[Any, str, str]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Seconds between a worker's checks that its parent is alive.
_INTERVAL = 1.0
# Seconds to wait for the end of a pool's thread before its processes are killed again.
_PAUSE = 0.1


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """Result of one call.

    Attributes
    ----------
    name : str
        Name of the call.
    value : Any
        Return value of the function; None after an error.
    error : str
        Type and message of the exception, or what happened to the process; empty otherwise.
    details : str
        Traceback of the exception.
    """

    name: str
    value: Value | None
    error: str = ""
    details: str = ""


_Outcomes = Generator[Outcome[Any], None, None]


def parallel_map(
    function: Callable[..., Value],
    calls: Mapping[str, Sequence[Any]],
    *,
    jobs: Jobs | None = None,
    threads: int = 1,
    executor: Executor | None = None,
    retries: int = 1,
    bar: Any = None,
) -> Generator[Outcome[Value], None, None]:
    """Call a function with many sets of arguments, and yield each result when it is ready.

    Parameters
    ----------
    function : callable
        The function. It, its arguments and results are sent between processes as pickles
        (cloudpickle's, so functions defined in scripts and notebooks work).
    calls : mapping
        Positional arguments by name, started in this order.
    jobs : int, str or distributed.Client, optional
        Number of simultaneous calls, by default one for each `threads` cores. With 1, or a single
        call, they run in this process. Or where they run: the address of a Dask scheduler, or a
        client of one, whose workers decide how many run at a time.
    threads : int, optional
        Threads of torch and of linear algebra in each call.
    executor : Executor, optional
        Runs the calls instead of processes of this machine. It gets all calls at once and decides
        how many run at a time; `retries` is not used, and `jobs` cannot be given.
    retries : int, optional
        How often to repeat a call that was running when a process died. Such calls are repeated
        one by one, with no other call running. A Dask scheduler counts by itself: three times, or
        its ``distributed.scheduler.allowed-failures``.
    bar : tqdm.tqdm, optional
        Progress bar; each result advances it and is named there.

    Yields
    ------
    Outcome
        One for each call. Only `KeyboardInterrupt` is raised, here or in a call, and ends all
        running calls. Closing the iterator does the same (see `contextlib.closing`). On the workers
        of a cluster, calls that have begun run to their end.

    Raises
    ------
    ValueError
        If `jobs` or `threads` is less than 1, or both `jobs` and `executor` are given.
    ClusterError
        If no scheduler answers, or its workers have other versions; see `cluster.check_workers`.

    Examples
    --------
    >>> calls = {"half": (1, 2), "none": (1, 0)}
    >>> for outcome in parallel_map(lambda a, b: a / b, calls, jobs=1):
    ...     print(outcome.name, outcome.value, outcome.error)
    half 0.5
    none None ZeroDivisionError: division by zero
    """
    jobs = checked_jobs(jobs)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}.")
    todo = deque(calls.items())
    if executor is not None:
        if jobs is not None:
            raise ValueError(f"give either jobs or executor, got both: {jobs!r} and {executor!r}.")
        outcomes = _on_executor(function, todo, executor, threads)
    elif jobs is not None and not isinstance(jobs, int):
        outcomes = _on_cluster(function, todo, jobs, threads)
    elif (jobs := min(jobs or default_jobs(threads), len(calls))) <= 1:
        outcomes = (Outcome(name, *_attempt(function, a, threads)) for name, a in todo)
    else:
        outcomes = _in_processes(function, todo, jobs, threads, retries)
    return _counted(outcomes, bar)


def checked_jobs(jobs: Any) -> Jobs | None:
    """Return `jobs` if it says where calls can run; see `parallel_map`.

    Raises
    ------
    ValueError
        If it does not.

    Examples
    --------
    >>> checked_jobs(2), checked_jobs("tcp://10.0.0.1:8786")
    (2, 'tcp://10.0.0.1:8786')
    >>> checked_jobs(0)
    Traceback (most recent call last):
    ValueError: jobs must be at least 1, got 0.
    """
    from deepchem_xc.cluster import is_client

    whole = isinstance(jobs, int) and not isinstance(jobs, bool)
    if not (jobs is None or whole or isinstance(jobs, str) or is_client(jobs)):
        raise ValueError(
            "jobs must be a number of processes, the address of a Dask scheduler such as "
            f"'tcp://10.0.0.1:8786', or a distributed.Client, got {jobs!r}."
        )
    if whole and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}.")
    found: Jobs | None = jobs
    return found


@contextmanager
def held(jobs: Jobs | None, threads: int = 1) -> Iterator[Jobs | None]:
    """Hold one connection to a cluster for several maps; other `jobs` come out as they went in.

    Parameters
    ----------
    jobs, threads : optional
        As for `parallel_map`.

    Yields
    ------
    int, distributed.Client or None
        For `parallel_map`.

    Examples
    --------
    >>> with held(2) as jobs:
    ...     print(jobs)
    2
    """
    if isinstance(jobs, str):
        from deepchem_xc.cluster import connected

        with connected(jobs, default_jobs(threads), threads) as client:
            yield client
    else:
        yield jobs


def default_jobs(threads: int = 1) -> int:
    """Number of calls that this machine can run at a time.

    Parameters
    ----------
    threads : int, optional
        Threads of each call.

    Examples
    --------
    >>> default_jobs(threads=100_000)
    1
    """
    from joblib import cpu_count

    return max(1, cpu_count() // threads)


def _counted(outcomes: _Outcomes, bar: Any) -> _Outcomes:
    with closing(outcomes):
        for outcome in outcomes:
            if bar is not None:
                bar.set_postfix_str(outcome.name, refresh=False)
                bar.update()
            yield outcome


def _in_processes(
    function: Callable[..., Any], todo: deque[_Call], jobs: int, threads: int, retries: int
) -> _Outcomes:
    # Calls that were running when a process died, and how often. Only one of them ran in that
    # process; repeating them one by one shows which.
    suspects: deque[_Call] = deque()
    deaths: Counter[str] = Counter()
    while todo or suspects:
        queue, size = (suspects, 1) if suspects else (todo, jobs)
        lost: list[tuple[_Call, BaseException]] = []
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


def _on_executor(
    function: Callable[..., Any], todo: deque[_Call], executor: Executor, threads: int
) -> _Outcomes:
    running: dict[Future[_Answer], _Call] = {}
    try:
        done = _as_done(function, todo, executor, len(todo), running, threads)
        for (name, _), future in done:
            yield _result(name, future)
    finally:
        for future in running:
            future.cancel()
    for name, _ in todo:
        yield Outcome(name, None, "the executor broke before it began")


def _on_cluster(
    function: Callable[..., Any], todo: deque[_Call], scheduler: str | Client, threads: int
) -> _Outcomes:
    from deepchem_xc.cluster import connected, results

    calls = {name: (function, arguments, threads) for name, arguments in todo}
    with (
        connected(scheduler, default_jobs(threads), threads) as client,
        closing(results(client, _attempt, calls)) as found,
    ):
        for name, answer, reason in found:
            yield Outcome(name, None, reason) if reason else Outcome(name, *answer)


def _as_done(
    function: Callable[..., Any],
    queue: deque[_Call],
    executor: Executor,
    size: int,
    running: dict[Future[_Answer], _Call],
    threads: int | None = None,
) -> Iterator[tuple[_Call, Future[_Answer]]]:
    """Calls of a queue as they finish; never more than `size` are submitted, so all these run.

    `running` holds the calls that were submitted and have not finished.
    """
    # Not concurrent.futures.wait, which takes the locks of all futures one after another: a
    # Control-C in between would leave some locked, and the executor would never end.
    finished: SimpleQueue[Future[_Answer]] = SimpleQueue()
    broken = False

    def begin() -> None:
        nonlocal broken
        while queue and not broken and len(running) < size:
            try:
                future = executor.submit(_attempt, function, queue[0][1], threads)
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


def _attempt(
    function: Callable[..., Any], arguments: Sequence[Any], threads: int | None
) -> _Answer:
    """Make one call: value, error, traceback."""
    try:
        with nullcontext() if threads is None else torch_threads(threads):
            return function(*arguments), "", ""
    except (Exception, SystemExit) as error:
        return None, f"{type(error).__name__}: {error}", traceback.format_exc()


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the number of torch's threads inside a block.

    Parameters
    ----------
    threads : int
        At least 1.

    Examples
    --------
    >>> import torch
    >>> with torch_threads(1):
    ...     torch.get_num_threads()
    1
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _result(name: str, future: Future[_Answer]) -> Outcome[Any]:
    error = future.exception()
    if error is None:
        return Outcome(name, *future.result())
    if not isinstance(error, Exception):
        raise error  # an interruption
    # An error of the executor: an object that cannot be pickled, or a lost cluster worker.
    trace = "".join(traceback.format_exception(error))
    return Outcome(name, None, f"{type(error).__name__}: {error}", trace)
