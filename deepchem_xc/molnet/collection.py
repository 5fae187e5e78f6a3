"""`Collection`: the files of a data set, read into entries or into rows of a featurizer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
from ase import Atoms
from deepchem.data import DiskDataset
from deepchem.feat import Featurizer
from numpy.typing import NDArray

from deepchem_xc._files import data_file
from deepchem_xc.data import DFTEntry, entry_arrays, load_entries
from deepchem_xc.data.featurizing import as_read_by, why_nothing
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.molnet.splitting import FixedSplitter, crystal_of

#: Properties in the fits of GPAW's results, by the names of tasks.
_FITTED = {"lattice_constant": "a", "bulk_modulus": "bulk_modulus"}
#: Distance (Angstrom) between planes of atoms from which it is vacuum; stacked layers have 3.5.
_VACUUM = 5.0
#: Name of the one task of entries of several types.
MIXED = "property"


@dataclass(frozen=True)
class Collection:
    """A data set in ``data/``.

    Attributes
    ----------
    name
        Name of the data set.
    entry_files
        YAML files of its entries with PAW; those with GTH potentials have names that end in
        ``_gth``.
    result_files
        JSON files with GPAW's fits of the same crystals; without them the entries' own labels are
        the properties.
    properties
        Tasks for rows of a featurizer.
    valid, test
        Crystals of the validation and the test set by default.
    """

    name: str
    entry_files: tuple[str, ...]
    result_files: tuple[str, ...]
    properties: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]

    def splitter(self) -> FixedSplitter:
        """The default split."""
        return FixedSplitter(self.valid, self.test)

    def files(
        self, folder: str | os.PathLike[str] | None, potentials: PotentialKind = "paw"
    ) -> list[Path]:
        """All files, those of entries first.

        Raises
        ------
        ValueError
            If there are no such potentials.
        FileNotFoundError
            If a file is missing.
        """
        if potentials not in get_args(PotentialKind):
            raise ValueError(
                f"potentials must be among {', '.join(map(repr, get_args(PotentialKind)))}, "
                f"got {potentials!r}."
            )
        entries = self.entry_files
        if potentials == "gth":
            entries = tuple(name.replace(".yaml", "_gth.yaml") for name in entries)
        names = [*entries, *self.result_files]
        if folder is None:
            return [data_file(name) for name in names]
        paths = [Path(folder) / name for name in names]
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(
                    f"data_dir must hold {', '.join(names)}; {path} does not exist. Without "
                    "data_dir the files of the package are read."
                )
        return paths

    def entries(self, paths: Sequence[Path], wanted: Sequence[str] | None) -> list[DFTEntry]:
        """Entries of the types `wanted`; all by default."""
        files = paths[: len(self.entry_files)]
        found = [entry for path in files for entry in _entries(path, path.read_bytes())]
        types = list(dict.fromkeys(entry.entry_type for entry in found))
        chosen = _chosen(wanted, types, "featurizer=None")
        return [entry for entry in found if entry.entry_type in chosen]


@lru_cache(maxsize=16)
def _entries(path: Path, content: bytes) -> tuple[DFTEntry, ...]:
    """Entries of a file with this content; checking 36 of them takes seconds."""
    return tuple(load_entries(path))


def entry_dataset(entries: Sequence[DFTEntry]) -> DiskDataset:
    """X holds the entries; y and w are (n, 1), ids the entries' names."""
    types = list(dict.fromkeys(entry.entry_type for entry in entries))
    arrays = entry_arrays(entries)
    ids = np.array([entry.name for entry in entries], dtype=object)
    return DiskDataset.from_numpy(*arrays, ids, tasks=types if len(types) == 1 else [MIXED])


