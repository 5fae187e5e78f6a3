"""Splitters that keep all rows of a crystal in one set.

They read the crystal from ``dataset.ids``: the text before a colon, ``Al`` of
``Al:bulk_modulus``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from deepchem.data import Dataset
from deepchem.splits import IndexSplitter, RandomSplitter, RandomStratifiedSplitter, Splitter


def crystal_of(name: object) -> str:
    """The crystal that a row's id begins with.

    Examples
    --------
    >>> crystal_of("Al:bulk_modulus"), crystal_of("Al")
    ('Al', 'Al')
    """
    return str(name).partition(":")[0]


class CrystalSplitter(Splitter):
    """Random split by crystal, in which no set is empty.

    Rows of one crystal share its calculations, so that a row in the training set would give away
    the other in the test set. DeepChem's `RandomGroupSplitter` with one group a crystal does the
    same, but leaves sets of few crystals without a validation set.

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem.data import NumpyDataset
    >>> from deepchem_xc.molnet import CrystalSplitter
    >>> ids = ["Al:a", "Al:b", "Ni:a", "Ni:b", "Ca:a", "Ca:b"]
    >>> dataset = NumpyDataset(np.arange(6), ids=ids)
    >>> sets = CrystalSplitter().train_valid_test_split(dataset, seed=0)
    >>> [len(part) for part in sets]
    [2, 2, 2]
    """

    def split(
        self,
        dataset: Dataset,
        frac_train: float = 0.8,
        frac_valid: float = 0.1,
        frac_test: float = 0.1,
        seed: int | None = None,
        log_every_n: int | None = None,
    ) -> tuple[list[int], list[int], list[int]]:
        """Indices of the training, validation and test set.

        Parameters
        ----------
        dataset : Dataset
            Its ids begin with the crystals' names.
        frac_train, frac_valid, frac_test : float, optional
            Parts of the crystals, which add up to 1. A set whose part is not zero gets at least
            one crystal.
        seed : int, optional
            For the same split again.
        log_every_n : int, optional
            Not used.

        Raises
        ------
        ValueError
            If the parts do not add up to 1, or there are fewer crystals than sets.
        """
        parts = (frac_train, frac_valid, frac_test)
        rows: dict[str, list[int]] = {}
        for i, name in enumerate(dataset.ids):
            rows.setdefault(crystal_of(name), []).append(i)
        order = np.random.default_rng(seed).permutation(len(rows))
        crystals = [list(rows.values())[i] for i in order]
        sizes = _sizes(len(crystals), parts)
        found: list[list[int]] = []
        for size in sizes:
            found.append([i for crystal in crystals[:size] for i in crystal])
            crystals = crystals[size:]
        return found[0], found[1], found[2]


class FixedSplitter(Splitter):
    """The same split every time, by the names of crystals.

    Parameters
    ----------
    valid, test : sequence of str
        Crystals of the validation and the test set; all others are for training.

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem.data import NumpyDataset
    >>> from deepchem_xc.molnet import FixedSplitter
    >>> dataset = NumpyDataset(np.arange(4), ids=["Al:a", "Al:b", "Ni:a", "Ca:a"])
    >>> train, valid, test = FixedSplitter(["Ca"], ["Ni"]).train_valid_test_split(dataset)
    >>> train.ids.tolist(), valid.ids.tolist(), test.ids.tolist()
    (['Al:a', 'Al:b'], ['Ca:a'], ['Ni:a'])
    """

    def __init__(self, valid: Sequence[str], test: Sequence[str]) -> None:
        both = set(valid) & set(test)
        if both:
            raise ValueError(f"crystals {sorted(both)} are in the validation and the test set.")
        self.valid = list(valid)
        self.test = list(test)

    def split(
        self,
        dataset: Dataset,
        frac_train: float | None = None,
        frac_valid: float | None = None,
        frac_test: float | None = None,
        seed: int | None = None,
        log_every_n: int | None = None,
    ) -> tuple[list[int], list[int], list[int]]:
        """Indices of the training, validation and test set.

        Parameters
        ----------
        dataset : Dataset
            Its ids begin with the crystals' names.
        frac_train, frac_valid, frac_test, seed, log_every_n : optional
            Not used: the names decide.
        """
        crystals = [crystal_of(name) for name in dataset.ids]
        valid = [i for i, name in enumerate(crystals) if name in self.valid]
        test = [i for i, name in enumerate(crystals) if name in self.test]
        train = [i for i in range(len(crystals)) if i not in {*valid, *test}]
        return train, valid, test


#: Splitters by name; ``"fixed"``, which is each loader's own, comes in addition.
splitters: Mapping[str, type[Splitter]] = MappingProxyType(
    {
        "crystal": CrystalSplitter,
        "index": IndexSplitter,
        "random": RandomSplitter,
        "stratified": RandomStratifiedSplitter,
    }
)


def _sizes(count: int, parts: Sequence[float]) -> list[int]:
    """Number of crystals in each set."""
    if min(parts) < 0 or abs(sum(parts) - 1.0) > 1e-6:
        raise ValueError(f"the parts of a split must add up to 1, got {tuple(parts)}.")
    wanted = [part > 0 for part in parts]
    if count < sum(wanted):
        raise ValueError(
            f"a split into {sum(wanted)} sets by crystal needs as many crystals, got {count}."
        )
    sizes = [max(int(part * count + 1e-9), int(used)) for part, used in zip(parts, wanted)]
    # What rounding left over, or took too much, belongs to the largest set.
    sizes[int(np.argmax(parts))] += count - sum(sizes)
    return sizes
