from __future__ import annotations

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene
from ase.eos import EquationOfState as BirchMurnaghan
from ase.units import GPa, Hartree, J, m

from deepchem_xc.eos.fits import fit_equation_of_state, fit_equation_of_state_tensors
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.properties.volume_scan import (
    EquationOfState,
    VolumePoint,
    equation_of_state,
)
from deepchem_xc.planewave.properties.volume_series import scaled, volume_series
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.xc import PBE
from tests.differences import assert_agreement, assert_exact_derivatives, differences

SCALES = np.array([0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06])


def lennard_jones(size: np.ndarray, power: float) -> np.ndarray:
    """E = x^-2p - 2 x^-p, x = size/5: minimum -1 eV at 5; all derivatives are known."""
    x = size / 5.0
    return x ** (-2 * power) - 2 * x ** (-power)


@pytest.mark.parametrize(("dimension", "unit"), [(3, GPa), (2, J / m**2)])
def test_fit_finds_minimum_curvature_and_derivative_of_another_equation(
    dimension: int, unit: float
) -> None:
    power = 1.3
    size = 5.0 * np.linspace(0.985, 1.015, 7)
    fit = fit_equation_of_state(size, lennard_jones(size, power), dimension)
    assert fit.dimension == dimension
    assert fit.size == pytest.approx(5.0, rel=1e-5)
    assert fit.energy == pytest.approx(-1.0, abs=1e-6)
    # E'' = 2 p^2 / s0^2 and E''' = -6 p^2 (p + 1) / s0^3 at the minimum, so that
    # B = s0 E'' and B' = -1 - s0 E''' / E'' = 2 + 3 p.
    assert fit.modulus == pytest.approx(2 * power**2 / 5.0 / unit, rel=1e-3)
    assert fit.derivative == pytest.approx(2 + 3 * power, rel=1e-2)
    assert fit.residual < 1e-6


def test_crystal_fit_returns_the_parameters_of_a_birch_murnaghan_curve() -> None:
    volume, modulus, derivative = 16.5, 77.0 * GPa, 4.6
    x = SCALES ** (-2 / 3)
    energies = -3.7 + 9 * volume * modulus / 16 * (
        (x - 1) ** 3 * derivative + (x - 1) ** 2 * (6 - 4 * x)
    )
    order = [3, 0, 6, 1, 5, 2, 4]  # in no particular order
    fit = fit_equation_of_state(volume * SCALES[order], energies[order])
    assert fit.size == pytest.approx(volume, rel=1e-7)
    assert fit.modulus == pytest.approx(77.0, rel=1e-6)
    assert fit.derivative == pytest.approx(derivative, rel=1e-5)
    assert fit.energy == pytest.approx(-3.7, abs=1e-9)


def test_residual_is_the_root_mean_square_deviation() -> None:
    size = 5.0 * np.linspace(0.97, 1.03, 41)
    noise = 1e-4 * np.where(np.arange(41) % 2, 1.0, -1.0)
    for dimension in (2, 3):
        fit = fit_equation_of_state(size, lennard_jones(size, 1.3) + noise, dimension)
        assert fit.residual == pytest.approx(1e-4, rel=0.02)


@pytest.mark.parametrize(
    ("sizes", "energies", "message"),
    [
        ([1, 2, 3, 4], [1, 0, 0, 1], "at least 5 points, 4 given"),
        (
            [1, 2, 3, 4, 5],
            [5, 4, 3, 2, 1],
            r"1\.000\.\.5\.000 Angstrom.* does not enclose a minimum .*upper end.; .* to larger",
        ),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], r"at its lower end.; move the range to smaller"),
        ([1, 2, 3, 4, np.nan], [1, 0, 0, 1, 2], "NaN"),
        ([1, 2, 3, 4, 4], [1, 0, 0, 1, 2], "positive and different"),
        ([1, 2, 3, 4, 5], [1, 0, 0, 1], r"\(5,\) and \(4,\)"),
    ],
)
def test_points_that_make_no_curve_are_refused(
    sizes: list[float], energies: list[float], message: str
) -> None:
    for dimension in (2, 3):
        with pytest.raises(ValueError, match=message):
            fit_equation_of_state(sizes, energies, dimension)


def test_a_line_or_a_molecule_has_no_equation_of_state() -> None:
    with pytest.raises(ValueError, match="3 .crystal. or 2 .layer."):
        fit_equation_of_state([1, 2, 3, 4, 5], [2, 1, 0, 1, 2], dimension=1)
    wire = bulk("Al")
    wire.pbc = (True, False, False)
    with pytest.raises(ValueError, match="dimension=1"):
        equation_of_state(wire, ecut=200.0)
    with pytest.raises(ValueError, match="scales the vacuum"):
        equation_of_state(wire, ecut=200.0, dimension=3)


