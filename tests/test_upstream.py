"""The layout of functionals in DeepChem's tree, which `make upstream-check` tries out there."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".ci" / "upstream"


@pytest.fixture(scope="module")
def layout() -> ModuleType:
    return _loaded("layout")


@pytest.fixture
def check(layout: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setitem(sys.modules, "layout", layout)
    return _loaded("check")


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_examples(layout: ModuleType, check: ModuleType) -> None:
    for module in (layout, check):
        found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
        assert found.attempted and not found.failed


def _newer_than_39(tree: ast.AST) -> list[str]:
    """What Python 3.9 parses, but does not have."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip":
            found += [f"zip(strict=) in line {node.lineno}" for k in node.keywords if k.arg]
        if isinstance(node, ast.ImportFrom) and node.module == "typing":
            new = {"TypeAlias", "TypeGuard", "ParamSpec", "Self", "assert_never", "override"}
            found += [alias.name for alias in node.names if alias.name in new]
        if isinstance(node, ast.ImportFrom) and node.module == "itertools":
            found += [alias.name for alias in node.names if alias.name == "pairwise"]
    return found


def test_what_goes_to_deepchem_is_complete_and_for_python_39(
    layout: ModuleType, tmp_path: Path
) -> None:
    modules = list(layout.lay_out_modules(ROOT, tmp_path))
    left_out = layout.lay_out_tests(ROOT, tmp_path)
    layout.lay_out_data(ROOT, tmp_path)
    files = sorted(tmp_path.rglob("*.py"))
    assert len(modules) > 45 and len(files) > 75
    assert {"_atomic.py", "_modes.py", "neural.py"} <= {file.name for file in modules}
    for file in files:
        code = ast.parse(file.read_text(), feature_version=(3, 9))
        assert not layout.foreign_imports(code), file.name
        assert not _newer_than_39(code), file.name
    # Few tests need more than functionals.
    assert sum(map(len, left_out.values())) < 30
    assert (tmp_path / layout.FOLDER / "data" / "recovered_gga.safetensors").is_file()


def test_the_module_that_finds_files_there_has_what_functionals_import(
    layout: ModuleType, tmp_path: Path
) -> None:
    """The tree has one of its own (`.ci/upstream/functionals`)."""
    own = ast.parse((FOLDER / "functionals" / "_files.py").read_text())
    names = {node.name for node in own.body if isinstance(node, ast.FunctionDef)}
    wanted = {
        alias.name
        for file in layout.lay_out_modules(ROOT, tmp_path)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("._files")
        for alias in node.names
    }
    assert wanted and wanted <= names


def test_a_module_that_needs_another_room_is_refused(layout: ModuleType, tmp_path: Path) -> None:
    room = tmp_path / "here" / "deepchem_xc" / "xc"
    room.mkdir(parents=True)
    for name in layout.HELPERS:
        (room.parent / f"{name}.py").touch()
    (room / "mine.py").write_text("def f():\n    from deepchem_xc.planewave import scf\n")
    with pytest.raises(layout.LayoutError, match=r"mine\.py: imports what does not go .*\(line 2 "):
        list(layout.lay_out_modules(tmp_path / "here", tmp_path / "there"))
    (room / "mine.py").write_text("from ._deepchem import BaseGrid\n")
    with pytest.raises(layout.LayoutError, match="BaseGrid of _deepchem.py is not in the table"):
        list(layout.lay_out_modules(tmp_path / "here", tmp_path / "there"))


def test_tests_go_with_what_they_use_and_without_what_they_lack(layout: ModuleType) -> None:
    text, left_out = layout.without_foreign(
        "import json\n"
        "from os import path, sep\n"
        "from deepchem_xc.models import XCModel\n"
        "@fixture\n"
        "def model(): return XCModel(json)\n"
        "@mark\n"
        "def test_a(model): pass\n"
        "def test_b(): from deepchem_xc.planewave import scf\n"
        "def test_c(): assert sep\n"
    )
    assert text == "from os import sep\ndef test_c(): assert sep\n"
    assert left_out == ["test_a", "test_b"]


REPORT = """<testsuites><testsuite>
<testcase classname="d.tests.test_axis" name="test_a"/>
<testcase classname="d.tests.test_axis" name="test_b"><failure message="{}"/></testcase>
</testsuite></testsuites>"""


def test_a_test_that_cannot_fail_is_refused(check: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    file.write_text(REPORT.format("AssertionError: 1 is not 2"))
    found = check.outcomes(file)
    assert list(found) == ["test_axis::test_a", "test_axis::test_b"]
    with pytest.raises(check.CheckError, match="shows nothing: test_axis::test_a$"):
        check.check_fails(found)
    del found["test_axis::test_a"]
    check.check_fails(found)
    with pytest.raises(check.CheckError, match="1 is not 2"):
        check.check_passes(found)


@pytest.mark.parametrize("message", ["ModuleNotFoundError: no dqclibs", "failed on setup with ..."])
def test_nor_does_a_test_count_that_does_not_run(
    check: ModuleType, tmp_path: Path, message: str
) -> None:
    file = tmp_path / "report.xml"
    file.write_text(REPORT.format(message))
    with pytest.raises(check.CheckError, match="for another reason"):
        check.check_fails({"b": check.outcomes(file)["test_axis::test_b"]})


def test_an_empty_report_is_refused(check: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    file.write_text("<testsuites/>")
    with pytest.raises(check.CheckError, match="no test was run"):
        check.outcomes(file)
