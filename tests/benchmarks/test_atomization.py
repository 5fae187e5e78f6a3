"""Atomisation energies: their sign and unit, resumption, and molecules that fail."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pyscf import dft, gto

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "atomization.py"
H2 = {"symbols": ["H", "H"], "positions": [[0, 0, 0], [0, 0, 0.74]], "charge": 0, "spin": 0}
H = {"symbols": ["H"], "positions": [[0, 0, 0]], "charge": 0, "spin": 1}
CONTENT = {
    "species": {"h2": H2, "h": H},
    "reactions": [
        {"species": ["h2", "h"], "stoichiometry": [-1, 2], "reference_kcal_mol": 109.493}
    ],
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("atomization", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def directly(function: Any, calls: Any, **_: Any) -> Any:
    """As `parallel_map`, in this process."""
    from deepchem_xc.parallel import Outcome

    for name, arguments in calls.items():
        yield Outcome(name, function(*arguments))


def test_energies_are_pyscfs_and_a_second_run_computes_nothing(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "molecules.json"
    file.write_text(json.dumps(CONTENT))
    monkeypatch.setattr(script, "parallel_map", directly)
    options = ["--reference", str(file), "--functionals", "PBE,RPBE", "--basis", "6-31g"]
    options += ["--grid", "1", "--output", str(tmp_path)]
    assert script.main(options) == 0
    found = json.loads((tmp_path / "atomization.json").read_text())

    def total(kind: Any, atoms: str, spin: int) -> float:
        mf = kind(gto.M(atom=atoms, basis="6-31g", spin=spin, verbose=0), xc="pbe").density_fit()
        mf.grids.level = 1
        return float(mf.kernel())

    energy = 2 * total(dft.UKS, "H 0 0 0", 1) - total(dft.RKS, "H 0 0 0; H 0 0 0.74", 0)
    assert found["errors"]["h2"]["PBE"] == pytest.approx(627.50947 * energy - 109.493, abs=1e-4)
    assert found["mean_absolute_errors"]["RPBE"] != found["mean_absolute_errors"]["PBE"]

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("this was computed before")

    monkeypatch.setattr(script, "energies", never)
    assert script.main(options) == 0
    assert json.loads((tmp_path / "atomization.json").read_text()) == found
    with pytest.raises(AssertionError, match="computed before"):
        script.main([*options, "--grid", "2"])


def test_molecules_with_a_missing_part_are_named(script: ModuleType) -> None:
    table, content = script.report(CONTENT["reactions"], {"h2": {"PBE": -1.16}}, ["PBE"])
    assert "not computed: h2" in table
    assert content["missing"] == ["h2"] and content["mean_absolute_errors"] == {}


def test_unknown_molecules_are_refused_with_those_that_exist(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no molecule xenon; valid: h2"):
        script.chosen(CONTENT["reactions"], "xenon")
