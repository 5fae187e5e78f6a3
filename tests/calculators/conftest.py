"""The calculation that most tests of the calculator look at."""

from __future__ import annotations

import pytest
from ase import Atoms

from tests.calculators.systems import TIGHT, distorted


@pytest.fixture(scope="session")
def computed() -> Atoms:
    """Distorted silicon with all of its properties; tests that change it take a copy."""
    atoms = distorted(**TIGHT)
    atoms.get_forces()
    return atoms
