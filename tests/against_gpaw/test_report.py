from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepchem_xc.against_gpaw import CASES, Case, compare, format_table, write_report
from deepchem_xc.against_gpaw.gpaw_reference import load_gpaw_eos
from deepchem_xc.against_gpaw.report import make_curve

Curve = Callable[[Case, float, float], list[dict[str, Any]]]


def test_errors_are_those_of_the_curves(al: Case, curve: Curve) -> None:
    ours, theirs = curve(al, 4.06, 76.0), curve(al, 4.04, 80.0)
    comparison = compare(al, ours, theirs)
    assert comparison.curve.a == pytest.approx(4.06, rel=1e-6)
    assert comparison.curve.fit.modulus == pytest.approx(76.0, rel=1e-4)
    assert comparison.a_error == pytest.approx(4.06 / 4.04 - 1, rel=1e-4)
    assert comparison.modulus_error == pytest.approx(-0.05, rel=1e-3)
    assert comparison.moment_error is None
    assert comparison.curve.seconds == 14.0
    assert "a" in comparison.exceeded


def test_moment_is_compared_at_the_same_volume_whatever_its_sign(curve: Curve) -> None:
    ni = CASES["gth"]["Ni"]
    ours, theirs = (curve(ni, 3.52, 200.0) for _ in range(2))
    for index, point in enumerate(ours):
        point["magmom"] = -(0.55 + 0.02 * index)
    theirs[3]["magmom"] = 0.63
    comparison = compare(ni, ours, theirs)
    assert comparison.curve.moment == pytest.approx(0.61)
    assert comparison.moment_error == pytest.approx(-0.02)
    assert comparison.exceeded == ()
    assert compare(replace(ni, moment_limit=0.01), ours, theirs).exceeded == ("moment",)


def test_the_project_has_a_reference_that_equals_itself() -> None:
    for name, entry in load_gpaw_eos().items():
        if "fit" not in entry:
            continue
        comparison = compare(CASES["paw"][name], entry["points"], entry["points"])
        assert comparison.a_error == comparison.modulus_error == 0
        assert comparison.curve.a == pytest.approx(entry["fit"]["energy"]["a"], rel=1e-6)


def test_points_without_a_minimum_are_refused_by_name(al: Case, curve: Curve) -> None:
    with pytest.raises(ValueError, match="^Al: .*minimum"):
        compare(al, curve(al, 5.0, 80.0), None)
    with pytest.raises(ValueError, match="^reference of Al: .*minimum"):
        compare(al, curve(al, 4.04, 80.0), curve(al, 5.0, 80.0))


def test_table_shows_the_numbers_and_marks_what_is_beyond_expectation(
    al: Case, curve: Curve
) -> None:
    ni = CASES["gth"]["Ni"]
    comparisons = [
        compare(al, curve(al, 4.06, 76.8), curve(al, 4.04, 80.0)),
        compare(ni, curve(ni, 3.53, 200.0), None),
    ]
    header, _, first, second, *notes = format_table(comparisons).splitlines()
    assert header.split("|")[1].strip() == "system"
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells == ["Al", "4.0600", "4.0400", "+0.50 % !", "76.8", "80.0", "-4.00 %"] + [
        "-",
        "-",
        "-",
        "14",
    ]
    cells = [cell.strip() for cell in second.strip("|").split("|")]
    assert cells[:3] == ["Ni", "3.5300", "-"]
    assert cells[7] == "0.700"
    text = "\n".join(notes)
    assert "! beyond" in text
    assert "No reference for Ni" in text
    assert "Coarse" not in text
    assert len({len(line) for line in (header, first, second)}) == 1


def test_coarse_settings_are_shown_as_such(al: Case, curve: Curve) -> None:
    comparison = compare(al, curve(al, 4.04, 80.0), None)
    assert "Coarse settings (--quick)" in format_table([comparison], quick=True)


def test_report_holds_raw_points_settings_and_errors(
    al: Case, tmp_path: Path, curve: Curve
) -> None:
    ours = curve(al, 4.06, 78.0)
    comparison = compare(al, ours, curve(al, 4.04, 80.0))
    paths = write_report([comparison], tmp_path, quick=True, about={"seconds": 1.5})
    content = json.loads(paths["json"].read_text())
    assert content["quick"] is True
    assert content["seconds"] == 1.5
    entry = content["systems"]["Al"]
    assert entry["settings"]["ecut"] == al.ecut
    assert entry["ours"]["energies"] == [point["energy"] for point in ours]
    assert entry["errors"]["a"] == comparison.a_error
    assert entry["gpaw"]["a"] == pytest.approx(4.04)
    assert entry["beyond_expectation"] == ["a"]
    assert "4.0600" in paths["table"].read_text()
    assert paths["figure"].read_bytes().startswith(b"\x89PNG")


def test_a_layer_is_fitted_in_its_area() -> None:
    entry = load_gpaw_eos()["graphene"]
    curve = make_curve(entry["points"])
    assert curve.fit.dimension == 2
    assert curve.a == pytest.approx(2.467, abs=0.002)
    assert curve.fit.modulus == pytest.approx(208, abs=2)
