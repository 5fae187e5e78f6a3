"""What DeepChem's splitters and shuffles do with data sets of `DFTEntry` objects.

DeepChem 2.8.0 calls its splitters without asking the data set, so that the checks stand around
those methods. Only data sets whose X holds entries are affected.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from deepchem import splits
from deepchem.data import Dataset, DiskDataset

from deepchem_xc.feat.dft_data import DFTEntry

#: Splitters that take `dataset.ids` as SMILES.
SMILES_SPLITTERS = (
    splits.ButinaSplitter,
    splits.FingerprintSplitter,
    splits.MaxMinSplitter,
    splits.MolecularWeightSplitter,
    splits.ScaffoldSplitter,
)
#: Attribute of a method that has its check already.
_MARK = "_knows_entries"
_ADVICE = (
    "Take IndexSplitter, RandomSplitter, RandomStratifiedSplitter, SingletaskStratifiedSplitter, "
    "SpecifiedSplitter, or RandomGroupSplitter with one group for each crystal: "
    "RandomGroupSplitter([str(entry.systems[0].atoms.symbols) for entry in dataset.X])"
)


def holds_entries(dataset: Dataset) -> bool:
    """Whether X of a data set begins with an entry.

    Examples
    --------
    >>> from deepchem.data import NumpyDataset
    >>> holds_entries(NumpyDataset(np.zeros((2, 3))))
    False
    """
    for x, _, _, _ in dataset.itersamples():
        first = np.ravel(np.asarray(x, dtype=object))
        return bool(first.size) and isinstance(first[0], DFTEntry)
    return False


def adapt_deepchem() -> None:
    """Put the checks around DeepChem's methods; a second call changes nothing.

    For data sets of entries `SMILES_SPLITTERS` and `DiskDataset.sparse_shuffle`, which needs
    numbers in X, raise `ValueError`. `SingletaskStratifiedSplitter` gets whole numbers as indices
    (2.8.0 returns floats, which only data sets on disk accept) and keeps the entries that do not
    fill a group of ten, which 2.8.0 loses: they belong to the training set.

    Examples
    --------
    >>> adapt_deepchem()
    >>> splits.ScaffoldSplitter.split.__name__
    'split'
    """
    for splitter in SMILES_SPLITTERS:
        _replace(splitter, "split", _refusing_smiles)
    _replace(splits.SingletaskStratifiedSplitter, "split", _complete)
    _replace(DiskDataset, "sparse_shuffle", _refusing_shuffle)


def _replace(owner: type, name: str, around: Callable[[Any], Any]) -> None:
    method = getattr(owner, name)
    if not hasattr(method, _MARK):
        wrapped = functools.wraps(method)(around(method))
        setattr(wrapped, _MARK, True)
        setattr(owner, name, wrapped)


def _refusing_smiles(method: Any) -> Any:
    def split(self: Any, dataset: Dataset, *arguments: Any, **keywords: Any) -> Any:
        if holds_entries(dataset):
            name = type(self).__name__
            raise ValueError(
                f"{name} reads molecules from SMILES in dataset.ids, and this data set holds "
                f"DFTEntry objects, which have none. {_ADVICE}."
            )
        return method(self, dataset, *arguments, **keywords)

    return split


def _refusing_shuffle(method: Any) -> Any:
    def sparse_shuffle(self: Any) -> None:
        if holds_entries(self):
            raise ValueError(
                "sparse_shuffle turns X into sparse numbers, and this data set holds DFTEntry "
                "objects. Take complete_shuffle(), or shuffle_shards() and shuffle_each_shard()."
            )
        method(self)

    return sparse_shuffle


def _complete(method: Any) -> Any:
    def split(self: Any, dataset: Dataset, *arguments: Any, **keywords: Any) -> Any:
        parts = method(self, dataset, *arguments, **keywords)
        if not holds_entries(dataset):
            return parts
        train, valid, test = (np.asarray(part, dtype=np.int64) for part in parts)
        rest = np.setdiff1d(np.arange(len(dataset)), np.concatenate([train, valid, test]))
        return np.concatenate([train, rest]), valid, test

    return split
