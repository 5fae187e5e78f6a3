"""docs/constants.md holds every number that steers the loop, with its value."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.loop.policies import Policies

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepchem_xc"
ROW = re.compile(r"^\| `([\w.]+)` \| ([^|]+) \|.*\| `([\w/]+\.py)` \|$", re.MULTILINE)
UNITS = {"": 1.0, "MiB": 2.0**20, "GiB": 2.0**30}
# Rooms all of whose numbers are in the table.
COMPLETE = ("planewave/loop", "planewave/eigen", "planewave/response", "occupations", "numerics")

ROWS = ROW.findall((ROOT / "docs" / "constants.md").read_text())


def module_of(path: str) -> Any:
    return importlib.import_module("deepchem_xc." + path[:-3].replace("/", "."))


def numbers(text: str) -> list[float]:
    """The numbers of a cell, as in "32 MiB, 1 GiB"."""
    parts = [part.split() for part in text.split(",")]
    return [float(part[0]) * UNITS["".join(part[1:])] for part in parts]


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@pytest.mark.parametrize(("name", "value", "path"), ROWS, ids=[f"{r[2]}:{r[0]}" for r in ROWS])
def test_the_value_in_the_table_is_that_of_the_code(name: str, value: str, path: str) -> None:
    found = module_of(path)
    for part in name.split("."):
        found = getattr(found, part)
    assert numbers(value) == (list(found.values()) if isinstance(found, dict) else [found])


def constants(path: Path) -> list[str]:
    """Names in capitals that a module gives numbers, or sizes by device."""
    module = module_of(str(path.relative_to(PACKAGE)))
    names = [
        node.id
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and node.id.isupper()
    ]
    values = {name: getattr(module, name) for name in names}
    return [
        name
        for name, value in values.items()
        if is_number(value) or (isinstance(value, dict) and all(map(is_number, value.values())))
    ]


@pytest.mark.parametrize("room", COMPLETE)
def test_every_constant_of_a_room_is_in_the_table(room: str) -> None:
    listed = {(name, path) for name, _, path in ROWS}
    files = sorted((PACKAGE / room).glob("*.py"))
    missing = [
        f"{name} of {path}"
        for file in files
        for path in [str(file.relative_to(PACKAGE))]
        for name in constants(file)
        if (name, path) not in listed
    ]
    assert not missing


def test_every_number_of_a_policy_is_in_the_table() -> None:
    listed = {name for name, _, _ in ROWS}
    policies = [type(getattr(Policies(), field.name)) for field in dataclasses.fields(Policies)]
    missing = [
        name
        for policy in (*policies, Mixing, Convergence)
        for field in dataclasses.fields(policy)
        if is_number(field.default)
        for name in [f"{policy.__name__}.{field.name}"]
        if name not in listed
    ]
    assert not missing
