"""Tables of a dataset of analytic functions are integrals of these, by other quadratures."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import spherical_jn

from deepchem_xc.numerics.harmonics import angular_momenta, gaunt
from deepchem_xc.planewave.paw import PAWDataset, on_site_tables, shape_functions
from deepchem_xc.planewave.paw.meshes import PLAIN
from deepchem_xc.planewave.paw.tables import OnSiteTables
from tests.planewave.paw.analytic_dataset import (
    CHANNELS,
    CHARGE,
    CORE_KINETIC,
    ENERGIES,
    KINETIC,
    MESHES,
    RADIUS,
    Function,
    core,
    quadrature,
    smooth_core,
    smooth_wave,
    wave,
    zero_potential,
)

# The functions are below 1e-13 beyond.
END = 9.5
SPHERICAL = math.sqrt(4.0 * math.pi)
STATES = [(j, l * l + m) for j, (l, _, _) in enumerate(CHANNELS) for m in range(2 * l + 1)]
GAUNT = gaunt(2, 2, 4)


def product(*functions: Function) -> Function:
    return lambda r: np.prod([f(r) for f in functions], axis=0)


def total(first: Function, second: Function, weight: float = 1.0) -> Function:
    return lambda r: first(r) + weight * second(r)


def integral(function: Function, power: int = 2) -> float:
    r, weights = quadrature(0.0, 0.5 * RADIUS, RADIUS, 3.0, END)
    return float((weights * r**power * function(r)).sum())


def self_energy(density: Function, l: int) -> float:
    """(a|a)_l / 2 = 4 pi / (2 l + 1) int a r^(1 - l) int_0^r a r'^(l + 2) dr' dr."""
    r, weights = quadrature(0.0, 0.5 * RADIUS, RADIUS, 3.0, END)
    # The kink of bumps at the radius divides the inner integrals.
    parts = [quadrature(0.0, x) if x <= RADIUS else quadrature(0.0, RADIUS, x) for x in r]
    lengths = [len(points) for points, _ in parts]
    points, w = (np.concatenate(values) for values in zip(*parts))
    inside = np.add.reduceat(w * points ** (l + 2) * density(points), np.cumsum([0, *lengths[:-1]]))
    return 4.0 * math.pi / (2 * l + 1) * float((weights * density(r) * r ** (1 - l) * inside).sum())


def gauss(l: int, radius: float = 0.45) -> Function:
    """r^l exp(-(r / radius)^2) with moment one, from int r^(2 l + 2) exp(-(r / radius)^2) dr."""
    moment = 0.5 * math.gamma(l + 1.5) * radius ** (2 * l + 3)
    return lambda r: r**l * np.exp(-((r / radius) ** 2)) / moment


def angular_density(occupations: NDArray, index: int, waves: list[Function]) -> Function:
    """The part of the harmonic `index` of the density sum D_ij phi_i phi_j."""
    weights = np.zeros((len(waves),) * 2)
    for a, (i, first) in enumerate(STATES):
        for b, (j, second) in enumerate(STATES):
            weights[i, j] += occupations[a, b] * GAUNT[index, first, second]

    def density(r: NDArray) -> NDArray:
        values = np.array([f(r) for f in waves])
        return (values * (weights @ values)).sum(0)

    return density


def random_occupations(seed: int) -> NDArray:
    matrix = np.random.default_rng(seed).normal(size=(len(STATES),) * 2)
    return matrix @ matrix.T / len(STATES)


def coulomb_energy(tables: OnSiteTables, occupations: NDArray) -> float:
    d = torch.from_numpy(occupations)
    quadratic = torch.einsum("ij,ijkl,kl->", d, tables.coulomb_quadratic, d)
    return tables.coulomb_constant + float((tables.coulomb_linear * d).sum() + quadratic)


@pytest.mark.parametrize("equation", MESHES)
def test_overlap_and_multipoles_are_moments_of_the_waves(
    equation: str, read: Callable[..., PAWDataset]
) -> None:
    tables = on_site_tables(read(equation=equation))
    moments = np.zeros((3, len(CHANNELS), len(CHANNELS)))
    for l, i, j in np.ndindex(moments.shape):
        moments[l, i, j] = integral(product(wave(i), wave(j)), l + 2)
        moments[l, i, j] -= integral(product(smooth_wave(i), smooth_wave(j)), l + 2)
    channel, harmonic = np.array(STATES).T
    radial = moments[angular_momenta(2)][:, channel[:, None], channel]
    expected = GAUNT[:9, harmonic[:, None], harmonic] * radial
    np.testing.assert_allclose(tables.multipoles, expected, rtol=0.0, atol=1e-9)
    overlap = SPHERICAL * expected[0]
    np.testing.assert_allclose(tables.overlap, overlap, rtol=0.0, atol=1e-9)


def test_sphere_and_smooth_densities_together_are_neutral(read: Callable[..., PAWDataset]) -> None:
    """Of the free atom, whose bound wave has norm one: 4 electrons and the nucleus."""
    tables = on_site_tables(read())
    occupations = np.zeros((len(STATES),) * 2)
    occupations[0, 0] = 2.0
    moment = float((tables.multipoles[0].numpy() * occupations).sum()) + tables.fixed_multipole
    smooth = 2.0 * integral(product(smooth_wave(0), smooth_wave(0)))
    charge = smooth + tables.smooth_core_electrons + SPHERICAL * moment
    assert charge == pytest.approx(0.0, abs=1e-9)
    assert tables.smooth_core_electrons == pytest.approx(
        SPHERICAL * integral(smooth_core), abs=1e-9
    )


@cache
def charges() -> tuple[NDArray, float, list[tuple[Function, Function, int]]]:
    """Occupations, and the true and the compensated smooth charge of each harmonic.

    Returns
    -------
    occupations : ndarray
        A random positive matrix.
    energy : float
        Coulomb energy of the true charge and nucleus less that of the compensated one, Ha.
    densities : list of (true, compensated, l)
    """
    occupations = random_occupations(0)
    waves = [wave(j) for j in range(len(CHANNELS))]
    smooth_waves = [smooth_wave(j) for j in range(len(CHANNELS))]
    energy, densities = 0.0, []
    for index, l in enumerate(angular_momenta(4)):
        true = angular_density(occupations, index, waves)
        smooth = angular_density(occupations, index, smooth_waves)
        if index == 0:
            true, smooth = total(true, core), total(smooth, smooth_core)
            energy -= SPHERICAL * CHARGE * integral(true, 1)
        charge = integral(true, l + 2) - integral(smooth, l + 2)
        charge -= CHARGE / SPHERICAL if index == 0 else 0.0
        if l <= 2:
            smooth = total(smooth, gauss(l), charge)
        energy += self_energy(true, l) - self_energy(smooth, l)
        densities.append((true, smooth, l))
    return occupations, energy, densities


@pytest.mark.parametrize("equation", MESHES)
def test_the_coulomb_energy_is_that_of_true_and_compensated_charges(
    equation: str, read: Callable[..., PAWDataset]
) -> None:
    """With densities put together first, and with all of their multipoles.

    To second order in the mesh's steps, sums are off by what Euler and Maclaurin's formula says.
    """
    dataset = read(equation=equation)
    occupations, expected, densities = charges()
    r, dr = dataset.grid.r, dataset.grid.dr
    nucleus = SPHERICAL * CHARGE / 12.0 * dr[0] ** 2 * float(densities[0][0](r[:1])[0])
    contact = (
        0.5
        * math.pi
        / 3.0
        * sum(
            float(((true(r) ** 2 - smooth(r) ** 2) * r**2 * dr**3).sum())
            for true, smooth, _ in densities
        )
    )
    error = nucleus + (contact if equation in PLAIN else 0.0)
    found = coulomb_energy(on_site_tables(dataset), occupations) + ENERGIES["electrostatic"]
    assert found == pytest.approx(expected + error, abs=2e-7)
    assert abs(contact) > 1e-6, "the correction is not tested"


def test_kinetic_and_zero_energies(read: Callable[..., PAWDataset]) -> None:
    tables = on_site_tables(read())
    kinetic, zero = np.zeros((2, len(STATES), len(STATES)))
    for a, (i, first) in enumerate(STATES):
        for b, (j, second) in enumerate(STATES):
            if first != second:
                continue
            kinetic[a, b] = KINETIC[i, j]
            density = product(smooth_wave(i), smooth_wave(j))
            zero[a, b] = -integral(product(density, zero_potential)) / SPHERICAL
    np.testing.assert_allclose(tables.kinetic, kinetic, rtol=0.0, atol=1e-14)
    np.testing.assert_allclose(tables.zero_linear, zero, rtol=0.0, atol=1e-9)
    assert tables.kinetic_constant == CORE_KINETIC - ENERGIES["kinetic"]
    expected = -integral(product(smooth_core, zero_potential))
    assert tables.zero_constant == pytest.approx(expected, abs=1e-9)


def test_tables_are_computed_once_for_each_dataset(read: Callable[..., PAWDataset]) -> None:
    dataset, other = read(), read()
    assert on_site_tables(dataset) is on_site_tables(dataset)
    assert on_site_tables(dataset) is not on_site_tables(other)


@pytest.mark.parametrize("shape", ["gauss", "sinc", "bessel"])
def test_shapes_have_unit_moments_and_their_form(
    shape: str, read: Callable[..., PAWDataset]
) -> None:
    dataset = read(shape=shape, shape_radius=1.3)
    grid, x = dataset.grid, dataset.grid.r / 1.3
    for l, values in enumerate(shape_functions(dataset)):
        assert grid.integrate(values, l + 2) == pytest.approx(1.0, abs=1e-12)
        with np.errstate(invalid="ignore", divide="ignore"):
            sinc = np.where(x > 0.0, np.sin(np.pi * x) / (np.pi * x), 1.0) ** 2 * (x < 1.0)
        if shape != "bessel":
            form = x**l * (np.exp(-(x**2)) if shape == "gauss" else sinc)
            inside = (x > 0.1) & (x < 0.9)
            ratio = values[inside] / form[inside]
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
        if shape != "gauss":
            assert np.all(values[x >= 1.0] == 0.0)


@pytest.mark.parametrize("l", [0, 1, 2])
def test_bessel_shapes_vanish_smoothly_at_their_radius(
    l: int, read: Callable[..., PAWDataset]
) -> None:
    """Value and slope, and inside they are two spherical Bessel functions of order l."""
    dataset = read(shape="bessel", shape_radius=1.3, equation="r=d*i", count=2501)
    values, r = shape_functions(dataset)[l], dataset.grid.r
    edge = np.searchsorted(r, 1.3)
    # Their differential equation makes the second derivative vanish, too: a triple zero.
    distances = 1.3 - r[edge - 6 : edge - 1]
    ratios = values[edge - 6 : edge - 1] / distances**3
    np.testing.assert_allclose(ratios, ratios[-1], rtol=0.05)
    inside = slice(1, edge)
    zeros = _zeros(l)
    columns = np.stack([spherical_jn(l, zero * r[inside] / 1.3) for zero in zeros], axis=1)
    solution, *_ = np.linalg.lstsq(columns, values[inside], rcond=None)
    np.testing.assert_allclose(columns @ solution, values[inside], rtol=0.0, atol=1e-11)


def _zeros(l: int) -> list[float]:
    """The first two positive zeros of the spherical Bessel function, by bisection of a table."""
    x = np.linspace(1.0, 15.0, 40_001)
    values = spherical_jn(l, x)
    found = []
    for i in np.nonzero(values[:-1] * values[1:] < 0.0)[0][:2]:
        low, high = x[i], x[i + 1]
        for _ in range(60):
            middle = 0.5 * (low + high)
            same = spherical_jn(l, middle) * spherical_jn(l, low) > 0.0
            low, high = (middle, high) if same else (low, middle)
        found.append(low)
    return found
