"""Clones in crystals and in several codes: ranges of volumes, kept results, and energies."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deepchem_xc.cloning import new_student
from deepchem_xc.parallel import Outcome
from deepchem_xc.xc import get_xc

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def solids(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("cloning_solids")


@pytest.fixture
def crystals(solids: ModuleType) -> ModuleType:
    return importlib.import_module("cloning_crystals")


@pytest.fixture
def codes(solids: ModuleType) -> ModuleType:
    return importlib.import_module("cloning_codes")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """File of a network with random weights."""
    path = tmp_path / "random.safetensors"
    new_student("constrained", get_xc("PBE"), 0).save(path)
    return path


def directly(function: Any, calls: Any, **_: Any) -> Any:
    """As `parallel_map`, in this process."""
    for name, arguments in calls.items():
        yield Outcome(name, function(*arguments))


def curve_with(minimum: float) -> Any:
    """Energies (eV) whose equation of state has its minimum at this relative volume."""

    def energies(points: Sequence[Any]) -> dict[Any, float]:
        return {p: 50.0 * ((minimum / p.scale) ** (2 / 3) - 1) ** 2 for p in points}

    return energies


@pytest.mark.parametrize("minimum", [1.0, 0.85, 1.2])
def test_a_range_without_a_minimum_is_moved_until_it_holds_one(
    solids: ModuleType, minimum: float
) -> None:
    curve = solids.Curve("Si", "PAW")
    fit = solids.search({curve: solids.Window()}, curve_with(minimum), False)[curve]
    a = solids.system_of("Si").crystal.a
    assert fit["a"] == pytest.approx(a * minimum ** (1 / 3), abs=1e-9)


def test_a_curve_without_a_minimum_and_one_that_failed_say_so(solids: ModuleType) -> None:
    bound, failed = solids.Curve("Si", "PAW"), solids.Curve("Al", "PAW")

    def energies(points: Sequence[Any]) -> dict[Any, float | str]:
        fall: dict[Any, float | str] = {p: -p.scale for p in points}
        return {p: "no convergence" if p.crystal == "Al" else e for p, e in fall.items()}

    found = solids.search(dict.fromkeys((bound, failed), solids.Window()), energies, False)
    assert found[bound] == {"failed": "no minimum at volumes 1.18 to 1.36"}
    assert found[failed] == {"failed": "volume 0.91: no convergence"}


def test_a_clones_results_are_kept_and_a_failure_is_a_remark(
    solids: ModuleType,
    crystals: ModuleType,
    clone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[str] = []
    minima = {"parent": 1.0, "first": 1.004, "clone": 1.003}

    def state(point: Any, parent: str, folder: Path) -> Any:
        record = {"energy": curve_with(minima["parent"])([point])[point]}
        return crystals.State(record, Path(), Path())

    def energies(point: Any, parent: str, clone: str, folder: Path, screen: bool) -> Any:
        computed.append(point.name)
        first = {"first_order": curve_with(minima["first"])([point])[point]}
        if screen:
            return first
        if point.crystal == "Al":
            return {**first, "failed": "it does not converge"}
        own = curve_with(minima["clone"])([point])[point]
        return {**first, "energy": own, "steps": 3, "cpu_seconds": 1.0}

    monkeypatch.setattr(solids, "parallel_map", directly)
    monkeypatch.setattr(solids, "parent_state", state)
    monkeypatch.setattr(solids, "clone_energies", energies)
    arguments = (clone, "PBE", ["Si", "Al"], tmp_path)
    solids.run(*arguments, screen=True)
    assert len(computed) == 14
    solids.run(*arguments)
    assert len(computed) == 28
    solids.run(*arguments)
    solids.run(*arguments, screen=True)
    assert len(computed) == 28
    # Crystals have the order of `CRYSTALS`.
    aluminium, silicon = (
        [cell.strip() for cell in line.split("|")]
        for line in solids.tables(tmp_path).splitlines()
        if line.startswith(("| Si", "| Al"))
    )
    a = {name: solids.system_of(name).crystal.a for name in ("Si", "Al")}
    shift = {key: minima[key] ** (1 / 3) - 1 for key in ("first", "clone")}
    assert silicon[4:6] == [f"{a['Si'] * shift[key]:+.4f}" for key in ("first", "clone")]
    assert aluminium[4:6] == [f"{a['Al'] * shift['first']:+.4f}", "-"]
    assert aluminium[9] == "volume 0.91: it does not converge"


def test_another_clone_and_another_parent_have_results_of_their_own(
    solids: ModuleType, clone: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    new_student("constrained", get_xc("PBE"), 1).save(other)
    made = [
        solids.Calculations(str(path), parent, tmp_path, 1, False)
        for path, parent in ((clone, "PBE"), (other, "PBE"), (clone, "PBEsol"))
    ]
    point = solids.Point("Si", "PAW", 0)
    assert len({one.store.path(one._name(point)) for one in made}) == 3


def test_the_self_consistent_energy_is_below_the_first_order_by_the_second(
    crystals: ModuleType, tmp_path: Path
) -> None:
    # A wide gap: with electrons above a small one, extrapolated energies are not the lowest.
    point = crystals.Point("C", "PAW", 0, quick=True)
    parent = crystals.parent_state(point, "PBE", tmp_path).record["energy"]
    same = crystals.clone_energies(point, "PBE", "PBE", tmp_path)
    assert same["first_order"] == pytest.approx(parent, abs=1e-9)
    # The loop's tolerance is 1e-6 eV for each of eight electrons.
    assert same["energy"] == pytest.approx(parent, abs=1e-5)
    found = crystals.clone_energies(point, "PBE", "PBEsol", tmp_path)
    first, second = found["first_order"] - parent, found["energy"] - found["first_order"]
    assert abs(first) > 0.1
    assert -0.02 * abs(first) < second < 1e-5
    assert crystals.clone_energies(point, "PBE", "PBEsol", tmp_path, True) == {
        "first_order": found["first_order"]
    }
    # Kinetic energy densities are not kept with a GGA.
    assert crystals.clone_energies(point, "PBE", "r2SCAN", tmp_path, True) == {"first_order": None}


def test_the_functional_is_evaluated_on_gpaws_grid(crystals: ModuleType) -> None:
    for name, system in crystals.CRYSTALS.items():
        settings = crystals.settings_of(name, "PAW")
        sharp = crystals.settings_of(name, "PAW-sharp")
        assert (settings["ecut_smoothing"] > 0) and sharp["ecut_smoothing"] == 0
        assert settings["fft_size"] == sharp["fft_size"]
        assert settings["fft_size"] == [2 * n for n in system.crystal.gpts]
        assert settings["magmom"] == (0.7 if name == "Ni" else 0.0)
    with pytest.raises(ValueError, match="MgO is not computed with GTH potentials; valid: Al, C"):
        crystals.settings_of("MgO", "GTH")
    with pytest.raises(ValueError, match="no crystal 'Fe'; valid: Al, Cu"):
        crystals.settings_of("Fe", "PAW")


def test_a_network_has_the_same_energy_on_our_gaussians_and_in_pyscf(
    codes: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes, "BASIS", "sto-3g")
    for name in codes.QUICK_MOLECULES:
        energies = codes.molecule_energies(name, str(clone))
        assert energies["ours"] == pytest.approx(energies["pyscf"], abs=codes.AIMS[0])


def test_codes_are_compared_at_their_own_minima(codes: ModuleType) -> None:
    def fits(parent: float, clone: float) -> dict[str, Any]:
        return {
            "parent": {"a": parent, "modulus": 80.0},
            "clone": {"a": clone, "modulus": 81.0},
        }

    crystal = {codes.SHARP: fits(4.0, 4.001), "GPAW": fits(4.0002, 4.0012)}
    cores = {"PAW": fits(4.0, 4.001), "GTH": fits(3.99, 3.9905)}
    found = {"name": "clone", "parent_name": "PBE", "GPAW": {"Al": crystal}, "GTH": {"Al": cores}}
    parent, own = codes.gpaw_rows(found)
    assert parent[2:7] == ["4.0000", "4.0002", "-0.005", "", ""]
    assert own[2:7] == ["4.0010", "4.0012", "-0.005", "+0.0010", "+0.0010"]
    assert codes.gth_rows(found) == [["Al", "clone", "+0.0010", "+0.0005", "+1.00", "+1.00"]]
    crystal["GPAW"]["clone"] = {"failed": "no minimum"}
    assert codes.gpaw_rows(found)[1][-1] == "no minimum"
