"""Threads of workers; in a file of its own, because Dask sets variables of this whole process.

A worker of another cluster that is started again at the same time would change them.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("distributed")

from deepchem_xc.parallel import connected, parallel_map  # noqa: E402


@pytest.mark.slow
def test_threads_are_set_on_workers() -> None:
    def threads_here() -> tuple[int, str | None]:
        import os

        import torch

        return torch.get_num_threads(), os.environ.get("OPENBLAS_NUM_THREADS")

    before = os.environ.get("OPENBLAS_NUM_THREADS")
    with connected("local", processes=1, threads=2) as client:
        (found,) = parallel_map(threads_here, {"a": ()}, jobs=client, threads=2)
    assert found.value == (2, "2")
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before
