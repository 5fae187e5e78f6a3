"""Forces and stress are derivatives of the Harris-Foulkes free energy, moving density included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.problem import KohnShamProblem
from tests.planewave.fixed_density.cases import (
    CASES,
    BondModel,
    rough_density,
    solved,
)
from tests.planewave.fixed_density.checks import check_forces

# Ha/bohr: less than this would be a test of rounding.
SMALLEST = 1e-3


def of_model(problem: KohnShamProblem) -> FixedDensity:
    model = BondModel().requires_grad_(False)
    return FixedDensity.of(problem, model)


@pytest.mark.parametrize("name", ["low symmetry", "smeared metal", "magnet"])
def test_a_density_moves_with_superposed_atoms(name: str) -> None:
    problem = CASES[name].problem()
    check_forces(problem, rough_density(problem))


@pytest.mark.parametrize("name", ["low symmetry", "soft magnet"])
def test_the_density_of_a_model_moves_as_the_model_says(name: str) -> None:
    problem = CASES[name].problem()
    check_forces(problem, of_model(problem))


def test_a_core_density_moves_too(reference_path: Callable[[str], Path]) -> None:
    problem = CASES["low symmetry"].problem(paths=reference_path)
    assert any(p.has_core_density for p in problem.pseudopotentials.values())
    given = rough_density(problem)
    check_forces(problem, given)
    fields = given.fields.map(lambda leaf: leaf.clone().requires_grad_())
    result = solved(problem, replace(given, fields=fields))
    torch.testing.assert_close(result.forces, result.detach().forces, rtol=0, atol=1e-10)
    torch.testing.assert_close(result.stress, result.detach().stress, rtol=0, atol=1e-11)


def test_a_meta_gga_with_its_kinetic_energy_density() -> None:
    problem = CASES["low symmetry"].problem("r2SCAN")
    check_forces(problem, rough_density(problem))


def test_forces_of_reduced_k_points_are_those_of_all() -> None:
    """Aluminium and magnesium on a line: the operations that keep it reduce the k-points."""
    case = replace(
        CASES["smeared metal"],
        lattice=torch.diag(torch.tensor([5.6, 5.6, 8.0], dtype=torch.float64)),
        positions=[[0.0, 0.0, 0.03], [0.5, 0.5, 0.48]],
        mesh={"size": (2, 2, 1), "gamma": False},
    )
    full = case.problem()
    reduced = replace(case, symmetry=True).problem()
    assert reduced.basis.nk < full.basis.nk
    density = rough_density(reduced)
    some, all_of_them = (solved(p, density) for p in (reduced, full))
    assert float(all_of_them.forces.abs().max()) > SMALLEST
    torch.testing.assert_close(some.forces, all_of_them.forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(some.stress, all_of_them.stress, rtol=0, atol=1e-10)


class Frozen(BondModel):
    """A model outside the graph of the positions, or of the lattice alone."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def density_for(self, problem: KohnShamProblem) -> Fields:
        crystal = problem.basis.crystal
        still = {
            "positions": {"positions": crystal.positions.detach()},
            "lattice": {"lattice": crystal.lattice.detach()},
        }[self.what]
        basis = problem.basis.with_geometry(**still)
        return (
            super()
            .density_for(replace(problem, basis=basis))
            .map(lambda leaf: leaf * float((basis.volume / problem.basis.volume).detach()))
        )


def test_a_model_outside_the_graph_has_no_forces_or_stress() -> None:
    problem = CASES["low symmetry"].problem()
    given = FixedDensity.of(problem, Frozen("positions").requires_grad_(False))
    with pytest.raises(ValueError, match="with respect to the positions"):
        _ = solved(problem, given, tolerance=1e-4).forces
    given = FixedDensity.of(problem, Frozen("lattice").requires_grad_(False))
    result = solved(problem, given, tolerance=1e-4)
    with pytest.raises(ValueError, match="with respect to the lattice"):
        _ = result.stress
    assert result.forces.shape == (2, 3)


def test_forces_of_a_model_that_was_trained_on_are_refused() -> None:
    problem = CASES["low symmetry"].problem()
    model = BondModel().requires_grad_(False)
    given = FixedDensity.of(problem, model)
    result = solved(problem, given, tolerance=1e-4)
    model.amount.data += 0.1
    with pytest.raises(RuntimeError, match="has changed since"):
        _ = result.forces
