"""Calls on the workers of a Dask scheduler, on this machine or on many.

Contract: a function and named sets of arguments in; its return value, or the reason why there is
none, out for each name, as soon as a worker has it. Dask repeats a call whose worker dies. Workers
must run this package in the same version, one call at a time; others are refused. `parallel_map`
is built on it and is what callers use; here only the scheduler is known.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import socket
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

#: Address of a scheduler that is started on this machine and ends with its use.
LOCAL = "local"

# Packages that numbers depend on.
_PACKAGES = ("ase", "numpy", "pyscf", "scipy", "spglib", "torch")
# Seconds to wait for the answer of a scheduler.
_PATIENCE = 10.0
# Time for a local worker that died to start again.
_RESTART = "1 hour"
_ADVICE = (
    "Start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1 "
    "--nworkers N`; --scheduler local, or a number of jobs, needs none."
)
_ONE_CALL = "calls at a time"


class ClusterError(RuntimeError):
    """A scheduler does not answer, or its workers are not fit for the calls.

    Examples
    --------
    >>> from deepchem_xc.cluster import ClusterError
    >>> issubclass(ClusterError, RuntimeError)
    True
    """


def is_client(value: Any) -> bool:
    """Whether this is a `distributed.Client`; does not import Dask.

    Examples
    --------
    >>> is_client("tcp://10.0.0.1:8786")
    False
    """
    return any(kind.__module__ == "distributed.client" for kind in type(value).__mro__)


@contextmanager
def connected(
    scheduler: str | Client, processes: int | None = None, threads: int = 1
) -> Iterator[Client]:
    """Connect to a scheduler for the time of a block, and check its workers.

    Parameters
    ----------
    scheduler : str or distributed.Client
        Address such as ``"tcp://10.0.0.1:8786"``, `LOCAL`, or a client, which stays open.
    processes, threads : int, optional
        Number of workers, and threads of each, of a `LOCAL` scheduler; by default one worker.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ImportError
        If Dask is not installed.
    ClusterError
        If no scheduler answers at the address, or `check_workers` fails.
    """
    distributed = _distributed()
    if is_client(scheduler):
        check_workers(scheduler)
        yield scheduler
    elif scheduler == LOCAL:
        with _local(distributed, processes or 1, threads) as client:
            yield client
    else:
        with _reached(distributed, str(scheduler)) as client:
            check_workers(client)
            yield client


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ImportError(
            "calculations on a cluster need Dask: pip install 'deepchem-xc[cluster]'."
        ) from error
    return distributed


@contextmanager
def _local(distributed: Any, processes: int, threads: int) -> Iterator[Client]:
    import dask

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    # Linear-algebra libraries read these when they are loaded: before a worker's first line.
    options: dict[str, Any] = {
        f"distributed.nanny.pre-spawn-environ.{name}": threads for name in names
    }
    # Dask gives up a worker that dies and is not there again in 15 seconds, and a busy machine
    # takes longer to start one: in the end no worker would be left, and calls would wait for ever.
    options["distributed.deploy.lost-worker-timeout"] = _RESTART
    with (
        dask.config.set(options),
        distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            # Calls share the machine's memory: a small cell beside a large one is no reason to
            # kill the large one.
            memory_limit=0,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def _reached(distributed: Any, address: str) -> Iterator[Client]:
    from distributed.comm import get_address_host_port

    try:
        # First, because a client that does not connect takes long to give up.
        socket.create_connection(get_address_host_port(address), timeout=_PATIENCE).close()
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({why}). {_ADVICE} Finished calculations "
            "are kept."
        ) from error
    with client:
        yield client


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of what numbers depend on, in this process; the package's own with its source.

    Examples
    --------
    >>> sorted(versions())[:4]
    ['ase', 'deepchem_xc', 'numpy', 'pyscf']
    """
    from deepchem_xc import __version__

    found = {"python": ".".join(map(str, sys.version_info[:2]))}
    # Development versions share a number, so that only the source tells them apart.
    found["deepchem_xc"] = f"{__version__} (source {_source()[:8]})"
    for name in _PACKAGES:
        # Without the build, such as +cpu.
        found[name] = importlib.metadata.version(name).partition("+")[0]
    return found


def _source() -> str:
    root, content = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(str(path.relative_to(root)).encode())
        content.update(path.read_bytes())
    return content.hexdigest()


