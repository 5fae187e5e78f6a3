"""docs/design.md says what each file is; which way imports point is checked by `make lint`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepchem_xc"
ROOMS = sorted(
    file.parent.relative_to(PACKAGE).as_posix()
    for file in PACKAGE.rglob("__init__.py")
    if file.parent != PACKAGE
)


def test_the_table_names_every_file_of_the_solver() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    table = text[text.index("Inside `planewave/`") : text.index("## The way data travels")]
    named = re.findall(r"`(\w+\.py)`", table)
    there = {file.name for file in (PACKAGE / "planewave").rglob("*.py")} - {"__init__.py"}
    own_tables = {"pseudo", "terms"}  # rooms that list their files themselves
    wanted = {
        file.name
        for file in (PACKAGE / "planewave").rglob("*.py")
        if file.parent.name not in own_tables
    } - {"__init__.py"}
    assert wanted <= set(named) <= there


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_stands_in_the_house(room: str) -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    house = text[text.index("```") : text.index("data/            reference")]
    assert f"{room.rpartition('/')[2]}/ " in house or room == "xc/definition"
