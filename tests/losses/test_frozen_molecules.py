"""Energies at kept density matrices of molecules, against self-consistent calculations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase.build import molecule

from deepchem_xc.gaussian import MolecularResult, scf
from deepchem_xc.losses import FrozenEnergy
from deepchem_xc.xc import PBE, ExactExchange, XCFunctional, get_xc
from tests.differences import assert_agreement, differences

TIGHT = {"energy": 1e-11, "commutator": 1e-10}
FUNCTIONALS = ["lda_x", "PBE", "r2SCAN", "PBE0", "HSE06"]


def solved(name: str, functional: Any, **more: Any) -> MolecularResult:
    spin = {"NH2": 1}.get(name, 0)
    words = {"basis": "6-31g", "spin": spin, "grid_level": 0, "convergence": TIGHT}
    return scf(molecule(name), functional, **{**words, **more})


@pytest.mark.parametrize("name", ["H2O", "NH2"])
@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_a_kept_density_gives_the_energy_of_its_calculation(name: str, functional: str) -> None:
    result = solved(name, functional)
    frozen = FrozenEnergy.of_molecule(result)
    again = FrozenEnergy.from_state_dict(frozen.state_dict())
    for one in (frozen, again):
        assert one.at(get_xc(functional)).item() == pytest.approx(result.energy.item(), abs=1e-11)
    terms = result.energies
    own = sum(float(terms[term]) for term in ("xc", "exact_exchange") if term in terms)
    assert frozen.xc_energy == pytest.approx(own, abs=1e-10)


def test_other_functionals_are_served_whose_ingredients_are_kept() -> None:
    names = ("LDA", "PBE", "r2SCAN", "PBE0", "HSE06")

    def served(by: str) -> list[bool]:
        frozen = FrozenEnergy.of_molecule(solved("H2O", by))
        return [frozen.serves(get_xc(name)) for name in names]

    assert served("PBE") == [True, True, False, False, False]
    assert served("PBE0") == [True, True, False, True, False]
    assert served("HSE06") == [True, True, False, True, True]


@pytest.mark.parametrize("name", ["H2O", "NH2"])
def test_differences_of_functionals_are_derivatives_of_converged_energies(name: str) -> None:
    share = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    more = ExactExchange(0.11, "short") + (-1.0) * get_xc("gga_x_pbe")
    functional: XCFunctional = PBE() + share * more
    start = solved(name, functional)
    frozen = FrozenEnergy.of_molecule(start)
    (slope,) = torch.autograd.grad(frozen.at(functional), [share])

    def energy(step: float) -> float:
        share.data.fill_(0.25 + float(step))
        return solved(name, functional, start=start.density_matrix.detach()).energy.item()

    found = differences(energy, 0.05)
    share.data.fill_(0.25)
    assert_agreement(slope, found, 1e-6)


def test_smeared_levels_give_the_energy_of_zero_width() -> None:
    occupations = {"name": "fermi-dirac", "width": 0.05}
    result = solved("H2O", "PBE", occupations=occupations)
    frozen = FrozenEnergy.of_molecule(result)
    assert frozen.energy == pytest.approx(result.extrapolated_energy.item(), abs=1e-12)
    assert abs(frozen.energy - result.energy.item()) > 1e-6
