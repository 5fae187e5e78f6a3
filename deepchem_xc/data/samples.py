"""Usable rows as data points: entries of a row, and the arrays of a shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.schema import validate_entry

if TYPE_CHECKING:
    from ase import Atoms

#: X, y, w and ids.
Shard: TypeAlias = tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None, NDArray[Any]]

# Keys of an entry, next to those of its system, in ``settings``.
_ENTRY_KEYS = ("scales", "dimension")


@dataclass(frozen=True)
class Sample:
    """One usable row.

    Attributes
    ----------
    identifier : str
        Its identifier.
    x : object
        An entry, a list of entries, or what a featurizer made of the structure.
    y, w : list of float
        One label and weight for each task.
    """

    identifier: str
    x: Any
    y: list[float]
    w: list[float]


def entry_sample(
    atoms: Atoms,
    identifier: str,
    labels: Sequence[NDArray[np.float64] | None],
    weight: float,
    kinds: Sequence[str | None],
    settings: Mapping[str, Any],
) -> Sample:
    """Entries of a row, one for each task, or one without a label if there are no tasks.

    Parameters
    ----------
    atoms : ase.Atoms
        The structure.
    identifier : str
        Name of the row.
    labels : sequence of ndarray or None
        One for each task.
    weight : float
        Weight of the row.
    kinds : sequence of str
        Key of `ENTRY_TYPES` of each entry.
    settings : mapping
        Keys of the entry's system, and ``scales`` and ``dimension``.

    Raises
    ------
    ValueError
        As for `DFTEntry`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> sample = entry_sample(bulk("Al"), "al", [np.array(-57.2)], 1.0, ["energy"], {"ecut": 150.0})
    >>> sample.x, sample.y
    (DFTEntry(energy, al), [-57.2])
    """
    own = {k: v for k, v in settings.items() if k in _ENTRY_KEYS}
    system = {k: v for k, v in settings.items() if k not in _ENTRY_KEYS}
    system["structure"] = atoms
    entries = []
    for kind, label in zip(kinds, labels or [None], strict=True):
        values = {"e_type": kind, "systems": [system], "weight": weight, "name": identifier, **own}
        values["true_val"] = None if label is None else label.tolist()
        entries.append(DFTEntry.from_mapping(values, "the entry"))
    x: Any = entries[0] if len(entries) == 1 else entries
    unlabelled = 0.0 if labels else np.nan
    y = [entry.label_summary if entry.has_label else unlabelled for entry in entries]
    w = [weight if entry.has_label or not labels else 0.0 for entry in entries]
    return Sample(identifier, x, y, w)


def check_settings(kind: str, settings: Mapping[str, Any]) -> None:
    """Raise `ValueError` for settings that are not valid for any structure.

    Parameters
    ----------
    kind : str
        Key of `ENTRY_TYPES`.
    settings : mapping
        As for `entry_sample`.

    Examples
    --------
    >>> check_settings("energy", {"ecut": 150.0, "kpt": [2, 2, 2]})
    Traceback (most recent call last):
    ValueError: settings is not valid:
      systems[0].kpt: unknown key, did you mean 'kpts'? ...
    """
    for key in ("structure", "number"):
        if key in settings:
            raise ValueError(f"settings: {key} belongs to the rows of the files; leave it out.")
    own = {k: v for k, v in settings.items() if k in _ENTRY_KEYS}
    system = {k: v for k, v in settings.items() if k not in _ENTRY_KEYS}
    any_structure = {"symbols": ["H"], "cell": np.diag([5.0] * 3), "positions": [[0.0] * 3]}
    system["structure"] = any_structure
    validate_entry({"e_type": kind, "systems": [system], **own}, "settings")


def shard_arrays(samples: Sequence[Sample], tasks: Sequence[str], featurized: bool) -> Shard:
    """X, y, w and ids of a shard.

    Parameters
    ----------
    samples : sequence of Sample
        At least one.
    tasks : sequence of str
        Names of the labels.
    featurized : bool
        Whether X is what a featurizer made, which without tasks has no y.

    Examples
    --------
    >>> x, y, w, ids = shard_arrays([Sample("al", np.ones(3), [1.5], [1.0])], ["gap"], True)
    >>> x.shape, y.tolist(), ids.tolist()
    ((1, 3), [[1.5]], ['al'])
    """
    x = _stacked([sample.x for sample in samples], featurized)
    ids = np.array([sample.identifier for sample in samples], dtype=object)
    if not tasks and featurized:
        return x, None, None, ids
    y = np.array([sample.y for sample in samples], dtype=np.float64)
    w = np.array([sample.w for sample in samples], dtype=np.float64)
    return x, y, w, ids


def _stacked(items: Sequence[Any], numbers: bool) -> NDArray[Any]:
    """Array of a featurizer's results if they have one shape, otherwise of objects."""
    if numbers:
        arrays = [np.asarray(item) for item in items if isinstance(item, np.ndarray | float | int)]
        if len(arrays) == len(items) and len({a.shape for a in arrays}) == 1:
            return np.stack(arrays)
    if isinstance(items[0], list):
        table = np.empty((len(items), len(items[0])), dtype=object)
        for i, row in enumerate(items):
            table[i, :] = row
        return table
    column = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        column[i] = item
    return column
