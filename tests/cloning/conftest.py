"""Densities of small molecules in a small basis, computed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepchem_xc.cloning import KeptDensity, parent_densities


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clones")


@pytest.fixture(scope="session")
def kept(folder: Path) -> list[KeptDensity]:
    """A closed shell and an open one."""
    return parent_densities("PBE", ["H2O", "CH3"], folder, basis="6-31g", grid_level=1)
