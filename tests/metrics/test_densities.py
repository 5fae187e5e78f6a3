"""Errors of densities: analytic differences, results of calculations, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.metrics import density_error
from deepchem_xc.planewave import SCFResult, scf


def _wave(npoints: int, amplitude: float) -> np.ndarray:
    x = (np.arange(npoints) + 0.5) / npoints
    return (1.0 + amplitude * np.cos(2.0 * np.pi * x)).reshape(-1, 1, 1)


def test_a_cosine_differs_from_its_mean_by_two_over_pi() -> None:
    found = density_error(_wave(4096, 0.3), _wave(4096, 0.0))
    assert found == pytest.approx(100.0 * 0.3 * 2.0 / np.pi, rel=1e-6)


def test_weights_are_volumes_of_points() -> None:
    """Two exponentials in spherical shells; their difference changes sign at one radius."""
    r, step = np.linspace(0.0, 40.0, 40001, retstep=True)
    one, other = (a**3 / np.pi * np.exp(-2.0 * a * r) for a in (1.0, 1.1))
    crossing = 3.0 * np.log(1.1) / 0.2

    def inside(a: float) -> float:
        x = 2.0 * a * crossing
        return 1.0 - np.exp(-x) * (1.0 + x + 0.5 * x * x)

    wanted = 200.0 * (inside(1.1) - inside(1.0))
    assert density_error(one, other, 4.0 * np.pi * r**2 * step) == pytest.approx(wanted, rel=1e-5)


def test_densities_that_do_not_overlap_differ_by_200_percent() -> None:
    one = np.zeros((2, 1, 1))
    one[0] = 3.0
    assert density_error(one, one[::-1]) == pytest.approx(200.0)
    assert density_error(one, one) == 0.0


def test_channels_are_added_up() -> None:
    total = _wave(8, 0.4)
    up, flat = 0.7 * total, _wave(8, 0.0)
    wanted = density_error(total, flat)
    assert density_error(np.stack((up, total - up)), flat[None]) == pytest.approx(wanted)
    tensor = torch.tensor(np.stack((up, total - up)), requires_grad=True)
    assert density_error(tensor, flat) == pytest.approx(wanted)
    weights = np.ones(8)
    assert density_error(np.stack((up, total - up)).reshape(2, 8), flat.ravel(), weights) == (
        pytest.approx(wanted)
    )


def _silicon(a: float = 5.43, **keywords: Any) -> SCFResult:
    keywords = {"ecut": 100.0, "kpts": {"size": (1, 1, 1), "gamma": True}, **keywords}
    return scf(bulk("Si", a=a), **keywords)


@pytest.fixture(scope="module")
def pbe() -> SCFResult:
    return _silicon()


@pytest.mark.filterwarnings("ignore:the functional is LDA, but these pseudopotentials")
def test_results_are_compared_on_their_grid(pbe: SCFResult) -> None:
    lda = _silicon(functional="LDA")
    points = pbe.density[0].numel()
    difference = (pbe.density - lda.density).abs().sum() * float(pbe.volume) / points
    wanted = 100.0 * float(difference) / 8.0
    assert 0.1 < wanted < 10.0
    assert density_error(lda, pbe) == pytest.approx(wanted, rel=1e-6)
    assert density_error(lda.density, pbe) == pytest.approx(wanted, rel=1e-6)
    spins = _silicon(functional="LDA", spinpol=True)
    assert density_error(spins, pbe) == pytest.approx(wanted, rel=1e-3)


def test_results_in_other_cells_or_on_other_grids_are_refused(pbe: SCFResult) -> None:
    size = tuple(pbe.density.shape[1:])
    other = _silicon(a=5.44, fft_size=size)
    assert other.density.shape == pbe.density.shape
    with pytest.raises(ValueError, match="different cells"):
        density_error(other, pbe)
    # Without their cells, the mean density tells.
    with pytest.raises(ValueError, match=r"0\.99\d* times the electrons.*same cell"):
        density_error(other.density, pbe.density)
    with pytest.raises(ValueError, match="one grid, as with fft_size"):
        density_error(_silicon(fft_size=tuple(n + 5 for n in size)), pbe)


@pytest.mark.parametrize(
    ("one", "other", "weights", "message"),
    [
        (_wave(8, 0.1), _wave(9, 0.1), None, r"\(8, 1, 1\) points and the reference \(9, 1, 1\)"),
        (np.ones(8), np.ones(8), None, r"shape \(8,\).*need weights"),
        (np.ones((3, 2, 2, 2)), np.ones((2, 2, 2)), None, r"shape \(3, 2, 2, 2\)"),
        (np.ones(8), np.ones(8), np.ones(7), r"that of the weights, \(7,\)"),
        (np.ones(8), np.ones(8), -np.ones(8), "weights must not be negative"),
        (np.ones((0, 1, 1)), np.ones((0, 1, 1)), None, "shape"),
        (np.full((2, 1, 1), np.nan), np.ones((2, 1, 1)), None, "density contains NaN"),
        (np.ones((2, 1, 1)), np.full((2, 1, 1), np.inf), None, "reference contains NaN or inf"),
        (np.ones((2, 1, 1)), np.zeros((2, 1, 1)), None, "must hold electrons"),
        (np.ones((2, 1, 1)), np.full((2, 1, 1), 1.01), None, "0.9901 times the electrons"),
        (np.ones((2, 1, 1), complex), np.ones((2, 1, 1)), None, "real numbers"),
        ("density", np.ones((2, 1, 1)), None, "real numbers"),
    ],
)
def test_bad_input_is_refused(one: Any, other: Any, weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        density_error(one, other, weights)
