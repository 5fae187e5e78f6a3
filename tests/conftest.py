"""Fixtures and skip rules shared by all tests."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deepchem_xc  # noqa: F401  (quietens DeepChem before any test module imports it)
from tests.devices import GPU
from tests.separate_device import SEPARATE, separate_device

REFERENCES = Path(__file__).resolve().parents[2] / "shared" / "references"

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread per worker: two pools of threads on the same cores slow each other down.
    torch.set_num_threads(1)


def _find_reference(name: str) -> Path:
    path = REFERENCES / name
    if not path.exists():
        pytest.skip(f"reference data absent: ../shared/references/{name}")
    return path


@functools.cache
def _read_text(path: Path) -> str:
    return path.read_text()


@pytest.fixture(scope="session")
def reference_path() -> Callable[[str], Path]:
    """``reference_path("pseudos/Si.psp8")``: path of a reference file, or skip if absent."""
    return _find_reference


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    """``reference("abinit_gth.json")``: a fresh copy of the data, or skip if absent."""
    return lambda name: json.loads(_read_text(_find_reference(name)))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (for libraries that still use the global generator)


def pytest_configure(config: pytest.Config) -> None:
    if GPU == SEPARATE:
        device = separate_device()
        device.__enter__()
        config.add_cleanup(lambda: device.__exit__(None, None, None))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_gpu = GPU == "cuda" and not torch.cuda.is_available()
    no_gpaw = importlib.util.find_spec("gpaw") is None
    for item in items:
        if {"reference", "reference_path"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.reference)
        if no_gpu and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if no_gpaw and item.get_closest_marker("gpaw"):
            item.add_marker(pytest.mark.skip(reason="GPAW is not installed (make gpaw)"))
