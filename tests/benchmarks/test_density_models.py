"""The benchmark of density models: its plan, its rules, and tables of made-up numbers."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("density_models_plan")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("density_models_tables")


def cells(table: str) -> list[list[str]]:
    """Rows of a Markdown table without its header."""
    return [[c.strip() for c in line.strip()[1:-1].split("|")] for line in table.splitlines()[2:]]


def curve(errors: list[float]) -> list[list[float]]:
    return [[i + 1, 1.0, error] for i, error in enumerate(errors)]


def test_a_curve_is_flat_if_its_last_third_gains_less_than_five_per_cent(
    tables: ModuleType,
) -> None:
    assert tables.is_flat(curve([4.0, 2.0, 1.00, 1.1, 0.96, 0.97])) is True
    assert tables.is_flat(curve([4.0, 2.0, 1.00, 1.1, 0.94, 0.97])) is False
    # A last third that is worse gains nothing; the best of the first two thirds stays.
    assert tables.improvement(curve([4.0, 1.0, 2.0, 2.0, 3.0, 3.0])) == 0.0
    # Validations between which there are epochs without one count by their epoch.
    errors = {1: 1.2, 3: 1.0, 9: 0.7, 11: 0.5}
    sparse = [[i + 1, 1.0, errors.get(i)] for i in range(12)]
    assert tables.improvement(sparse) == pytest.approx(0.5)


def test_a_curve_with_too_few_validations_in_either_part_is_neither(tables: ModuleType) -> None:
    assert tables.is_flat([]) is None
    assert tables.is_flat(curve([3.0, 2.0, 1.99])) is None
    late = [[i + 1, 1.0, 0.5 if i > 3 else None] for i in range(6)]
    early = [[i + 1, 1.0, 0.5 if i < 4 else None] for i in range(6)]
    assert tables.is_flat(late) is None
    assert tables.is_flat(early) is None


def test_both_targets_have_the_same_settings_and_every_training_a_name(plan: ModuleType) -> None:
    for quick in (False, True):
        trainings = plan.plan(quick)
        assert len({one.name for one in trainings}) == len(trainings)
        pairs: dict[tuple[Any, ...], dict[str, Any]] = {}
        for one in trainings:
            pair = pairs.setdefault((one.set, one.network, one.seed, one.fraction), {})
            pair[one.target] = one
        for pair in pairs.values():
            assert set(pair) == {"difference", "total"}
            assert pair["difference"].settings is pair["total"].settings
            assert pair["difference"].epochs(281) == pair["total"].epochs(281)


def test_the_plan_has_three_seeds_learning_curves_and_no_training_beyond_its_hours(
    plan: ModuleType,
) -> None:
    trainings = plan.plan()
    whole = Counter((t.set, t.network, t.target) for t in trainings if t.fraction == "1")
    for target in plan.TARGETS:
        for name in ("silicon", "mixed", "molecules"):
            assert whole[name, "atoms", target] == 3
            assert whole[name, "points", target] == (3 if name == "silicon" else 1)
        parts = {t.fraction for t in trainings if (t.set, t.target) == ("silicon", target)}
        assert parts == {"1", "1/2", "1/4", "1/8"}
    assert all(t.hours <= (1.0 if t.network == "atoms" else 2.0) for t in trainings)
    assert all(t.set == "mixed" for t in plan.chosen(trainings, set=["mixed"], seed=None))


def test_parts_are_nested_and_have_every_kind(plan: ModuleType) -> None:
    kinds = {f"{kind} {i}": kind for kind, n in (("a", 88), ("b", 70), ("c", 53)) for i in range(n)}
    parts = {fraction: set(plan.part_of(kinds, fraction)) for fraction in plan.FRACTIONS}
    assert parts["1"] == set(kinds)
    assert parts["1/8"] < parts["1/4"] < parts["1/2"] < parts["1"]
    for fraction, share in (("1/2", 0.5), ("1/4", 0.25), ("1/8", 0.125)):
        counts = Counter(kinds[name] for name in parts[fraction])
        for kind, number in (("a", 88), ("b", 70), ("c", 53)):
            assert abs(counts[kind] - share * number) <= 1.0
    assert plan.part_of(kinds, "1/8") == plan.part_of(kinds, "1/8")


def test_epochs_are_whole_validations_and_about_the_same_steps(plan: ModuleType) -> None:
    for training in plan.plan():
        for number in (35, 70, 281):
            epochs, every = training.epochs(number)
            assert epochs % every == 0
            steps = training.settings.steps
            assert abs(epochs * number - steps) <= max(every, 1) * number


def test_the_test_table_counts_where_the_difference_is_better(tables: ModuleType) -> None:
    errors = {
        "superposition": [{"A": 10.0, "B": 20.0, "C": 30.0}],
        "atoms, difference": [{"A": 1.0, "B": 2.0, "C": 9.0}, {"A": 3.0, "B": 2.0, "C": 9.0}],
        "atoms, total": [{"A": 2.5, "B": 1.0, "C": 10.0}],
    }
    rows = cells(
        tables.error_table(errors, {"atoms, difference": "atoms, total"}, {"atoms, total": -2e-12})
    )
    assert rows[0][:5] == ["superposition", "", "20", "20", "30 (C)"]
    assert rows[1] == [
        "atoms, difference", "2", "4.33 (4 to 4.67)", "2", "9 (C)", "2 of 3 (67 %)", "",
    ]  # fmt: skip
    assert rows[2][5:] == ["", "-2e-12"]
    assert tables.share_better({"A": 1.0, "D": 1.0}, {"A": 1.0, "B": 0.0}) == (0, 1)


def test_the_energy_table_counts_those_within_the_limits(tables: ModuleType) -> None:
    exact = dict.fromkeys(("kohn_sham_free_energy", "forces", "bands"), 0.0)
    errors = {
        "atoms": {
            "bcc": {**exact, "free_energy": -0.9, "gap": None},
            "sc": {**exact, "free_energy": 1.1, "gap": -50.0},
        }
    }
    rows = cells(tables.energy_table(errors))
    by_title = {row[1]: row[2:] for row in rows}
    assert by_title["Harris-Foulkes (meV/atom)"] == ["1 of 2 within 1", "1", "1.1 (sc)"]
    assert by_title["gap (meV)"] == ["0 of 1 within 43", "50", "50 (sc)"]
    assert by_title["forces (meV/Angstrom)"][0] == "2 of 2 within 30"


def test_errors_of_energies_are_signed_and_relative_to_the_fermi_level(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    energies = importlib.import_module("density_models_energies")
    converged = {
        "natom": 2,
        "free_energy": -10.0,
        "kohn_sham_free_energy": -10.0,
        "forces": [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]],
        "fermi_level": 1.0,
        "eigenvalues": [[[-5.0, 0.5, 2.0, 9.0]]],
        "gap": 1.5,
    }
    found = {
        **converged,
        "free_energy": -10.002,
        "kohn_sham_free_energy": -9.996,
        "forces": [[0.003, 0.004, 0.1], [0.0, 0.0, -0.1]],
        "fermi_level": 1.1,
        # All shifted with the Fermi level, but one; the last is too high to count.
        "eigenvalues": [[[-4.9, 0.62, 2.1, 5.0, 12.0]]],
        "gap": 1.4,
    }
    errors = energies.errors(found, converged)
    assert errors == pytest.approx(
        {
            "free_energy": -1.0,
            "kohn_sham_free_energy": 2.0,
            "forces": 5.0,
            "gap": -100.0,
            "bands_mean": 20.0 / 3.0,
            "bands": 20.0,
        }
    )
    assert energies.errors(found, {**converged, "gap": 0.0})["gap"] is None


def test_the_start_table_says_what_is_saved_and_where_it_costs_more(tables: ModuleType) -> None:
    def row(steps: int, applications: float, energy: float = -1.0) -> dict[str, float]:
        return {
            "steps": steps, "applications": applications, "seconds": applications, "wall": 2.0,
            "energy": energy, "moment": 0.5,
        }  # fmt: skip

    costs = {
        "A": {"superposition": row(10, 40.0), "model": row(5, 20.0)},
        "B": {"superposition": row(8, 20.0), "model": row(6, 22.0, -1.0 + 1e-9)},
    }
    ((kind, steps, applications, _, wall, more, energy, moment),) = cells(tables.start_table(costs))
    assert kind == "model"
    assert (steps, applications, wall) == ("38 % (25 %)", "20 % (-10 %)", "0 % (0 %)")
    assert (more, energy, moment) == ("0, 1 of 2", "1e-09", "0e+00")
    assert cells(tables.each_start_table(costs))[1] == ["B", "8 (20.0)", "6 (22.0)"]


def test_the_inference_table_relates_predictions_to_the_loop(tables: ModuleType) -> None:
    part = {"seconds": 0.5, "MiB": 10.0}
    found = [
        {"number": n, "plane_waves": 100 * n, "superposition": part, "network": part, "sum": part}
        for n in (8, 64, 512)
    ]
    rows = cells(tables.inference_table(found, {8: {"seconds": 15.0}, 64: {"stopped": 600.0}}))
    assert rows[0] == ["8", "800", *["0.5 (10)"] * 3, "15", "10 %"]
    assert rows[1][-2:] == ["over 600", "below 0.25 %"]
    assert rows[2][-2:] == ["", ""]


def test_the_training_table_shows_flat_curves_of_finished_trainings_alone(
    tables: ModuleType,
) -> None:
    one = {
        "set": "silicon", "network": "atoms", "target": "total", "seed": 0, "fraction": "1/8",
        "structures": 35, "parameters": 100, "epochs": 6, "cpu_seconds": 1800.0,
        "curve": curve([4.0, 2.0, 1.00, 1.1, 0.96, 0.97]), "finished": True,
    }  # fmt: skip
    started = {**one, "finished": False, "curve": curve([4.0, 2.0])}
    first, second = cells(tables.training_table([one, started]))
    assert first[-5:] == ["6", "210", "0.50", "0.96", "yes, 4.0 %"]
    assert second[-5:] == ["2 of 6", "70", "0.50", "2", ""]


def test_pictures_have_what_they_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    pictures = importlib.import_module("density_models_pictures")
    errors = {"superposition": {"AlP": 10.0, "Si": 20.0}, "atoms": {"AlP": 1.0, "Si": 3.0}}
    ax = pictures.plot_violins(errors, tmp_path / "violins.png")
    assert [text.get_text() for text in ax.get_xticklabels()] == list(errors)
    assert (tmp_path / "violins.png").stat().st_size > 0
    ax = pictures.plot_by_element(errors, {"AlP": ["Al", "P"], "Si": ["Si"]})
    assert [bar.get_height() for bar in ax.patches[3:]] == [1.0, 1.0, 3.0]
    ax = pictures.plot_learning({"difference": {10: 2.0, 20: 1.0}, "total": {20: 3.0}})
    assert ax.lines[0].get_ydata().tolist() == [2.0, 1.0]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["1", "2"]
    ax = pictures.plot_curves({"one": [[1, 1.0, None], [2, 1.0, 0.5]]})
    assert ax.lines[0].get_xdata().tolist() == [1.0]
    ax = pictures.plot_bonding({"atoms": [[0.0, 0.1], [0.2, 0.2]]})
    assert "0.05" in ax.get_legend_handles_labels()[1][0]


def test_only_the_structures_of_a_part_are_computed(
    plan: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = importlib.import_module("density_models_training")
    computed: list[str] = []

    def compute(densities: Any, folder: None, jobs: int) -> dict[str, str]:
        computed.extend(densities.structures)
        return {name: name for name in densities.structures}

    monkeypatch.setattr(training, "compute_densities", compute)
    monkeypatch.setattr(training.DensityRecord, "load", lambda path: path)
    data = training.Data(None, False, 1)
    part = plan.SETTINGS["atoms", "magnets"].part
    found = data.records("magnets", "train", part)
    kinds = {name: s.kind for name, s in data.structures("magnets", "train").items()}
    assert list(found) == computed == plan.part_of(kinds, part)
    assert 0 < len(found) < 0.3 * len(kinds)
    assert set(data.records("magnets", "train")) == set(kinds)
