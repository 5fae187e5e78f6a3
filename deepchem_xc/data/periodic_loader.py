"""Data sets from files of crystals and their labels."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from deepchem.data import DataLoader, DiskDataset

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.data.featurizing import featurize_each
from deepchem_xc.data.formats import read_rows
from deepchem_xc.data.input_files import FilePath, SkippedRowsWarning, input_files
from deepchem_xc.data.label_columns import LabelColumns, check_units
from deepchem_xc.data.rows import Row, RowError, RowsError, is_missing
from deepchem_xc.data.samples import Sample, Shard, check_settings, entry_sample, shard_arrays
from deepchem_xc.feat.entry_types import ENTRY_TYPES, MOLECULAR_TYPES
from deepchem_xc.feat.files import structure_atoms
from deepchem_xc.feat.reduced_cell import meshes_noticed_once

if TYPE_CHECKING:
    from ase import Atoms

logger = logging.getLogger(__name__)

# Number of errors that a warning shows.
_FEW = 5


class PeriodicDFTLoader(DataLoader):
    """Make a data set from files of crystals with labels in columns.

    ==================================  =========================================================
    file                                one row is
    ==================================  =========================================================
    ``.cif``                            a block with atoms
    POSCAR, CONTCAR, ``.vasp``          the file
    ``.xyz``, ``.extxyz``               a frame; columns are its properties, energy, forces, ...
    ``.db``                             a row of an ASE database, with key-value pairs and data
    ``.jsonl``, ``.ndjson``             a line: a record with a structure, or a pymatgen Structure
    ``.json``                           an item of a list, or of a table that pandas wrote in
                                        ``orient="split"``; one structure; a row of ASE's JSON
    ``.csv``                            a line; structures are paths or the text of a CIF
    ``.zip``                            a row of each file in it
    ``.gz``, ``.bz2``, ``.xz``          as the file that is compressed
    a folder                            a row of each file in it
    ==================================  =========================================================

    Files are read row by row: except for ``.json`` and files in a ``.zip``, no more than a shard is
    in memory.

    Parameters
    ----------
    tasks : list of str
        Columns of labels; empty for structures without labels.
    featurizer : Featurizer, optional
        Anything with ``featurize(structures)``, which gets a list of ASE Atoms (DeepChem's own
        featurizers of structures: pymatgen structures; of compositions: formulas). Without one X
        holds `DFTEntry` objects.
    e_type : str or sequence of str, optional
        Kind of the labels, one for all tasks or one each: a key of `ENTRY_TYPES`. Necessary without
        a featurizer, and for `units`.
    settings : mapping, optional
        Keys of an entry's system (``ecut``, ``kpts``, ``pseudopotentials``, ``primitive``, ...) and
        ``scales`` and ``dimension`` of the entry, for entries.
    structure_field : str, optional
        Column of structures in tables: the path of a file relative to the table, the text of a CIF,
        or the dictionary of a pymatgen Structure or ASE Atoms.
    id_field : str, optional
        Column of identifiers; by default file and number, such as ``solids.jsonl:3``.
    weight_field : str, optional
        Column of weights; 1 by default.
    units : mapping, optional
        Units of tasks which are not in that of their kind: ``{"a": "bohr"}``; or
        ``{"a": {"column": "unit"}}``, where a column holds each row's. Energies in ``eV/atom`` are
        multiplied by the atoms of the given cell.
    on_error : {"raise", "skip"}, optional
        Whether rows that cannot be used raise one error, which lists them all, or are left out with
        a `SkippedRowsWarning`.
    log_every_n : int, optional
        Number of rows between messages to the log.

    Attributes
    ----------
    errors : list of RowError
        Rows that cannot be used, of the last `create_dataset`.

    Examples
    --------
    >>> import json, tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.data import PeriodicDFTLoader
    >>> path = Path(tempfile.mkdtemp()) / "solids.jsonl"
    >>> bulk("Al", cubic=True).write(path.with_name("al.cif"))
    >>> _ = path.write_text(json.dumps({"structure": "al.cif", "a": 7.65, "name": "fcc Al"}))
    >>> loader = PeriodicDFTLoader(
    ...     ["a"], e_type="lattice_constant", units={"a": "bohr"}, id_field="name",
    ...     settings={"ecut": 200.0, "kpts": {"density": 3.0}, "primitive": True})
    >>> dataset = loader.create_dataset(path)
    >>> dataset.X, dataset.y.round(3), dataset.ids
    (array([DFTEntry(lattice_constant, fcc Al)], dtype=object), array([[4.048]]),
     array(['fcc Al'], dtype=object))
    """

    def __init__(
        self,
        tasks: list[str],
        featurizer: Any = None,
        e_type: str | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        structure_field: str = "structure",
        id_field: str | None = None,
        weight_field: str | None = None,
        units: Mapping[str, str | Mapping[str, str]] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        log_every_n: int = 1000,
    ) -> None:
        super().__init__(tasks, featurizer, id_field, log_every_n)
        if len(set(tasks)) != len(tasks):
            raise ValueError(f"tasks must be different, got {tasks}.")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}.")
        if featurizer is not None and not hasattr(featurizer, "featurize"):
            raise ValueError(
                f"featurizer must have a method featurize(structures), got {featurizer!r}."
            )
        self.kinds = _kinds(tasks, e_type)
        if featurizer is None and e_type is None:
            raise ValueError(
                f"without a featurizer e_type is needed: one of {', '.join(_CRYSTAL_TYPES)}."
            )
        if featurizer is not None and settings:
            raise ValueError("settings are those of entries: with a featurizer, give them to it.")
        if units and e_type is None:
            raise ValueError("units need e_type, which says into which unit labels are converted.")
        check_units(tasks, units or {})
        self.labels = LabelColumns(tasks, self.kinds[: len(tasks)], dict(units or {}))
        self.settings = dict(settings or {})
        if featurizer is None:
            for kind in self.kinds:
                check_settings(str(kind), self.settings)
        self.structure_field, self.weight_field = structure_field, weight_field
        self.on_error = on_error
        self.errors: list[RowError] = []

    def create_dataset(
        self,
        inputs: FilePath | Sequence[FilePath],
        data_dir: str | None = None,
        shard_size: int | None = 8192,
    ) -> DiskDataset:
        """Read files.

        Parameters
        ----------
        inputs : path or sequence of paths
            Files and folders.
        data_dir : str, optional
            Folder of the data set; a temporary one by default. It is written only if the data set
            is complete.
        shard_size : int, optional
            Rows in a shard; None puts all of them into one.

        Returns
        -------
        DiskDataset
            X: entries, (n,), or (n, ntask) for several tasks; or the featurizer's result. y, w:
            (n, ntask), in the units of the kinds. Where a label is an array, y is 0 and the entry
            holds it. Where one of several labels is missing, y and w are 0. Without tasks y is NaN
            for entries, and None with a featurizer. ids: (n,).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        RowsError
            If rows cannot be used (with ``on_error="skip"``: if none can), with file and row of
            each: without a structure or label, with NaN, partially occupied sites, an element
            without a pseudopotential, an identifier that occurred before, ...
        ValueError
            For a file of an unknown format, and for no files.

        Warns
        -----
        SkippedRowsWarning
            For rows that are left out, and for files of folders that are in no known format.
        """
        if shard_size is not None and shard_size < 1:
            raise ValueError(f"shard_size must be at least 1, got {shard_size}.")
        files = input_files(inputs)
        self.errors = []
        parent = None if data_dir is None else Path(data_dir).absolute().parent
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".data-set-", dir=parent)
        try:
            with meshes_noticed_once():
                dataset = DiskDataset.create_dataset(
                    self._shards(files, shard_size), scratch, self.tasks
                )
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        if self.errors:
            few = "".join(f"\n  {error}" for error in self.errors[:_FEW])
            more = "\n  ..." if len(self.errors) > _FEW else ""
            warnings.warn(
                f"{len(self.errors)} row(s) are not in the data set, loader.errors lists them:"
                f"{few}{more}",
                SkippedRowsWarning,
                stacklevel=users_stacklevel(),
            )
        if data_dir is None:
            return dataset
        Path(data_dir).mkdir(exist_ok=True)
        for file in Path(scratch).iterdir():
            os.replace(file, Path(data_dir) / file.name)
        Path(scratch).rmdir()
        return DiskDataset(str(data_dir))

    def _shards(self, files: Mapping[str, Path], shard_size: int | None) -> Iterator[Shard]:
        """Complete shards; after the first error rows are only checked if errors are raised."""
        seen: dict[str, str] = {}
        order: dict[str, int] = {}
        rows: list[tuple[Row, Atoms]] = []
        good = number = 0
        for row in _rows(files, self.structure_field):
            number += 1
            order.setdefault(row.place, number)
            if number % self.log_every_n == 0:
                logger.info("%d rows read, %d errors", number, len(self.errors))
            if isinstance(row, RowError):
                self.errors.append(row)
                continue
            atoms = self._structure(row)
            if atoms is None:
                continue
            rows.append((row, atoms))
            if shard_size is not None and len(rows) == shard_size:
                good += len(samples := self._samples(rows, seen))
                rows = []
                if samples and self._goes_on:
                    yield shard_arrays(samples, self.tasks, self.featurizer is not None)
        good += len(samples := self._samples(rows, seen))
        if samples and self._goes_on:
            yield shard_arrays(samples, self.tasks, self.featurizer is not None)
        self.errors.sort(key=lambda error: order[error.place])  # each shard has added its own
        if self.errors and not (self._goes_on and good):
            raise RowsError(self.errors)
        if not good:
            raise ValueError(f"there are no rows in {', '.join(files)}.")

    @property
    def _goes_on(self) -> bool:
        return self.on_error == "skip" or not self.errors

    def _structure(self, row: Row) -> Atoms | None:
        try:
            if is_missing(row.structure):
                names = ", ".join(sorted(map(str, row.columns))[:20])
                raise ValueError(
                    f"no structure: column {self.structure_field!r} is missing or empty; the row "
                    f"has {names or 'no columns'} (structure_field= names another column)"
                )
            return structure_atoms(row.structure, row.folder)
        except Exception as error:
            self._note(row, error)
        return None

    def _samples(self, rows: Sequence[tuple[Row, Atoms]], seen: dict[str, str]) -> list[Sample]:
        """Usable rows of a shard; what is wrong with the others is added to `errors`."""
        found: list[tuple[Row, Atoms, str, list[Any], float]] = []
        for row, atoms in rows:
            try:
                identifier = self._identifier(row)
                if identifier in seen:
                    raise ValueError(
                        f"the identifier {identifier!r} occurs twice, first in {seen[identifier]}"
                    )
                seen[identifier] = row.place
                labels = self.labels.read(row, atoms)
                found.append((row, atoms, identifier, labels, self._weight(row)))
            except Exception as error:
                self._note(row, error)
        if self.featurizer is None:
            return self._entries(found)
        features = featurize_each(self.featurizer, [item[1] for item in found])
        samples = []
        for (row, _, identifier, labels, weight), x in zip(found, features, strict=True):
            try:
                if isinstance(x, Exception):
                    raise x
                for task, label in zip(self.tasks, labels, strict=True):
                    if label is not None and label.size != 1:
                        raise ValueError(
                            f"{task}: a featurizer's label is one number, got shape {label.shape}"
                        )
                y = [0.0 if label is None else float(label.reshape(())) for label in labels]
                w = [0.0 if label is None else weight for label in labels]
                samples.append(Sample(identifier, x, y, w))
            except Exception as error:
                self._note(row, error)
        return samples

    def _entries(self, found: Sequence[tuple[Row, Atoms, str, list[Any], float]]) -> list[Sample]:
        samples = []
        for row, atoms, name, labels, weight in found:
            try:
                sample = entry_sample(atoms, name, labels, weight, self.kinds, self.settings)
                samples.append(sample)
            except Exception as error:
                self._note(row, error)
        return samples

    def _identifier(self, row: Row) -> str:
        if self.id_field is None:
            return row.place
        if is_missing(given := row.columns.get(self.id_field)):
            raise ValueError(f"no identifier: column {self.id_field!r} is missing or empty")
        return str(given)

    def _weight(self, row: Row) -> float:
        if self.weight_field is None:
            return 1.0
        try:
            weight = float(row.columns[self.weight_field])
        except (KeyError, TypeError, ValueError):
            weight = np.nan
        if not 0.0 <= weight < np.inf:
            raise ValueError(
                f"the weight in column {self.weight_field!r} must be a number of at least 0, got "
                f"{row.columns.get(self.weight_field, 'no such column')!r}"
            )
        return weight

    def _note(self, row: Row, error: Exception) -> None:
        text = str(error) or type(error).__name__
        if not isinstance(error, (ValueError, FileNotFoundError)):
            text = f"{type(error).__name__}: {text}"
        self.errors.append(RowError(row.place, " ".join(text.split())))


_CRYSTAL_TYPES = [name for name in ENTRY_TYPES if name not in MOLECULAR_TYPES]


def _kinds(tasks: Sequence[str], e_type: str | Sequence[str] | None) -> list[str | None]:
    """One kind for each task, at least one."""
    count = max(1, len(tasks))
    kinds = [e_type] * count if e_type is None or isinstance(e_type, str) else list(e_type)
    if len(kinds) != count:
        raise ValueError(f"e_type must be one type, or one for each of {count} tasks, got {kinds}.")
    for kind in kinds:
        if kind is not None and kind not in _CRYSTAL_TYPES:
            raise ValueError(
                f"e_type = {kind!r} is not one of crystals: {', '.join(_CRYSTAL_TYPES)}."
            )
    return list(kinds)


def _rows(files: Mapping[str, Path], structure_field: str) -> Iterator[Row | RowError]:
    for name, path in files.items():
        yield from read_rows(path, name, structure_field)
