"""Fermi levels: conserved electrons, exact limits, fixed moments."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deepchem_xc.occupations.fermi_level import fermi_level_shares, find_fermi_level
from deepchem_xc.occupations.occupy import (
    make_smearing,
    occupy,
)
from tests.differences import assert_derivative
from tests.occupations.random_bands import SMOOTH, count, doubles, every_smearing, random_bands


@every_smearing
@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("width", [1e-5, 1e-3, 0.05])
def test_electrons_are_conserved_to_rounding(spec, nspin, width):
    smearing = make_smearing({**spec, "width": width})
    for seed, nelectrons in itertools.product(range(5), (0.3, 5.0, 8.7, 13.0)):
        levels, weights = random_bands(nspin, seed=seed)
        result = occupy(levels, weights, nelectrons, smearing)
        # The spacing of numbers around the Fermi level limits x to 1e-16 / width.
        tolerance = 2e-13 * nelectrons + 1e-15 / width * 0.1
        assert count(result, weights) == pytest.approx(nelectrons, abs=tolerance)


def test_fermi_level_of_fermi_dirac_equals_scipy_s_root():
    from scipy.optimize import brentq
    from scipy.special import expit

    levels, weights = random_bands()
    e, w = levels[0].numpy(), weights.numpy()[:, None]
    expected = brentq(lambda mu: (2 * w * expit((mu - e) / 0.02)).sum() - 7.0, -1, 1, xtol=1e-15)
    result = occupy(levels, weights, 7.0, make_smearing({"name": "fermi-dirac", "width": 0.02}))
    assert result.fermi_level == pytest.approx(expected, abs=1e-14)


@every_smearing
@pytest.mark.parametrize("width", [1e-4, 1e-3])
def test_fermi_level_of_an_insulator_is_in_the_gap(spec, width):
    levels = doubles([[[-0.3, -0.2, 0.2, 0.4]], [[-0.25, -0.22, 0.2, 0.3]]]).transpose(0, 1)
    weights = doubles([0.5, 0.5])
    result = occupy(levels, weights, 4.0, make_smearing({**spec, "width": width}))
    torch.testing.assert_close(
        result.occupations, doubles([[[2.0, 2, 0, 0]] * 2]), atol=1e-13, rtol=0
    )
    assert result.fermi_level == pytest.approx(0.0, abs=0.05)  # near the middle
    assert abs(float(result.entropy_energy)) < 1e-13


def level_of(name: str, width: float, levels: list[float], weights: list[float]) -> float:
    """With as many electrons as the levels below zero hold."""
    filled = sum(w for e, w in zip(levels, weights, strict=True) if e < 0.0)
    smearing = make_smearing({"name": name, "width": width})
    return find_fermi_level(doubles(levels), doubles(weights), filled, smearing)


@pytest.mark.parametrize("width", [1e-12, 1e-5, 0.003675, 0.01])
@pytest.mark.parametrize(("below", "above"), [(1.0, 1.0), (1.0, 3.0), (2.0, 0.25)])
def test_fermi_level_in_a_gap_is_that_of_an_intrinsic_semiconductor(
    width: float, below: float, above: float
) -> None:
    """Middle of the gap + kT/2 ln(N_v / N_c), whatever the gap, without jumps."""
    for gap in (0.4, 0.688385, 0.694385, 3.0):
        found = level_of("fermi-dirac", width, [-0.2, gap - 0.2], [below, above])
        expected = 0.5 * gap - 0.2 + 0.5 * width * math.log(below / above)
        assert found == pytest.approx(expected, abs=1e-15 + 1e-7 * width)


def test_the_limit_of_a_wide_gap_is_reached_smoothly() -> None:
    """From a small gap to one of 60 widths the level is the root that scipy finds."""
    from scipy.optimize import brentq
    from scipy.special import log_expit, log_ndtr, logsumexp

    width = 0.01
    logarithm = {
        "fermi-dirac": lambda x: log_expit(-x),
        "gaussian": lambda x: log_ndtr(-math.sqrt(2) * x),
    }
    weights = np.array([0.7, 0.3, 0.2, 1.1])
    for name, gap in itertools.product(logarithm, (1.0, 5.99, 6.01, 8.0, 11.9, 12.1, 60.0)):
        levels = np.array([-1.3 * width, -1e-9, gap * width, (gap + 0.8) * width])

        def excess(mu: float, name: str = name, levels: np.ndarray = levels) -> float:
            electrons = logarithm[name]((levels[2:] - mu) / width)
            holes = logarithm[name]((mu - levels[:2]) / width)
            return float(logsumexp(electrons, b=weights[2:]) - logsumexp(holes, b=weights[:2]))

        expected = brentq(excess, -20 * width, (gap + 20) * width, xtol=1e-16)
        found = level_of(name, width, levels.tolist(), weights.tolist())
        assert found == pytest.approx(expected, abs=1e-9 * width)


@every_smearing
@pytest.mark.parametrize("width", [1e-4, 0.003, 0.03, 0.3])
def test_every_level_has_its_share_in_the_fermi_level(spec, width):
    """In wide gaps and in none, as differences of the level have it."""
    levels = doubles([-0.5, -0.39, -0.38, 0.30, 0.31, 0.45])
    weights = doubles([1.0, 0.5, 0.5, 0.5, 1.0, 0.25])
    smearing = make_smearing({**spec, "width": width})
    for nstates in (2.0, 1.7):  # a gap; half of a level
        shares = fermi_level_shares(levels, weights, nstates, smearing)
        assert float(shares.sum()) == pytest.approx(1.0, abs=1e-12)
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            along = torch.randn(6, generator=generator, dtype=torch.float64)

            def level(step: float, n: float = nstates, along: torch.Tensor = along) -> float:
                return find_fermi_level(levels + step * along, weights, n, smearing)

            assert_derivative(shares @ along, level, 0.002 * width, 1e-6, scale=0.1)


@pytest.mark.parametrize("name", ["methfessel-paxton", "marzari-vanderbilt"])
def test_several_solutions_of_non_monotonic_smearing_are_resolved_near_gaussian_s(name):
    """One level below, one above: N(mu) = 1 has more than one solution; ours rises through the
    one nearest to Gaussian smearing's, found here by scanning."""
    width = 0.01
    smearing = make_smearing({"name": name, "width": width})
    gaussian = make_smearing({"name": "gaussian", "width": width})
    several = 0
    for gap in np.linspace(0.5, 8, 31):
        levels = doubles([[[-gap / 2 * width, gap / 2 * width, 2 * gap * width]]])
        weights = torch.ones(1, dtype=torch.float64)
        centre = occupy(levels, weights, 2.0, gaussian).fermi_level
        mu = torch.linspace(-0.1, 0.1, 200001, dtype=torch.float64)
        excess = 2 * smearing.occupation((levels.reshape(-1, 1) - mu) / width).sum(0) - 2
        several += len(torch.nonzero(excess[:-1] * excess[1:] < 0)) > 1
        rising = torch.nonzero((excess[:-1] < 0) & (excess[1:] >= 0)).flatten()
        result = occupy(levels, weights, 2.0, smearing)
        assert abs(count(result, weights) - 2) < 1e-13
        if gap < 6:  # else N is flat in the gap
            # Near symmetry the roots on both sides of the centre are equally near.
            distance = float((mu[rising] - centre).abs().min())
            assert abs(result.fermi_level - centre) == pytest.approx(distance, abs=2e-6)
            slope = smearing.occupation_derivative((levels - result.fermi_level) / width).sum()
            assert float(slope) < 0
    if name == "methfessel-paxton":
        assert several > 0  # or the test would say nothing


