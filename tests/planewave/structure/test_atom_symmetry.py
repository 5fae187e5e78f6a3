"""Symmetrised forces and stress against those of a pair potential, and crystal systems."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal
from deepchem_xc.planewave.structure.atom_symmetry import (
    symmetrize_forces,
    symmetrize_stress,
)
from deepchem_xc.planewave.structure.symmetry import find_symmetry
from tests.devices import GPU
from tests.planewave.structure.symmetric_crystals import (
    crystal_of,
    every_crystal,
    quartz,
)


def pair_forces_and_stress(crystal: Crystal) -> tuple[torch.Tensor, torch.Tensor]:
    """Forces and stress of a smooth pair potential, without any use of symmetry."""
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    positions = crystal.positions.clone().requires_grad_()
    lattice = crystal.lattice @ (torch.eye(3).double() + 0.5 * (strain + strain.T))
    shells = torch.cartesian_prod(*[torch.arange(-3.0, 4)] * 3).double()
    vectors = (positions[:, None, None] - positions[None, :, None] + shells) @ lattice
    numbers = torch.from_numpy(crystal.to_ase().numbers).double()
    pairs = numbers[:, None, None] * numbers[None, :, None]
    energy = (pairs * torch.exp(-(vectors**2).sum(-1) / 8)).sum()
    slope, stress = torch.autograd.grad(energy, (positions, strain))
    return -slope @ torch.linalg.inv(crystal.lattice).T, stress / crystal.volume


@every_crystal
def test_true_forces_and_stress_are_left_alone(atoms):
    crystal = crystal_of(atoms)
    forces, stress = pair_forces_and_stress(crystal)
    symmetry = find_symmetry(crystal)
    scale = float(stress.abs().max())
    torch.testing.assert_close(
        symmetrize_forces(forces, crystal, symmetry), forces, atol=1e-6 * scale * 100, rtol=1e-6
    )
    torch.testing.assert_close(
        symmetrize_stress(stress, crystal, symmetry), stress, atol=1e-6 * scale, rtol=0
    )


def test_forces_that_symmetry_allows_are_large_in_quartz():
    """The test above is not about zeros."""
    crystal = crystal_of(quartz())
    forces, stress = pair_forces_and_stress(crystal)
    assert forces.abs().max() > 0.1
    assert abs(stress[0, 0] - stress[2, 2]) > 1e-3


@every_crystal
def test_symmetrized_forces_and_stress_are_projections(atoms):
    crystal = crystal_of(atoms)
    symmetry = find_symmetry(crystal)
    forces = symmetrize_forces(torch.randn(crystal.natom, 3).double(), crystal, symmetry)
    again = symmetrize_forces(forces, crystal, symmetry)
    torch.testing.assert_close(again, forces, atol=1e-6, rtol=0)
    stress = symmetrize_stress(torch.randn(3, 3).double(), crystal, symmetry)
    torch.testing.assert_close(
        symmetrize_stress(stress, crystal, symmetry), stress, atol=1e-6, rtol=0
    )


def test_stress_of_crystal_systems():
    """Neumann's principle: cubic is isotropic; hexagonal has xx = yy, zz and nothing else."""
    noise = torch.randn(3, 3, dtype=torch.float64)
    noise = noise + noise.T
    cubic = crystal_of(bulk("Si"))
    expected = noise.trace() / 3 * torch.eye(3).double()
    result = symmetrize_stress(noise, cubic, find_symmetry(cubic))
    torch.testing.assert_close(result, expected, atol=1e-13, rtol=0)
    hexagonal = crystal_of(bulk("Mg"))
    in_plane = (noise[0, 0] + noise[1, 1]) / 2
    expected = torch.diag(torch.stack([in_plane, in_plane, noise[2, 2]]))
    result = symmetrize_stress(noise, hexagonal, find_symmetry(hexagonal))
    torch.testing.assert_close(result, expected, atol=1e-9, rtol=0)


def test_wrong_shapes_are_refused():
    crystal = crystal_of(bulk("Si"))
    with pytest.raises(ValueError, match=r"forces must have shape \(2, 3\)"):
        symmetrize_forces(torch.zeros(3, 3), crystal, find_symmetry(crystal))
    with pytest.raises(ValueError, match=r"stress must have shape \(3, 3\)"):
        symmetrize_stress(torch.zeros(6), crystal, find_symmetry(crystal))


@pytest.mark.gpu
def test_symmetrization_on_the_device_equals_the_cpu():
    crystal = crystal_of(bulk("Si"))
    symmetry, forces = find_symmetry(crystal), torch.randn(2, 3).double()
    torch.testing.assert_close(
        symmetrize_forces(forces.to(GPU), crystal.to(GPU), symmetry).cpu(),
        symmetrize_forces(forces, crystal, symmetry),
    )
