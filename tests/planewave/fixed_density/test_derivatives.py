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

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.fixed_density.outcome import NonSelfConsistentResult
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.multiplets import DegenerateStatesError
from deepchem_xc.xc import PBE, PBECorrelation, XCFunctional, get_xc
from deepchem_xc.xc.libxc import LibXC
from tests.differences import assert_agreement, named_differences
from tests.planewave.fixed_density.cases import (
    CASES,
    BondModel,
    rough_density,
    solved,
)
from tests.planewave.response.finite_differences import NetworkExchange

# Largest steps of the differences.
STEPS = {"density": 0.01, "network": 0.04}
AGREEMENT = 1e-5


def functional(along: Tensor) -> XCFunctional:
    """PBE with a network, whose weights move along a random direction."""
    kappa, mu = (torch.tensor(x, dtype=torch.float64) for x in (0.804, 0.2195))
    return NetworkExchange(kappa, mu, along) + PBECorrelation()


def at(
    name: str,
    given: FixedDensity,
    along: Tensor,
    numbers: dict[str, Tensor],
    start: NonSelfConsistentResult | None = None,
) -> NonSelfConsistentResult:
    """Result of a case at some values of the numbers."""
    density = given.fields.density + numbers["density"] * along
    problem = CASES[name].problem(functional(numbers["network"]))
    return solved(problem, FixedDensity(Fields(density)), start)


def quantities(result: NonSelfConsistentResult) -> dict[str, Tensor]:
    """Everything that is differentiated, each a number."""
    generator = torch.Generator().manual_seed(9)

    def along(values: Tensor) -> Tensor:
        weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        return (values * weights).sum()

    terms = result.energies
    found = {name: terms[name] for name in ("kinetic", "local", "nonlocal", "hartree", "xc")}
    found |= {
        "free energy": result.free_energy,
        "energy": result.energy,
        "Kohn-Sham free energy": result.kohn_sham_free_energy,
        "density": along(result.density) * float(result.basis.volume) / result.basis.ngrid,
        "stress": along(result.stress) * float(result.basis.volume),
    }
    if len(result.kpoints.symmetry) == 1:  # forces vanish in the symmetric crystals
        found["forces"] = along(result.forces)
    levels = result.multiplet_eigenvalues[:, :, :4]
    found["levels"] = (levels.square().sum(-1) * result.weights).sum()
    if result.problem.smearing.width > 0.0:
        found["Fermi level"] = result.fermi_level.sum()
        found["entropy"] = terms["entropy"]
    else:
        found["gap"] = result.band_gap
    if result.problem.nspin == 2:
        found["moment"] = result.magnetic_moment
    return found


def density_and_direction(problem: KohnShamProblem) -> tuple[FixedDensity, Tensor]:
    """Superposed atoms and the density of their states: one to start at, the other to go to.

    Functionals are far from linear where the density nearly vanishes: start at the larger minimum.
    """
    pair = [FixedDensity(problem.starting_fields()), rough_density(problem)]
    pair.sort(key=lambda x: float(problem.basis.to_grid(x.fields.density).min()))
    towards, given = pair
    return given, towards.fields.density - given.fields.density


QUICK = ("low symmetry",)


@pytest.mark.parametrize(
    "name", [x if x in QUICK else pytest.param(x, marks=pytest.mark.slow) for x in CASES]
)
def test_all_derivatives_are_those_of_differences(name: str) -> None:
    given, along = density_and_direction(CASES[name].problem())
    numbers = {key: torch.zeros((), dtype=torch.float64, requires_grad=True) for key in STEPS}
    result = at(name, given, along, numbers)
    assert result.density_error > 3e-3, "the density is self-consistent: nothing is tested"
    torch.testing.assert_close(result.forces, result.detach().forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(result.stress, result.detach().stress, rtol=0, atol=1e-10)
    implicit = {}
    for quantity, value in quantities(result).items():
        found = torch.autograd.grad(
            value, list(numbers.values()), retain_graph=True, materialize_grads=True
        )
        implicit[quantity] = dict(zip(numbers, map(float, found), strict=True))
    for key, step in STEPS.items():

        def values(x: float, key: str = key) -> dict[str, Tensor]:
            there = {name: torch.zeros((), dtype=torch.float64) for name in STEPS}
            there[key] = torch.tensor(x, dtype=torch.float64)
            return quantities(at(name, given, along, there, result))

        with torch.no_grad():
            differences = named_differences(values, step)
        for quantity, difference in differences.items():
            scale = 1e-3 * max(abs(x) for x in implicit[quantity].values())
            text = f"{quantity} by {key}"
            assert_agreement(implicit[quantity][key], difference, AGREEMENT, scale, text)


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
