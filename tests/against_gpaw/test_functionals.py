from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepchem_xc._files import data_file
from deepchem_xc.against_gpaw import CASES, Case
from deepchem_xc.against_gpaw.functionals import (
    PUBLISHED,
    Row,
    constants_of,
    format_functionals,
    mean_error,
    with_functional,
)
from deepchem_xc.against_gpaw.points import compute_point
from deepchem_xc.xc import PBE, ConstrainedGGA

Curve = Callable[[Case, float, float], list[dict[str, Any]]]


def test_the_files_key_is_its_content_not_its_place(al: Case, tmp_path: Path) -> None:
    paths = [tmp_path / name / "f.safetensors" for name in "abc"]
    for path, functional in zip(paths, (PBE(), PBE(), ConstrainedGGA())):
        path.parent.mkdir()
        functional.save(path)
    one, same, other = (replace(al, xc=str(path)).key() for path in paths)
    assert one == same
    assert len({one, other, al.key(), replace(al, xc="LDA").key()}) == 4


def test_errors_and_their_mean_come_from_the_curves(al: Case, curve: Curve) -> None:
    cases = {"Al": al}
    points = {"Al": curve(al, 4.02, 76.0), "Al, LDA": curve(al, 3.98, 80.0)}
    (row,) = constants_of(cases, points, ["PBE", "LDA"], {"Al": curve(al, 4.0, 77.0)})
    assert row.error("PBE") == pytest.approx(0.005, rel=1e-3)
    assert row.error("LDA") == pytest.approx(-0.005, rel=1e-3)
    rows = [row, Row("Ni", 3.5, {"PBE": 3.535, "LDA": None})]
    assert mean_error(rows, "PBE") == pytest.approx(0.0075, rel=1e-3)
    # A mean over the crystals that happen to have a minimum would say too little.
    assert mean_error(rows, "LDA") is None


def test_a_curve_without_a_minimum_is_shown_as_such(al: Case, curve: Curve) -> None:
    points = {"Al": curve(al, 4.04, 77.0), "Al, x": curve(al, 5.0, 77.0)}
    rows = constants_of({"Al": al}, points, ["PBE", "x"], {"Al": curve(al, 4.04, 77.0)})
    assert rows[0].constants["x"] is None
    assert "no minimum" in format_functionals(rows)


def test_table_has_the_published_errors_beside_ours() -> None:
    rows = [Row(name, 4.0, {"PBE": 4.0, "trained, seed 0": 4.004}) for name in CASES["paw"]]
    header, _, *lines = format_functionals(rows).splitlines()
    assert "arXiv 2602.15923" in header and "GPAW PBE" in header
    for name, line in zip(CASES["paw"], lines):
        assert line.split("|")[1].strip() == name
        assert PUBLISHED[name] in line and "+0.10 %" in line
    assert "0.10 %" in lines[len(CASES["paw"])]
    assert len({len(line) for line in (header, *lines[: len(CASES["paw"]) + 1])}) == 1


def test_volumes_of_the_lda_hold_its_minima() -> None:
    # Lattice constants of the LDA are 0.8 to 4 % below PBE's.
    for case in with_functional(CASES["paw"], "LDA", "LDA").values():
        assert min(case.scales) < 0.96**3 and len(case.scales) >= 5


def test_a_point_is_computed_with_the_functional_of_the_case(al: Case, tmp_path: Path) -> None:
    small = replace(al, ecut=100, kpts=(1, 1, 1))
    ConstrainedGGA().save(tmp_path / "untrained.safetensors")  # the LDA
    found = {
        xc: compute_point(replace(small, xc=xc), 1.0)["energy"]
        for xc in ("PBE", "LDA", str(tmp_path / "untrained.safetensors"))
    }
    pbe, lda, untrained = found.values()
    assert untrained == pytest.approx(lda, abs=1e-6)
    assert abs(pbe - lda) > 0.01


@pytest.mark.parametrize("file", ["gpaw_training.yaml", "gpaw_training_gth.yaml"])
def test_training_crystals_are_not_those_of_the_test(file: str) -> None:
    entries = yaml.safe_load(data_file(file).read_text())
    assert len(entries) >= 10
    symbols = {s for e in entries for s in e["systems"][0]["structure"]["symbols"]}
    assert not symbols & {"Al", "Ni", "Ca", "C"}
