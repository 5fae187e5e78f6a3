"""Datasets, and occupations near those of an atom, for tests of PAW spheres."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepchem_xc.numerics.harmonics import solid_harmonics
from deepchem_xc.planewave.paw import (
    PartialWave,
    PAWDataset,
    RadialGrid,
    ReferenceEnergies,
    read_paw_xml,
)

# Radius of the model's sphere and exponent of its core, bohr and 1/bohr.
RADIUS, EXPONENT = 1.6, 3.7
# l and exponents of its partial waves r^l exp(-a r).
CHANNELS = ((0, 1.1), (1, 0.9), (0, 1.9), (1, 1.6), (2, 1.3))


def model_dataset(
    points: int = 300, channels: tuple[tuple[int, float], ...] = CHANNELS
) -> PAWDataset:
    """Hydrogen-like functions, so that all quantities are known in space; no real element.

    The core holds two electrons in n = 2 Z^3 / pi exp(-2 Z r), whose kinetic energy density is
    Z^2 / 2 times that. Smooth functions continue the others inside the radius.
    """
    i = np.arange(points)
    a, b = 0.4 / points, 1.0 / points
    r = a * i / (1.0 - b * i)
    grid = RadialGrid(r, (b * r + a) ** 2 / a)
    core = 2.0 * EXPONENT**3 / np.pi * np.exp(-2.0 * EXPONENT * r)
    smooth_core = smooth(r, 0, core_density)
    waves = []
    for l, exponent in channels:
        wave = functools.partial(partial_wave, l=l, exponent=exponent)
        true, soft = wave(r), smooth(r, l, wave)
        waves.append(PartialWave(l, None, 0.0, 0.0, RADIUS, true, soft, np.zeros_like(r)))
    zero = np.zeros((len(waves), len(waves)))
    return PAWDataset(
        symbol="Be",
        name="model",
        functional=None,
        charge=EXPONENT,
        core=2.0,
        valence=2.0,
        grid=grid,
        waves=tuple(waves),
        shape="gauss",
        shape_radius=0.4,
        core_density=core,
        smooth_core_density=smooth_core,
        core_kinetic_density=0.5 * EXPONENT**2 * core,
        smooth_core_kinetic_density=0.5 * EXPONENT**2 * smooth_core,
        zero_potential=np.zeros_like(r),
        kinetic_differences=zero,
        reference=ReferenceEnergies(0.0, -1.25, 0.0, 0.0),
    )


def core_density(r: NDArray) -> NDArray:
    """Density of the model's core, bohr^-3."""
    density: NDArray = 2.0 * EXPONENT**3 / np.pi * np.exp(-2.0 * EXPONENT * np.asarray(r))
    return density


def partial_wave(r: NDArray, l: int, exponent: float) -> NDArray:
    """r^l exp(-a r), bohr^-3/2."""
    wave: NDArray = np.asarray(r) ** l * np.exp(-exponent * np.asarray(r))
    return wave


def smooth(r: NDArray, l: int, function: Callable[[NDArray], NDArray]) -> NDArray:
    """The function beyond the radius, and r^l times an even polynomial inside it.

    Value and three derivatives of f / r^l agree at the radius.
    """
    h = 1e-2
    near = RADIUS + h * np.arange(-4, 5)
    values = function(near) / near**l
    fit = np.polynomial.Polynomial.fit(near, values, 8)
    targets = [fit.deriv(k)(RADIUS) if k else fit(RADIUS) for k in range(4)]
    rows = [
        [
            np.prod(np.arange(p, p - k, -1)) * RADIUS ** max(p - k, 0) if p >= k else 0.0
            for p in (0, 2, 4, 6)
        ]
        for k in range(4)
    ]
    c = np.linalg.solve(np.array(rows, dtype=float), np.array(targets))
    inside = r**l * (c[0] + c[1] * r**2 + c[2] * r**4 + c[3] * r**6)
    result: NDArray = np.where(r < RADIUS, inside, function(r))
    return result


@functools.cache
def gpaw_dataset(name: str) -> PAWDataset:
    """A PBE dataset of the package gpaw-data, or skip."""
    data = pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    return read_paw_xml(data.datapath() / f"{name}.PBE.gz", name.partition(".")[0])


def near_atom(dataset: PAWDataset, nspin: int, size: float = 0.1, seed: int = 0) -> Tensor:
    """Occupations of the free atom plus a random positive matrix, (1, nspin, nstate, nstate).

    Half of the electrons in each channel; a moment comes from the random part alone.
    """
    rng = np.random.default_rng(seed)
    occupations = np.zeros((1, nspin, dataset.nstate, dataset.nstate))
    for i, (j, _) in enumerate(dataset.states):
        wave = dataset.waves[j]
        occupations[:, :, i, i] = wave.occupation / (2 * wave.l + 1) / nspin
    change = rng.normal(size=occupations.shape) / np.sqrt(dataset.nstate)
    return torch.from_numpy(occupations + size / nspin * change @ change.swapaxes(2, 3))


def rotation_of_states(dataset: PAWDataset, rotation: NDArray) -> Tensor:
    """Matrix T (nstate, nstate) with which occupations of a rotated atom are T D T^T.

    From least squares on the harmonics: Y_m(R^-1 v) = sum_m' Y_m'(v) T_m'm.
    """
    vectors = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    back = vectors @ torch.from_numpy(rotation)
    blocks = []
    for l in dataset.angular_momenta:
        blocks.append(
            torch.linalg.lstsq(solid_harmonics(l, vectors).T, solid_harmonics(l, back).T).solution
        )
    return torch.block_diag(*blocks)


def cubic_operations() -> NDArray:
    """The 48 operations of a cube along the axes, (48, 3, 3)."""
    signs = [np.diag([a, b, c]) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return np.array([(np.eye(3)[list(p)]) @ s for p in orders for s in signs], dtype=float)
