"""The kept equations of state, and what follows from them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deepchem_xc._files import data_file
from deepchem_xc.eos.fits import fit_equation_of_state
from deepchem_xc.metrics import delta_gauge

ROOT = Path(__file__).parents[2]
ROWS: dict[str, Any] = json.loads(data_file("paw_delta.json").read_text())["elements"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location(
        "paw_delta_script", ROOT / "data" / "paw_delta.py"
    )
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("symbol", ROWS)
def test_fits_and_deltas_follow_from_the_kept_energies(symbol: str, script: ModuleType) -> None:
    row = ROWS[symbol]
    plan = script.ELEMENTS[symbol]
    assert (row["ecut"], row["kpts"]["density"]) == plan
    fit = fit_equation_of_state(row["volumes"], row["energies"])
    scales = np.array(row["volumes"]) / row["natoms"] / row["wien2k"]["volume"]
    assert scales == pytest.approx(script.SCALES, abs=1e-9)
    assert fit.size / row["natoms"] == pytest.approx(row["fit"]["volume"], rel=1e-9)
    assert fit.modulus == pytest.approx(row["fit"]["modulus"], rel=1e-7)
    reference = script.wien2k(symbol)
    assert tuple(row["wien2k"].values()) == reference
    assert delta_gauge(fit, reference, natoms=row["natoms"]) == pytest.approx(row["delta"])


def test_the_page_has_the_table_of_the_kept_results(script: ModuleType) -> None:
    page = (ROOT / "docs" / "paw.md").read_text()
    assert script.table(ROWS) in page
    mean = np.mean([row["delta"] for row in ROWS.values()])
    assert f"{len(ROWS)} elements" in page and f"mean {mean:.2f} meV" in page


@pytest.mark.skipif(
    importlib.util.find_spec("gpaw_data") is None, reason="the file names the version of gpaw-data"
)
def test_a_run_keeps_rows_of_other_elements_in_the_order_of_the_plan(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = []

    def curve(atoms: Any, functional: str, *, scales: Any, **keywords: Any) -> Any:
        cells.append(atoms)
        volumes = np.array(scales) * atoms.get_volume()
        energies = 0.5 * (volumes / volumes[3] - 1.0) ** 2
        points = [
            SimpleNamespace(size=v, energy=e, magnetic_moment=0.0)
            for v, e in zip(volumes, energies, strict=True)
        ]
        return SimpleNamespace(points=points, fit=fit_equation_of_state(volumes, energies))

    monkeypatch.setattr(script, "equation_of_state", curve)
    output = tmp_path / "delta.json"
    for names in ("si", "al"):
        arguments = ["x", "--elements", names, "--output", str(output), "--folder", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", arguments)
        script.main()
    rows = json.loads(output.read_text())["elements"]
    assert list(rows) == ["Al", "Si"]
    assert [len(atoms) for atoms in cells] == [2, 1]  # primitive cells
    for row in rows.values():
        assert row["fit"]["volume"] == pytest.approx(row["wien2k"]["volume"], rel=1e-2)


def test_unknown_elements_are_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--elements", "al,xx"])
    with pytest.raises(SystemExit):
        script.main()
    assert "Xx; valid: Al, Si" in capsys.readouterr().err
