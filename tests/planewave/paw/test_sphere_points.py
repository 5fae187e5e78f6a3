"""Densities in PAW spheres are those of partial waves in space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.numerics.harmonics import solid_harmonics
from deepchem_xc.planewave.paw.sphere_points import SpherePoints
from tests.planewave.paw.spheres import (
    CHANNELS,
    EXPONENT,
    gpaw_dataset,
    model_dataset,
    near_atom,
)


def orbitals(positions: Tensor, channels: tuple[tuple[int, float], ...]) -> Tensor:
    """The model's all-electron partial waves at points in space, (nstate, npoint)."""
    r = positions.norm(dim=-1)
    # Solid harmonics have the factor r^l.
    waves = [solid_harmonics(l, positions) * torch.exp(-a * r) for l, a in channels]
    return torch.cat(waves)


def quantities_in_space(
    positions: Tensor, occupations: Tensor, channels: tuple[tuple[int, float], ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Density, squared gradient, kinetic energy density, by derivatives in space."""
    x = positions.clone().requires_grad_()
    phi = orbitals(x, channels)
    gradients = torch.stack(
        [torch.autograd.grad(row.sum(), x, create_graph=True)[0] for row in phi]
    )  # (nstate, npoint, 3)
    core = 2.0 * EXPONENT**3 / np.pi * torch.exp(-2.0 * EXPONENT * x.norm(dim=-1))
    n = torch.einsum("ij,ip,jp->p", occupations, phi, phi) + core
    (slope,) = torch.autograd.grad(n.sum(), x, retain_graph=True)
    tau = 0.5 * torch.einsum("ij,ipx,jpx->p", occupations, gradients, gradients)
    tau = tau + 0.5 * EXPONENT**2 * core
    return n.detach(), slope.square().sum(-1).detach(), tau.detach()


def errors(points: int, channels: tuple[tuple[int, float], ...]) -> list[float]:
    """Largest relative errors of density, squared gradient and tau between 0.05 and 1.5 bohr."""
    dataset = model_dataset(points, channels)
    sphere = SpherePoints(dataset)
    occupations = near_atom(dataset, 1, size=0.5)
    nr = len(sphere.radii) // 2
    found = sphere.density(occupations, gradient=True, tau=True)
    r = sphere.radii[:nr]
    positions = torch.from_numpy(sphere.directions.vectors)[:, None] * r[:, None]
    expected = quantities_in_space(positions.reshape(-1, 3), occupations[0, 0], channels)
    mine = (found.value, found.gradient.square().sum(-2), found.tau)
    inside = (r > 0.05) & (r < 1.5)
    return [
        float((a[0, 0, :, :nr] / b.reshape(-1, nr) - 1.0)[:, inside].abs().max())
        for a, b in zip(mine, expected)
    ]


def test_density_gradient_and_tau_are_those_of_the_orbitals_in_space():
    """The density is exact; central differences converge with the square of the mesh."""
    coarse, fine = errors(300, CHANNELS), errors(1200, CHANNELS)
    assert max(coarse[0], fine[0]) < 1e-13
    for before, after in zip(coarse[1:], fine[1:]):
        assert after < 1e-3
        assert before / after == pytest.approx(16.0, rel=0.2)


def test_the_expansion_of_densities_ends_at_l_4():
    """A product of f channels has l = 6, which is cut; its kinetic energy density is not."""
    channels = ((0, 1.1), (3, 1.3))
    value, _, tau = errors(1200, channels)
    assert value > 1e-3
    assert tau < 1e-3


@pytest.mark.parametrize("nspin", [1, 2])
def test_the_charge_is_that_of_overlaps_of_partial_waves(nspin):
    dataset = model_dataset()
    sphere = SpherePoints(dataset)
    occupations = near_atom(dataset, nspin)
    density = sphere.density(occupations, gradient=False, tau=False)
    charge = float((density.value * sphere.volumes).sum())
    true, soft = dataset.all_electron_waves, dataset.smooth_waves
    products = true[:, None] * true - soft[:, None] * soft
    overlap = dataset.grid.integrate(products)
    core = dataset.core_density - dataset.smooth_core_density
    expected = 4.0 * np.pi * dataset.grid.integrate(core)
    for i, (j, m) in enumerate(dataset.states):
        for k, (other, n) in enumerate(dataset.states):
            if dataset.waves[j].l == dataset.waves[other].l and m == n:
                expected += overlap[j, other] * float(occupations[0, :, i, k].sum())
    assert charge == pytest.approx(expected, abs=1e-12)


def test_gradients_are_not_computed_unless_wanted():
    sphere = SpherePoints(model_dataset())
    density = sphere.density(near_atom(sphere.dataset, 1), gradient=False, tau=False)
    assert density.gradient is None and density.tau is None


def test_all_tables_follow_the_device():
    """Tensors of two devices do not mix; those of "meta" have shapes and no numbers."""
    sphere = SpherePoints(model_dataset(), device="meta")
    occupations = near_atom(sphere.dataset, 2).to("meta")
    density = sphere.density(occupations, gradient=True, tau=True)
    nv, points = sphere.volumes.shape
    assert density.value.shape == density.tau.shape == (1, 2, nv, points)
    assert density.gradient.shape == (1, 2, nv, 3, points)
    assert {x.device.type for x in (*density, sphere.volumes, sphere.radii)} == {"meta"}


def test_a_core_without_kinetic_energy_density_is_refused_for_meta_ggas():
    dataset = replace(model_dataset(), core_kinetic_density=None)
    sphere = SpherePoints(dataset)
    with pytest.raises(ValueError, match="no kinetic energy density of its core"):
        sphere.density(near_atom(dataset, 1), gradient=True, tau=True)


@pytest.mark.parametrize("name", ["H", "O", "Si", "Ni", "Au"])
def test_points_end_where_all_electron_and_smooth_densities_agree(name):
    """The radii that are left out hold equal densities, whatever the occupations."""
    dataset = gpaw_dataset(name)
    radii = SpherePoints(dataset).radii
    beyond = dataset.grid.r > float(radii.max())
    assert 0 < beyond.sum() < len(dataset.grid) - 1
    for true, soft in zip(dataset.all_electron_waves, dataset.smooth_waves):
        np.testing.assert_allclose(true[beyond], soft[beyond], rtol=0, atol=1e-12)
    difference = dataset.core_density - dataset.smooth_core_density
    assert np.abs(difference[beyond]).max() < 1e-12
