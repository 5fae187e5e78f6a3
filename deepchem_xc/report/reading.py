"""Files of a folder, read with errors that name them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from deepchem_xc.report.page import Section, Table, Text


class ReportError(ValueError):
    """A folder of which no report can be made.

    Examples
    --------
    >>> issubclass(ReportError, ValueError)
    True
    """


def read_text(path: Path) -> str:
    """Text of a file; `ReportError` if it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReportError(f"{path} is damaged: it is not text ({error.reason}).") from error


def read_json(path: Path) -> Any:
    """Content of a JSON file; `ReportError` if it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.json"
    >>> _ = path.write_text("[1")
    >>> read_json(path)
    Traceback (most recent call last):
    ...
    deepchem_xc.report.reading.ReportError: ... is damaged: it is not JSON (...)...
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ReportError(f"{path} is damaged: it is not JSON ({error}).") from error


def read_csv(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file; `ReportError` if a column or a cell is missing."""
    reader = csv.DictReader(read_text(path).splitlines())
    columns = reader.fieldnames or []
    if missing := [name for name in needed if name not in columns]:
        raise ReportError(f"{path} is damaged: it has no column {', '.join(missing)}.")
    rows = list(reader)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ReportError(f"{path} is damaged: line {number} has another number of cells.")
    return rows


def number(text: str, path: Path) -> float:
    """A number from a cell; `ReportError` if it is none."""
    try:
        return float(text)
    except ValueError as error:
        raise ReportError(f"{path} is damaged: {text!r} is not a number.") from error


def versions_section(about: Any, where: str) -> Section:
    """Versions of packages, Python and machine, from what `about_run` recorded."""
    if not about or "versions" not in about:
        text = f"{where} does not record the versions of the packages: an older version wrote it."
        return Section("Versions", [Text(text)])
    rows = [[name, str(version)] for name, version in about["versions"].items()]
    rows += [[name, str(about[name])] for name in ("python", "machine") if name in about]
    return Section("Versions", [Table(["package", "version"], rows, left=2)])
