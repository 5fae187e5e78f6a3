"""One map over named calls, and where they run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from deepchem_xc.parallel.attempts import Outcome, Value, attempt
from deepchem_xc.parallel.cluster import connected, is_client
from deepchem_xc.parallel.cluster_calls import results
from deepchem_xc.parallel.local_processes import Call, in_processes, on_executor

if TYPE_CHECKING:
    from distributed import Client

#: Where calls run: a number of processes of this machine, the address of a Dask scheduler, or a
#: client of one.
Jobs: TypeAlias = "int | str | Client"

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
        one by one, with no other call running. A Dask scheduler counts by itself, as its
        ``distributed.scheduler.allowed-failures`` says (3; 1 where it is local); then a call is
        repeated alone, and may fail as often.
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
        outcomes = on_executor(function, todo, executor, threads)
    elif jobs is not None and not isinstance(jobs, int):
        outcomes = _on_cluster(function, todo, jobs, threads)
    elif (jobs := min(jobs or default_jobs(threads), len(calls))) <= 1:
        outcomes = (Outcome(name, *attempt(function, a, threads)) for name, a in todo)
    else:
        outcomes = in_processes(function, todo, jobs, threads, retries)
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


def _on_cluster(
    function: Callable[..., Any], todo: deque[Call], scheduler: str | Client, threads: int
) -> _Outcomes:
    calls = {name: (function, arguments, threads) for name, arguments in todo}
    with (
        connected(scheduler, default_jobs(threads), threads) as client,
        closing(results(client, attempt, calls)) as found,
    ):
        for name, answer, reason in found:
            yield Outcome(name, None, reason) if reason else Outcome(name, *answer)
