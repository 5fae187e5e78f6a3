from __future__ import annotations

from dataclasses import replace

import pytest

from deepchem_xc.against_gpaw import CASES, QUICK_CASES, select_cases
from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS
from deepchem_xc.eos.scales import VOLUME_SCALES


@pytest.mark.parametrize("name", CASES)
def test_crystals_are_those_that_gpaw_computed(name: str) -> None:
    assert CASES[name].scales == VOLUME_SCALES
    for cases in (CASES, QUICK_CASES):
        case = cases[name]
        assert case.width == GPAW_SETTINGS[name].width
        for scale in (VOLUME_SCALES[0], VOLUME_SCALES[-1]):
            ours, theirs = case.atoms(scale), GPAW_SETTINGS[name].atoms(scale)
            assert ours.cell[:2].ravel() == pytest.approx(theirs.cell[:2].ravel())
            assert (ours.get_initial_magnetic_moments() != 0).all() == (name == "Ni")


def test_scaling_a_layer_keeps_its_vacuum() -> None:
    small, large = (CASES["graphene"].atoms(scale) for scale in (0.94, 1.06))
    vacuum = CASES["graphene"].vacuum
    assert vacuum is not None
    assert small.cell[2, 2] == large.cell[2, 2] == pytest.approx(vacuum)


def test_systems_are_chosen_by_name_in_any_case() -> None:
    assert list(select_cases("AL, graphene")) == ["Al", "graphene"]
    assert list(select_cases()) == list(CASES)
    assert select_cases(["ni"], quick=True)["Ni"] is QUICK_CASES["Ni"]


@pytest.mark.parametrize("names", ["xx", "al,xx", "", ","])
def test_unknown_or_no_systems_are_refused_with_the_valid_names(names: str) -> None:
    with pytest.raises(ValueError, match="benchmark has Al, Ni, Ca, graphene"):
        select_cases(names)


def test_every_setting_an_energy_depends_on_changes_the_key() -> None:
    case = CASES["graphene"]
    changes = [
        {"pseudopotential": "gth-uzh"},
        {"ecut": case.ecut + 1},
        {"kpts": (2, 2, 1)},
        {"width": 0.2},
        {"magmom": 1.0},
        {"vacuum": 11.5},
        {"density": 1e-3},
        {"energy": 1e-3},
        {"system": "Al"},
    ]
    keys = {replace(case, **change).key() for change in changes} | {case.key()}
    assert len(keys) == len(changes) + 1
    assert replace(case, a_limit=0.5, modulus_limit=0.5, moment_limit=0.5).key() == case.key()
