"""A cutoff that is too low for PAW datasets is told of once, with numbers."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.planewave import equation_of_state, low_cutoff, scf
from deepchem_xc.planewave.low_cutoff import (
    SCATTER,
    LowCutoffWarning,
    check_cutoff,
    estimated_cutoff,
)
from deepchem_xc.planewave.measured_cutoffs import MeasuredCutoff, measured_cutoffs
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.potentials import load_potentials
from tests.planewave.paw.test_plane_wave_tail import gaussian

ROW = MeasuredCutoff(
    {"fast": 300.0, "balanced": 360.0},
    ((150.0, None), (200.0, 0.031), (250.0, 0.012), (300.0, 0.003), (360.0, -0.0004)),
)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_cutoff, "_given", set())


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, PAWPotential]:
    """A potential with `ROW` for a row."""
    potential = PAWPotential(gaussian(1, 3.0))
    table = {potential.symbol: {potential.name: ROW}}
    monkeypatch.setattr(low_cutoff, "measured_cutoffs", lambda: table)
    return {potential.symbol: potential}


def message(ecut: float, potentials: dict[str, PAWPotential]) -> str:
    """Of the one warning of a cutoff in eV; "" without one."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_cutoff(ecut / Hartree, potentials)
    assert len(caught) <= 1
    assert all(one.category is LowCutoffWarning for one in caught)
    return str(caught[0].message) if caught else ""


def test_the_warning_names_element_cutoffs_and_the_error_to_expect(
    measured: dict[str, PAWPotential],
) -> None:
    text = message(270.0, measured)
    assert "270 eV" in text and "300 eV for Be (model: " in text and "up to 1.2 %" in text
    assert "ecut=360" in text
    assert "off by up to 3.1 %" in message(240.0, measured)
    for lower in (160.0, 100.0):
        assert "off by more than was measured" in message(lower, measured)


def test_the_fast_cutoff_itself_is_enough(measured: dict[str, PAWPotential]) -> None:
    assert message(300.0, measured) == message(500.0, measured) == ""
    assert message(299.9, measured) != ""


def test_a_dataset_that_was_not_measured_is_judged_by_its_estimate() -> None:
    dataset = PAWPotential(gaussian(1, 3.0))
    potentials = {"Be": dataset}
    needed = estimated_cutoff(dataset)
    text = message(0.99 * needed, potentials)
    assert f"{needed:.0f} eV for Be (model: estimated, to within a factor of {SCATTER:g})" in text
    assert message(1.01 * needed, potentials) == ""


def test_all_elements_are_in_one_warning(
    measured: dict[str, PAWPotential],
) -> None:
    other = PAWPotential(gaussian(0, 40.0))
    text = message(100.0, {**measured, "Ne": other})
    assert "300 eV for Be" in text and f"{estimated_cutoff(other):.0f} eV for Ne" in text


def test_estimates_scatter_around_the_measured_cutoffs_as_they_say() -> None:
    pytest.importorskip("gpaw_data")
    rows = {
        (element, name): row
        for element, found in measured_cutoffs().items()
        for name, row in found.items()
        if name == f"{element}.PBE" and "fast" in row.ecut
    }
    assert len(rows) > 3
    ratios = []
    for (element, _), row in rows.items():
        potential = load_potentials("paw-pbe", [element])[element]
        assert isinstance(potential, PAWPotential)
        ratios.append(np.log(row.ecut["fast"] / estimated_cutoff(potential)))
    scatter = np.exp(np.sqrt(np.mean(np.square(ratios))))
    assert 0.5 * (1.0 + SCATTER) < scatter < SCATTER


KEYWORDS: dict[str, Any] = {
    "ecut": 60.0,
    "kpts": {"size": (2, 2, 2), "gamma": True},
    "occupations": {"name": "fermi-dirac", "width": 0.3},
    "convergence": {"energy": 1e-3, "density": 1e-2},
}


def low_cutoffs(caught: list[warnings.WarningMessage]) -> list[warnings.WarningMessage]:
    return [one for one in caught if one.category is LowCutoffWarning]


def test_a_calculation_points_at_the_line_of_the_user() -> None:
    pytest.importorskip("gpaw_data")
    with pytest.warns(LowCutoffWarning, match="60 eV is low.*Al") as caught:
        scf(bulk("Al"), "PBE", **KEYWORDS, pseudopotentials="paw-pbe")
    assert [Path(one.filename) for one in low_cutoffs(list(caught))] == [Path(__file__)]


def test_a_loop_of_calculations_on_one_line_is_told_once() -> None:
    pytest.importorskip("gpaw_data")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for a in (4.0, 4.1):
            scf(bulk("Al", a=a), "PBE", **KEYWORDS, pseudopotentials="paw-pbe")
    assert len(low_cutoffs(caught)) == 1


def test_where_warnings_are_errors_every_call_raises(measured: dict[str, PAWPotential]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", LowCutoffWarning)
        for _ in range(2):
            with pytest.raises(LowCutoffWarning):
                check_cutoff(1.0, measured)


@pytest.mark.parametrize("kept", [False, True])
def test_an_equation_of_state_tells_once(kept: bool, tmp_path: Path) -> None:
    pytest.importorskip("gpaw_data")
    folder = {"keep_in": tmp_path} if kept else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        equation_of_state(
            bulk("Al"),
            "PBE",
            scales=(0.9, 0.95, 1.0, 1.05, 1.1),
            **KEYWORDS,
            pseudopotentials="paw-pbe",
            **folder,
        )
    found = low_cutoffs(caught)
    assert [Path(one.filename) for one in found] == [Path(__file__)]


def test_norm_conserving_potentials_have_no_such_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", LowCutoffWarning)
        scf(bulk("Al"), "PBE", **KEYWORDS, pseudopotentials="gth-pbe")


def test_every_dataset_of_the_table_is_named_as_a_loaded_one() -> None:
    pytest.importorskip("gpaw_data")
    names = {
        (element, name)
        for element, found in measured_cutoffs().items()
        for name in found
        if name.endswith(".PBE")
    }
    assert names
    for element, name in names:
        variant = re.fullmatch(rf"{element}(?:\.(\w+))?\.PBE", name)
        assert variant is not None
        source = "paw-pbe" if variant[1] is None else f"paw-pbe:{variant[1]}"
        assert load_potentials(source, [element])[element].name == name
