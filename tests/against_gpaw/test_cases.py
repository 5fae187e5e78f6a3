from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from deepchem_xc.against_gpaw import CASES, QUICK_CASES, select_cases
from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.keywords import PotentialKind

KINDS: tuple[PotentialKind, ...] = get_args(PotentialKind)


@pytest.mark.parametrize("name", GPAW_SETTINGS)
def test_crystals_are_those_that_gpaw_computed(name: str) -> None:
    for case in (table[kind][name] for table in (CASES, QUICK_CASES) for kind in KINDS):
        assert case.scales == VOLUME_SCALES
        assert case.width == GPAW_SETTINGS[name].width
        for scale in (VOLUME_SCALES[0], VOLUME_SCALES[-1]):
            ours, theirs = case.atoms(scale), GPAW_SETTINGS[name].atoms(scale)
            assert ours.cell[:2].ravel() == pytest.approx(theirs.cell[:2].ravel())
            assert (ours.get_initial_magnetic_moments() != 0).all() == (name == "Ni")


@pytest.mark.parametrize("name", GPAW_SETTINGS)
def test_with_paw_the_settings_are_gpaws(name: str) -> None:
    ours, theirs = CASES["paw"][name], GPAW_SETTINGS[name]
    assert (ours.ecut, ours.kpts) == (theirs.ecut, theirs.kpts)


def test_scaling_a_layer_keeps_its_vacuum() -> None:
    small, large = (CASES["paw"]["graphene"].atoms(scale) for scale in (0.94, 1.06))
    vacuum = CASES["paw"]["graphene"].vacuum
    assert vacuum is not None
    assert small.cell[2, 2] == large.cell[2, 2] == pytest.approx(vacuum)


def test_systems_are_chosen_by_name_in_any_case() -> None:
    assert list(select_cases("AL, graphene")) == ["Al", "graphene"]
    assert list(select_cases()) == list(CASES["paw"])
    for kind in KINDS:
        assert select_cases(["ni"], quick=True, potentials=kind)["Ni"] is QUICK_CASES[kind]["Ni"]


@pytest.mark.parametrize("names", ["xx", "al,xx", "", ","])
def test_unknown_or_no_systems_are_refused_with_the_valid_names(names: str) -> None:
    with pytest.raises(ValueError, match="benchmark has Al, Ni, Ca, graphene"):
        select_cases(names)


def test_every_setting_an_energy_depends_on_changes_the_key() -> None:
    case = CASES["gth"]["graphene"]
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


def test_the_content_of_a_dataset_changes_the_key(tmp_path: Path) -> None:
    """The family's name does not: another version of gpaw-data has other energies."""
    gpaw_data = pytest.importorskip("gpaw_data")
    text = gzip.decompress((gpaw_data.datapath() / "Al.PBE.gz").read_bytes()).decode()
    path = tmp_path / "Al.xml"
    path.write_text(text)
    case = replace(CASES["paw"]["Al"], pseudopotential=str(path))
    first = case.settings()
    assert first["datasets"] == CASES["paw"]["Al"].settings()["datasets"]
    line = next(line for line in text.splitlines() if "<shape_function" in line)
    path.write_text(text.replace(line, line.replace('rc="', 'rc="1')))
    assert case.settings()["datasets"] != first["datasets"]
    assert replace(case, pseudopotential="gth-pbe").settings().keys() == first.keys() - {"datasets"}
