"""Energies at kept densities, in PAW spheres as well, against self-consistent calculations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.losses import FrozenEnergy
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.xc import PBE, FunctionalValueError, XCFunctional, get_xc
from tests.differences import assert_agreement, differences

pytest.importorskip("gpaw_data")
pytestmark = pytest.mark.filterwarnings(
    "ignore::deepchem_xc.planewave.low_cutoff.LowCutoffWarning", "ignore:the functional is"
)

WORDS: dict[str, Any] = {
    "pseudopotentials": "paw-pbe",
    "kpts": {"size": (2, 2, 2), "gamma": True},
    "convergence": {"energy": 1e-11, "density": 1e-10, "maxiter": 100},
}
SMEARED = {"name": "fermi-dirac", "width": 0.2}


def silicon(**keywords: Any) -> tuple[Atoms, dict[str, Any]]:
    return bulk("Si"), {"ecut": 150.0, "occupations": {"name": "fixed"}, **WORDS, **keywords}


def salt(**keywords: Any) -> tuple[Atoms, dict[str, Any]]:
    """Two species, one displaced, so that directions in the spheres are not all equivalent."""
    atoms = bulk("LiH", "rocksalt", a=4.0)
    atoms.positions[1, 2] += 0.1
    return atoms, {"ecut": 200.0, "occupations": {"name": "fixed"}, **WORDS, **keywords}


def nickel(**keywords: Any) -> tuple[Atoms, dict[str, Any]]:
    atoms = bulk("Ni", a=3.5)
    atoms.set_initial_magnetic_moments([0.7])
    words = {"ecut": 300.0, "occupations": SMEARED, **WORDS, **keywords}
    return atoms, {**words, "pseudopotentials": "paw-pbe:10"}


def solved(case: tuple[Atoms, dict[str, Any]], functional: str | XCFunctional = "PBE") -> SCFResult:
    atoms, keywords = case
    return scf(atoms, functional, **keywords)


@pytest.fixture(scope="module", params=[silicon, salt, nickel], ids=lambda case: case.__name__)
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def trainable() -> XCFunctional:
    return PBE(trainable=True)


@pytest.fixture(scope="module")
def result(case: Any, trainable: XCFunctional) -> SCFResult:
    return solved(case(), trainable)


def energy_and_constant(result: SCFResult) -> tuple[float, float]:
    """Energy, and that of the datasets' own XC, which results leave out, Hartree."""
    spheres = result.problem.spheres
    assert spheres is not None
    constant = sum(
        len(atoms) * spheres.potentials[species].dataset.reference.xc
        for species, atoms in spheres.atoms.items()
    )
    return float(result.detach().extrapolated_energy), constant


def check_it_is_the_calculations(result: SCFResult) -> None:
    frozen = FrozenEnergy.of(result)
    energy, constant = energy_and_constant(result)
    for kept in (frozen, FrozenEnergy.from_state_dict(frozen.state_dict())):
        at = kept.at(result.problem.functional).detach()
        assert float(at) == pytest.approx(energy, abs=1e-12)
        xc = float(result.detach().energies["xc"])
        assert kept.xc_energy - constant == pytest.approx(xc, abs=1e-9)


def test_a_kept_density_gives_the_energies_of_its_calculation(result: SCFResult) -> None:
    check_it_is_the_calculations(result)


def test_a_meta_gga_finds_its_kinetic_energy_density_in_spheres_as_well() -> None:
    meta = solved(silicon(), "r2SCAN")
    check_it_is_the_calculations(meta)
    assert FrozenEnergy.of(meta).serves(get_xc("TPSS"))


def test_derivatives_by_parameters_are_those_of_the_free_energy(
    result: SCFResult, trainable: XCFunctional
) -> None:
    """It is stationary; the density and everything else in it stand still to first order."""
    parameters = tuple(trainable.parameters())
    kept = torch.autograd.grad(FrozenEnergy.of(result).at(trainable), parameters)
    expected = torch.autograd.grad(result.free_energy, parameters, retain_graph=True)
    assert len(parameters) == 3
    torch.testing.assert_close(kept, expected, rtol=1e-8, atol=1e-10)


def test_differences_of_functionals_are_derivatives_of_converged_energies(
    result: SCFResult, case: Any
) -> None:
    frozen, more = FrozenEnergy.of(result), get_xc("lda_x")
    found = float(frozen.at(PBE() + more)) - float(frozen.at(PBE()))
    atoms, keywords = case()
    start = result.detach()

    def free_energy(step: float) -> float:
        mixed = get_xc("PBE") + float(step) * more
        return float(scf(atoms, mixed, **keywords, start=start).free_energy)

    assert_agreement(found, differences(free_energy, 0.02), 1e-6)


def test_fewer_points_by_symmetry_give_the_same_energies(result: SCFResult, case: Any) -> None:
    every = solved(case(symmetry="off"))
    reduced, full = FrozenEnergy.of(result.detach()), FrozenEnergy.of(every)
    assert len(reduced.weights) < 0.5 * len(full.weights)
    for name in ("PBE", "RPBE", "LDA"):
        energies = [float(kept.at(get_xc(name))) for kept in (reduced, full)]
        assert energies[0] == pytest.approx(energies[1], abs=1e-7), name


class _FailsAtHighDensities(XCFunctional):
    """NaN at densities that only spheres have."""

    name = "fails"
    family = 1

    def energy_density(self, variables: Any) -> torch.Tensor:
        density = variables.density
        return torch.where(density > 10.0, torch.full_like(density, torch.nan), -density)


def test_a_functional_that_gives_nan_in_spheres_alone_is_named(result: SCFResult) -> None:
    with pytest.raises(FunctionalValueError, match="fails gives nan as energy at"):
        FrozenEnergy.of(result.detach()).at(_FailsAtHighDensities())
