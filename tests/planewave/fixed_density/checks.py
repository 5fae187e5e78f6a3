"""What holds of every result at a given density: its derivatives are those of differences."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.fixed_density.outcome import NonSelfConsistentResult
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.terms.base import IonTerm
from deepchem_xc.xc import PBECorrelation, XCFunctional
from tests.differences import assert_agreement, assert_derivative, named_differences
from tests.planewave.fixed_density.cases import Case, moved, rough_density, solved
from tests.planewave.response.finite_differences import NetworkExchange

# Largest steps of the differences.
STEPS = {"density": 0.01, "network": 0.04}
AGREEMENT = 1e-5
# Largest steps of the differences, bohr and strain.
DISPLACEMENT, STRAIN = 0.004, 0.002
# Ha/bohr, Ha: less than this would be a test of rounding.
SMALLEST = 1e-3


def functional(along: Tensor) -> XCFunctional:
    """PBE with a network, whose weights move along a random direction."""
    kappa, mu = (torch.tensor(x, dtype=torch.float64) for x in (0.804, 0.2195))
    return NetworkExchange(kappa, mu, along) + PBECorrelation()


def at(
    case: Case,
    given: FixedDensity,
    along: Fields,
    numbers: dict[str, Tensor],
    start: NonSelfConsistentResult | None = None,
) -> NonSelfConsistentResult:
    """Result of a case at some values of the numbers."""
    fields = given.fields + along * numbers["density"]
    problem = case.problem(functional(numbers["network"]))
    return solved(problem, FixedDensity(fields), start)


def quantities(result: NonSelfConsistentResult) -> dict[str, Tensor]:
    """Everything that is differentiated, each a number."""
    generator = torch.Generator().manual_seed(9)

    def along(values: Tensor) -> Tensor:
        weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
        return (values * weights).sum()

    terms = result.energies
    of_electrons = [t for t in result.problem.terms if not isinstance(t, IonTerm)]
    found = {term.name: terms[term.name] for term in of_electrons}
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


def density_and_direction(problem: KohnShamProblem) -> tuple[FixedDensity, Fields]:
    """Superposed atoms and the density of their states: one to start at, the other to go to.

    Functionals are far from linear where the density nearly vanishes: start at the larger minimum.
    """
    pair = [FixedDensity(problem.starting_fields()), rough_density(problem)]
    pair.sort(key=lambda x: float(problem.basis.to_grid(x.fields.density).min()))
    towards, given = pair
    return given, towards.fields - given.fields


def check_derivatives(case: Case, steps: dict[str, float] = STEPS) -> None:
    """Everything that a result knows, by the given density and by the functional."""
    given, along = density_and_direction(case.problem())
    numbers = {key: torch.zeros((), dtype=torch.float64, requires_grad=True) for key in steps}
    result = at(case, given, along, numbers)
    assert result.density_error > 3e-3, "the density is self-consistent: nothing is tested"
    torch.testing.assert_close(result.forces, result.detach().forces, rtol=0, atol=1e-9)
    torch.testing.assert_close(result.stress, result.detach().stress, rtol=0, atol=1e-10)
    implicit = {}
    for quantity, value in quantities(result).items():
        found = torch.autograd.grad(
            value, list(numbers.values()), retain_graph=True, materialize_grads=True
        )
        implicit[quantity] = dict(zip(numbers, map(float, found), strict=True))
    for key, step in steps.items():

        def values(x: float, key: str = key) -> dict[str, Tensor]:
            there = {name: torch.zeros((), dtype=torch.float64) for name in steps}
            there[key] = torch.tensor(x, dtype=torch.float64)
            return quantities(at(case, given, along, there, result))

        with torch.no_grad():
            differences = named_differences(values, step)
        for quantity, difference in differences.items():
            scale = 1e-3 * max(abs(x) for x in implicit[quantity].values())
            text = f"{quantity} by {key}"
            assert_agreement(implicit[quantity][key], difference, AGREEMENT, scale, text)


def check_forces(problem: KohnShamProblem, given: FixedDensity) -> None:
    """Along a random displacement of all atoms, their centre included, and a random strain."""
    result = solved(problem, given)
    assert result.density_error > 3e-3, "the density is self-consistent: nothing is tested"
    none = torch.zeros(3, 3, dtype=torch.float64)
    displacement = torch.randn(len(result.forces), 3, dtype=torch.float64)
    strain = torch.randn(3, 3, dtype=torch.float64)
    strain = strain + strain.T
    displacement, strain = displacement / displacement.norm(), strain / strain.norm()

    def energy(displacement: Tensor, strain: Tensor) -> float:
        there = moved(problem, displacement, strain)
        fields = given.fields_at(problem, there)
        return float(solved(there, FixedDensity(fields), result).free_energy)

    work = -float((result.forces * displacement).sum())
    assert abs(work) > SMALLEST
    assert_derivative(work, lambda x: energy(x * displacement, none), DISPLACEMENT, rel=AGREEMENT)
    work = float((result.stress * strain).sum() * result.basis.volume)
    assert abs(work) > SMALLEST
    still = torch.zeros_like(displacement)
    assert_derivative(work, lambda x: energy(still, x * strain), STRAIN, rel=AGREEMENT)
