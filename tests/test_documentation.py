"""Pages hold what they say: examples run and print it, links lead somewhere, cards fit files."""

from __future__ import annotations

import hashlib
import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import deepchem_xc
from deepchem_xc.cli.commands import app
from deepchem_xc.xc import load_functional
from tests.printed import assert_printed

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FILES = [*sorted(ROOT.glob("*.md")), ROOT / "data" / "README.md", *PAGES]
# A fenced block: its language, if any, and its lines.
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def examples(path: Path) -> list[tuple[str, str | None]]:
    """Python blocks, each with the output that a plain block after it shows, if one does."""
    found: list[tuple[str, str | None]] = []
    for language, text in BLOCK.findall(path.read_text()):
        if language == "python":
            found.append((text, None))
        elif not language and found and found[-1][1] is None:
            found[-1] = (found[-1][0], text)
    return found


WITH_EXAMPLES = [path for path in FILES if examples(path)]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=_name)
def test_examples_run_and_print_what_is_shown(
    path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whatever they write
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, (code, shown) in enumerate(examples(path)):
        if "from gpaw" in code and find_spec("gpaw") is None:
            continue  # it has to be compiled
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exec(compile(code, f"{path.name}, example {number}", "exec"), namespace)
        ours = [w.message for w in caught if w.category.__module__.startswith("deepchem_xc")]
        assert not ours, "a reader would see a warning that the page does not show"
        printed = capsys.readouterr().out
        if shown is not None:
            assert_printed(printed, shown)


def test_training_file_of_its_page_does_what_the_example_beside_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "training.md"
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    exec(examples(page)[0][0], namespace)  # writes data.yaml
    (text,) = (text for language, text in BLOCK.findall(page.read_text()) if language == "yaml")
    Path("train.yaml").write_text(text)
    run = CliRunner().invoke(app, ["train", "train.yaml", "-o", "run"])
    assert run.exit_code == 0, run.stderr
    in_python = load_functional("functional.safetensors").state_dict()
    in_shell = load_functional("run/functional.safetensors").state_dict()
    assert in_shell.keys() == in_python.keys()
    for name, value in in_python.items():
        assert in_shell[name].item() == pytest.approx(value.item(), rel=1e-6)


def test_readme_has_examples_with_output() -> None:
    """So that the test above cannot pass by finding nothing."""
    shown = [output for _, output in examples(ROOT / "README.md")]
    assert len(shown) >= 3 and shown[0] is not None


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_relative_links_lead_to_files(path: Path) -> None:
    links = [link.split("#")[0] for link in LINK.findall(path.read_text())]
    relative = [link for link in links if link and not re.match(r"[a-z]+:", link)]
    missing = [link for link in relative if not (path.parent / link).exists()]
    assert not missing


def anchors(path: Path) -> set[str]:
    """What links to the headings of a page end with, on GitHub."""
    headings = (re.sub(r"[^\w\- ]", "", text.lower()) for text in HEADING.findall(path.read_text()))
    return {text.strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_links_to_headings_lead_to_one(path: Path) -> None:
    links = [link.partition("#") for link in LINK.findall(path.read_text()) if "#" in link]
    local = [(name, anchor) for name, _, anchor in links if not re.match(r"[a-z]+:", name)]
    pages = [(path.parent / name if name else path, anchor) for name, anchor in local]
    missing = [(page.name, anchor) for page, anchor in pages if anchor not in anchors(page)]
    assert not missing


def test_index_lists_every_page() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    assert {*PAGES, ROOT / "README.md"} - {index} <= listed


@pytest.mark.parametrize("file", sorted((ROOT / "data").glob("*.safetensors")), ids=_name)
def test_every_trained_functional_is_on_a_card(file: Path) -> None:
    """A file that is trained again needs new numbers on its card."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    cards = [path.read_text() for path in (ROOT / "docs" / "models").glob("*.md")]
    assert any(f"`data/{file.name}`, sha256 `{digest}`" in card for card in cards)


def test_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == deepchem_xc.__version__