def test_a_layer_that_leans_is_refused() -> None:
    layer = graphene(a=2.46, vacuum=3.0)
    layer.cell[2, 0] = 1.0
    with pytest.raises(ValueError, match="must stand upright"):
        equation_of_state(layer, ecut=200.0)


def test_lattice_constant_is_that_of_the_conventional_cell() -> None:
    primitive = bulk("Al", a=4.0)
    points = [
        VolumePoint(s, 16.0 * s, (s - 1.03) ** 2, (s - 1.01) ** 2, 0.0, 1)
        for s in np.linspace(0.98, 1.06, 9)
    ]
    curve = EquationOfState(primitive, 3, None, tuple(points))
    assert curve.a0 == pytest.approx(4.0 * 1.03 ** (1 / 3), rel=1e-5)
    assert curve.equilibrium.get_volume() == pytest.approx(16.0 * 1.03, rel=1e-4)
    assert curve.free_energy_fit.size == pytest.approx(16.0 * 1.01, rel=1e-4)
    assert curve.todict()["points"][0]["scale"] == 0.98


def test_aluminium_curve_repeats_single_calculations_and_starts_from_neighbours() -> None:
    settings = {
        "ecut": 150.0,
        "kpts": (3, 3, 3),
        "occupations": {"name": "gaussian", "width": 0.3},
        "pseudopotentials": "gth-pade",
    }
    grid = (16, 16, 16)
    seen: list[VolumePoint] = []
    scales = (1.1, 0.9, 0.95, 1.05, 1.0, 0.85)
    atoms = bulk("Al", a=4.05)
    curve = equation_of_state(
        atoms, "teter93", scales=scales, fft_size=grid, callback=seen.append, **settings
    )
    assert seen[0].scale == 1.0 and len(seen) == len(scales)
    assert [point.scale for point in curve.points] == sorted(scales)
    for point in curve.points[::5]:
        alone = scf(scaled(atoms, point.scale), "teter93", fft_size=grid, **settings)
        assert point.energy == pytest.approx(float(alone.extrapolated_energy) * Hartree, abs=1e-6)
        assert point.free_energy == pytest.approx(float(alone.free_energy) * Hartree, abs=1e-6)
        assert point.size == pytest.approx(float(alone.basis.volume) * 0.52917721067**3)
    direct = fit_equation_of_state(
        [point.size for point in curve.points], [point.energy for point in curve.points]
    )
    assert curve.fit == direct


