"""Connections to Dask schedulers: one at an address, or one of this machine for the time of use."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deepchem_xc.parallel.workers import ClusterError, check_workers

if TYPE_CHECKING:
    from distributed import Client

#: Address of a scheduler that is started on this machine and ends with its use.
LOCAL = "local"

# Seconds to wait for the answer of a scheduler: for a first one, and for that of a busy one.
_PATIENCE = 10.0
_PATIENCE_BUSY = 30.0
_ADVICE = (
    "Start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1 "
    "--nworkers N`; --scheduler local, or a number of jobs, needs none."
)
# Settings of a scheduler on this machine.
_SETTINGS: dict[str, Any] = {
    # Dask gives up a worker that dies and is not there again in 15 seconds, and a busy machine
    # takes longer to start one: in the end no worker would be left.
    "distributed.deploy.lost-worker-timeout": "1 hour",
    # Calls wait at the scheduler. On a worker they would wait behind a long one, and be blamed for
    # its death with the one that runs.
    "distributed.scheduler.worker-saturation": 1.0,
    # Deaths that a call survives; with those when it is repeated alone, see `cluster_calls`, three.
    "distributed.scheduler.allowed-failures": 1,
}


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
    threads_each = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in names}
    with (
        dask.config.set({**_SETTINGS, **threads_each}),
        # Variables of this process take precedence over Dask's settings, and Dask sets them here.
        _environment(dict.fromkeys(names, str(threads))),
        distributed.LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            # Calls share the machine's memory: a small cell beside a large one is no reason to
            # kill the large one.
            memory_limit=0,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Context with other environment variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _reached(distributed: Any, address: str) -> Iterator[Client]:
    from distributed.comm import get_address_host_port

    try:
        # First, because a client that does not connect takes long to give up.
        socket.create_connection(get_address_host_port(address), timeout=_PATIENCE).close()
        client = distributed.Client(address, timeout=_PATIENCE_BUSY, set_as_default=False)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no Dask scheduler answers at {address!r} ({why}). {_ADVICE} What earlier "
            "runs kept in their folders is not lost."
        ) from error
    try:
        yield client
    finally:
        with _without_noise(client):
            client.close()


@contextmanager
def _without_noise(client: Client) -> Iterator[None]:
    """Context without the traceback that Dask logs when a lost connection is closed."""
    logger = logging.getLogger("distributed.client")
    before = logger.level
    if client.status != "running":
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
