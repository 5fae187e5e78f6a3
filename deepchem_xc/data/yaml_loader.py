"""Data sets from YAML files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from deepchem.data import DataLoader, DiskDataset
from numpy.typing import NDArray

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.reduced_cell import meshes_noticed_once


class DFTYamlLoader(DataLoader):
    """Make a data set of `DFTEntry` objects from YAML files, as DeepChem's loader of this name.

    A file is a list of entries with the keys ``e_type``, ``true_val``, ``systems`` and optionally
    ``weight``, ``scales``, ``dimension`` and ``name``. Files that an entry names (structures,
    labels, pseudopotentials) are searched in the folder of the YAML file.

    In the data set, X holds entries, (n,), w their weights and y one number each, (n, 1): the label
    if it is a number; 0 if it is an array (the prediction is then the root mean square deviation
    from it); NaN if there is none. The entries keep their full labels.

    Examples
    --------
    >>> from pathlib import Path
    >>> import tempfile
    >>> from deepchem_xc.data import DFTYamlLoader
    >>> text = '''
    ... - e_type: lattice_constant
    ...   true_val: 4.04
    ...   systems:
    ...     - structure:
    ...         symbols: [Al]
    ...         cell: [[0, 2.02, 2.02], [2.02, 0, 2.02], [2.02, 2.02, 0]]
    ...         scaled_positions: [[0, 0, 0]]
    ...       ecut: 150
    ...       kpts: [2, 2, 2]
    ... '''
    >>> path = Path(tempfile.mkdtemp()) / "data.yaml"
    >>> _ = path.write_text(text)
    >>> dataset = DFTYamlLoader().create_dataset(path)
    >>> dataset.X, dataset.y
    (array([DFTEntry(lattice_constant, Al)], dtype=object), array([[4.04]]))
    """

    def __init__(self) -> None:
        # This loader makes the entries itself: there are no tasks and no featurizer.
        pass

    def create_dataset(
        self,
        inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        data_dir: str | None = None,
        shard_size: int | None = 1,
    ) -> DiskDataset:
        """Read YAML files.

        Parameters
        ----------
        inputs : path or sequence of paths
            YAML files.
        data_dir : str, optional
            Folder of the data set; a temporary one by default.
        shard_size : int, optional
            Entries in a shard; None puts all of them into one.

        Returns
        -------
        DiskDataset
            X: entries, (n,); y: (n, 1), see the class; w: (n, 1); ids: file name and number.

        Raises
        ------
        FileNotFoundError
            If a file does not exist.
        ValueError
            If a file is not YAML or not a list, or an entry has a mistake. The message names the
            file, the entry, the key and the valid values.
        """
        files = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
        entries: list[DFTEntry] = []
        ids: list[str] = []
        for file in files:
            found = load_entries(file)
            entries += found
            ids += [f"{Path(file).name}:{i + 1}" for i in range(len(found))]
        if shard_size is not None and shard_size < 1:
            raise ValueError(f"shard_size must be at least 1, got {shard_size}.")
        size = shard_size or max(1, len(entries))

        def shards() -> Iterator[tuple[NDArray[Any], ...]]:
            for start in range(0, len(entries), size):
                piece = entries[start : start + size]
                yield (*entry_arrays(piece), np.array(ids[start : start + size]))

        return DiskDataset.create_dataset(shards(), data_dir)


def entry_arrays(entries: Sequence[DFTEntry]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """X, y and w of entries, for your own data set.

    Parameters
    ----------
    entries : sequence of DFTEntry
        The entries.

    Returns
    -------
    x : ndarray of object
        The entries, (n,).
    y : ndarray
        Their labels as one number each (`DFTEntry.label_summary`), (n, 1): one task, as DeepChem's
        splitters and transformers expect it.
    w : ndarray
        Their weights, (n, 1).

    Examples
    --------
    >>> from deepchem.data import NumpyDataset
    >>> from deepchem_xc.data import entry_arrays
    >>> len(NumpyDataset(*entry_arrays([])))
    0
    """
    x = np.empty(len(entries), dtype=object)
    x[:] = entries
    y = np.array([entry.label_summary for entry in entries], dtype=np.float64)
    w = np.array([entry.get_weight() for entry in entries], dtype=np.float64)
    return x, y[:, None], w[:, None]


def load_entries(path: str | os.PathLike[str]) -> list[DFTEntry]:
    """Entries of one YAML file; errors as for `DFTYamlLoader.create_dataset`.

    Parameters
    ----------
    path : path
        A YAML file.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, list) or not content:
        raise ValueError(
            f"{path} must hold a list of entries, each beginning with '- e_type: ...'; got "
            f"{'nothing' if content is None else type(content).__name__}."
        )
    with meshes_noticed_once():
        return [
            DFTEntry.from_mapping(values, f"{path.name}, entry {i + 1}", path.parent)
            for i, values in enumerate(content)
        ]
