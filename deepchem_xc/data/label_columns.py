"""Labels from the columns of a row, in the units of entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.data.label_units import conversion_factor
from deepchem_xc.data.rows import Row, is_missing
from deepchem_xc.feat.entry_types import ENTRY_TYPES

if TYPE_CHECKING:
    from ase import Atoms

# Number of column names that a message lists.
_SHOWN = 20


@dataclass(frozen=True)
class LabelColumns:
    """Which columns hold labels, of which kind and in which unit.

    Attributes
    ----------
    tasks : sequence of str
        Names of the columns.
    kinds : sequence of str or None
        Key of `ENTRY_TYPES` of each column; None if labels are not those of entries.
    units : mapping
        Unit of a column, if it is not that of its kind; ``{"column": name}`` names a column that
        holds the unit of each row.

    Examples
    --------
    >>> from ase.build import bulk
    >>> columns = LabelColumns(["gap"], ["band_gap"], {"gap": "meV"})
    >>> columns.read(Row("si.csv:1", None, {"gap": "1170"}), bulk("Si"))
    [array(1.17)]
    """

    tasks: Sequence[str]
    kinds: Sequence[str | None]
    units: Mapping[str, str | Mapping[str, str]]

    def read(self, row: Row, atoms: Atoms) -> list[NDArray[np.float64] | None]:
        """Labels of a row, one for each task: an array, 0-d for a number, or None without one.

        Parameters
        ----------
        row : Row
            The row.
        atoms : ase.Atoms
            Its structure in the given cell.

        Raises
        ------
        ValueError
            If there is no label at all; for text, NaN and infinite numbers; for a unit that is not
            known or a column of units that does not exist. The message names the column.
        """
        if not self.tasks:
            return []
        labels = [self._label(i, row, atoms) for i in range(len(self.tasks))]
        if all(label is None for label in labels):
            absent = [task for task in self.tasks if task not in row.columns]
            if absent:
                raise ValueError(
                    f"no label: there is no column {absent[0]!r}; {_columns_of(row.columns)}"
                )
            raise ValueError(f"no label: {', '.join(map(repr, self.tasks))} is empty")
        return labels

    def _label(self, i: int, row: Row, atoms: Atoms) -> NDArray[np.float64] | None:
        task, kind = self.tasks[i], self.kinds[i]
        given = row.columns.get(task)
        if is_missing(given):
            return None
        try:
            label = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{task}: {_short(given)} is not a number") from None
        if not np.isfinite(label).all():
            raise ValueError(
                f"{task}: {_short(given)} is not a finite number; leave a missing label empty"
            )
        if kind is None:
            return label
        if kind == "stress" and label.shape == (6,):
            label = label[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]  # ASE's order: xx yy zz yz xz xy
        unit = self._unit(task, row)
        if unit is None:
            return label
        wanted = ENTRY_TYPES[kind].unit
        if kind == "bulk_modulus" and not all(atoms.pbc):
            wanted = "N/m"
        try:
            return np.asarray(label * conversion_factor(unit, wanted, len(atoms)))
        except ValueError as error:
            raise ValueError(f"{task}: {error}") from error

    def _unit(self, task: str, row: Row) -> str | None:
        said = self.units.get(task, row.units.get(task))
        if said is None or isinstance(said, str):
            return said
        column = said["column"]
        if column not in row.columns:
            raise ValueError(
                f"{task}: there is no column {column!r} with its unit; {_columns_of(row.columns)}"
            )
        unit = row.columns[column]
        if not isinstance(unit, str) or not unit.strip():
            raise ValueError(f"{task}: its unit in column {column!r} is missing, got {unit!r}")
        return unit


def check_units(tasks: Sequence[str], units: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless `units` names tasks, and units or columns of units.

    Examples
    --------
    >>> check_units(["a"], {"a": "bohr"})
    >>> check_units(["a"], {"b": "bohr"})
    Traceback (most recent call last):
    ValueError: units: there is no task 'b'; the tasks are a.
    """
    for task, unit in units.items():
        if task not in tasks:
            raise ValueError(
                f"units: there is no task {task!r}; the tasks are {', '.join(tasks) or 'none'}."
            )
        if isinstance(unit, str):
            conversion_factor(unit, unit, 1)
        elif not (isinstance(unit, Mapping) and set(unit) == {"column"}):
            raise ValueError(
                f"units[{task!r}] must be a unit such as 'eV/atom', or {{'column': name}} of a "
                f"column that holds each row's unit; got {unit!r}."
            )


def _columns_of(columns: Mapping[str, Any]) -> str:
    names = sorted(map(str, columns))
    more = ", ..." if len(names) > _SHOWN else ""
    return f"the row has {', '.join(names[:_SHOWN]) or 'no columns'}{more}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
