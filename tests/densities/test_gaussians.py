"""Gaussians around atoms: closed forms against quadrature, charges, pieces of the sphere."""

from __future__ import annotations

import itertools

import pytest
import torch

from deepchem_xc.densities import gaussians
from deepchem_xc.densities.angular import components
from deepchem_xc.densities.gaussians import GaussianShapes
from deepchem_xc.densities.half_sphere import HalfSphere
from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from tests.densities.shared import LATTICE, POSITIONS, crystal, sphere


def _periodic(shapes: GaussianShapes, of: Crystal, points: torch.Tensor) -> torch.Tensor:
    """Functions of the first atom and its images at reduced points, (npoint, nwidth, lm)."""
    total: torch.Tensor | float = 0.0
    for image in itertools.product((-1, 0, 1), repeat=3):
        shift = torch.tensor(image, dtype=torch.float64)
        total = total + shapes.in_space((points - of.positions[0] - shift) @ of.lattice)
    assert isinstance(total, torch.Tensor)
    return total


def test_plane_waves_are_those_of_the_functions_in_space() -> None:
    """The sum over a fine grid is exact for these widths (to 1e-13), also for each l and m."""
    shapes = GaussianShapes([0.7, 1.0], 4)
    of = Crystal(LATTICE, ("N",), POSITIONS[1:2])
    basis = PlaneWaveBasis(of, 3.0, (1, 1, 1), fft_size=(24, 27, 30), symmetry=False)
    axes = [torch.arange(n, dtype=torch.float64) / n for n in basis.fft_size]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
    number = shapes.nwidth * components(4)
    values = _periodic(shapes, of, points).flatten(1).T.unflatten(-1, basis.fft_size)
    expected = basis.to_sphere(values)
    each = torch.eye(number, dtype=torch.float64).unflatten(-1, (shapes.nwidth, -1)).unsqueeze(1)
    found = shapes.on_sphere(each, of.positions, of.reciprocal_lattice, basis.g_vectors)
    # Images beyond the first shell: 1e-9 of the widest function.
    torch.testing.assert_close(found / of.volume, expected, rtol=0.0, atol=2e-9)
    assert expected.abs().amax(1).min() > 1e-4


def test_combinations_are_orthonormal_and_spherical_ones_hold_no_charge() -> None:
    shapes = GaussianShapes([0.5, 0.8, 1.3], 2)
    axis = torch.linspace(-8.0, 8.0, 55, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis, axis)
    cell = float(axis[1] - axis[0]) ** 3
    functions = shapes.in_space(points)
    for l in range(3):
        number = shapes.counts(l)
        coefficients = [torch.zeros(number, shapes.counts(k), 2 * k + 1) for k in range(3)]
        coefficients[l][:, :, l] = torch.eye(number)
        combined = torch.einsum("awm,nwm->an", shapes.neutral(coefficients), functions)
        overlap = combined @ combined.T * cell / gaussians._SIZE**2
        torch.testing.assert_close(overlap, torch.eye(number).double(), rtol=0.0, atol=1e-8)
        assert (combined.sum(1) * cell).abs().max() < 1e-9
    assert [shapes.counts(l) for l in range(3)] == [2, 3, 3]
    assert float((functions[:, :, 0].sum(0) * cell - 1.0).abs().max()) < 1e-8


def test_pieces_of_the_sphere_give_the_same_sums_and_derivatives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = GaussianShapes([0.6, 1.1], 3)
    generator = torch.Generator().manual_seed(0)
    basis = sphere(crystal())
    coefficients = torch.randn(2, 3, 2, 16, generator=generator, dtype=torch.float64)
    weights = torch.randn(len(basis.g_vectors), generator=generator, dtype=torch.float64)
    inputs = [coefficients, basis.crystal.positions, basis.crystal.reciprocal_lattice]
    outcomes = []
    for size in (gaussians._AT_A_TIME, 1):  # all at once, and 64 plane waves at a time
        monkeypatch.setattr(gaussians, "_AT_A_TIME", size)
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        found = shapes.on_sphere(*leaves, basis.g_vectors)
        scalar = ((found.real + 0.3 * found.imag) * weights).sum()
        outcomes.append((found.detach(), *torch.autograd.grad(scalar, leaves)))
    assert len(basis.g_vectors) > 4 * 64
    for whole, pieces in zip(*outcomes):
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-12)


def test_opposite_plane_waves_are_conjugate_and_missing_ones_refused() -> None:
    basis = sphere(crystal())
    shapes = GaussianShapes([0.6, 1.1], 3)
    coefficients = torch.randn(1, 3, 2, 16, dtype=torch.float64)
    of = basis.crystal
    found = shapes.on_sphere(coefficients, of.positions, of.reciprocal_lattice, basis.g_vectors)[0]
    place = {tuple(g): i for i, g in enumerate(basis.g_vectors.tolist())}
    opposite = [place[tuple(-x for x in g)] for g in basis.g_vectors.tolist()]
    assert torch.equal(found[opposite], found.conj())
    with pytest.raises(ValueError, match="-G for every plane wave"):
        HalfSphere(basis.g_vectors[:-1])
