"""The rules by which measured lattice constants become cutoffs and densities of meshes."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepchem_xc._files import data_file
from deepchem_xc.feat.protocols import ProtocolTable
from deepchem_xc.planewave.potentials import load_potentials
from deepchem_xc.planewave.pseudo import load_pseudopotential

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "data" / "protocols.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))
    specification = importlib.util.spec_from_file_location("protocols_script", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_a_setting_is_enough_only_if_all_higher_ones_are(script: ModuleType) -> None:
    # The second one is right by chance.
    series = {1.0: 4.04, 2.0: 4.0, 3.0: 4.02, 4.0: 4.002, 5.0: 4.0, 6.0: 4.0, 7.0: 4.0}
    assert script.enough(series, 0.006) == 2.0
    assert script.enough(series, 0.004) == 4.0
    assert script.enough(series, 0.0001) == 5.0


def test_what_is_not_known_of_the_reference_counts_as_error(script: ModuleType) -> None:
    series = {1.0: 4.1, 2.0: 4.0, 3.0: 4.0, 4.0: 4.008, 5.0: 4.0}
    assert script.scatter(list(series.values())) == pytest.approx(0.002)
    assert script.enough(series, 0.005) == 2.0
    assert script.enough(series, 0.003) is None
    # Without a minimum there is no lattice constant, and a larger error than any tolerance.
    assert script.enough({1.0: 4.0, 2.0: None, 3.0: 4.0, 4.0: 4.0, 5.0: 4.0}, 0.01) == 3.0
    assert script.scatter([4.0, 4.0]) == script.scatter([None, 4.0, 4.0]) == math.inf


def test_a_series_ends_where_three_agree(script: ModuleType) -> None:
    asked: list[float] = []

    def value(rung: float) -> float:
        asked.append(rung)
        return 4.0 + 10.0 ** (-rung)

    rungs = [float(n) for n in range(1, 12)]
    assert list(script.climb(rungs, value, stop=True)) == rungs[:6]
    assert asked == rungs[:6]
    assert list(script.climb(rungs, value, stop=False)) == rungs


def test_a_kind_needs_crystals_and_takes_the_densest_mesh_of_them(script: ModuleType) -> None:
    def row(kind: str, fast: float, precise: float | None) -> dict[str, Any]:
        return {"kind": kind, "density": {"fast": fast, "balanced": 4.0, "precise": precise}}

    meshes = {"Al": row("metal", 2.0, 6.0), "Na": row("metal", 3.0, None)}
    meshes["Si"] = row("insulator", 2.0, 3.0)
    found = script.table({}, meshes)["densities"]
    # Sodium's series does not decide what is precise, and one insulator says nothing of others.
    assert found == {"metal": {"fast": 3.0, "balanced": 4.0}}


class Curve:
    """Lattice constants that converge exponentially with cutoff and density."""

    calls = 0

    def __init__(self, atoms: Any, functional: str, **words: Any) -> None:
        type(self).calls += 1
        guess = float(atoms.cell.get_bravais_lattice().vars()["a"])
        a = 4.0 * (1.0 + 0.02 * math.exp(-words["ecut"] / 60.0))
        a *= 1.0 + 0.02 * math.exp(-2.0 * words["kpts"]["density"])
        ratio = (a / guess) ** 3
        inside = min(words["scales"]) < ratio < max(words["scales"])
        self.constants = {"a": a} if inside else None

    def todict(self) -> dict[str, Any]:
        return {"lattice_constants": self.constants}


def test_a_measurement_writes_a_table_and_resumes(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "equation_of_state", Curve)
    output = tmp_path / "protocols.json"
    arguments = ["--elements", "al,ag", "--jobs", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["x", *arguments, "--folder", str(tmp_path / "curves")])
    Curve.calls = 0
    script.main()
    calls, table = Curve.calls, ProtocolTable.read(output)
    assert calls > 20
    for element, name in (("Al", "GTH-PBE-q3"), ("Ag", "GTH-PBE-q11")):
        for protocol, tolerance in script.TOLERANCES.items():
            chosen = table.cutoffs[element][name][protocol]
            assert 0.02 * math.exp(-chosen / 60.0) <= tolerance
            rungs = [
                ecut
                for ecut, _ in json.loads(output.read_text())["elements"][element][name]["errors"]
            ]
            lower = [ecut for ecut in rungs if ecut < chosen]
            # The next lower one is not enough, except for what is added for the reference.
            if lower:
                assert 0.02 * math.exp(-lower[-1] / 60.0) + script.AGREE > tolerance
    assert set(table.densities) == {"metal"}
    script.main()
    assert Curve.calls == calls


def test_datasets_get_rows_beside_those_of_other_potentials_and_no_meshes(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("gpaw_data")
    monkeypatch.setattr(script, "equation_of_state", Curve)
    output = tmp_path / "protocols.json"
    arguments = ["x", "--elements", "al,ag", "--jobs", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--folder", str(tmp_path / "curves")])
    script.main()
    before = json.loads(output.read_text())
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--pseudopotentials", "paw-pbe"])
    script.main()
    after = json.loads(output.read_text())
    printed = capsys.readouterr().out
    for symbol in ("Al", "Ag"):
        row = after["elements"][symbol].pop(f"{symbol}.PBE")
        numbers = " +\\| +".join(f"{cutoff:g}" for cutoff in row["ecut"].values())
        assert re.search(rf"\| {symbol} +\| {symbol}\.PBE +\| fcc +\| +{numbers} ", printed)
    assert after == before


def test_every_dataset_is_measured_under_the_name_by_which_it_is_loaded(
    script: ModuleType,
) -> None:
    pytest.importorskip("gpaw_data")
    known = script.measured("paw-pbe")
    assert list(known.values()) == sorted(known.values())
    assert {symbol for symbol, _ in known} | {"Tc"} == set(script.STRUCTURES)
    for symbol, name in list(known)[::20]:
        loaded = load_potentials(script.source(name), [symbol])[symbol]
        assert loaded.name == name
    assert script.source("Ni.10.PBE") == "paw-pbe:10"
    assert script.source("GTH-PBE-q4") == "GTH-PBE-q4"


def test_the_page_has_the_measured_cutoffs_of_all_datasets(script: ModuleType) -> None:
    elements = json.loads(data_file("protocols.json").read_text())["elements"]
    assert script.cutoffs_table(elements) in (ROOT / "docs" / "paw.md").read_text()


def test_unknown_elements_are_refused(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--elements", "si,xx"])
    with pytest.raises(SystemExit):
        script.main()
    assert "Xx; valid: C, Si" in capsys.readouterr().err


def test_every_crystal_has_a_potential_and_cheap_ones_come_first(script: ModuleType) -> None:
    known = script.measured()
    assert list(known.values()) == sorted(known.values())
    assert {symbol for symbol, _ in known} == set(script.STRUCTURES)
    for symbol, potential in known:
        assert load_pseudopotential(potential, symbol).name == potential
        assert len(script.first_guess(symbol)) in (1, 2)
    assert set(script.KINDS) <= set(script.STRUCTURES)
