"""Reactions in a box and on Gaussians: one Hamiltonian, balanced reactions, resumption."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepchem_xc.gaussian import Molecule
from deepchem_xc.planewave.pseudo import load_pseudopotential

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("box_and_gaussians")


def test_reactions_conserve_atoms(script: ModuleType) -> None:
    for reaction, numbers in script.REACTIONS.items():
        atoms: Counter[str] = Counter()
        for name, number in numbers.items():
            for symbol in script.structure(name).get_chemical_symbols():
                atoms[symbol] += number
        assert not any(atoms.values()), reaction


@pytest.mark.parametrize("symbol", ["H", "N", "O", "Si"])
def test_both_solvers_have_the_same_potential(script: ModuleType, symbol: str) -> None:
    atoms = script.Atoms(symbol)
    spin = {"H": 1, "N": 3}.get(symbol, 2)
    basis = script.functions("even-tempered", [symbol])
    mole = Molecule.of(atoms, basis=basis, spin=spin, pseudopotentials=script.POTENTIALS).mole
    electrons, radius, _, local, _, *projectors = mole._pseudo[symbol]
    ours = load_pseudopotential(script.POTENTIALS, symbol).parameters
    assert list(ours.electrons) == electrons
    assert (ours.local_radius, list(ours.local_coefficients)) == (radius, local)
    # PySCF also lists channels without projectors.
    theirs = [(radius, matrix) for radius, number, matrix in projectors if number]
    assert [(r, [list(row) for row in h]) for _, r, h in ours.projectors] == theirs


def test_even_tempered_functions_are_lower_than_those_made_for_the_potentials(
    script: ModuleType,
) -> None:
    made, tempered = (script.on_gaussians("H2", "PBE", basis) for basis in script.BASES)
    assert tempered < made < tempered + 0.05  # eV


def test_hydrogen_in_a_box_has_the_energy_that_it_has_on_gaussians(script: ModuleType) -> None:
    boxed = script.in_a_box("H2", "LDA", 7.0, 2000.0)
    # The cutoff adds 6 meV, next to one of 3500 eV, and the box takes 3 meV away.
    assert abs(boxed - script.on_gaussians("H2", "LDA", "even-tempered")) < 0.02


def test_a_second_run_computes_nothing_and_settings_make_other_records(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    energies = {"H2": -31.0, "N2": -541.0, "O2": -868.0, "H2O": -468.0}
    energies |= {"NH3": -319.0, "Si": -102.0, "Si2": -209.0}
    calls: list[Any] = []

    def boxed(name: str, functional: str, box: float, ecut: float) -> float:
        calls.append((name, box, ecut))
        return energies[name] + 100.0 * (name == "NH3") / box**3

    def on_gaussians(name: str, functional: str, basis: str) -> float:
        calls.append((name, basis))
        return energies[name]

    monkeypatch.setattr(script, "in_a_box", boxed)
    monkeypatch.setattr(script, "on_gaussians", on_gaussians)
    arguments = ["--output", str(tmp_path), "--functionals", "PBE", "--boxes", "6,8"]
    assert script.main(arguments) == 0
    assert len(calls) == 4 * len(script.SPINS)
    assert ("Si2", 10.5, 500.0) in calls and ("N2", 6.0, 2700.0) in calls
    assert script.main(arguments) == 0
    assert len(calls) == 4 * len(script.SPINS)
    found = json.loads((tmp_path / "box_and_gaussians.json").read_text())["reactions"]
    ammonia = next(record for record in found if "NH3" in record["reaction"])
    assert ammonia["boxes"]["6"] == pytest.approx(-4.0 + 200 / 6**3)
    assert ammonia["gaussians"]["even-tempered"] == pytest.approx(-4.0)
    assert ammonia["difference"] == pytest.approx(200 / 8**3), "of the largest box"
    water = next(record for record in found if "H2O" in record["reaction"])
    assert water["gaussians"]["gth-qzv3p"] == pytest.approx(-468.0 + 31.0 + 434.0)
    assert script.main([*arguments, "--ecut", "3000", "--report"]) == 1, "not computed"