def check_workers(client: Client) -> None:
    """Check that the present workers of a scheduler run this package, one call at a time.

    Workers that join later are checked by each call. Without workers there is a warning, because a
    queue may start them later.

    Parameters
    ----------
    client : distributed.Client
        Connected to the scheduler.

    Raises
    ------
    ClusterError
        Names a worker and what differs.
    """
    found = client.run(_about, on_error="return")
    for address, here in found.items():
        if isinstance(here, ModuleNotFoundError):
            raise ClusterError(
                f"the worker {address} cannot import the package ({here}): install deepchem-xc "
                "there, in the version used here, and start the worker again."
            )
        if isinstance(here, BaseException):
            raise ClusterError(f"the worker {address} cannot be used: {here!r}") from here
        if reason := _mismatch(address, here, versions()):
            raise ClusterError(reason)
    if not found:
        where = client.scheduler.address
        warnings.warn(
            f"the scheduler {where} has no workers yet; calculations wait for them (dask worker "
            f"{where} --nthreads 1)",
            stacklevel=4,
        )


def _about(dask_worker: Any) -> dict[str, str]:
    """Versions on a worker, which Dask hands over by the name of the argument."""
    return {**versions(), _ONE_CALL: str(dask_worker.state.nthreads)}


def _mismatch(worker: str, there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Reason not to use a worker; empty if there is none."""
    if there[_ONE_CALL] != "1":
        return (
            f"the worker {worker} would run {there[_ONE_CALL]} calls in one process, where they "
            "share memory and die together: start it with --nthreads 1, and --nworkers for more "
            "at a time."
        )
    differing = [
        f"{name} {there.get(name, 'missing')} there and {version} here"
        for name, version in here.items()
        if there.get(name) != version
    ]
    if differing:
        return (
            f"the worker {worker} has other versions: {'; '.join(differing)}. Results would depend "
            "on where they were computed: install the same versions, and restart the worker."
        )
    return ""


def _checked(expected: Mapping[str, str], call: bytes) -> bytes:
    import cloudpickle
    from distributed import get_worker

    worker = get_worker()
    if reason := _mismatch(worker.address, _about(worker), expected):
        raise ClusterError(reason)
    function, arguments = cloudpickle.loads(call)
    # As bytes: Dask would ask again and again for a result that cannot be sent.
    return cloudpickle.dumps(function(*arguments))


def results(
    client: Client, function: Callable[..., Any], calls: Mapping[str, Sequence[Any]]
) -> Generator[tuple[str, Any, str], None, None]:
    """Call a function with many sets of arguments on workers; yield each result when it is there.

    Results leave their worker at once, whether the caller asks for them yet or not, so that a
    worker's death takes only the call that it is running; Dask repeats that call on another worker.
    When the iterator is closed, calls that have not begun are cancelled.

    Parameters
    ----------
    client : distributed.Client
        From `connected`.
    function : callable
        The function.
    calls : mapping
        Positional arguments by name, started in this order.

    Yields
    ------
    (str, object, str)
        Name, return value, and the reason why there is none; empty if there is one.
    """
    import cloudpickle

    here, futures = versions(), {}
    arrived: SimpleQueue[tuple[str, Any, str]] = SimpleQueue()
    try:
        for name, arguments in calls.items():
            try:
                # As bytes: Dask would look for graphs and futures inside the arguments.
                call = cloudpickle.dumps((function, tuple(arguments)))
            except Exception as error:
                arrived.put((name, None, f"{type(error).__name__}: {error}"))
            else:
                key = f"{name}-{uuid.uuid4().hex}"
                futures[key] = client.submit(_checked, here, call, key=key, pure=False)
        names = dict(zip(futures, (key.rpartition("-")[0] for key in futures), strict=True))
        fetcher = threading.Thread(
            target=_fetch, args=(client, list(futures.values()), names, arrived), daemon=True
        )
        fetcher.start()
        for _ in calls:
            yield arrived.get()
    finally:
        waiting = [future for future in futures.values() if not future.done()]
        if waiting and client.status == "running":
            client.cancel(waiting)


def _fetch(
    client: Client,
    futures: list[Any],
    names: Mapping[str, str],
    arrived: SimpleQueue[tuple[str, Any, str]],
) -> None:
    """Hand over results as they are there.

    Dask forgets each of them then: it would repeat its call if the worker died later.
    """
    import cloudpickle
    from distributed import as_completed

    for future, value in as_completed(futures, with_results=True, raise_errors=False):
        reason = "" if future.status == "finished" else _reason(client, future, value)
        name = names[future.key]
        future.release()
        arrived.put((name, None if reason else cloudpickle.loads(value), reason))


def _reason(client: Client, future: Any, value: Any) -> str:
    """Why a future has no result."""
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        return f"the connection to the scheduler {client.scheduler.address} was lost"
    error = value if isinstance(value, BaseException) else future.exception()
    if isinstance(error, KilledWorker):
        return f"its worker was killed {error.allowed_failures + 1} times (too little memory?)"
    return f"{type(error).__name__}: {error}"
