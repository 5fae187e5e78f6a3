"""Calls on the workers of a Dask scheduler, each result handed over as soon as a worker has it."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.parallel.workers import ClusterError, about, mismatch, versions

if TYPE_CHECKING:
    from distributed import Client, Future

# Seconds without a result after which the scheduler is asked whether it has workers.
_LOOK = 60.0
# Seconds to wait for its answer.
_PATIENCE = 30.0

#: Name, return value, and the reason why there is none.
_Result: TypeAlias = tuple[str, Any, str]


class _KilledError(Exception):
    """The worker of a call died more often than Dask allows; holds how often."""


def results(
    client: Client, function: Callable[..., Any], calls: Mapping[str, Sequence[Any]]
) -> Generator[_Result, None, None]:
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

    Raises
    ------
    ClusterError
        If results cannot be received.
    """
    import cloudpickle

    packed: dict[str, bytes] = {}
    here = versions()
    for name, arguments in calls.items():
        try:
            # As bytes: Dask would look for graphs and futures inside the arguments.
            call = cloudpickle.dumps((function, tuple(arguments)))
        except Exception as error:
            yield name, None, f"{type(error).__name__}: {error}"
        else:
            packed[name] = cloudpickle.dumps((_checked, (here, call)))
    killed: dict[str, int] = {}
    with closing(_computed(client, packed)) as found:
        for name, value, failure in found:
            if isinstance(failure, _KilledError):
                killed[name] = failure.args[0]
            else:
                yield name, value, str(failure or "")
    # Dask blames all calls that waited on a worker that died, not only the one that ran there.
    for name, deaths in killed.items():
        if len(packed) == 1:
            yield name, None, _death(deaths)
            continue
        with closing(_computed(client, {name: packed[name]})) as found:
            for _, value, failure in found:
                if isinstance(failure, _KilledError):
                    yield name, None, _death(deaths + failure.args[0])
                else:
                    yield name, value, str(failure or "")


def _death(number: int) -> str:
    return f"its worker was killed {number} times (too little memory?)"


def _computed(
    client: Client, packed: Mapping[str, bytes]
) -> Generator[tuple[str, Any, Exception | None], None, None]:
    """Name, value and failure of calls, in order of completion."""
    if not packed:
        return
    arrived: SimpleQueue[Any] = SimpleQueue()
    futures = _submitted(client, packed)
    try:
        names = {future.key: name for name, future in futures.items()}
        waiting = list(futures.values())
        threading.Thread(target=_fetch, args=(client, waiting, names, arrived), daemon=True).start()
        del waiting
        warned = False
        left = len(futures)
        while left:
            try:
                found = arrived.get(timeout=_LOOK)
            except Empty:
                warned = _warn(client, left, warned)
                continue
            if isinstance(found, BaseException):
                raise ClusterError(
                    f"results cannot be received from {client.scheduler.address}: "
                    f"{type(found).__name__}: {found}. What has arrived is not lost."
                ) from found
            left -= 1
            yield found
    finally:
        undone = [future for future in futures.values() if not future.done()]
        if undone and client.status == "running":
            client.cancel(undone)


def _submitted(client: Client, packed: Mapping[str, bytes]) -> dict[str, Future]:
    """Futures by name."""
    import dask

    # One group of keys and one graph: the scheduler then holds calls back, in their order, until a
    # worker is free, instead of giving all of them to the workers at once.
    group = f"call-{uuid.uuid4().hex}"
    keys = [(group, i, name) for i, name in enumerate(packed)]
    # Crystals and functionals travel in the graph; Dask advises against it for tables of data.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        futures = client.map(_opener(), list(packed.values()), key=keys, pure=False)
    return dict(zip(packed, futures, strict=True))


def _opener() -> Callable[[bytes], bytes]:
    """The function that workers call; being local it travels as it is.

    The scheduler, which reads it too, then needs no copy of this package.
    """

    def opened(content: bytes) -> bytes:
        import cloudpickle

        function, arguments = cloudpickle.loads(content)
        found: bytes = function(*arguments)
        return found

    return opened


def _checked(expected: Mapping[str, str], call: bytes) -> bytes:
    import cloudpickle
    from distributed import get_worker

    worker = get_worker()
    if reason := mismatch(worker.address, about(worker), expected):
        raise ClusterError(reason)
    function, arguments = cloudpickle.loads(call)
    # As bytes: Dask would ask again and again for a result that cannot be sent.
    return cloudpickle.dumps(function(*arguments))


def _fetch(
    client: Client, futures: list[Any], names: Mapping[Any, str], arrived: SimpleQueue[Any]
) -> None:
    """Hand over results as they are there, or the error that ends this.

    Dask forgets each of them then: it would repeat its call if the worker died later.
    """
    import cloudpickle
    from distributed import as_completed

    try:
        # The loop is named, because in this thread Dask does not know which client is in use.
        done = as_completed(futures, loop=client.loop, with_results=True, raise_errors=False)
        for future, answer in done:
            value: Any = None
            failure: Exception | None = None
            if future.status == "finished":
                try:
                    value = cloudpickle.loads(answer)
                except Exception as error:
                    failure = RuntimeError(
                        f"its result cannot be read here: {type(error).__name__}: {error}"
                    )
            else:
                failure = _failure(client, future, answer)
            name = names[future.key]
            future.release()
            arrived.put((name, value, failure))
    except BaseException as error:
        arrived.put(error)


def _failure(client: Client, future: Any, answer: Any) -> Exception:
    """Why a future has no result."""
    from distributed import KilledWorker

    if future.status in ("cancelled", "lost"):
        where = client.scheduler.address
        return RuntimeError(f"the connection to the scheduler {where} was lost")
    error = answer if isinstance(answer, BaseException) else future.exception()
    if isinstance(error, KilledWorker):
        return _KilledError(error.allowed_failures + 1)
    return RuntimeError(f"{type(error).__name__}: {error}")


def _warn(client: Client, calls: int, warned: bool) -> bool:
    """Warn, once, while calls wait for workers or for the scheduler; return whether they do."""
    if client.status != "running":
        return False  # the calls are about to be cancelled
    where = client.scheduler.address
    try:
        workers = client.sync(client.scheduler.ncores, callback_timeout=_PATIENCE)
    except (TimeoutError, OSError):
        problem = f"the scheduler {where} does not answer"
    else:
        problem = "" if workers else f"the scheduler {where} has no workers"
    if problem and not warned:
        warnings.warn(
            f"{problem}: {calls} calculations wait. Start workers (dask worker {where} --nthreads "
            "1), or stop this: what is kept in a folder is not computed again.",
            stacklevel=users_stacklevel(),
        )
    return bool(problem)
