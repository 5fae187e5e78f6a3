"""Formats of files with structures, each a generator of rows that holds one row at a time.

Exceptions: JSON that is one value for all rows (not one a line) is read as a whole, and so are the
members of an archive.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

from ase.io import read

from deepchem_xc.data.rows import Row, RowError, is_missing, row_of_atoms
from deepchem_xc.planewave.structure.cif import cif_structures

Rows: TypeAlias = Iterator[Row | RowError]

_COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What damaged archives and databases raise, besides the errors of what is in them.
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, OSError)
_POSCAR = ("poscar", "contcar")
_DATABASE = ".db"
_ARCHIVE = ".zip"


def kind_of(name: str) -> str | None:
    """Key of `FORMATS` for a file's name; None if it is not the name of a known format.

    Examples
    --------
    >>> kind_of("al.cif"), kind_of("POSCAR_al"), kind_of("solids.jsonl.gz"), kind_of("README")
    ('.cif', 'POSCAR', '.jsonl', None)
    """
    path = Path(name)
    if path.suffix.lower() in _COMPRESSED:
        inner = kind_of(path.stem)
        return None if inner in (_DATABASE, _ARCHIVE) else inner
    suffix = path.suffix.lower()
    if suffix in FORMATS or suffix in (_DATABASE, _ARCHIVE):
        return suffix
    stem = path.name.lower()
    named = suffix in (".vasp", ".poscar") or stem.startswith(_POSCAR)
    return "POSCAR" if named else None


def known_formats() -> str:
    """Names of all formats, for messages.

    Examples
    --------
    >>> known_formats()[:10]
    '.cif, .mci'
    """
    return ", ".join([*FORMATS, _DATABASE, _ARCHIVE, *(f"with {s}" for s in _COMPRESSED)])


def read_rows(path: Path, name: str, structure_field: str) -> Rows:
    """Rows of one file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Its name in messages.
    structure_field : str
        Column of structures, in tables.

    Yields
    ------
    Row or RowError
    """
    kind, count = kind_of(path.name), 0
    assert kind is not None  # the caller has checked it
    try:
        if kind == _DATABASE:
            rows = _database(path, name)
        elif kind == _ARCHIVE:
            rows = _archive(path, name, structure_field)
        else:
            rows = _stream(path, name, kind, structure_field)
        for row in rows:
            count += 1
            yield row
    except _DAMAGED as error:
        yield RowError(name, _broken(error, count))
    except UnicodeDecodeError as error:
        yield RowError(name, f"it is not text in UTF-8 ({error})")


def _broken(error: Exception, count: int) -> str:
    why = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"the file is damaged or incomplete ({why}); {count} rows before that were read"


def _stream(path: Path, name: str, kind: str, field: str) -> Rows:
    opener = _COMPRESSED.get(path.suffix.lower(), open)
    with opener(path, "rt", encoding="utf-8-sig") as file:
        yield from FORMATS[kind](file, name, field, path.parent)


def _archive(path: Path, name: str, field: str) -> Rows:
    with zipfile.ZipFile(path) as archive:
        members = sorted(m for m in archive.namelist() if not m.endswith("/"))
        for member in members:
            kind, place = kind_of(member), f"{name}/{member}"
            if kind is None or kind in (_DATABASE, _ARCHIVE):
                yield RowError(place, f"this format is not read from archives; {known_formats()}")
                continue
            try:
                content = archive.read(member)  # checks its sum
                suffix = Path(member).suffix.lower()
                if suffix in _COMPRESSED:
                    content = _COMPRESSED[suffix](io.BytesIO(content)).read()
                text = io.StringIO(content.decode("utf-8-sig"), newline=None)
            except (*_DAMAGED, UnicodeDecodeError, NotImplementedError, RuntimeError) as error:
                yield RowError(place, _broken(error, 0))
                continue
            yield from FORMATS[kind](text, place, field, None)


def _cif(file: IO[str], name: str, field: str, folder: Path | None) -> Rows:
    """All blocks with atoms."""
    text = file.read()
    try:
        images = cif_structures(text, "it")
    except ValueError as error:
        yield RowError(name, str(error))
        return
    for i, atoms in enumerate(images):
        place = name if len(images) == 1 else f"{name}:{i + 1}"
        if isinstance(atoms, ValueError):
            yield RowError(place, str(atoms))
        else:
            yield row_of_atoms(place, atoms)


def _poscar(file: IO[str], name: str, field: str, folder: Path | None) -> Rows:
    try:
        atoms: Any = read(io.StringIO(file.read()), format="vasp")
    except Exception as error:
        yield RowError(name, _unreadable("a POSCAR file", error))
        return
    yield row_of_atoms(name, atoms)


def _extxyz(file: IO[str], name: str, field: str, folder: Path | None) -> Rows:
    """Frames, each of which begins with its number of atoms."""
    number = line = 0
    while first := file.readline():
        line += 1
        if not first.strip():
            continue
        number += 1
        place = f"{name}:{number}"
        try:
            natom = int(first)
        except ValueError:
            yield RowError(
                place,
                f"line {line} should be the number of atoms of a frame, got {first.strip()[:40]!r};"
                " the rest of the file cannot be read",
            )
            return
        lines = [file.readline() for _ in range(natom + 1)]
        line += natom + 1
        if not lines[-1]:
            yield RowError(place, f"the file ends within this frame of {natom} atoms")
            return
        try:
            atoms: Any = read(io.StringIO(first + "".join(lines)), format="extxyz")
        except Exception as error:
            yield RowError(place, _unreadable("extended XYZ", error))
            continue
        yield row_of_atoms(place, atoms)


def _json_lines(file: IO[str], name: str, field: str, folder: Path | None) -> Rows:
    number = 0
    for i, line in enumerate(file):
        if not line.strip():
            continue
        number += 1
        place = f"{name}:{number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            yield RowError(place, f"line {i + 1} is not JSON, or only a part of it ({error})")
            continue
        yield _record(place, value, field, folder)


def _json(file: IO[str], name: str, field: str, folder: Path | None) -> Rows:
    """One structure, a list of them or of records, a table, or ASE's; else one record a line."""
    text = file.read()
    try:
        value = json.loads(text)
    except ValueError as error:
        first = text.lstrip().split("\n", 1)[0]
        try:
            json.loads(first)
        except ValueError:
            yield RowError(name, f"it is not JSON, or only a part of it ({error})")
        else:
            yield from _json_lines(io.StringIO(text), name, field, folder)
        return
    if isinstance(value, dict) and "ids" in value and "nextid" in value:
        yield from _ase_json(text, name)
    elif isinstance(value, dict) and {"columns", "data"} <= set(value):
        for i, cells in enumerate(value["data"]):
            columns = dict(zip(value["columns"], cells, strict=False))
            yield _record(f"{name}:{i + 1}", columns, field, folder)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield _record(f"{name}:{i + 1}", item, field, folder)
    else:
        yield _record(name, value, field, folder)