def test_a_layer_is_scaled_in_its_plane_only() -> None:
    layer = graphene(a=2.46, vacuum=2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one notice at most, and none for pbc=True
        layer.pbc = True
        mesh = {"size": (2, 2, 1), "gamma": True}
        curve = equation_of_state(
            layer, ecut=200.0, kpts=mesh, dimension=2, scales=(0.9, 0.95, 1.0, 1.05, 1.1)
        )
    area = 2.46**2 * np.sqrt(3) / 2
    assert [p.size for p in curve.points] == pytest.approx(
        [area * s for s in (0.9, 0.95, 1.0, 1.05, 1.1)]
    )
    larger = scaled(layer, 1.1, axis=2)
    assert larger.cell[2] == pytest.approx(layer.cell[2])
    assert np.linalg.norm(larger.cell[0]) == pytest.approx(2.46 * np.sqrt(1.1))


def nonlinear_fit(sizes: np.ndarray, energies: np.ndarray) -> tuple[float, float, float]:
    """Volume, bulk modulus and its derivative by ASE's least squares in Birch's own parameters."""
    fit = BirchMurnaghan(sizes, energies, eos="birchmurnaghan")
    volume, _, modulus = fit.fit(warn=False)
    return float(volume), float(modulus / GPa), float(fit.eos_parameters[2])


def test_linear_fit_equals_the_nonlinear_fit_of_ase() -> None:
    volumes = 16.5 * SCALES
    noise = 1e-3 * np.sin(37.0 * SCALES)
    energies = lennard_jones(5.0 * SCALES, 1.3) + noise
    fit = fit_equation_of_state(volumes, energies)
    expected = nonlinear_fit(volumes, energies)
    assert (fit.size, fit.modulus, fit.derivative) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
def test_derivatives_of_the_fit_are_those_of_finite_differences(dimension: int) -> None:
    energies = torch.tensor(lennard_jones(5.0 * SCALES, 1.3) + 1e-3 * np.sin(37.0 * SCALES))
    weights = 1.0 + SCALES

    def fitted(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fit = fit_equation_of_state_tensors(5.0 * SCALES, values, dimension, weights)
        return fit.size, fit.energy, fit.modulus, fit.derivative, fit.residual

    assert_exact_derivatives(fitted, energies, step=1e-5, rel=1e-5)


def curve_with_a_graph() -> tuple[EquationOfState, torch.Tensor]:
    """Energies of an aluminium whose size depends on a number, and that number."""
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    scales = torch.from_numpy(SCALES)
    energies = 9.0 * (scales ** (-2 / 3) - 1.0 - shift) ** 2
    points = tuple(
        VolumePoint(float(s), 16.0 * float(s), float(e), float(e), 0.0, 1)
        for s, e in zip(scales, energies, strict=True)
    )
    return EquationOfState(bulk("Al", a=4.0), 3, None, points, energies), shift


def test_a_look_without_gradients_takes_none_from_the_curve() -> None:
    curve, shift = curve_with_a_graph()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            value = curve.lattice_constant
        assert not value.requires_grad
    # s = (1 + shift)^(-3/2), a = 4 s^(1/3)
    (gradient,) = torch.autograd.grad(curve.lattice_constant, shift, retain_graph=True)
    assert float(gradient) == pytest.approx(-2.0, rel=1e-6)
    assert float(value) == pytest.approx(4.0, rel=1e-9)
    with torch.no_grad():
        assert not curve.tensors.modulus.requires_grad
    assert curve.tensors.modulus.requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_curve_hold_its_numbers(copied: Callable[[Any], Any]) -> None:
    curve, shift = curve_with_a_graph()
    assert curve.tensors.modulus.requires_grad
    other = copied(curve)
    assert torch.equal(other.energies, curve.energies) and other.a0 == curve.a0
    assert not other.energies.requires_grad and not other.lattice_constant.requires_grad
    assert float(other.tensors.modulus) == float(curve.tensors.modulus)
    (gradient,) = torch.autograd.grad(copy.copy(curve).lattice_constant, shift)
    assert float(gradient) == pytest.approx(-2.0, rel=1e-6)


def test_a_point_of_large_weight_is_met() -> None:
    energies = lennard_jones(5.0 * SCALES, 1.3)
    energies[3] += 1e-4
    weights = np.where(SCALES == 1.0, 1e8, 1.0)
    fit = fit_equation_of_state(5.0 * SCALES, energies, weights=weights)
    # The minimum lies within the range and close to the point that has to be met.
    assert fit.energy == pytest.approx(energies[3], abs=1e-6)
    with pytest.raises(ValueError, match="7 positive numbers"):
        fit_equation_of_state(5.0 * SCALES, energies, weights=-weights)


def iron() -> Atoms:
    """Its potential with eight electrons gives a large cell."""
    atoms = bulk("Fe", a=3.03)
    atoms.set_initial_magnetic_moments([2.3])
    return atoms


TRAINED: dict[str, tuple[Any, dict[str, Any]]] = {
    "Si": (bulk("Si"), {"ecut": 250.0, "kpts": (2, 2, 2), "occupations": {"name": "fixed"}}),
    "Al": (bulk("Al"), {"ecut": 200.0, "kpts": (3, 3, 3)}),
    "Fe": (
        iron(),
        {
            "ecut": 900.0,
            "ecut_smoothing": 100.0,
            "kpts": (4, 4, 4),
            "occupations": {"name": "fermi-dirac", "width": 0.3},
            "pseudopotentials": {"Fe": "GTH-PBE-q8"},
        },
    ),
}


@pytest.mark.parametrize("name", ["Si", "Al", pytest.param("Fe", marks=pytest.mark.slow)])
def test_lattice_constant_and_modulus_follow_the_functional(name: str) -> None:
    """Of an insulator, a smeared metal, and a magnet whose moment changes along the curve."""
    atoms, settings = TRAINED[name]
    settings = settings | {
        "scales": (0.9, 0.95, 1.0, 1.05, 1.1),
        "convergence": {"energy": 1e-10, "density": 1e-8},
    }
    functional = PBE(trainable=True)
    curve = equation_of_state(atoms, functional, **settings)
    assert curve.lattice_constant.item() == pytest.approx(curve.a0, rel=1e-10)
    assert float(curve.tensors.modulus) == pytest.approx(curve.fit.modulus, rel=1e-10)
    if name == "Fe":
        assert min(point.magnetic_moment for point in curve.points) > 1.0
    parameter = next(iter(functional.parameters()))
    results = (curve.lattice_constant, curve.tensors.modulus)
    gradients = [torch.autograd.grad(x, parameter, retain_graph=True)[0] for x in results]
    start = parameter.item()

    def fitted(step: float) -> list[float]:
        with torch.no_grad():
            parameter.fill_(start + step)
        moved = equation_of_state(atoms, functional, **settings)
        return [moved.a0, moved.fit.modulus]

    found = differences(fitted, 0.02)
    for i, gradient in enumerate(gradients):
        assert_agreement(gradient, found[i], rel=1e-5)


@pytest.mark.parametrize("scales", ["wide", 5, [0.9, 0.95, 1.0, 1.05, math.nan], [1.0, 1.1]])
def test_scales_that_are_none_are_refused_by_their_value(scales: Any) -> None:
    with pytest.raises(ValueError, match="scales"):
        volume_series(bulk("Al"), Settings.of({"ecut": 100.0}), scales)
