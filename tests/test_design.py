"""The package is laid out as docs/design.md says: which way imports point, what each file is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "deepchem_xc"
# Subpackages from below to above: each imports those before it only.
ORDER = (
    ("xc",),
    ("planewave",),
    ("losses",),
    ("data", "feat"),
    ("models",),
    ("calculators",),
    ("benchmark",),
)
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def imported(node: ast.AST) -> Iterator[str]:
    """Subpackages that run-time imports below a node name; imports for type hints do not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        modules = []
        if isinstance(child, ast.Import):
            modules = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom) and not child.level:
            modules = [f"{child.module}.{alias.name}" for alias in child.names]
        for module in modules:
            package, _, rest = module.partition(".")
            if package == "deepchem_xc":
                yield rest.partition(".")[0]
        yield from imported(child)


@pytest.mark.parametrize("name", LEVEL)
def test_imports_point_one_way(name: str) -> None:
    files = list((PACKAGE / name).rglob("*.py"))
    assert files
    above = {
        f"{file.relative_to(ROOT)} imports {other}"
        for file in files
        for other in imported(ast.parse(file.read_text()))
        if LEVEL.get(other, -1) > LEVEL[name]
    }
    assert not above


def test_the_table_names_every_file_of_the_solver() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    table = text[text.index("Inside `planewave/`") : text.index("## The way data travels")]
    named = set(re.findall(r"`(\w+\.py)`", table))
    there = {file.name for file in (PACKAGE / "planewave").glob("*.py")} - {"__init__.py"}
    inside = {file.name for file in (PACKAGE / "planewave").rglob("*.py")}
    assert there <= named <= inside
