"""The crystals with measured lattice constants, and how they are dealt into folds."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from deepchem_xc._files import data_file
from deepchem_xc.xc import XCFunctional, get_xc

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "experiment_crystals.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("experiment_crystals", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_number_has_a_source_and_every_omission_a_reason(script: ModuleType) -> None:
    content = json.loads(data_file("experiment.json").read_text())
    assert len(content["crystals"]) >= 25
    for crystal in content["crystals"].values():
        assert crystal["source"] in content["sources"]
    assert all(content["left_out"].values())
    assert not set(content["left_out"]) & set(content["crystals"])
    structures = {crystal["structure"] for crystal in content["crystals"].values()}
    assert structures == {"bcc", "fcc", "diamond", "rocksalt", "cesiumchloride", "zincblende"}
    assert set(script.MOMENTS) <= set(content["crystals"])


@pytest.mark.parametrize("name", ["Fe", "NiAl", "LiH", "ZrC", "Sn"])
def test_entries_are_those_crystals(script: ModuleType, name: str) -> None:
    entry = script.entry_of(name)
    known = script.crystals()[name]
    assert entry.get_true_val() == pytest.approx([known["a"]])
    per_cube = {"bcc": 2, "cesiumchloride": 1}.get(known["structure"], 4)
    assert entry.series.size(1.0) == pytest.approx(known["a"] ** 3 / per_cube)
    # A relative error of UNIT counts as one, whatever the size of the constant.
    assert entry.get_weight() * (script.UNIT * known["a"] / 0.01) ** 2 == pytest.approx(1.0)


def test_volumes_can_follow_the_minimum(script: ModuleType) -> None:
    scales = script.definition_of("Fe")["scales"]
    moved = script.entry_of("Fe", shift=0.9)
    assert moved.scales == pytest.approx([0.9 * scale for scale in scales])
    assert moved.series.size(1.0) == pytest.approx(script.entry_of("Fe").series.size(1.0))


def test_folds_hold_every_crystal_once_and_all_structures(script: ModuleType) -> None:
    dealt = script.folds(5, seed=0)
    names = [name for fold in dealt for name in fold]
    assert sorted(names) == sorted(script.crystals())
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert dealt == script.folds(5, seed=0) != script.folds(5, seed=1)
    for fold in dealt:
        # Crystals of all six structures but the rarest are in every fold.
        kinds = {script.crystals()[name]["structure"] for name in fold}
        assert {"bcc", "fcc", "rocksalt", "zincblende"} <= kinds


def test_crystals_that_only_paw_computes_leave_the_folds_of_the_others(script: ModuleType) -> None:
    only = set(script.crystals()) - set(script.crystals("gth"))
    assert only == {"Na", "NaF", "NaCl", "MgO"}
    for fold in script.folds(5, seed=0):
        assert not set(fold[:-1]) & only


def test_the_prior_costs_nothing_for_mixtures_and_more_the_further_from_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    experiment = importlib.import_module("experiment")

    def cost(functional: XCFunctional) -> float:
        return float(experiment.prior_of(functional, weight=1.0, deviation=0.05)())

    pbe, pbesol, lda = map(get_xc, ("PBE", "PBEsol", "LDA"))
    for mixture in (pbe, pbesol, 0.3 * pbe + 0.7 * pbesol, 1.5 * pbe - 0.5 * pbesol):
        assert cost(mixture) < 1e-20
    # On the way to the LDA the cost is quadratic, and at its end far above one deviation.
    assert cost(0.5 * pbe + 0.5 * lda) == pytest.approx(0.25 * cost(lda), rel=1e-9)
    assert cost(lda) > 1.0


def test_all_electron_constants_are_of_the_same_crystal(script: ModuleType) -> None:
    # Graphite and the 9R structure of lithium are not diamond and bcc.
    assert script.all_electron("C") is None and script.all_electron("Li") is None
    # Fe: 11.3436 Angstrom^3 per atom in K. Lejaeghere et al., Science 351, aad3000 (2016).
    assert script.all_electron("Fe") == pytest.approx((2 * 11.3436) ** (1 / 3), abs=1e-4)
    found = [name for name in script.crystals() if script.all_electron(name) is not None]
    assert len(found) == 17
    for name in found:  # PBE is right to 3 %
        assert script.all_electron(name) == pytest.approx(script.crystals()[name]["a"], rel=0.03)
