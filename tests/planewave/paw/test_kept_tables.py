"""Tables of gpaw-data's datasets are those that were compared with GPAW when they were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.planewave.paw.make_tables import SOURCES, numbers

KEPT = json.loads(Path(__file__).with_name("tables.json").read_text())["tables"]


@pytest.mark.parametrize("name", SOURCES)
def test_tables_are_the_kept_ones(name: str, setups: Path) -> None:
    assert numbers(name) == pytest.approx(KEPT[name], rel=1e-9, abs=1e-9)