def featurized_dataset(
    collection: Collection,
    paths: Sequence[Path],
    featurizer: Featurizer,
    wanted: Sequence[str] | None,
) -> DiskDataset:
    """X holds the features of one crystal a row; y and w are (n, ntasks), ids the names.

    A property that a crystal does not have is 0 with weight 0, as in DeepChem.

    Raises
    ------
    TypeError
        If the featurizer has no method ``featurize``.
    ValueError
        If a crystal's features are empty, or a task is unknown.
    """
    if not callable(getattr(featurizer, "featurize", None)):
        raise TypeError(
            f"featurizer must be None or an object with a method 'featurize', got {featurizer!r}."
        )
    tasks = _chosen(wanted, collection.properties, "a featurizer")
    entries = collection.entries(paths, None)
    values = _properties(collection, paths, entries)
    structures: dict[str, Atoms] = {}
    for entry in entries:
        structure = _structure(entry)
        if structure is not None:
            structures.setdefault(crystal_of(entry.name), structure)
    x = features_of(featurizer, structures)
    y = np.array([[values[name].get(task, np.nan) for task in tasks] for name in structures])
    known = np.isfinite(y)
    ids = np.array(list(structures), dtype=object)
    return DiskDataset.from_numpy(
        x, np.where(known, y, 0.0), known.astype(np.float64), ids, tasks=tasks
    )


def _structure(entry: DFTEntry) -> Atoms | None:
    """What tells a featurizer all about the crystal; None if nothing does.

    A layer is not periodic across. That the height of stacked layers is kept does not follow from
    their structure.
    """
    atoms = entry.systems[0].atoms.copy()
    if entry.scales is not None and entry.series.dimension == 2:
        axis = entry.series.axis
        heights = np.sort(atoms.get_scaled_positions()[:, axis])
        gap = np.diff(heights, append=heights[0] + 1.0).max() * atoms.cell.lengths()[axis]
        if gap < _VACUUM:
            return None
        atoms.pbc[axis] = False
    return atoms


def _chosen(wanted: Sequence[str] | None, there: Sequence[str], where: str) -> list[str]:
    if wanted is None:
        return list(there)
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [name for name in names if name not in there]
    if unknown or not names:
        raise ValueError(f"tasks must be among {', '.join(there)} with {where}, got {wanted!r}.")
    return names


def _properties(
    collection: Collection, paths: Sequence[Path], entries: Sequence[DFTEntry]
) -> dict[str, dict[str, float]]:
    """``{crystal: {task: value}}``, in the units of entries of these types."""
    values: dict[str, dict[str, float]] = {}
    for path in paths[len(collection.entry_files) :]:
        for name, result in json.loads(path.read_text()).items():
            fit = result.get("fit", {}).get("energy", {})
            known = {task: fit[key] for task, key in _FITTED.items() if key in fit}
            moment = next((p["magmom"] for p in result["points"] if p["scale"] == 1.0), None)
            if moment is not None:
                known["magnetic_moment"] = moment
            values[name] = known
    if not collection.result_files:
        for entry in entries:
            values.setdefault(crystal_of(entry.name), {})[entry.entry_type] = entry.label_summary
    return values


def features_of(featurizer: Featurizer, structures: Mapping[str, Any]) -> NDArray[Any]:
    """What the featurizer makes of structures by name, which it gets in the form that it reads.

    Raises
    ------
    TypeError
        If the featurizer has no method ``featurize``.
    ValueError
        If a crystal's features are empty.
    """
    if not callable(getattr(featurizer, "featurize", None)):
        raise TypeError(
            f"featurizer must be None or an object with a method 'featurize', got {featurizer!r}."
        )
    given = as_read_by(featurizer, list(structures.values()))
    features = featurizer.featurize(given)
    if len(features) != len(given):
        raise ValueError(f"the featurizer made {len(features)} rows of {len(given)} crystals.")
    failed = {
        name: datapoint
        for name, datapoint, row in zip(structures, given, features, strict=True)
        if np.asarray(row, dtype=object).size == 0
    }
    if failed:
        first, datapoint = next(iter(failed.items()))
        raise ValueError(
            f"the featurizer made nothing of {', '.join(failed)}; of {first}: "
            f"{why_nothing(featurizer, datapoint)}."
        )
    try:
        return np.asarray(features)
    except ValueError:  # rows of different lengths
        rows = np.empty(len(features), dtype=object)
        for i, row in enumerate(features):
            rows[i] = row
        return rows
