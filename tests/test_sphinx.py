"""The documentation of Sphinx: every page is in its contents, and it is built without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = ROOT / "docs" / "contents.rst"
IMPORT = re.compile(r"^\s*from (deepchem_xc[\w.]*) import \(?([\w, ]+)", re.MULTILINE)
OUTSIDE = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]+)"')


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    """docs/conf.py, which needs Sphinx only when it is run by it."""
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_contents_lists_every_page() -> None:
    entries = re.findall(r"^   (/?[\w/-]+)$", CONTENTS.read_text(), re.MULTILINE)
    listed = {
        str(ROOT / entry[1:] if entry.startswith("/") else CONTENTS.parent / entry)
        for entry in entries
    }
    folders = ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")
    pages = {str(page.with_suffix("")) for folder in folders for page in folder}
    missing = sorted(str(Path(page).relative_to(ROOT)) for page in pages - listed)
    assert not missing, "give each of these pages a line in docs/contents.rst"
    assert len(entries) == len(set(entries))


def test_what_pages_import_is_in_the_reference(conf: ModuleType) -> None:
    documented = {
        f"{room}.{name}"
        for room, module in conf.public_rooms().items()
        for name in conf.exported(module)
    }
    imported = {
        (f"{module}.{name.strip()}", page.name)
        for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for module, names in IMPORT.findall(page.read_text())
        for name in names.split(",")
        if name.strip()
    }
    assert len(imported) > 20
    missing = sorted((name, page) for name, page in imported if name not in documented)
    assert not missing, "export these names, or add their file to ALSO_PUBLIC of docs/conf.py"


def test_each_object_is_documented_once(conf: ModuleType) -> None:
    rooms = conf.public_rooms()
    homes = conf.homes(rooms)
    assert homes["deepchem_xc.data", "DFTEntry"] == "deepchem_xc.feat"
    assert homes["deepchem_xc.xc", "ValGrad"] == "", "DeepChem documents it"
    at = [(home, name) for (room, name), home in homes.items() if home == room]
    objects = [getattr(rooms[home], name) for home, name in at]
    classes = [thing for thing in objects if isinstance(thing, type)]
    assert len(classes) == len(set(classes)) > 50
    for (_, name), home in homes.items():
        assert not home or name in conf.exported(rooms[home])


@pytest.mark.slow
def test_pages_are_built_without_a_warning_and_need_no_network(tmp_path: Path) -> None:
    for package in ("sphinx", "myst_nb", "myst_parser", "numpydoc", "sphinx_rtd_theme"):
        pytest.importorskip(package, reason="the extra 'docs' is not installed")
    html = tmp_path / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    command += ["-c", "docs", "-d", str(tmp_path / "doctrees"), ".", str(html)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "refresh" in (html / "index.html").read_text()
    pages = list(html.rglob("*.html"))
    assert len(pages) > 40
    fetched = {
        (page.name, address) for page in pages for address in OUTSIDE.findall(page.read_text())
    }
    assert not fetched
    equations = (html / "docs" / "conventions.html").read_text()
    (mathjax,) = re.findall(r'src="([^"]*mathjax[^"]*\.js)"', equations)
    assert (html / "docs" / mathjax).is_file()
    assert equations.count('class="math') > 30
    reference = (html / "docs" / "api" / "deepchem_xc.xc.html").read_text()
    assert 'id="deepchem_xc.xc.PBE"' in reference
    assert "Raises" in reference and "Examples" in reference
