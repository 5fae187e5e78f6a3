"""DeepChem's splitters, folds and shuffles on data sets of entries, in memory and on disk."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import deepchem as dc
import numpy as np
import pytest
from deepchem.data import Dataset, DiskDataset, NumpyDataset

from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.feat.splitters import SMILES_SPLITTERS
from tests.models.systems import quick

NUMBER = 23
# They split the columns of y, not the rows, and read files of proteins.
OTHERS = {"Splitter", "TaskSplitter"}
WORKING = {
    "IndexSplitter": dc.splits.IndexSplitter(),
    "RandomSplitter": dc.splits.RandomSplitter(),
    "RandomGroupSplitter": dc.splits.RandomGroupSplitter([i // 2 for i in range(NUMBER)]),
    "SpecifiedSplitter": dc.splits.SpecifiedSplitter([3, 5], [1, 8]),
    "RandomStratifiedSplitter": dc.splits.RandomStratifiedSplitter(),
    "SingletaskStratifiedSplitter": dc.splits.SingletaskStratifiedSplitter(),
}


def entries(number: int = NUMBER) -> list[DFTEntry]:
    first = DFTEntry.create("energy", -215.0, [quick()])
    found = []
    for i in range(number):
        one = pickle.loads(pickle.dumps(first))
        one.name, one._label = f"silicon {i}", np.array([-215.0 - i])
        found.append(one)
    return found


def in_memory() -> NumpyDataset:
    x, y, w = entry_arrays(entries())
    return NumpyDataset(x, y, w, np.array([f"data.yaml:{i + 1}" for i in range(NUMBER)]))


def on_disk() -> DiskDataset:
    data = in_memory()
    return DiskDataset.from_numpy(data.X, data.y, data.w, data.ids)


def check_rows(parts: list[Dataset]) -> None:
    """X, y, w and ids stay together, and no entry is lost or doubled."""
    for part in parts:
        assert part.y.shape == part.w.shape == (len(part), 1)
        numbers = [int(entry.name.split()[1]) for entry in part.X]
        assert part.y[:, 0].tolist() == [-215.0 - i for i in numbers]
        assert part.ids.tolist() == [f"data.yaml:{i + 1}" for i in numbers]
    assert sorted(name for part in parts for name in part.ids) == sorted(in_memory().ids)


@pytest.mark.parametrize("make", [in_memory, on_disk])
@pytest.mark.parametrize("name", WORKING)
def test_splitters_keep_all_rows_together(name: str, make: Callable[[], Dataset]) -> None:
    splitter = WORKING[name]
    parts = list(splitter.train_valid_test_split(make()))
    assert all(len(part) for part in parts) and len(parts[0]) > len(parts[1])
    check_rows(parts)
    if name == "SpecifiedSplitter":
        assert parts[1].ids.tolist() == ["data.yaml:4", "data.yaml:6"]
    else:
        check_rows(list(splitter.train_test_split(make())))


@pytest.mark.parametrize("make", [in_memory, on_disk])
@pytest.mark.parametrize("name", ["IndexSplitter", "RandomSplitter", "RandomStratifiedSplitter"])
def test_folds_hold_out_each_row_once(name: str, make: Callable[[], Dataset]) -> None:
    folds = WORKING[name].k_fold_split(make(), 3)
    for train, held_out in folds:
        check_rows([train, held_out])
    check_rows([held_out for _, held_out in folds])
    check_rows(list(dc.splits.SingletaskStratifiedSplitter().k_fold_split(make(), 3)))


@pytest.mark.parametrize("make", [in_memory, on_disk])
@pytest.mark.parametrize("splitter", SMILES_SPLITTERS)
def test_splitters_of_molecules_are_refused_by_name(
    splitter: Any, make: Callable[[], Dataset]
) -> None:
    data = make()
    for split in (splitter().train_test_split, splitter().train_valid_test_split):
        with pytest.raises(ValueError, match=f"^{splitter.__name__} reads .* SMILES.*RandomSpl"):
            split(data)
    with pytest.raises(ValueError, match=f"^{splitter.__name__} reads"):
        splitter().k_fold_split(data, 2)
    with pytest.raises(ValueError, match=f"^{splitter.__name__} reads"):
        splitter().train_test_split(NumpyDataset(data.X[:, None], data.y, data.w))


def test_every_splitter_of_deepchem_is_known() -> None:
    kinds = [kind for kind in vars(dc.splits).values() if isinstance(kind, type)]
    names = {kind.__name__ for kind in kinds if issubclass(kind, dc.splits.Splitter)}
    assert names == set(WORKING) | {kind.__name__ for kind in SMILES_SPLITTERS} | OTHERS


def test_molecules_are_split_as_before() -> None:
    smiles = ["C", "CC", "CCC", "c1ccccc1", "CCCCC", "CCO", "CCN", "CCCO", "c1ccccc1C", "CF"]
    data = NumpyDataset(np.zeros((10, 1)), ids=np.array(smiles))
    for kind in SMILES_SPLITTERS:
        train, test = kind().train_test_split(data)
        assert len(train) + len(test) == 10, kind
    numbers = NumpyDataset(np.zeros((12, 1)), np.arange(12.0)[:, None])
    parts = dc.splits.SingletaskStratifiedSplitter().split(numbers)
    assert sum(map(len, parts)) == 10


def test_the_task_splitter_keeps_the_only_task() -> None:
    train, valid, _ = dc.splits.TaskSplitter().train_valid_test_split(
        in_memory(), frac_train=1.0, frac_valid=0.0, frac_test=0.0
    )
    check_rows([train])
    assert valid.y.shape == (NUMBER, 0)


def test_shuffles_keep_rows_together_except_the_one_for_numbers() -> None:
    data = on_disk()
    with pytest.raises(ValueError, match="sparse_shuffle turns X into .*complete_shuffle"):
        data.sparse_shuffle()
    check_rows([data.complete_shuffle()])
    data.shuffle_each_shard()
    data.shuffle_shards()
    check_rows([data])
    numbers = DiskDataset.from_numpy(np.eye(4), np.arange(4.0)[:, None])
    numbers.sparse_shuffle()
    assert numbers.X.sum() == 4.0
