"""Rows of files: a structure and named columns, read one after the other.

Every format yields `Row`s, or a `RowError` in the place of a row that cannot be read. What follows
an unreadable row is still read, wherever the format says where the next row begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_xc.planewave.structure.files import start_from_results

if TYPE_CHECKING:
    from ase import Atoms

# Number of errors that a message lists.
_LISTED = 100

#: Units of the results that ASE keeps with a structure, where they are not those of an entry.
ASE_UNITS = {"stress": "eV/Angstrom^3"}


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes
    ----------
    place : str
        File and row, for messages; also the row's identifier unless a column holds one.
    structure : object
        Anything that `feat.files.structure_values` reads; None if the row has none.
    columns : mapping
        Values by name.
    folder : Path or None
        Folder to which relative paths refer.
    units : mapping
        Units of columns, where the format fixes them.
    """

    place: str
    structure: Any
    columns: Mapping[str, Any]
    folder: Path | None = None
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RowError:
    """A row that cannot be used.

    Attributes
    ----------
    place : str
        File and row.
    reason : str
        What is wrong, and what to do.

    Examples
    --------
    >>> print(RowError("solids.jsonl:3", "no structure"))
    solids.jsonl:3: no structure
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class RowsError(ValueError):
    """Rows of files cannot be used.

    Attributes
    ----------
    errors : list of RowError
        All of them, with file and row.
    """

    def __init__(self, errors: Sequence[RowError]) -> None:
        self.errors = list(errors)
        listed = "".join(f"\n  {error}" for error in self.errors[:_LISTED])
        rest = len(self.errors) - _LISTED
        more = f"\n  ... and {rest} more: see loader.errors" if rest > 0 else ""
        super().__init__(
            f"{len(self.errors)} row(s) cannot be used; on_error='skip' leaves them out:"
            f"{listed}{more}"
        )


def row_of_atoms(place: str, atoms: Atoms, more: Mapping[str, Any] | None = None) -> Row:
    """Row of ASE Atoms: columns are ``info``, results of a calculation, and arrays of atoms.

    Parameters
    ----------
    place : str
        File and row.
    atoms : ase.Atoms
        The structure.
    more : mapping, optional
        Further columns, which take precedence.

    Examples
    --------
    >>> from ase.build import bulk
    >>> silicon = bulk("Si")
    >>> silicon.info["gap"] = 1.17
    >>> row_of_atoms("silicon.xyz:1", silicon).columns["gap"]
    1.17
    """
    start_from_results(atoms, place)
    results = dict(getattr(atoms.calc, "results", None) or {})
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    info = {k: v for k, v in atoms.info.items() if isinstance(k, str)}
    columns = {**arrays, **results, **info, **(more or {})}
    units = {k: unit for k, unit in ASE_UNITS.items() if columns.get(k) is results.get(k, columns)}
    return Row(place, atoms, columns, None, units)


def is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: None or empty text. NaN is not: it is a wrong number.

    Examples
    --------
    >>> is_missing(None), is_missing(" "), is_missing(float("nan")), is_missing([])
    (True, True, False, True)
    """
    if value is None:
        return True
    if isinstance(value, str):
        return not value.strip()
    return isinstance(value, list | tuple | dict | np.ndarray) and len(value) == 0
