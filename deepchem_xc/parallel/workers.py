"""Whether the workers of a Dask scheduler are fit for calls: same versions, one call a process."""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._files import source_digest

if TYPE_CHECKING:
    from distributed import Client

# Packages that numbers depend on.
_PACKAGES = ("ase", "numpy", "pyscf", "scipy", "spglib", "torch")
_ONE_CALL = "calls at a time"


class ClusterError(RuntimeError):
    """A scheduler does not answer, or its workers are not fit for the calls.

    Examples
    --------
    >>> from deepchem_xc.parallel import ClusterError
    >>> issubclass(ClusterError, RuntimeError)
    True
    """


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
    found["deepchem_xc"] = f"{__version__} (source {source_digest()[:8]})"
    for name in _PACKAGES:
        # Without the build, such as +cpu.
        found[name] = importlib.metadata.version(name).partition("+")[0]
    return found


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
        Names a worker and what differs, or says that the scheduler is gone.
    """
    # Dask forgets the address with the connection.
    where = getattr(client.scheduler, "address", "")
    try:
        found = client.run(about, on_error="return")
    except Exception as error:
        # A client that has given up fails with whatever it misses first, such as AttributeError.
        if client.status == "running" and not isinstance(error, OSError):
            raise
        raise ClusterError(
            f"the connection to the scheduler {where or '(closed before)'} was lost: start it and "
            "its workers again, and repeat this. What was kept in folders and checkpoints is not "
            "lost."
        ) from error
    for address, here in found.items():
        if isinstance(here, BaseException) and "ModuleNotFoundError" in repr(here):
            raise ClusterError(
                f"the worker {address} cannot import the package ({here}): install deepchem-xc "
                "there, in the version used here, and start the worker again."
            )
        if isinstance(here, OSError):
            continue  # it has just gone, and what comes in its place is checked by each call
        if isinstance(here, BaseException):
            raise ClusterError(f"the worker {address} cannot be used: {here!r}") from here
        if reason := mismatch(address, here, versions()):
            raise ClusterError(reason)
    if not found:
        warnings.warn(
            f"the scheduler {where} has no workers yet; calculations wait for them (dask worker "
            f"{where} --nthreads 1)",
            stacklevel=users_stacklevel(),
        )


def about(dask_worker: Any) -> dict[str, str]:
    """Versions on a worker, and how many calls it runs at a time.

    Parameters
    ----------
    dask_worker : distributed.Worker
        Dask hands it over by this name.
    """
    return {**versions(), _ONE_CALL: str(dask_worker.state.nthreads)}


def mismatch(worker: str, there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Reason not to use a worker; empty if there is none.

    Parameters
    ----------
    worker : str
        Its address.
    there : dict
        What it says `about` itself.
    here : dict
        `versions` of this process.

    Examples
    --------
    >>> mismatch("tcp://10.0.0.2:4", {"calls at a time": "1", **versions()}, versions())
    ''
    >>> mismatch("tcp://10.0.0.2:4", {"calls at a time": "1", "torch": "1"}, {"torch": "2"})
    'the worker tcp://10.0.0.2:4 has other versions: torch 1 there and 2 here...
    """
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
