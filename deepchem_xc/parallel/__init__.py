"""Calls of one function, side by side in processes or on the workers of a cluster.

Contract: a function, named sets of arguments and where they run in; one `Outcome` for each name
out, in order of completion: a value, or an error in words. A call that fails, or kills its process,
does not affect the others. The function computed does not matter. Processes are joblib's (loky),
or the workers of a Dask scheduler, or those of any `concurrent.futures.Executor`.
"""

from deepchem_xc.parallel.attempts import Outcome, torch_threads
from deepchem_xc.parallel.cluster import LOCAL, connected
from deepchem_xc.parallel.mapping import Jobs, checked_jobs, default_jobs, held, parallel_map
from deepchem_xc.parallel.workers import ClusterError

__all__ = [
    "LOCAL",
    "ClusterError",
    "Jobs",
    "Outcome",
    "checked_jobs",
    "connected",
    "default_jobs",
    "held",
    "parallel_map",
    "torch_threads",
]