def test_rigid_shift_of_the_levels_moves_only_the_fermi_level():
    levels, weights = random_bands()
    for spec in SMOOTH:
        smearing = make_smearing(spec)
        here = occupy(levels, weights, 6.0, smearing)
        there = occupy(levels + 3.0, weights, 6.0, smearing)
        assert there.fermi_level - here.fermi_level == pytest.approx(3.0, abs=1e-12)
        torch.testing.assert_close(there.occupations, here.occupations, atol=1e-11, rtol=0)


@every_smearing
def test_closed_shell_is_the_same_in_one_and_two_channels(spec):
    levels, weights = random_bands()
    smearing = make_smearing(spec)
    one = occupy(levels, weights, 7.0, smearing)
    two = occupy(levels.expand(2, -1, -1), weights, 7.0, smearing)
    assert two.fermi_level == pytest.approx(one.fermi_level, abs=1e-13)
    torch.testing.assert_close(2 * two.occupations[:1], one.occupations, atol=1e-12, rtol=0)
    assert float(two.entropy_energy) == pytest.approx(float(one.entropy_energy), abs=1e-14)


def test_fixed_moment_has_a_fermi_level_for_each_spin():
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing({"name": "fermi-dirac", "width": 0.02})
    result = occupy(levels, weights, 9.0, smearing, magnetic_moment=2.5)
    per_spin = (result.occupations * weights[:, None]).sum((1, 2))
    torch.testing.assert_close(per_spin, doubles([5.75, 3.25]), atol=1e-13, rtol=0)
    for s, electrons in enumerate((5.75, 3.25)):
        alone = occupy(levels[s : s + 1], weights, 2 * electrons, smearing)
        assert result.fermi_level[s] == pytest.approx(alone.fermi_level, abs=1e-13)


def test_moment_of_the_free_solution_fixed_changes_nothing():
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing({"name": "gaussian", "width": 0.02})
    free = occupy(levels, weights, 9.0, smearing)
    moment = float(((free.occupations[0] - free.occupations[1]) * weights[:, None]).sum())
    fixed = occupy(levels, weights, 9.0, smearing, magnetic_moment=moment)
    assert fixed.fermi_level == pytest.approx((free.fermi_level,) * 2, abs=1e-11)
    torch.testing.assert_close(fixed.occupations, free.occupations, atol=1e-10, rtol=0)


def test_full_polarisation_empties_a_channel():
    levels, weights = random_bands(nspin=2)
    smearing = make_smearing({"name": "fermi-dirac", "width": 0.02})
    result = occupy(levels, weights, 3.0, smearing, magnetic_moment=-3.0)
    assert result.fermi_level[0] == -math.inf
    assert result.occupations[0].abs().max() == 0
    assert torch.isfinite(result.entropy_energy)
