"""A given density with a spin channel that is negative, as models of magnets have in places."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave.energy import left_out_energy
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.given_density import NegativeDensityWarning
from deepchem_xc.planewave.problem import KohnShamProblem
from tests.differences import assert_agreement, named_differences
from tests.planewave.fixed_density.cases import CASES, OverPolarised, solved
from tests.planewave.fixed_density.checks import AGREEMENT, check_forces

pytestmark = pytest.mark.filterwarnings("ignore:the functional is")
FUNCTIONALS = ["PBE", "gga_x_rpbe+gga_c_pbe"]


def over_polarised(functional: str) -> tuple[KohnShamProblem, FixedDensity]:
    """A metal whose spin-down density is negative everywhere."""
    problem = CASES["soft magnet"].problem(functional)
    with pytest.warns(NegativeDensityWarning):
        given = FixedDensity.of(problem, OverPolarised().requires_grad_(False))
    down = problem.basis.to_grid(given.fields.density)[1]
    assert float(down.max()) < -1e-5
    return problem, given


@pytest.mark.parametrize("functional", ["LDA", pytest.param("PBE", marks=pytest.mark.slow)])
def test_forces_and_stress_are_those_of_differences(functional: str) -> None:
    check_forces(*over_polarised(functional))


@pytest.mark.parametrize(
    "functional", ["LDA", *(pytest.param(x, marks=pytest.mark.slow) for x in FUNCTIONALS)]
)
def test_derivatives_by_the_density_are_those_of_differences(functional: str) -> None:
    problem, given = over_polarised(functional)
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(given.fields.density.shape, generator=generator, dtype=torch.float64)
    along = given.fields.map(lambda leaf: leaf * noise)

    def at(x: Tensor) -> dict[str, Tensor]:
        fields = given.fields + along * x
        result = solved(problem, FixedDensity(fields))
        levels = (result.multiplet_eigenvalues[:, :, :3].square().sum(-1) * result.weights).sum()
        return {
            "free energy": result.free_energy,
            "Kohn-Sham free energy": result.kohn_sham_free_energy,
            "levels": levels,
        }

    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    slopes = {
        name: float(torch.autograd.grad(value, x, retain_graph=True)[0])
        for name, value in at(x).items()
    }
    with torch.no_grad():
        found = named_differences(lambda y: at(torch.tensor(y, dtype=torch.float64)), 0.01)
    for name, difference in found.items():
        assert abs(slopes[name]) > 1e-4, name
        assert_agreement(slopes[name], difference, AGREEMENT, name=name)


def test_the_energy_is_continued_linearly() -> None:
    """At fixed states, its slope by the negative channel is the potential that states see."""
    problem, given = over_polarised("LDA")
    volume = problem.basis.volume

    def energy(x: float) -> Tensor:
        fields = given.fields * (1.0 + x)
        fields.density[0] = given.fields.density[0]
        electrons = fields.to_electrons(volume)
        potential, correction = problem.effective_potential(fields)
        left_out = left_out_energy(problem, electrons, electrons).detach()
        return correction + potential.energy(fields, volume) + left_out

    potential, _ = problem.effective_potential(given.fields)
    down = given.fields * 1.0
    down.density[0] = 0.0
    (slope,) = named_differences(lambda x: {"slope": energy(x)}, 0.01).values()
    assert_agreement(float(potential.energy(down, volume)), slope, AGREEMENT)