def _ase_json(text: str, name: str) -> Rows:
    """ASE reads its JSON from files alone."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "ase.json"
        file.write_text(text, encoding="utf-8")
        yield from _database(file, name, "json")


def _record(place: str, value: Any, field: str, folder: Path | None) -> Row | RowError:
    """Row of a record, or of a structure that is one itself."""
    if not isinstance(value, dict):
        return RowError(place, f"a row is a record with {field!r}, got a {type(value).__name__}")
    if field not in value and {"lattice", "sites"} <= set(value):
        return Row(place, value, dict(value.get("properties") or {}), folder)
    columns = {key: item for key, item in value.items() if key != field}
    return Row(place, value.get(field), columns, folder)


def _csv(file: IO[str], name: str, field: str, folder: Path | None) -> Rows:
    csv.field_size_limit(2**31 - 1)  # the text of a CIF may stand in a cell
    reader = csv.DictReader(file)
    if reader.fieldnames is None:
        yield RowError(name, "it is empty")
        return
    for i, cells in enumerate(reader):
        place = f"{name}:{i + 1}"
        if None in cells or None in cells.values():
            found = sum(cell is not None for cell in cells.values()) - (None in cells)
            found += len(cells.get(None) or ())
            yield RowError(
                place, f"it has {found} cells, the head has {len(reader.fieldnames)} columns"
            )
            continue
        structure = cells.pop(field, None)
        yield Row(place, None if is_missing(structure) else structure, dict(cells), folder)


def _database(path: Path, name: str, kind: str = "db") -> Rows:
    from ase.db import connect

    try:
        database = connect(path, type=kind, use_lock_file=False)
        keys = [row.id for row in database.select(columns=["id"], include_data=False)]
    except (sqlite3.DatabaseError, KeyError, ValueError, AssertionError) as error:
        yield RowError(name, f"it is not a database of ASE, or a damaged one ({error})")
        return
    for key in keys:
        place = f"{name}:{key}"
        try:
            row = database.get(id=key)
            atoms = row.toatoms(add_additional_information=True)
            data = {k: v for k, v in row.data.items() if isinstance(k, str)}
        except Exception as error:
            yield RowError(place, _unreadable("a row of ASE's database", error))
            continue
        yield row_of_atoms(place, atoms, {**data, **row.key_value_pairs})


def _unreadable(what: str, error: Exception) -> str:
    why = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"it cannot be read as {what} ({why})"


#: Readers of text by suffix: ``reader(file, name, structure_field, folder)`` yields rows.
FORMATS: dict[str, Callable[[IO[str], str, str, Path | None], Rows]] = {
    ".cif": _cif,
    ".mcif": _cif,
    "POSCAR": _poscar,
    ".xyz": _extxyz,
    ".extxyz": _extxyz,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv,
}
