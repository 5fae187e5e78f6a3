"""The design holds: a table of all files, rooms with contracts, short files, no circles.

Which way imports point is checked by `make lint`.
"""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepchem_xc"
ROOMS = sorted(
    file.parent.relative_to(PACKAGE).as_posix()
    for file in PACKAGE.rglob("__init__.py")
    if file.parent != PACKAGE
)


def test_the_table_names_every_file_of_the_solver_of_molecules() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    table = text[text.index("Inside `gaussian/`") : text.index("Inside `planewave/`")]
    there = {file.name for file in (PACKAGE / "gaussian").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", table)) == there


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


@pytest.mark.parametrize("thing", ["density", "functional", "orbitals"])
def test_a_walk_visits_each_file_once_and_names_what_is_there(thing: str) -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    walk = text[text.index(f"\nThe {thing}:\n") :]
    steps = re.findall(r"^(\d+)\. `([\w/]+\.py)`, `([\w.]+)`: ", walk, re.MULTILINE)
    last = next((i for i, step in enumerate(steps[1:], 1) if step[0] == "1"), len(steps))
    steps = steps[:last]
    assert [int(number) for number, _, _ in steps] == list(range(1, last + 1)), "a step is missing"
    files = [file for _, file, _ in steps]
    assert len(set(files)) == len(files) > 7
    for _, file, name in steps:
        inside = PACKAGE / "planewave" / file
        code = ast.parse((inside if inside.exists() else PACKAGE / file).read_text())
        for part in name.split("."):
            (code,) = [node for node in code.body if getattr(node, "name", None) == part]


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_stands_in_the_house(room: str) -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    house = text[text.index("```") : text.index("data/            reference")]
    assert f"{room.rpartition('/')[2]}/ " in house or room == "xc/definition"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_opens_with_its_contract(room: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    assert re.search(r"^(Contract:|The contract of)", text, re.MULTILINE)


@pytest.mark.parametrize("room", [".", *ROOMS])
def test_no_file_shares_its_name_with_what_its_room_exports(room: str) -> None:
    """`import deepchem_xc.planewave.x as m` is then always a module."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
    exported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    modules = {file.stem for file in (PACKAGE / room).iterdir() if file.suffix == ".py"}
    modules |= {file.parent.name for file in (PACKAGE / room).glob("*/__init__.py")}
    assert not exported & modules


@pytest.mark.parametrize("folder", ["deepchem_xc", "tests"])
def test_files_are_short(folder: str) -> None:
    """One idea a file: nine in ten have less than 340 lines, and none more than 450."""
    lengths = {
        file.relative_to(ROOT): len(file.read_text().splitlines())
        for file in (ROOT / folder).rglob("*.py")
    }
    longest = sorted(lengths.items(), key=lambda item: -item[1])
    report = ", ".join(f"{file} {length}" for file, length in longest[:10])
    assert longest[0][1] <= 450, report
    assert longest[len(longest) // 10][1] < 340, report


def imported(file: Path, modules: set[str]) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    own = file.relative_to(ROOT).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*own[: len(own) - node.level]] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:  # modules themselves, or what is in one
                name = f"{source}.{alias.name}"
                found.add(name if name in modules else source)
    return found & modules


def test_no_circle_hides_behind_imports_inside_functions() -> None:
    """Files import each other in one direction, also where they do so late or for type hints."""
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
        for file in PACKAGE.rglob("*.py")
    }
    graph = {name: imported(file, set(modules)) for name, file in modules.items()}
    assert len(graph["deepchem_xc.planewave.assembly"]) > 10
    # Raises a CycleError, which names the circle.
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules)


def test_warnings_point_at_the_users_line() -> None:
    calls = [
        (file, node)
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn"
    ]
    assert len(calls) > 20
    for file, call in calls:
        levels = [ast.unparse(k.value) for k in call.keywords if k.arg == "stacklevel"]
        assert levels == ["users_stacklevel()"], f"{file}:{call.lineno}"
