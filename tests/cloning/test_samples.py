"""Points are drawn where the electrons are, the same ones for a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepchem_xc.cloning import (
    GridDensity,
    KeptDensity,
    clone_dataset,
    dataset_digest,
)
from deepchem_xc.cloning.samples import densinfo_of, sampling_probabilities, uniform_points
from deepchem_xc.xc import SpinParam, ValGrad
from deepchem_xc.xc.features import gradient_feature
from deepchem_xc.xc.kinetic import iso_orbital_indicator
from deepchem_xc.xc.variables import DensityVariables


def test_points_are_distributed_as_the_electrons(kept: list[KeptDensity]) -> None:
    """Many draws of few points, as replacement hardly matters then: chi-squared of ten bins."""
    grid = kept[0].on_grid(1)
    total = (grid.densinfo.u.value + grid.densinfo.d.value).numpy()
    share = grid.weights.numpy() * total
    order = np.argsort(total)
    edges = total[order][
        np.searchsorted(np.cumsum(share[order]) / share.sum(), np.arange(0.1, 1, 0.1))
    ]
    drawn = [clone_dataset(kept[:1], 20, seed=s, grid_level=1).X[:, :, 0].sum(1) for s in range(60)]
    counts = np.bincount(np.digitize(np.concatenate(drawn), edges), minlength=10)
    wanted = np.bincount(np.digitize(total, edges), weights=share, minlength=10)
    wanted = wanted / wanted.sum() * counts.sum()
    # 9 degrees of freedom: the probability of more than 33.7 is 1e-4, for these seeds once.
    assert float(((counts - wanted) ** 2 / wanted).sum()) < 33.7
    # Points of the grid, each with the same probability, would be distributed otherwise.
    uniform = np.bincount(np.digitize(total, edges), minlength=10) / len(total) * counts.sum()
    assert float(((uniform - wanted) ** 2 / wanted).sum()) > 100.0


def test_spread_points_are_even_in_the_gradient(kept: list[KeptDensity]) -> None:
    grid = kept[0].on_grid(1)
    variables = DensityVariables(grid.densinfo)
    bins = (gradient_feature(variables.s2) / 0.1).floor().long().numpy()
    electrons = sampling_probabilities(grid)
    spread = sampling_probabilities(grid, "spread")
    assert spread.sum() == pytest.approx(1.0)
    bins[electrons == 0.0] = 0
    even = np.bincount(bins, weights=2.0 * spread - electrons)
    even = even[even > 0.0]
    assert even == pytest.approx(np.full(len(even), 1.0 / len(even)))


def test_a_seed_gives_the_same_points_and_another_one_others(kept: list[KeptDensity]) -> None:
    one, same, other = (clone_dataset(kept, 50, seed=s, grid_level=1) for s in (42, 42, 43))
    assert np.array_equal(one.X, same.X)
    assert dataset_digest(one) == dataset_digest(same) != dataset_digest(other)
    # Molecule i has the seed 42 + i.
    second = clone_dataset(kept[1:], 50, seed=43, grid_level=1)
    assert np.array_equal(one.X[50:], second.X)


def test_no_point_is_drawn_twice(kept: list[KeptDensity]) -> None:
    dataset = clone_dataset(kept[:1], 2000, grid_level=1)
    # Mirror images of a point have the same density, but not the same gradient.
    assert len(np.unique(dataset.X[:, 0], axis=0)) == 2000
    assert list(np.unique(dataset.ids)) == ["H2O"]


def test_uniform_points_are_what_they_are_said_to_be(kept: list[KeptDensity]) -> None:
    dataset = clone_dataset(kept, 50, uniform=4000, grid_level=1)
    assert list(dataset.ids[-4000:]) == ["uniform"] * 4000
    assert np.array_equal(dataset.X[:100], clone_dataset(kept, 50, grid_level=1).X)
    assert np.array_equal(dataset.X[100:], uniform_points(4000, 42))
    variables = DensityVariables(densinfo_of(dataset.X[100:]))
    rs = 1.0 / variables.inverse_rs
    alpha, s = iso_orbital_indicator(variables), variables.s2.sqrt()
    for found, lowest, highest in ((rs, 0.15, 8.0), (s, 0.0, 3.0), (alpha, 0.0, 20.0)):
        assert lowest <= float(found.min()) + 1e-9
        assert 0.95 * highest < float(found.max()) <= highest * (1.0 + 1e-9)
    assert np.mean(variables.zeta.numpy() == 0.0) == pytest.approx(0.7, abs=0.03)
    # Half below the middle of what is uniform; 4000 points scatter by 0.008.
    for found, middle in ((rs, np.sqrt(0.15 * 8.0)), (s, 1.5), (alpha, np.sqrt(21.0) - 1.0)):
        assert np.mean(found.numpy() < middle) == pytest.approx(0.5, abs=0.04)


def test_points_hold_density_gradient_and_tau(kept: list[KeptDensity]) -> None:
    densinfo = densinfo_of(clone_dataset(kept[1:], 300, grid_level=1).X)
    for channel in (densinfo.u, densinfo.d):
        weizsaecker = channel.grad.square().sum(0) / (8.0 * channel.value)
        assert bool((channel.kin >= weizsaecker * (1.0 - 1e-9)).all())
    assert float((densinfo.u.value - densinfo.d.value).abs().max()) > 1e-3


def test_impossible_samples_are_refused(kept: list[KeptDensity]) -> None:
    with pytest.raises(ValueError, match="there are no densities"):
        clone_dataset([])
    with pytest.raises(ValueError, match="fewer than the 1000000 asked for"):
        clone_dataset(kept, 1_000_000, grid_level=1)
    with pytest.raises(ValueError, match="sampling must be one of density, spread"):
        clone_dataset(kept, 10, sampling="even")
    zero = ValGrad(value=torch.zeros(3).double(), grad=torch.zeros(3, 3).double())
    empty = GridDensity(SpinParam(u=zero, d=zero), torch.ones(3).double())
    with pytest.raises(ValueError, match="no electrons"):
        sampling_probabilities(empty)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 2, 5)), "the samples are empty"),
        (np.ones((3, 5)), r"X must hold points \(n, 2, 5\)"),
        (np.full((3, 2, 5), np.nan), "NaN"),
        (np.zeros((3, 2, 5)), "without density"),
    ],
)
def test_rows_that_are_no_points_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        densinfo_of(rows)
