from __future__ import annotations

import numpy as np
import pytest
from deepchem.data import Dataset, NumpyDataset

from deepchem_xc.molnet import CrystalSplitter, FixedSplitter
from deepchem_xc.molnet.splitting import crystal_of


def rows(*crystals: str) -> NumpyDataset:
    """Two rows for each crystal."""
    ids = [f"{name}:{task}" for name in crystals for task in ("a", "b")]
    return NumpyDataset(np.arange(len(ids), dtype=float)[:, None], ids=np.array(ids, dtype=object))


def crystals(dataset: Dataset) -> set[str]:
    return {crystal_of(name) for name in dataset.ids}


@pytest.mark.parametrize("count", [3, 4, 5, 10, 37])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_crystal_is_in_one_set_and_no_set_is_empty(count: int, seed: int) -> None:
    dataset = rows(*(f"c{i}" for i in range(count)))
    sets = CrystalSplitter().train_valid_test_split(dataset, seed=seed)
    assert sorted(name for part in sets for name in part.ids) == sorted(dataset.ids)
    assert all(crystals(part) for part in sets)
    assert sum(len(crystals(part)) for part in sets) == count
    assert len(crystals(sets[0])) >= max(len(crystals(part)) for part in sets)


def test_parts_are_kept_where_crystals_suffice() -> None:
    dataset = rows(*(f"c{i}" for i in range(20)))
    sets = CrystalSplitter().train_valid_test_split(
        dataset, frac_train=0.5, frac_valid=0.2, frac_test=0.3, seed=3
    )
    assert [len(crystals(part)) for part in sets] == [10, 4, 6]
    train, test = CrystalSplitter().train_test_split(dataset, frac_train=0.75, seed=3)
    assert (len(crystals(train)), len(crystals(test))) == (15, 5)


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    dataset = rows(*(f"c{i}" for i in range(20)))
    first, again, other = (
        CrystalSplitter().train_valid_test_split(dataset, seed=seed)[0].ids.tolist()
        for seed in (0, 0, 1)
    )
    assert first == again != other


def test_folds_hold_each_crystal_once() -> None:
    dataset = rows(*(f"c{i}" for i in range(7)))
    folds = CrystalSplitter().k_fold_split(dataset, 3, seed=0)
    held_out = [crystals(fold) for _, fold in folds]
    assert set.union(*held_out) == crystals(dataset)
    assert sum(len(names) for names in held_out) == 7
    for (train, fold), names in zip(folds, held_out, strict=True):
        assert crystals(train) == crystals(dataset) - names
        assert len(train) + len(fold) == len(dataset)


def test_too_few_crystals_and_wrong_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 sets by crystal needs as many crystals, got 2"):
        CrystalSplitter().train_valid_test_split(rows("Al", "Ni"))
    with pytest.raises(ValueError, match="add up to 1"):
        CrystalSplitter().split(rows("Al", "Ni", "Ca"), 0.5, 0.5, 0.5)


def test_fixed_sets_are_those_named() -> None:
    dataset = rows("Al", "Ni", "Ca", "C")
    sets = FixedSplitter(["Ca"], ["Ni", "not there"]).train_valid_test_split(dataset, seed=5)
    assert [crystals(part) for part in sets] == [{"Al", "C"}, {"Ca"}, {"Ni"}]
    with pytest.raises(ValueError, match=r"\['Ca'\] are in the validation and the test set"):
        FixedSplitter(["Ca"], ["Ca"])
