"""Energy terms of PAW spheres: their derivatives, neutrality, and what they do not depend on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal, Fields, PlaneWaveBasis
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.terms.base import DensityTerm
from deepchem_xc.planewave.terms.compensation import CompensationCharges, compensation_waves
from deepchem_xc.planewave.terms.coulomb import Coulomb
from deepchem_xc.planewave.terms.superposed import core_density
from tests.differences import assert_agreement, differences

pytest.importorskip("gpaw_data")


def made(functional: str = "PBE", shift: float = 0.0, moment: float = 0.0) -> KohnShamProblem:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.positions[1] += 0.1
    atoms.positions += shift
    atoms.set_initial_magnetic_moments([moment, 0.0])
    basis = PlaneWaveBasis(Crystal.from_ase(atoms), 8.0, (1, 1, 1), symmetry=False)
    return make_problem(basis, functional, "paw-pbe")


def perturbed(problem: KohnShamProblem, size: float = 0.01) -> Fields:
    """Superposed atoms with some noise in the spheres, where it is not symmetric either."""
    fields = problem.starting_fields()
    assert fields.spheres is not None
    noise = torch.randn(fields.spheres.shape, dtype=torch.float64)
    return replace(fields, spheres=fields.spheres + size * noise)


def direction_of(problem: KohnShamProblem, fields: Fields) -> Fields:
    """A random change of density and occupations that is real in space."""
    basis = problem.basis
    wave = torch.randn(len(fields.density), *basis.fft_size, dtype=torch.float64)
    assert fields.spheres is not None
    occupations = 0.1 * torch.randn(fields.spheres.shape, dtype=torch.float64)
    return replace(fields, density=1e-3 * basis.to_sphere(wave), spheres=occupations)


@pytest.mark.parametrize("moment", [0.0, 1.0])
def test_potentials_are_derivatives_of_energies(moment: float) -> None:
    problem = made(moment=moment)
    fields = perturbed(problem)
    direction = direction_of(problem, fields)
    volume = problem.basis.volume
    for term in problem.terms:
        if not isinstance(term, DensityTerm):
            continue
        potential, correction = term.potential(problem.basis, fields)
        energy = term.energy(problem.basis, fields)
        assert torch.allclose(potential.energy(fields, volume) + correction, energy, atol=1e-9)

        def along(step: float, term: DensityTerm = term) -> float:
            return float(term.energy(problem.basis, fields + float(step) * direction))

        found = differences(along, 2e-3)
        implicit = float(potential.energy(direction, volume))
        assert_agreement(implicit, found, 1e-6, 1e-3, f"{type(term).__name__} ({term.name})")


def test_the_charge_is_neutral_with_any_occupations() -> None:
    """The smooth density holds what the spheres do not: N electrons less sum D dO."""
    problem = made()
    fields = problem.starting_fields()
    spheres, basis = problem.spheres, problem.basis
    assert spheres is not None and fields.spheres is not None
    assert torch.allclose(problem.electrons(fields).sum(), torch.tensor(16.0).double(), atol=1e-9)
    charges = CompensationCharges(
        basis, spheres.potentials, compensation_waves(basis, spheres.potentials)
    )
    multipoles = Coulomb(basis, spheres)._multipoles(fields.spheres.sum(0))
    total = charges.charge(multipoles)[0]
    total = total + fields.density.sum(0)[0] + core_density(basis, spheres.potentials)[0]
    assert abs(complex(total) * float(basis.volume)) < 1e-8


def test_energies_do_not_change_when_the_crystal_moves() -> None:
    """Except that of XC, which its grid holds in place."""
    fields = []
    energies = []
    for shift in (0.0, 0.37):
        problem = made(shift=shift)
        fields = problem.starting_fields()
        energies.append(
            {
                (i, term.name): float(term.energy(problem.basis, fields))
                for i, term in enumerate(problem.terms)
                if isinstance(term, DensityTerm)
            }
        )
    for name, energy in energies[0].items():
        tolerance = 1e-9 if name[1] != "xc" else 2e-4
        assert abs(energy - energies[1][name]) < tolerance, name


def test_norm_conserving_potentials_are_not_mixed_with_datasets() -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(bulk("MgO", "rocksalt", a=4.2)), 8.0, (1, 1, 1))
    with pytest.raises(ValueError, match="Mg.*PAW.*O"):
        make_problem(basis, "PBE", {"Mg": "paw-pbe", "O": "gth-pbe"})
