"""Calls of one function, spread over processes and collected as they end.

Contract: a function and its arguments, each set under a name, and how many run at a time, in; one
`Outcome` for each name out, in the order in which they end: a value, or an error in words. A call
that fails, or kills its process, takes no other with it. What is computed does not matter.
Processes are joblib's (loky); any `concurrent.futures.Executor` takes their place.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")
# A name and arguments.
_Call = tuple[str, Sequence[Any]]
# What comes back from another process: not every exception can be sent, so errors come as text.
_Answer = tuple[Any, str, str]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Seconds from one look of a worker at its parent to the next.
_INTERVAL = 1.0


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What one call gave.

    Attributes
    ----------
    name : str
        Of the call.
    value : Any
        What the function returned; None after an error.
    error : str
        Type and message of what it raised, or what became of its process; empty otherwise.
    details : str
        The traceback of an error.
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
    jobs: int | None = None,
    threads: int = 1,
    executor: Executor | None = None,
    retries: int = 1,
    bar: Any = None,
) -> Generator[Outcome[Value], None, None]:
    """Call a function with many sets of arguments, and give back each result as it is there.

    Parameters
    ----------
    function : callable
        What is called. Other processes get it, arguments and results as pickles (cloudpickle's,
        so functions of scripts and notebooks will do).
    calls : mapping
        Positional arguments by name, begun in this order.
    jobs : int, optional
        Calls at the same time, by default one for each `threads` cores. With 1, or a single call,
        they run in this process.
    threads : int, optional
        Threads of torch and of linear algebra in each call.
    executor : Executor, optional
        Runs the calls in place of own processes, for example
        ``dask.distributed.Client(...).get_executor()``. It gets all calls at once and decides
        how many run at a time; `jobs` and `retries` are not used.
    retries : int, optional
        How often a call is repeated that was running when a process died. Such calls are repeated
        one by one, with nothing beside them.
    bar : tqdm.tqdm, optional
        Progress bar; it is moved on at each result and names it.

    Yields
    ------
    Outcome
        One for each call. Only an interruption raises: `KeyboardInterrupt`, here or in a call, ends
        all that is running. So does closing the iterator (see `contextlib.closing`).

    Raises
    ------
    ValueError
        If `jobs` or `threads` is less than 1.

    Examples
    --------
    >>> calls = {"half": (1, 2), "none": (1, 0)}
    >>> for outcome in parallel_map(lambda a, b: a / b, calls, jobs=1):
    ...     print(outcome.name, outcome.value, outcome.error)
    half 0.5
    none None ZeroDivisionError: division by zero
    """
    for name, number in (("jobs", jobs), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}.")
    todo = deque(calls.items())
    if executor is not None:
        outcomes = _on_executor(function, todo, executor, threads)
    elif (jobs := min(jobs or default_jobs(threads), len(calls))) <= 1:
        outcomes = (Outcome(name, *_attempt(function, a, threads)) for name, a in todo)
    else:
        outcomes = _in_processes(function, todo, jobs, threads, retries)
    return _counted(outcomes, bar)


def default_jobs(threads: int = 1) -> int:
    """Calls that this machine can run at a time.

    Parameters
    ----------
    threads : int, optional
        Threads of each.

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
    # Calls during which a process died, and how often. Only one of them was that process's, so
    # they run again one by one: then it is known whose it is.
    suspects: deque[_Call] = deque()
    deaths: Counter[str] = Counter()
    while todo or suspects:
        queue, size = (suspects, 1) if suspects else (todo, jobs)
        lost: list[tuple[_Call, BaseException]] = []
        with _processes(size, threads) as pool:
            for call, future in _as_done(function, queue, pool, size):
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
    for (name, _), future in _as_done(function, todo, executor, len(todo), threads):
        yield _result(name, future)
    for name, _ in todo:
        yield Outcome(name, None, "the executor broke before it began")


def _as_done(
    function: Callable[..., Any],
    queue: deque[_Call],
    executor: Executor,
    size: int,
    threads: int | None = None,
) -> Iterator[tuple[_Call, Future[_Answer]]]:
    """Calls of a queue, each as it ends, with never more than `size` begun: these are running."""
    running: dict[Future[_Answer], _Call] = {}
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

    try:
        begin()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            ended = [(running.pop(future), future) for future in done]
            broken = broken or any(isinstance(f.exception(), BrokenExecutor) for _, f in ended)
            begin()
            yield from ended
    finally:
        for future in running:
            future.cancel()


@contextmanager
def _processes(jobs: int, threads: int) -> Iterator[Executor]:
    """Fresh processes, which end with the block: what they compute then is not wanted any more."""
    from joblib.externals.loky import ProcessPoolExecutor

    # Torch and libraries of linear algebra read these when they are loaded.
    environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    pool = ProcessPoolExecutor(
        jobs, initializer=_start_worker, initargs=(os.getpid(),), env=environment
    )
    try:
        yield pool
    finally:
        pool.shutdown(kill_workers=True)


def _start_worker(parent: int) -> None:
    # Control-C reaches the workers too: the parent alone acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        # A killed parent would leave workers waiting for ever.
        while os.getppid() == parent:
            time.sleep(_INTERVAL)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _attempt(
    function: Callable[..., Any], arguments: Sequence[Any], threads: int | None
) -> _Answer:
    """One call, where it is made: value, error, traceback."""
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
    # The executor's: something that cannot be sent, or a worker of a cluster that was lost.
    trace = "".join(traceback.format_exception(error))
    return Outcome(name, None, f"{type(error).__name__}: {error}", trace)
