"""What users write after ``pseudopotentials=``, and the warning about the functional."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from deepchem_xc.planewave.pseudo import (
    FunctionalMismatchWarning,
    check_functional,
    functional_label,
    load_gth,
    load_pseudopotential,
    load_pseudopotentials,
)


def test_one_family_for_all_elements() -> None:
    loaded = load_pseudopotentials("gth-pbe", ["O", "Mg", "O"])
    assert list(loaded) == ["O", "Mg"]
    assert loaded["Mg"].valence == 10


def test_a_mapping_with_names_files_objects_and_a_default(psp8_text, write) -> None:
    path = write("mine.psp8", psp8_text(h=0.05))
    carbon = load_gth("C", "gth-pade")
    spec = {"Si": path, "C": carbon, "Ni": "GTH-GGA-q10", "default": "gth-pbe"}
    loaded = load_pseudopotentials(spec, ["C", "Ni", "Si", "O"])
    assert [p.name for p in loaded.values()] == [
        "GTH-PADE-q4",
        "GTH-GGA-q10",
        "mine.psp8",
        "GTH-PBE-q6",
    ]
    assert loaded["C"] is carbon
    assert load_pseudopotential(str(path), "Si").alpha == loaded["Si"].alpha


def test_default_is_for_the_elements_that_are_not_named_and_for_no_others() -> None:
    spec = {"Ni": "GTH-GGA-q10", "default": "gth-pade"}
    loaded = load_pseudopotentials(spec, ["Ni", "Al"])
    assert {symbol: p.name for symbol, p in loaded.items()} == {
        "Ni": "GTH-GGA-q10",
        "Al": "GTH-PADE-q3",
    }
    del spec["default"]
    with pytest.raises(ValueError, match="add 'Al' or a 'default' family"):
        load_pseudopotentials(spec, ["Ni", "Al"])


@pytest.mark.parametrize(
    "spec, message",
    [
        ("gth-nothing", "'gth-nothing' for Si.*Families: gth-pbe, gth-pade"),
        ({"C": "gth-pbe"}, "name nothing for Si"),
        ({"Si": 4}, "neither a name nor a path"),
        (None, "neither a name nor a path"),
        ({"Si": Path("Si.pot")}, r"Si\.pot: there is no such file.*end in one of \.psp8, .*\.upf"),
        ("./absent", r"\./absent: there is no such file or folder .*PAW dataset in one of \.xml"),
        (Path("paw-pbe"), "paw-pbe: there is no such file or folder .names of families"),
        (["paw-pbe"], "neither a name nor a path .*; of PAW datasets: paw-pbe, paw-lda"),
        ("Fe.GTH-PBE-q16", "belongs to Fe"),
        ({"si": "gth-pade", "default": "gth-pbe"}, "name 'si', which is not an element.*'default'"),
        ({"Si": "gth-pbe", "silicon": "gth-pade"}, "name 'silicon', which is not an element"),
        ({"Si": Path(__file__).parent}, "has no file of Si.*no file that can be read"),
    ],
)
def test_mistakes_are_explained(spec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_pseudopotentials(spec, ["Si"])


def test_an_object_of_another_element_is_refused() -> None:
    with pytest.raises(ValueError, match="given for Si"):
        load_pseudopotentials({"Si": load_gth("C", "gth-pbe")}, ["Si"])


@pytest.mark.parametrize("name", ["absent.psp8", "absent.UPF"])
def test_an_absent_file_is_named(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f"no pseudopotential file of Si: '{name}'"):
        load_pseudopotentials(name, ["Si"])


@pytest.mark.parametrize(
    "name, label",
    [
        ("PBE", "PBE"),
        ("gga_x_pbe+gga_c_pbe", "PBE"),
        ("GGA_C_PBE + GGA_X_PBE", "PBE"),
        ("SLA PW PBX PBC", "PBE"),
        ("pbesol", "PBEsol"),
        ("gga_x_pbe_sol+gga_c_pbe_sol", "PBEsol"),
        ("gga_x_b88+gga_c_lyp", "BLYP"),
        ("lda_x+lda_c_pw_mod", "LDA"),
        ("SLA PZ NOGX NOGC", "LDA"),
        ("mgga_x_scan+mgga_c_scan", "SCAN"),
        ("gga_x_wc+gga_c_pbe", "gga_x_wc+gga_c_pbe"),
        ("NNPBE(seed 3)", None),
        ("", None),
    ],
)
def test_functionals_are_recognised_in_all_spellings(name: str, label: str | None) -> None:
    assert functional_label(name) == label


@pytest.mark.parametrize("functional", ["LDA", "lda_x+lda_c_pw", "gga_x_wc+gga_c_pbe", "PBEsol"])
def test_another_functional_is_warned_about_once(functional: str) -> None:
    potentials = load_pseudopotentials({"C": "gth-pbe", "O": "GTH-MGGA-q6"}, ["C", "O"])
    with pytest.warns(FunctionalMismatchWarning, match=r"C \(GTH-PBE-q4: PBE\), O \(GTH-M") as w:
        check_functional(potentials, functional)
    assert len(w) == 1


@pytest.mark.parametrize("functional", [None, "my network"])
def test_potentials_of_two_functionals_are_warned_about_with_any(functional: str | None) -> None:
    potentials = load_pseudopotentials({"C": "gth-pbe", "O": "gth-pade"}, ["C", "O"])
    with pytest.warns(FunctionalMismatchWarning, match=r"different functionals: C .*, O .*LDA"):
        check_functional(potentials, functional)


@pytest.mark.parametrize("functional", ["PBE", "gga_x_pbe+gga_c_pbe", None, "my network"])
def test_the_right_or_an_unknown_functional_is_not(functional: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_functional(load_pseudopotentials("gth-pbe", ["C"]), functional)
