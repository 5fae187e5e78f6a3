"""Structure factors, and superpositions of atoms made with them."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.terms.local import structure_factor

SKEWED = Atoms(
    "H5",
    cell=[[3.0, 0.2, 0.1], [1.4, 4.1, -0.3], [-0.6, 1.1, 7.0]],
    pbc=True,
    scaled_positions=[[0, 0, 0], [0.1, 0.9, 1.7], [-0.3, 0.4, 0.2], [0.5, 0.5, 0.5], [3, 0, 0.1]],
)


def basis_of(atoms: Atoms) -> PlaneWaveBasis:
    return PlaneWaveBasis(Crystal.from_ase(atoms), 5.0, (1, 1, 1), symmetry=False)


@pytest.mark.parametrize("atoms", [bulk("Si"), SKEWED], ids=["primitive", "skewed"])
def test_a_structure_factor_is_the_sum_of_phases(atoms: Atoms) -> None:
    basis = basis_of(atoms)
    chosen = [*range(len(atoms) - 1, -1, -2)]
    g = basis.g_vectors.to(torch.float64)
    phases = torch.exp(-2j * torch.pi * (g @ basis.crystal.positions[chosen].T))
    assert (structure_factor(basis, chosen) - phases.sum(1)).abs().max() < 1e-12
    scale = torch.rand(2, len(chosen), dtype=torch.float64)
    found = structure_factor(basis, chosen, scale)
    assert found.shape == (2, len(g))
    assert (found - scale.to(phases.dtype) @ phases.T).abs().max() < 1e-12


def test_its_derivatives_are_those_of_the_phases() -> None:
    basis = basis_of(SKEWED)
    positions = basis.crystal.positions.clone().requires_grad_()
    moved = basis.with_geometry(positions=positions)
    weights = torch.randn(len(basis.g_vectors), dtype=torch.complex128)
    g = basis.g_vectors.to(torch.float64)
    plain = torch.exp(-2j * torch.pi * (g @ positions.T)).sum(1)
    first = [
        torch.autograd.grad((weights * one).real.sum(), positions, create_graph=True)[0]
        for one in (structure_factor(moved, range(5)), plain)
    ]
    assert (first[0] - first[1]).abs().max() < 1e-10 * first[1].abs().max()
    direction = torch.randn_like(positions)
    second = [torch.autograd.grad((one * direction).sum(), positions)[0] for one in first]
    assert (second[0] - second[1]).abs().max() < 1e-10 * second[1].abs().max()
