"""The README and docs/ hold what they say: examples run and print it, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# A fenced block: its language, if any, and its lines.
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBER = re.compile(r"[+-]?\d+(?:\.(\d+))?")


def examples(path: Path) -> list[tuple[str, str | None]]:
    """Python blocks, each with the output that a plain block after it shows, if one does."""
    found: list[tuple[str, str | None]] = []
    for language, text in BLOCK.findall(path.read_text()):
        if language == "python":
            found.append((text, None))
        elif not language and found and found[-1][1] is None:
            found[-1] = (found[-1][0], text)
    return found


def assert_printed(printed: str, shown: str) -> None:
    """Equal but for one unit in the last digit of each number, which rounding may turn."""
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
    for got, wanted in zip(NUMBER.finditer(printed), NUMBER.finditer(shown), strict=True):
        unit = 10.0 ** -len(wanted[1] or "")
        assert float(got[0]) == pytest.approx(float(wanted[0]), abs=1.01 * unit, rel=0)


WITH_EXAMPLES = [path for path in FILES if examples(path)]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.name)
def test_examples_run_and_print_what_is_shown(
    path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whatever they write
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, (code, shown) in enumerate(examples(path)):
        exec(compile(code, f"{path.name}, example {number}", "exec"), namespace)
        printed = capsys.readouterr().out
        if shown is not None:
            assert_printed(printed, shown)


def test_readme_has_examples_with_output() -> None:
    """So that the test above cannot pass by finding nothing."""
    shown = [output for _, output in examples(ROOT / "README.md")]
    assert len(shown) >= 3 and shown[0] is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_relative_links_lead_to_files(path: Path) -> None:
    links = [link.split("#")[0] for link in LINK.findall(path.read_text())]
    relative = [link for link in links if link and not re.match(r"[a-z]+:", link)]
    missing = [link for link in relative if not (path.parent / link).exists()]
    assert not missing
