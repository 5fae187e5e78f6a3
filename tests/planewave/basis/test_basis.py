"""Plane waves, the density sphere and the grid."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from tests.crystals import cubic

TRICLINIC = torch.tensor([[7.1, 0.3, -0.4], [0.9, 7.8, 0.5], [-0.6, 1.1, 8.3]], dtype=torch.float64)


def crystal(lattice: torch.Tensor = TRICLINIC) -> Crystal:
    positions = torch.tensor([[0.1, 0.2, 0.3], [0.6, 0.55, 0.7]], dtype=torch.float64)
    return Crystal(lattice, ("Si", "C"), positions)


@pytest.fixture(scope="module")
def basis() -> PlaneWaveBasis:
    mesh = {"kpts": [[0.0, 0.0, 0.0], [0.31, -0.47, 0.12]], "weights": [0.4, 0.6]}
    return PlaneWaveBasis(crystal(), 6.0, mesh, symmetry=False)


def by_brute_force(k: np.ndarray, radius: float) -> set[tuple[int, int, int]]:
    """All integer G with |k + G| inside the radius, from a box that is surely large enough."""
    reciprocal = crystal().reciprocal_lattice.numpy()
    g = np.array(list(itertools.product(range(-16, 17), repeat=3)))
    inside = np.linalg.norm((k + g) @ reciprocal, axis=1) <= radius
    assert np.abs(g[inside]).max() < 16
    return {tuple(x) for x in g[inside].tolist()}


def test_orbitals_hold_every_plane_wave_below_the_cutoff_and_no_other(
    basis: PlaneWaveBasis,
) -> None:
    for index, k in enumerate(basis.k_coordinates.numpy()):
        inside = basis.mask[index] > 0
        ours = {tuple(g) for g in basis.orbital_g_vectors[index][inside].tolist()}
        assert len(ours) == int(inside.sum()) == basis.npw_per_k[index]
        assert ours == by_brute_force(k, math.sqrt(2.0 * basis.ecut))


def test_densities_live_on_the_sphere_of_twice_the_radius(basis: PlaneWaveBasis) -> None:
    ours = {tuple(g) for g in basis.g_vectors.tolist()}
    assert len(ours) == len(basis.g_vectors)
    assert ours == by_brute_force(np.zeros(3), 2.0 * math.sqrt(2.0 * basis.ecut))
    assert basis.g_vectors[0].tolist() == [0, 0, 0]


def test_a_plane_wave_exactly_at_the_cutoff_is_in_with_its_whole_star() -> None:
    side = 2.0 * math.pi  # unit reciprocal vectors: |G|^2 / 2 = 4.5 for (3, 0, 0) and (2, 2, 1)
    cube = Crystal(cubic(side), ("Si",), torch.zeros(1, 3))
    basis = PlaneWaveBasis(cube, 4.5, (1, 1, 1))
    on_the_edge = basis.orbital_g_vectors[0].square().sum(-1) == 9
    assert int((on_the_edge & (basis.mask[0] > 0)).sum()) == 6 + 24


def test_the_cutoff_is_a_number_of_plane_waves_per_volume(basis: PlaneWaveBasis) -> None:
    radius = math.sqrt(2.0 * basis.ecut)
    expected = float(basis.volume) * radius**3 / (6.0 * math.pi**2)
    assert np.mean(basis.npw_per_k) == pytest.approx(expected, rel=0.03)


def test_sphere_and_grid_are_inverse(basis: PlaneWaveBasis) -> None:
    values = torch.randn(2, *basis.fft_size, dtype=torch.float64)
    coefficients = basis.to_sphere(values)
    again = basis.to_sphere(basis.to_grid(coefficients))
    torch.testing.assert_close(again, coefficients, rtol=1e-12, atol=1e-14)


def test_grid_values_are_the_fourier_sum(basis: PlaneWaveBasis) -> None:
    coefficients = basis.to_sphere(torch.randn(basis.fft_size, dtype=torch.float64))
    points = [(0, 0, 0), (1, 2, 3), (5, 0, 7)]
    grid = basis.to_grid(coefficients)
    for point in points:
        x = torch.tensor(point, dtype=torch.float64) / torch.tensor(basis.fft_size)
        phase = 2.0 * math.pi * basis.g_vectors.to(torch.float64) @ x
        value = (coefficients * torch.polar(torch.ones_like(phase), phase)).sum()
        assert float(grid[point]) == pytest.approx(float(value.real), abs=1e-12)
        assert abs(float(value.imag)) < 1e-12


def test_gradient_is_the_derivative_of_a_known_wave(basis: PlaneWaveBasis) -> None:
    g = torch.tensor([1, -2, 1])
    q = g.to(torch.float64) @ basis.crystal.reciprocal_lattice
    axes = [torch.arange(n, dtype=torch.float64) / n for n in basis.fft_size]
    x = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    angle = 2.0 * math.pi * x @ g.to(torch.float64)
    gradient = basis.gradient(basis.to_sphere(torch.cos(angle)))
    expected = -q[:, None, None, None] * torch.sin(angle)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-11)


def test_the_grid_holds_products_of_orbitals_without_aliasing(basis: PlaneWaveBasis) -> None:
    """|psi|^2 on the grid has exactly the coefficients of the convolution."""
    inside = basis.mask[1] > 0
    g = basis.orbital_g_vectors[1][inside]
    c = torch.randn(len(g), dtype=torch.complex128)
    box = torch.zeros(basis.fft_size, dtype=torch.complex128)
    wrapped = torch.remainder(g, torch.tensor(basis.fft_size))
    box[wrapped[:, 0], wrapped[:, 1], wrapped[:, 2]] = c
    psi = torch.fft.ifftn(box, norm="forward")
    density = basis.to_sphere(psi.abs().square())
    position = {tuple(x): i for i, x in enumerate(basis.g_vectors.tolist())}
    chosen = torch.randperm(len(basis.g_vectors))[:20].tolist()
    ours = {tuple(x): i for i, x in enumerate(g.tolist())}
    for index in chosen:
        shift = basis.g_vectors[index]
        total = 0.0 + 0.0j
        for i, target in enumerate((g + shift).tolist()):
            if (j := ours.get(tuple(target))) is not None:
                total += complex(c[j] * c[i].conj())
        assert complex(density[position[tuple(shift.tolist())]]) == pytest.approx(total, abs=1e-10)


def test_a_strained_copy_keeps_its_integers_and_its_own_lengths(basis: PlaneWaveBasis) -> None:
    assert float(basis.density_q2[5]) > 0  # cached before the copy is made
    larger = basis.with_geometry(lattice=1.1 * basis.crystal.lattice)
    assert torch.equal(larger.orbital_g_vectors, basis.orbital_g_vectors)
    torch.testing.assert_close(larger.kinetic * 1.21, basis.kinetic)
    torch.testing.assert_close(larger.density_q2 * 1.21, basis.density_q2)
    assert float(larger.volume) == pytest.approx(1.331 * float(basis.volume))


def test_default_grids_have_small_prime_factors_and_fit(basis: PlaneWaveBasis) -> None:
    for n, axis in zip(basis.fft_size, basis.g_vectors.T, strict=True):
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        assert rest == 1
        assert n >= 2 * int(axis.abs().max()) + 1
