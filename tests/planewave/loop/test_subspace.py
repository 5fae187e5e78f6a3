"""The free energy among given orbitals: its value, its gradient, and what its minimum is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.occupations.occupy import occupy
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.energy import energy_terms
from deepchem_xc.planewave.loop.relaxation import Relaxed, relax_in_subspace
from deepchem_xc.planewave.loop.subspace import SubspaceFreeEnergy
from tests.differences import assert_derivative

ROUGH = {"density": 3e-2, "energy": 1.0}


@cache
def metal() -> SCFResult:
    """With an inversion centre, so that its orbitals are real in a gauge; several k-points."""
    kpts = {"size": (2, 2, 2), "gamma": True}
    return scf(bulk("Al"), ecut=80.0, kpts=kpts, convergence=ROUGH)


@cache
def atom() -> SCFResult:
    """Open shell with degenerate levels, two spins."""
    atoms = Atoms("O", cell=(4.0, 4.0, 4.0), pbc=True, magmoms=[2])
    return scf(atoms, ecut=100.0, convergence=ROUGH)


@cache
def molecule_without_symmetry() -> SCFResult:
    """Complex orbitals, and a kinetic energy density."""
    atoms = Atoms(
        "LiF", positions=[[0.0, 0.0, 0.0], [0.3, 0.1, 2.0]], cell=(3.0, 3.2, 4.0), pbc=True
    )
    potentials = {"Li": "GTH-MGGA-q3", "default": "gth-uzh-scan"}
    return scf(atoms, "r2SCAN", ecut=100.0, convergence=ROUGH, pseudopotentials=potentials)


SYSTEMS = [metal, atom, molecule_without_symmetry]


def free_energy(result: SCFResult, noise: float) -> SubspaceFreeEnergy:
    """About a filling that is not the states' own by a random Hermitian matrix, Hartree."""
    hamiltonian = torch.diag_embed(result.eigenvalues).to(result.orbitals.dtype)
    generator = torch.Generator().manual_seed(1)
    change = torch.randn(hamiltonian.shape, dtype=hamiltonian.dtype, generator=generator)
    return SubspaceFreeEnergy(
        result.problem,
        result.potential,
        hamiltonian,
        result.orbitals,
        hamiltonian + noise * (change + change.mH),
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_gradient_is_that_of_differences(system: Callable[[], SCFResult]) -> None:
    function = free_energy(system(), noise=0.01)
    random = np.random.default_rng(2)
    place, direction = random.normal(size=(2, function.size))
    direction /= np.linalg.norm(direction)
    for start in (np.zeros(function.size), 0.01 * place):
        slope = float(function(start)[1] @ direction)

        def along(h: float, start: np.ndarray = start) -> float:
            return function(start + h * direction)[0]

        assert_derivative(slope, along, step=4e-3, rel=1e-5)


@pytest.mark.parametrize("system", SYSTEMS)
def test_its_value_is_the_sum_of_the_energy_terms(system: Callable[[], SCFResult]) -> None:
    result = system()
    problem, function = result.problem, free_energy(result, noise=0.02)
    filled = occupy(
        function.levels, problem.basis.weights, problem.nelectrons, problem.smearing, problem.moment
    )
    terms = energy_terms(
        problem, function.orbitals, filled.occupations, function.fields, filled.entropy_energy
    )
    expected = float(terms["free"])
    assert function.lowest + problem.constant_energy == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("system", [atom, molecule_without_symmetry])
def test_it_goes_downhill_until_the_gradient_is_small(system: Callable[[], SCFResult]) -> None:
    result = system()
    start = free_energy(result, noise=0.0)
    arguments: tuple[Any, ...] = (result.potential, result.eigenvalues, result.orbitals)
    relaxed = relax_in_subspace(result.problem, *arguments, reduction=1e-3)
    overlap = relaxed.orbitals @ relaxed.orbitals.mH
    assert torch.allclose(overlap, torch.eye(len(overlap[0, 0])).to(overlap), atol=1e-9)
    end = SubspaceFreeEnergy(
        result.problem,
        result.potential,
        torch.diag_embed(result.eigenvalues).to(result.orbitals.dtype),
        result.orbitals,
        relaxed.filling_of(result.problem, result.orbitals),
    )
    assert torch.allclose(end.fields.density, relaxed.fields.density, atol=1e-9)
    assert end.lowest < start.lowest
    assert end.slope < 0.01 * start.slope


def test_full_and_empty_levels_that_should_be_the_opposite_are_left() -> None:
    """No gradient says so: the mixture of density matrices does."""
    result = atom()
    hamiltonian = torch.diag_embed(result.eigenvalues).to(result.orbitals.dtype)
    levels = result.eigenvalues.clone()
    levels[1, 0, 0] = 1.0  # the minority's s electron goes to its p shell
    levels[1, 0, 1:4] = torch.tensor([-1.0, -1.0, 1.0])
    arguments = result.problem, result.potential, hamiltonian, result.orbitals
    wrong = SubspaceFreeEnergy(*arguments, torch.diag_embed(levels).to(hamiltonian.dtype))
    right = SubspaceFreeEnergy(*arguments, hamiltonian)
    best = downhill = wrong
    for _ in range(4):
        downhill = downhill.minimised(1e-4, 12)
        best = best.damped().minimised(1e-4, 12)
    assert downhill.lowest > right.lowest + 0.1
    assert best.lowest < right.lowest + 1e-6


def test_a_filling_follows_its_orbitals() -> None:
    """Rotated orbitals are filled as before; directions that are new are as the highest level."""
    result = metal()
    relaxed = Relaxed(result.fields, result.orbitals, result.eigenvalues, 0.0, 0.0)
    turn = torch.linalg.qr(torch.randn(result.orbitals.shape[2], 3, dtype=torch.complex128)).Q
    filling = relaxed.filling_of(result.problem, turn.mH @ result.orbitals)
    expected = turn.mH @ torch.diag_embed(result.eigenvalues).to(turn.dtype) @ turn
    assert torch.allclose(filling, expected, atol=1e-9)
    three = result.orbitals[:, :, :3], result.eigenvalues[:, :, :3]
    fewer = Relaxed(result.fields, *three, 0.0, 0.0)
    levels = torch.linalg.eigvalsh(fewer.filling_of(result.problem, result.orbitals))
    assert torch.allclose(levels[..., :3], fewer.levels, atol=1e-9)
    assert torch.allclose(levels[..., 3:], fewer.levels[..., 2:], atol=1e-9)
