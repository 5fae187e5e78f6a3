"""Datasets for tests: an analytic one in a file, and those of the package gpaw-data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepchem_xc.planewave.paw import PAWDataset, read_paw_xml
from tests.planewave.paw.analytic_dataset import AnalyticFile


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., PAWDataset]:
    """``read(shape="sinc")``: the analytic dataset with changes, written and read."""

    def write_and_read(**changes: object) -> PAWDataset:
        return read_paw_xml(AnalyticFile(**changes).write(tmp_path / "Be.xml"), "Be")

    return write_and_read


@pytest.fixture
def setups() -> Path:
    """Folder of the package gpaw-data, or skip."""
    package = pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    folder: Path = package.datapath()
    return folder
