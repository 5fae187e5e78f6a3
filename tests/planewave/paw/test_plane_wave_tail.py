"""Kinetic energies beyond a cutoff are those of closed formulas, on any mesh."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gamma, gammaincc

from deepchem_xc.planewave.paw import PartialWave, PAWDataset, RadialGrid
from deepchem_xc.planewave.paw.plane_wave_tail import cutoff_of_tail, kinetic_tail
from tests.planewave.paw.spheres import model_dataset


def gaussian(l: int, occupation: float, points: int = 400) -> PAWDataset:
    """An atom whose only orbital is r^l exp(-r^2 / 2), whose transform is itself."""
    i = np.arange(points)
    a, b = 0.4 / points, 1.0 / points
    r = a * i / (1.0 - b * i)
    norm = math.sqrt(2.0 / gamma(l + 1.5))
    wave = norm * r**l * np.exp(-0.5 * r**2)
    channel = PartialWave(l, l + 1, occupation, -0.5, 1.0, wave, wave, np.zeros_like(r))
    grid = RadialGrid(r, (b * r + a) ** 2 / a)
    zero = np.zeros_like(r)
    empty = {
        name: zero
        for name in ("core_density", "smooth_core_density", "zero_potential")
    }  # fmt: skip
    return replace(model_dataset(60), grid=grid, waves=(channel,), **empty)


@pytest.mark.parametrize("l", [0, 1, 2])
def test_the_tail_of_a_gaussian_is_an_incomplete_gamma_function(l: int) -> None:
    cutoffs, tails = kinetic_tail(gaussian(l, 2.0))
    # 2 * 1/2 q^2 q^2 (2 / Gamma(l + 3/2)) q^2l exp(-q^2) from q on.
    exact = gamma(l + 2.5) / gamma(l + 1.5) * gammaincc(l + 2.5, 2.0 * cutoffs)
    # Sums over wave numbers hold half a step too much.
    step = np.gradient(exact)
    assert np.abs(tails - exact + 0.5 * step).max() < 1e-4 * exact[0]
    assert tails[0] == pytest.approx(l + 1.5, rel=1e-4)


def test_meshes_too_coarse_for_large_wave_numbers_do_no_harm() -> None:
    """Datasets have 150 radii and more, which are 0.5 bohr apart at 5 bohr."""
    cutoffs, coarse = kinetic_tail(gaussian(0, 1.0, points=150))
    _, fine = kinetic_tail(gaussian(0, 1.0, points=1500))
    assert np.abs(coarse - fine).max() < 1e-4
    assert coarse[cutoffs > 20.0].max() < 1e-6


def test_a_cutoff_leaves_less_than_was_asked_for_and_the_next_lower_one_does_not() -> None:
    dataset = gaussian(1, 3.0)
    cutoffs, tails = kinetic_tail(dataset)
    for energy in (1e-1, 1e-2, 1e-3):
        chosen = int(np.searchsorted(cutoffs, cutoff_of_tail(dataset, energy)))
        assert tails[chosen] <= energy < tails[chosen - 1]
    assert cutoff_of_tail(dataset, 0.0) == math.inf


def test_an_atom_without_electrons_needs_no_plane_waves() -> None:
    assert cutoff_of_tail(model_dataset(60), 0.0) == pytest.approx(2e-4, rel=1e-9)
