"""Symmetrised densities against brute force over all operations, and crystallography."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave.structure.density_symmetry import DensitySymmetrizer
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup, find_symmetry
from tests.devices import GPU
from tests.planewave.structure.symmetric_crystals import (
    crystal_of,
    every_crystal,
    random_density,
    sphere,
)


def brute_force(symmetry: SymmetryGroup, g: np.ndarray, rho: torch.Tensor) -> torch.Tensor:
    """Average over all operations of (S rho)_{W^T G} = rho_G exp(2 pi i G.w), one by one."""
    position = {tuple(v): i for i, v in enumerate(g.tolist())}
    total = torch.zeros_like(rho)
    for rotation, translation in zip(symmetry.rotations, symmetry.translations, strict=True):
        target = [position[tuple(v)] for v in (g @ rotation).tolist()]
        total[target] += rho * torch.from_numpy(np.exp(2j * math.pi * g @ translation))
    return total / len(symmetry)


@every_crystal
def test_symmetrized_density_equals_brute_force_over_all_operations(atoms):
    crystal = crystal_of(atoms)
    symmetry, g = find_symmetry(crystal), sphere(crystal)
    rho = random_density(g)
    ours = DensitySymmetrizer(symmetry, torch.from_numpy(g))(rho)
    torch.testing.assert_close(ours, brute_force(symmetry, g, rho), atol=1e-12, rtol=0)
    assert ours.abs().max() > 0.1


@every_crystal
def test_symmetrizer_is_an_orthogonal_projector(atoms):
    crystal = crystal_of(atoms)
    g = sphere(crystal)
    symmetrize = DensitySymmetrizer(find_symmetry(crystal), torch.from_numpy(g))
    a, b = random_density(g, 2)
    once = symmetrize(a)
    torch.testing.assert_close(symmetrize(once), once, atol=1e-14, rtol=0)
    left, right = torch.vdot(a, symmetrize(b)), torch.vdot(symmetrize(a), b)
    assert abs(complex(left - right)) < 1e-12


@every_crystal
def test_density_of_the_atoms_is_invariant(atoms):
    """A superposition of atoms has the symmetry of the crystal: nothing may change it."""
    crystal = crystal_of(atoms)
    g = torch.from_numpy(sphere(crystal))
    length = ((g.double() @ crystal.reciprocal_lattice) ** 2).sum(-1)
    numbers = torch.from_numpy(crystal.to_ase().numbers).to(torch.complex128)
    phases = torch.exp(-2j * math.pi * (g.double() @ crystal.positions.T))
    rho = torch.exp(-length / 20) * (phases @ numbers)
    symmetrize = DensitySymmetrizer(find_symmetry(crystal), g)
    torch.testing.assert_close(symmetrize(rho), rho, atol=1e-8, rtol=0)


@every_crystal
def test_real_densities_stay_real(atoms):
    crystal = crystal_of(atoms)
    g = sphere(crystal)
    position = {tuple(v): i for i, v in enumerate(g.tolist())}
    minus = [position[tuple(v)] for v in (-g).tolist()]
    result = DensitySymmetrizer(find_symmetry(crystal), torch.from_numpy(g))(real_random_density(g))
    torch.testing.assert_close(result[minus], result.conj(), atol=1e-7, rtol=0)


def real_random_density(g: np.ndarray) -> torch.Tensor:
    rho = random_density(g)
    position = {tuple(v): i for i, v in enumerate(g.tolist())}
    return rho + rho[[position[tuple(v)] for v in (-g).tolist()]].conj()


def on_grid(g: np.ndarray, coefficients: torch.Tensor, n: int) -> torch.Tensor:
    box = torch.zeros(n, n, n, dtype=torch.complex128)
    box[tuple(torch.from_numpy(g % n).T)] = coefficients
    return torch.fft.ifftn(box, norm="forward").real


def images_of(points: torch.Tensor, symmetry: SymmetryGroup) -> torch.Tensor:
    """W x + w for every operation, (nop, npoints, 3)."""
    rotations = torch.from_numpy(symmetry.rotations).double()
    return points @ rotations.transpose(1, 2) + torch.from_numpy(symmetry.translations)[:, None]


def test_on_a_grid_that_fits_the_result_is_the_real_space_average():
    n, crystal = 32, crystal_of(bulk("Si"))
    symmetry, g = find_symmetry(crystal), sphere(crystal, 600)
    rho = real_random_density(g)
    index = torch.cartesian_prod(*[torch.arange(n)] * 3).double()
    images = torch.round(images_of(index / n, symmetry) * n).long() % n
    expected = on_grid(g, rho, n)[tuple(images.movedim(-1, 0))].mean(0).reshape(n, n, n)
    ours = DensitySymmetrizer(symmetry, torch.from_numpy(g))(rho)
    torch.testing.assert_close(on_grid(g, ours, n), expected, atol=1e-10, rtol=0)


def test_quarter_translations_of_diamond_work_on_a_grid_they_do_not_fit():
    """30 is not a multiple of 4: transform to a 30^3 grid and back, then look between points."""
    n, crystal = 30, crystal_of(bulk("Si"))
    symmetry, g = find_symmetry(crystal), sphere(crystal, 600)
    assert np.abs(symmetry.translations * n - np.rint(symmetry.translations * n)).max() > 0.4
    rho = DensitySymmetrizer(symmetry, torch.from_numpy(g))(real_random_density(g))
    spectrum = torch.fft.fftn(on_grid(g, rho, n).to(torch.complex128), norm="forward")
    rho = spectrum[tuple(torch.from_numpy(g % n).T)]

    def density_at(points):
        phase = torch.exp(2j * math.pi * (points @ torch.from_numpy(g).double().T))
        return (phase @ rho).real

    points = torch.rand(20, 3, dtype=torch.float64)
    values = density_at(points)
    images = density_at(images_of(points, symmetry))
    torch.testing.assert_close(images, values.expand_as(images), atol=1e-10, rtol=0)
    assert values.std() > 0.1


def test_diamond_glide_planes_extinguish_the_textbook_reflections():
    """Fd-3m: 222 is absent (h + k + l = 4n + 2 for even indices), 111 and 220 are present."""
    crystal = crystal_of(bulk("Si", cubic=True))
    g = sphere(crystal, 800)
    invariant = DensitySymmetrizer(find_symmetry(crystal), torch.from_numpy(g))(random_density(g))
    size = {tuple(v): float(x) for v, x in zip(g.tolist(), invariant.abs(), strict=True)}
    for present in [(1, 1, 1), (2, 2, 0), (3, 1, 1), (0, 0, 4)]:
        assert size[present] > 1e-3, present
    # centring: mixed parity; d glide: 0kl with k + l = 4n + 2; 200 and 420 likewise
    for absent in [(1, 0, 0), (2, 1, 0), (2, 0, 0), (0, 4, 2), (0, 0, 2)]:
        assert size[absent] == 0, absent


def test_leading_dimensions_are_batched():
    crystal = crystal_of(bulk("Mg"))
    g = sphere(crystal)
    symmetrize = DensitySymmetrizer(find_symmetry(crystal), torch.from_numpy(g))
    rho = random_density(g, 2, 3)
    result = symmetrize(rho)
    for i, j in itertools.product(range(2), range(3)):
        torch.testing.assert_close(result[i, j], symmetrize(rho[i, j]))


def test_backward_symmetrizes_cotangents():
    crystal = crystal_of(bulk("Si"))
    g = sphere(crystal, 60)
    symmetrize = DensitySymmetrizer(find_symmetry(crystal), torch.from_numpy(g))
    rho, cotangent = random_density(g, 2)
    rho.requires_grad_()
    (gradient,) = torch.autograd.grad(symmetrize(rho), rho, cotangent)
    torch.testing.assert_close(gradient, symmetrize(cotangent), atol=1e-14, rtol=0)
    assert torch.autograd.gradcheck(symmetrize, (rho,))
    assert torch.autograd.gradgradcheck(symmetrize, (rho,))


def test_without_symmetry_nothing_happens():
    rho = random_density(np.zeros((1, 3)))
    assert (
        DensitySymmetrizer(SymmetryGroup.trivial(), torch.zeros(1, 3, dtype=torch.long))(rho) is rho
    )


def test_plane_waves_that_are_no_closed_sphere_are_refused():
    crystal = crystal_of(bulk("Si"))
    symmetry, g = find_symmetry(crystal), torch.from_numpy(sphere(crystal))
    with pytest.raises(ValueError, match="orbits of plane waves are incomplete"):
        DensitySymmetrizer(symmetry, g[: len(g) // 2])
    with pytest.raises(ValueError, match="distinct"):
        DensitySymmetrizer(symmetry, torch.cat([g, g[:1]]))
    with pytest.raises(ValueError, match="made for"):
        DensitySymmetrizer(symmetry, g)(torch.zeros(3, dtype=torch.complex128))


def test_operations_that_are_no_group_are_refused():
    crystal = crystal_of(bulk("Si"))
    symmetry, g = find_symmetry(crystal), torch.from_numpy(sphere(crystal))
    with pytest.raises(ValueError, match="incomplete.*form a group"):
        DensitySymmetrizer(symmetry.subset(np.arange(31)), g)


def test_an_orbit_cut_at_the_surface_is_dropped_and_the_rest_untouched():
    crystal = crystal_of(bulk("Al"))
    symmetry, g = find_symmetry(crystal), sphere(crystal)
    length = np.linalg.norm(g @ crystal.reciprocal_lattice.numpy(), axis=1)
    kept = np.delete(g, length.argmax(), axis=0)
    rho = random_density(g)
    whole = DensitySymmetrizer(symmetry, torch.from_numpy(g))(rho)
    cut = DensitySymmetrizer(symmetry, torch.from_numpy(kept))(
        rho[torch.arange(len(g)) != int(length.argmax())]
    )
    lost = 0
    values = {tuple(v): x for v, x in zip(g.tolist(), whole.tolist(), strict=True)}
    for vector, value in zip(kept.tolist(), cut.tolist(), strict=True):
        if value == 0 and abs(values[tuple(vector)]) > 1e-12:
            lost += 1
            assert np.linalg.norm(vector @ crystal.reciprocal_lattice.numpy()) > length.max() - 1e-6
        else:
            assert value == pytest.approx(values[tuple(vector)], abs=1e-13)
    assert 0 < lost < 48


def test_thirty_thousand_plane_waves_are_symmetrized_once_and_for_all():
    crystal = crystal_of(bulk("Al"))
    box = np.array(list(itertools.product(range(-24, 25), repeat=3)))
    length = np.linalg.norm(box @ crystal.reciprocal_lattice.numpy(), axis=1)
    g = torch.from_numpy(box[length <= np.sort(length)[30000] + 1e-8])
    symmetry = find_symmetry(crystal)
    symmetrize = DensitySymmetrizer(symmetry, g)
    once = symmetrize(random_density(g))
    torch.testing.assert_close(symmetrize(once), once, atol=1e-12, rtol=0)
    assert once.abs().max() > 0.1


@pytest.mark.gpu
def test_symmetrization_on_the_device_equals_the_cpu():
    crystal = crystal_of(bulk("Si"))
    symmetry, g = find_symmetry(crystal), torch.from_numpy(sphere(crystal))
    rho = random_density(g.numpy(), 2)
    on_device = DensitySymmetrizer(symmetry, g.to(GPU))(rho.to(GPU))
    torch.testing.assert_close(on_device.cpu(), DensitySymmetrizer(symmetry, g)(rho))
