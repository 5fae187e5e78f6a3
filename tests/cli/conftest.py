"""The command line inside a test, and a crystal to give it."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase.build import bulk
from typer.testing import CliRunner

from deepchem_xc.cli.commands import app
from tests.cli.options import Call


@pytest.fixture
def call() -> Call:
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def aluminium(tmp_path: Path) -> Path:
    path = tmp_path / "al.xyz"
    ase.io.write(path, bulk("Al", a=4.04), format="extxyz")
    return path
