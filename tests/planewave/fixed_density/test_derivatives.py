"""Derivatives with respect to density, model and functional, away from self-consistency.

A case is moved by two numbers: one shifts the given density along a fixed random direction, the
other the weights of a network in the functional. Everything a result knows is differentiated with
respect to both, one backward pass a quantity, and held against differences.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.response.multiplets import DegenerateStatesError
from deepchem_xc.xc import PBE, get_xc
from deepchem_xc.xc.libxc import LibXC
from tests.differences import assert_agreement, named_differences
from tests.planewave.fixed_density.cases import (
    CASES,
    BondModel,
    rough_density,
    solved,
)
from tests.planewave.fixed_density.checks import AGREEMENT, check_derivatives

QUICK = ("low symmetry",)


@pytest.mark.parametrize(
    "name", [x if x in QUICK else pytest.param(x, marks=pytest.mark.slow) for x in CASES]
)
def test_all_derivatives_are_those_of_differences(name: str) -> None:
    check_derivatives(CASES[name])


def test_the_free_energy_changes_by_the_kernel_times_what_the_density_lacks() -> None:
    """dF/dn = K (m - n): it vanishes at self-consistency, and needs no response."""
    problem = CASES["low symmetry"].problem()
    given = rough_density(problem)
    fields = given.fields.map(lambda leaf: leaf.clone().requires_grad_())
    result = solved(problem, replace(given, fields=fields))
    (slope,) = torch.autograd.grad(result.free_energy, fields.leaves)
    with torch.no_grad():
        lacking = result.converged.fields - given.fields
        step = 1e-4
        ahead, _ = problem.effective_potential(given.fields + step * lacking)
        behind, _ = problem.effective_potential(given.fields - step * lacking)
        expected = (ahead - behind).v / (2.0 * step) * problem.basis.volume
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


def test_a_model_is_trained_on_energies_and_forces() -> None:
    """Its parameters' derivatives, through its density and its motion."""
    problem = CASES["low symmetry"].problem()

    def loss(amount: float, grad: bool) -> tuple[Tensor, BondModel]:
        model = BondModel().requires_grad_(grad)
        model.amount.data += amount
        given = FixedDensity.of(problem, model)
        result = solved(problem, given)
        weights = torch.linspace(-1.0, 1.5, 6, dtype=torch.float64).view(2, 3)
        return result.free_energy + (result.forces * weights).sum(), model

    value, model = loss(0.0, True)
    value.backward()
    assert model.reach.grad is not None
    with torch.no_grad():
        found = named_differences(lambda x: {"loss": loss(x, False)[0]}, 0.02)
    assert_agreement(float(model.amount.grad), found["loss"], AGREEMENT)


def test_second_derivatives_of_forces_are_refused_for_libxc() -> None:
    problem = CASES["low symmetry"].problem(LibXC("gga_x_pbe") + LibXC("gga_c_pbe"))
    given = rough_density(problem)
    fields = given.fields.map(lambda leaf: leaf.clone().requires_grad_())
    result = solved(problem, replace(given, fields=fields))
    result.free_energy.backward()
    with pytest.raises(NotImplementedError, match="libxc"):
        result.forces.square().sum().backward()


def test_second_derivatives_and_single_degenerate_levels_are_refused() -> None:
    problem = CASES["reduced k-points"].problem(get_xc("PBE"))
    given = rough_density(problem)
    fields = given.fields.map(lambda leaf: leaf.clone().requires_grad_())
    result = solved(problem, replace(given, fields=fields))
    (slope,) = torch.autograd.grad(result.free_energy, fields.leaves, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        slope.abs().square().sum().backward()
    with pytest.raises(DegenerateStatesError):
        result.eigenvalues[0, 0, 1].backward()


def test_a_functional_that_changed_gives_no_derivatives() -> None:
    changing = PBE(trainable=True)
    problem = CASES["low symmetry"].problem(changing)
    result = solved(problem, rough_density(problem), tolerance=1e-6)
    values = [result.free_energy, result.density.square().sum()]
    next(changing.parameters()).data += 0.1
    for value in values:
        with pytest.raises(RuntimeError, match="changed"):
            value.backward()
