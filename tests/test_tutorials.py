"""Tutorials run from their first cell, and their files show what they print.

What a tutorial claims it asserts in its cells, so that executing it checks it.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.printed import assert_printed

nbformat = pytest.importorskip("nbformat", reason="the extra 'tutorials' is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra 'tutorials' is not installed")
pytest.importorskip("ipykernel", reason="the extra 'tutorials' is not installed")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
# Those that take seconds; all others are slow.
QUICK = {"01_first_crystal", "02_functional"}
# Packages without which one cannot run.
NEEDED = {
    "03_hybrid": ("gpaw_data",),
    "04_experiment": ("gpaw_data",),
    "05_other_codes": ("gpaw", "gpaw_data"),
    "09_paw": ("gpaw_data",),
    "11_cloning": ("gpaw_data",),
}
LARGEST = 300_000  # bytes of a file
# Paths, addresses in memory, and clocks, which belong to one machine or one run.
OF_ONE_MACHINE = re.compile(
    r"/(?:home|root|Users|work|tmp|var|usr|opt)/|site-packages|0x[0-9a-f]{6,}|\bs/it\b|it/s\]"
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def _load_execute() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execute", ROOT / "tutorials" / "execute.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = _load_execute()


def _name(path: Path) -> str:
    return path.stem


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def _printed(cell: Any) -> str:
    """Text that a code cell shows; of figures only that there is one."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(output.text)
        elif "image/png" in output.data:
            texts.append("<figure>\n")
        else:
            texts.append(output.data["text/plain"] + "\n")
    return "".join(texts)


def assert_shows(notebook: Any, committed: Any) -> None:
    """Each cell prints what the file shows, within rounding, and draws as many figures."""
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in committed.cells]
    for cell, shown in zip(notebook.cells, committed.cells, strict=True):
        if cell.cell_type == "code":
            assert_printed(_printed(cell), _printed(shown), f"{cell.id}: {cell.source}")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow, id=path.stem)
        for path in NOTEBOOKS
    ],
)
def test_tutorial_runs_and_shows_what_it_prints(path: Path) -> None:
    for package in NEEDED.get(path.stem, ()):
        pytest.importorskip(package)
    assert_shows(execute.executed(path), _read(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_file_is_as_make_tutorials_writes_it(path: Path) -> None:
    text = path.read_text()
    assert text == execute.text_of(execute.tidy(_read(path))), "run: make tutorials"
    assert len(text) < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_outputs_are_committed_and_complete(path: Path) -> None:
    code = [cell for cell in _read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert any("image/png" in output.get("data", ()) for output in outputs), "no figure"
    assert any(output.output_type == "stream" for output in outputs), "nothing printed"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_nothing_of_one_machine_is_in_the_file(path: Path) -> None:
    for cell in _read(path).cells:
        text = cell.source + (_printed(cell) if cell.cell_type == "code" else "")
        assert not OF_ONE_MACHINE.search(text), cell.id


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_tutorial_asserts_what_it_claims(path: Path) -> None:
    code = "\n".join(cell.source for cell in _read(path).cells if cell.cell_type == "code")
    tree = ast.parse(re.sub(r"^%.*$", "", code, flags=re.MULTILINE))
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 3


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    texts = [cell.source for cell in _read(path).cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# ")
    links = [link.partition("#") for text in texts for link in LINK.findall(text)]
    for name, _, anchor in links:
        if name and not re.match(r"[a-z]+:", name):
            page = path.parent / name
            assert page.exists(), name
            if anchor:
                headings = {_anchor(heading) for heading in HEADING.findall(page.read_text())}
                assert anchor in headings, f"{name}#{anchor}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_tutorials_are_numbered_and_listed() -> None:
    names = [path.stem for path in NOTEBOOKS]
    assert set(names) >= QUICK
    numbers = [re.fullmatch(r"(\d\d)_[a-z_]+", name) for name in names]
    assert all(numbers) and len({number[1] for number in numbers if number}) == len(names)
    listed = (ROOT / "docs" / "tutorials.md").read_text()
    for name in names:
        assert f"](../tutorials/{name}.ipynb)" in listed, "give it a row in docs/tutorials.md"


def _notebook(*sources: str) -> Any:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells)


def test_execution_starts_afresh_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "00_any.ipynb"
    path.write_text(
        execute.text_of(
            _notebook(
                "import os\nopen('file', 'w').close()\nprint(os.listdir())",
                "import deepchem_xc\nprint(deepchem_xc.__file__)",
            )
        )
    )
    before = {file.name for file in tmp_path.iterdir()}
    first, second = execute.executed(path), execute.executed(path)
    assert execute.text_of(first) == execute.text_of(second)
    assert first.cells[0].outputs[0].text == "['file']\n", "it works in an empty folder"
    assert Path(first.cells[1].outputs[0].text.strip()).is_relative_to(ROOT)
    assert {file.name for file in tmp_path.iterdir()} == before


def test_a_failing_claim_and_a_warning_stop_the_execution(tmp_path: Path) -> None:
    path = tmp_path / "00_any.ipynb"
    path.write_text(execute.text_of(_notebook("assert 1 + 1 == 3, 'sums'")))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="sums"):
        execute.executed(path)
    path.write_text(execute.text_of(_notebook("import warnings\nwarnings.warn('old')")))
    with pytest.raises(execute.StderrError, match=r"cell-01 writes to stderr(?s:.*)old"):
        execute.executed(path)
    with pytest.raises(ValueError, match="no tutorial begins with '99'"):
        execute.tutorials(["99"])


def test_comparison_sees_other_numbers_words_and_missing_figures() -> None:
    def shown(text: str) -> Any:
        notebook = _notebook("any")
        notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text=text)]
        return notebook

    assert_shows(shown("a = 4.042 (3e-09)"), shown("a = 4.043 (8e-10)"))
    for other in ("a = 4.045 (3e-09)", "b = 4.043 (3e-09)", "a = 4.043 (3e-04)", "a = 4.043"):
        with pytest.raises(AssertionError):
            assert_shows(shown(other), shown("a = 4.043 (8e-10)"))
    figure = shown("a")
    figure.cells[0].outputs.append(nbformat.v4.new_output("display_data", {"image/png": ""}))
    with pytest.raises(AssertionError):
        assert_shows(shown("a"), figure)
