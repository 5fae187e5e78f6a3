"""The benchmark of cloning: its plan, its measures, and tables of made-up numbers."""

from __future__ import annotations

import importlib
import itertools
import math
import time
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc._files import file_digest
from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning import (
    HELD_OUT,
    SAMPLED,
    GridDensity,
    compare_energies,
    new_student,
    parent_densities,
)
from deepchem_xc.cloning.atomisation import KCAL_PER_MOL
from deepchem_xc.cloning.densities import kohn_sham
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.store import Store
from deepchem_xc.xc import ConstrainedGGA, SpinParam, ValGrad, get_xc
from deepchem_xc.xc.sampling import sample_points

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


class Scripts:
    """Modules of the benchmark by the rest of their name."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(f"cloning_{name}")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Scripts:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return Scripts()


def cells(table: str) -> list[list[str]]:
    """Rows of a Markdown table without its header."""
    return [[c.strip() for c in line.strip()[1:-1].split("|")] for line in table.splitlines()[2:]]


def grid(spins: int = 2, npoints: int = 40) -> GridDensity:
    """Random densities of both channels; with one spin both are the same."""
    points = sample_points(spins, npoints)
    if spins == 1:
        half = ValGrad(value=points.value / 2, grad=points.grad / 2, kin=points.kin / 2)
        points = SpinParam(u=half, d=half)
    return GridDensity(points, torch.ones(npoints, dtype=torch.float64))


def test_every_clone_has_a_name_and_parents_have_five_seeds_of_each_kind(scripts: Scripts) -> None:
    for quick in (False, True):
        clones = scripts.plan.plan(quick)
        assert len({clone.name for clone in clones}) == len(clones)
    clones = scripts.plan.plan()
    numbers = Counter((c.parent, c.student, c.recipe) for c in clones)
    for parent in ("PBE", "PBEsol", "r2SCAN", "SCAN"):
        for kind in itertools.product(scripts.plan.STUDENTS, ("protocol", "polished")):
            assert numbers[(parent, *kind)] == 5
    assert numbers["PBE", "constrained", "random"] == 5
    assert numbers["PBE0_semilocal", "unconstrained", "protocol"] == 5
    assert numbers["PBE0_semilocal", "constrained", "protocol"] == 1
    (protocol,) = {c.settings for c in clones if c.recipe == "protocol"}
    assert (protocol.points, protocol.molecules) == (800, SAMPLED)
    assert (protocol.steps, protocol.polish, protocol.energy_steps) == (20_000, 0, 0)
    assert {c.parent for c in scripts.plan.chosen(clones, parent=["PBE"], seed=None)} == {"PBE"}


def test_a_constrained_student_cannot_have_a_part_of_exchange(scripts: Scripts) -> None:
    # Why the plan has one seed of it: F_x of three quarters of PBE's exchange begins at 0.75.
    parent = get_xc(scripts.plan.PARENTS["PBE0_semilocal"])
    for seed in range(3):
        student = new_student("constrained", parent, seed)
        curve = scripts.points.curves(parent, student)["1"]
        assert curve["clone"][0] == pytest.approx(1.0, abs=1e-9)
        assert curve["parent"][0] == pytest.approx(0.75, abs=1e-9)


def test_reactions_are_balanced_and_have_a_molecule_that_is_not_sampled(scripts: Scripts) -> None:
    molecules = scripts.molecules
    for quick, sampled in ((False, SAMPLED), (True, scripts.plan.QUICK)):
        for title, parts in molecules.reactions(quick).items():
            total: Counter[str] = Counter()
            for name, count in parts.items():
                for symbol in g2_molecule(name).get_chemical_symbols():
                    total[symbol] += count
            assert not any(total.values()), title
            assert set(parts) - set(sampled), title
            sides = [side.split(" + ") for side in title.split(" -> ")]
            written: dict[str, int] = {}
            for sign, side in zip((-1, 1), sides, strict=True):
                for term in side:
                    number, _, name = term.rpartition(" ")
                    written[name] = sign * int(number or 1)
            assert written == dict(parts)
        tested = molecules.tested(quick)
        assert len(set(tested)) == len(tested)
        assert {*molecules.held_out(quick)} <= {*tested}


def test_the_rest_of_g2_has_no_sum_formula_that_is_sampled(scripts: Scripts) -> None:
    molecules = scripts.molecules
    rest = molecules.rest_of_g2(False)
    formulas = {molecules.formula(g2_molecule(name)) for name in SAMPLED}
    assert not formulas & {molecules.formula(g2_molecule(name)) for name in rest}
    assert {*HELD_OUT} <= {*rest}
    # Two isomers of a sampled molecule, by name not sampled, are left out too.
    assert "CH2_s1A1d" in rest and "CH3" not in rest


def test_a_student_that_is_its_parent_has_no_error_at_points(scripts: Scripts) -> None:
    student = ConstrainedGGA(base="pbe")
    electrons, squares = scripts.points.squared_errors(get_xc("PBE"), student, grid())
    assert electrons.tolist() == (grid().densinfo.u.value + grid().densinfo.d.value).tolist()
    assert set(squares) == {"F_x", "F_c", "de/dn", "de/dgrad"}
    for name, square in squares.items():
        assert square.max() < 1e-16, name


def test_errors_of_derivatives_are_differences_of_energies(scripts: Scripts) -> None:
    parent, student = get_xc("r2SCAN"), get_xc("LDA")
    # Energies are smooth at ordinary densities, where steps of 1e-5 have errors below 1e-8.
    points = grid(1)
    keep = (points.densinfo.u.value > 1e-4).nonzero()[:12, 0]
    half = ValGrad(
        value=points.densinfo.u.value[keep],
        grad=points.densinfo.u.grad[:, keep],
        kin=points.densinfo.u.kin[keep],
    )
    given = GridDensity(SpinParam(u=half, d=half), torch.ones(len(keep), dtype=torch.float64))
    clone = ConstrainedGGA()  # untrained and without a base: LDA
    _, squares = scripts.points.squared_errors(parent, clone, given)

    def change(**fields: torch.Tensor) -> torch.Tensor:
        up = ValGrad(**{"value": half.value, "grad": half.grad, "kin": half.kin, **fields})
        both = SpinParam(u=up, d=half)
        return student.get_edensityxc(both) - parent.get_edensityxc(both)

    step = 1e-5
    length = half.grad.norm(dim=0)
    slopes = {
        "de/dn": (half.value, lambda f: {"value": half.value * f}),
        "de/dgrad": (half.value, lambda f: {"grad": half.grad * f}),
        "de/dtau": (half.value, lambda f: {"kin": half.kin * f}),
    }
    assert bool((length > 0.0).all())
    for name, (density, moved) in slopes.items():
        # A relative step: the derivative is already multiplied by n, |grad n| or tau.
        slope = (change(**moved(1.0 + step)) - change(**moved(1.0 - step))) / (2.0 * step * density)
        found = np.sqrt(squares[name])
        assert found == pytest.approx(1e3 * slope.abs().numpy(), rel=1e-5, abs=1e-4), name


def test_bins_hold_means_over_electrons(scripts: Scripts) -> None:
    places = {"s": np.array([0.1, 0.1, 0.3, 20.0])}
    electrons = np.array([1.0, 3.0, 2.0, 2.0])
    squares = {"F_x": np.array([4.0, 0.0, 9.0, 1.0])}
    found = scripts.points.binned(places, electrons, squares)
    assert found["all"]["F_x"] == pytest.approx(math.sqrt(24.0 / 8.0))
    rows = found["bins"]["s"]
    assert rows["electrons"][:2] == [0.5, 0.25]
    assert rows["F_x"][:3] == [1.0, 3.0, None]
    assert rows["F_x"][-1] == 1.0


def test_points_of_several_molecules_keep_their_electrons(scripts: Scripts) -> None:
    one = grid(2, 7)
    joined = scripts.points.joined([one, one])
    assert joined.nelectrons == pytest.approx(2.0 * one.nelectrons)
    assert joined.densinfo.d.grad.shape == (3, 14)


def hydrogen(scripts: Scripts) -> dict[str, Any]:
    """Descriptors of the exact 1s density on a radial grid."""
    radius = torch.linspace(1e-3, 25.0, 40_001, dtype=torch.float64)
    weights = 4.0 * math.pi * radius.square() * (radius[1] - radius[0])
    density = torch.exp(-2.0 * radius) / math.pi
    zero = torch.zeros_like(density)
    up = ValGrad(value=density, grad=torch.stack([-2.0 * density, zero, zero]), kin=0.5 * density)
    down = ValGrad(value=zero, grad=torch.zeros(3, len(zero), dtype=torch.float64), kin=zero)
    found: dict[str, Any] = scripts.descriptors.distribution(
        GridDensity(SpinParam(u=up, d=down), weights)
    )
    return found


def test_the_hydrogen_atom_has_the_descriptors_of_its_density(scripts: Scripts) -> None:
    found = hydrogen(scripts)
    assert found["electrons"] == pytest.approx(1.0, abs=1e-5)
    # Half of the electron is within 1.33703 bohr; n = exp(-2 r) / pi there, and s grows with r.
    density = math.exp(-2.0 * 1.33703) / math.pi
    median = {name: quantiles[2] for name, quantiles in found["quantiles"].items()}
    assert median["r_s"] == pytest.approx((3.0 / (4.0 * math.pi * density)) ** (1 / 3), rel=1e-3)
    assert median["s"] == pytest.approx((3.0 * math.pi**2 * density) ** (-1 / 3), rel=1e-3)
    assert found["quantiles"]["zeta"] == pytest.approx([1.0] * 5)
    assert found["quantiles"]["alpha"] == pytest.approx([0.0] * 5, abs=1e-8)
    for name, shares in found["shares"].items():
        assert sum(shares) == pytest.approx(1.0), name
    assert np.sum(found["joint"]) == pytest.approx(1.0)


def test_distributions_overlap_with_themselves_alone(scripts: Scripts) -> None:
    one, other = [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]
    assert scripts.descriptors.overlap(one, one) == 1.0
    assert scripts.descriptors.overlap(one, other) == 0.5
    assert scripts.descriptors.unsampled(one, other) == 0.5
    assert scripts.descriptors.unsampled(one, one) == 0.0


def test_self_consistent_errors_are_those_of_compare_energies(
    scripts: Scripts, tmp_path: Path
) -> None:
    (kept,) = parent_densities("PBE", ["H2"], tmp_path, basis="sto-3g", progress=False)
    found = scripts.energies.self_consistent(kept, get_xc("LDA"), 3)
    wanted = compare_energies("LDA", "PBE", ["H2"], tmp_path, basis="sto-3g", progress=False)
    assert found["failure"] is None
    assert found["error"] == pytest.approx(wanted.molecules["H2"], abs=1e-6)


@pytest.fixture
def tiny(scripts: Scripts, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clone of hydrogen's points, in three stages."""
    plan = scripts.plan
    made = plan.Settings(9, 4, 2, 0.1, ("H2",), points=40, basis="sto-3g", grid_level=0)
    monkeypatch.setitem(plan.QUICK_RECIPES, "polished", made)
    return plan.Clone("PBE", "constrained", "polished", quick=True)


def test_an_interrupted_training_ends_with_the_same_clone(
    scripts: Scripts, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = scripts.training
    data = training.Data(tmp_path)
    assert training.train(tiny, data, tmp_path / "whole", math.inf)
    clock = itertools.count()
    ticking = SimpleNamespace(monotonic=lambda: next(clock), process_time=time.process_time)
    monkeypatch.setattr(training, "time", ticking)
    runs = 0
    while not training.train(tiny, training.Data(tmp_path), tmp_path / "parts", next(clock) + 4):
        assert training.trained(tmp_path / "parts", tiny) is None
        runs += 1
    assert runs >= 2
    whole, parts = (training.trained(tmp_path / name, tiny) for name in ("whole", "parts"))
    assert (
        whole["model"]
        == parts["model"]
        == file_digest(training.clone_file(tmp_path / "parts", tiny))
    )
    assert whole["errors"] == parts["errors"]


def test_a_clone_of_other_settings_is_not_taken_for_this_one(
    scripts: Scripts, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, plan = scripts.training, scripts.plan
    data = training.Data(tmp_path)
    training.train(tiny, data, tmp_path, math.inf)
    path = training.clone_file(tmp_path, tiny)
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    with pytest.raises(SystemExit, match="not the file that was trained"):
        training.trained(tmp_path, tiny)
    path.write_bytes(content)
    other = plan.Settings(5, molecules=("H2",), points=40, basis="sto-3g", grid_level=0)
    monkeypatch.setitem(plan.QUICK_RECIPES, "polished", other)
    assert training.trained(tmp_path, tiny) is None
    with pytest.raises(SystemExit, match="other settings"):
        training.train(tiny, data, tmp_path, math.inf)


def test_random_baselines_are_exactly_new_students(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan, training = scripts.plan, scripts.training
    made = plan.Settings(molecules=("H2",), points=40, basis="sto-3g", grid_level=0)
    monkeypatch.setitem(plan.QUICK_RECIPES, "random", made)
    clone = plan.Clone("PBE", "unconstrained", "random", 3, quick=True)
    assert training.train(clone, training.Data(tmp_path), tmp_path, math.inf)
    found = get_xc(training.clone_file(tmp_path, clone))
    wanted = new_student("unconstrained", get_xc("PBE"), 3)
    points = grid().densinfo
    assert torch.equal(found.get_edensityxc(points), wanted.get_edensityxc(points))


W4 = """{"species": {
 "h2": {"symbols": ["H", "H"], "positions": [[0, 0, 0], [0, 0, 0.74]], "charge": 0, "spin": 0},
 "h": {"symbols": ["H"], "positions": [[0, 0, 0]], "charge": 0, "spin": 1}},
 "reactions": [{"species": ["h2", "h"], "stoichiometry": [-1, 2], "reference_kcal_mol": 109.5}]}"""


def test_energies_of_the_larger_set_are_those_of_the_functionals_at_one_density(
    scripts: Scripts, tiny: Any, tmp_path: Path
) -> None:
    training, energies = scripts.training, scripts.energies
    reference = tmp_path / "w4_11.json"
    reference.write_text(W4)
    data = training.Data(tmp_path)
    training.train(tiny, data, tmp_path, math.inf)
    assert energies.evaluate_set([tiny], data, tmp_path, math.inf, reference)
    found = dict(energies.set_errors([tiny], tmp_path, reference))
    assert list(found) == ["h", "h2"]
    # PySCF sums the same density with both functionals.
    atoms = scripts.molecules.w4_11(reference)["h2"]
    (kept,) = data.densities(tiny, {"h2": atoms})
    totals = []
    for functional in (get_xc(training.clone_file(tmp_path, tiny)), "PBE"):
        mf = to_pyscf(functional, kohn_sham(atoms, "sto-3g", 2))
        totals.append(mf.energy_tot(kept.density_matrix.sum(0)))
    error = found["h2"]["errors"][tiny.name]
    assert error == pytest.approx(1e3 * (totals[0] - totals[1]), abs=1e-5)
    # The report knows the reaction, and the clone's deviation is the parent's plus its error.
    report = scripts.report
    (measured,) = report._set_of([tiny], tmp_path, reference, False).values()
    apart = KCAL_PER_MOL * (2.0 * found["h"]["energy"] - found["h2"]["energy"])
    assert measured["parent"] == pytest.approx(abs(apart - 109.5))
    wrong = 2.0 * found["h"]["errors"][tiny.name] - error
    wrong *= 1e-3 * KCAL_PER_MOL
    assert measured["mean"] == pytest.approx(abs(wrong))
    assert measured["clone"] == pytest.approx(abs(apart + wrong - 109.5))
    # A record of another clone's file does not count.
    store = energies.set_store(tiny, tmp_path, reference)
    record = store.read("h2")
    record["errors"][tiny.name][0] = "another"
    store.write("h2", record)
    names = [n for n, r in energies.set_errors([tiny], tmp_path, reference) if r["errors"]]
    assert names == ["h"]


def test_atomisation_and_reactions_add_up_what_molecules_are_wrong_by(scripts: Scripts) -> None:
    errors = {"C": 1.0, "H": 0.5, "C2H2": 2.0, "H2": -1.0, "CH4": 4.0}
    named = scripts.tables.energies_by_name(errors, quick=True)
    unit = 1e-3 * 627.5094740631
    assert named["atomisation"] == pytest.approx({"C2H2": unit * (2.0 + 1.0 - 2.0)})
    assert named["reactions"] == pytest.approx({"C2H2 + 3 H2 -> 2 CH4": unit * (8.0 - 2.0 + 3.0)})
    found = scripts.tables.measures(named)
    assert (found["atoms"], found["worst atom"], found["molecules"]) == (0.75, 1.0, 2.0)
    # What failed is left out, with all that needs it.
    del errors["H"]
    named = scripts.tables.energies_by_name(errors, quick=True)
    assert named["atomisation"] == {} and named["atoms"] == {"C": 1.0}
    assert "atomisation" not in scripts.tables.measures(named)


def test_tables_show_the_mean_over_seeds_and_the_worst(scripts: Scripts) -> None:
    clone = scripts.plan.Clone
    found = {
        clone("PBE", "constrained", "protocol", 0): {"atoms": 1.0, "atomisation": 2.0},
        clone("PBE", "constrained", "protocol", 1): {"atoms": 3.0, "atomisation": 1.0},
        clone("PBE", "unconstrained", "protocol", 0): {"atoms": 2.0, "atomisation": 2.5},
    }
    first, second = cells(scripts.tables.energy_table(found))
    assert first[:4] == ["PBE", "constrained, protocol", "2", "2 (3)"]
    assert second[:4] == ["PBE", "unconstrained, protocol", "1", "2"]
    ((_, recipe, atoms, atomisation, reactions),) = cells(
        scripts.tables.pair_table(found, "student", "constrained", "unconstrained")
    )
    # One seed has a partner.
    assert (recipe, atoms, atomisation, reactions) == ("protocol", "1 of 1", "1 of 1", "")
    assert scripts.tables.pair_table(found, "recipe", "polished", "protocol") == ""


def test_the_set_table_separates_formulas_that_are_not_sampled(scripts: Scripts) -> None:
    every = {name: g2_molecule(name) for name in ("H2O", "C2H4")}
    errors = {"H2O": 0.2, "C2H4": -0.6}
    deviations = {"H2O": 1.0, "C2H4": -2.0}
    found = scripts.tables.set_measures(errors, every, {"H2O"}, deviations)
    assert found == {
        "number": 2, "mean": pytest.approx(0.4), "unsampled": pytest.approx(0.6),
        "largest": 0.6, "name": "C2H4", "parent": 1.5, "clone": pytest.approx(1.9),
    }  # fmt: skip
    (row,) = cells(scripts.tables.set_table({("PBE", "constrained, protocol"): [found]}, True))
    assert row[3:] == ["2", "0.4", "0.6", "0.6 (C2H4)", "1.50", "1.9"]
    assert scripts.tables.set_measures({}, every, set()) is None


def test_pictures_have_what_they_show(scripts: Scripts, tmp_path: Path) -> None:
    pictures = scripts.pictures
    seeds = {"PBE": {"constrained, protocol": [0.1, 0.2], "unconstrained, random": [9.0]}}
    ax = pictures.plot_seeds(seeds, "atoms", tmp_path / "seeds.png")
    assert ax.lines[0].get_ydata().tolist() == [0.1, 0.2]
    assert (tmp_path / "seeds.png").stat().st_size > 0
    parent = get_xc("r2SCAN")
    curves = {
        "constrained, random": scripts.points.curves(parent, new_student("constrained", parent, 0))
    }
    ax = pictures.plot_factor(curves)
    labels = ax.get_legend_handles_labels()[1]
    assert [label for label in labels if "parent" in label] == [
        "parent, alpha = 0", "parent, alpha = 1",
    ]  # fmt: skip
    number = len(scripts.points.EDGES["s"]) - 1
    values = {"F_x": {"constrained, protocol": [None, *[0.1] * (number - 1)]}}
    ax = pictures.plot_bins(values, [1.0 / number] * number, "s")
    assert np.isnan(ax.lines[0].get_ydata()[0])
    kinds = dict.fromkeys(scripts.descriptors.KINDS, hydrogen(scripts))
    ax = pictures.plot_descriptors({"H": kinds})
    assert ax.patches[0].get_data().values.sum() == pytest.approx(1.0)


def test_the_report_of_an_empty_folder_says_so(scripts: Scripts, tmp_path: Path) -> None:
    text = scripts.report.write_report(scripts.plan.plan(True), tmp_path, None)
    assert text == "There are no results yet.\n"
    assert (tmp_path / "report.md").read_text() == text


def test_the_plan_is_printed_with_its_hours(
    scripts: Scripts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = importlib.import_module("cloning")
    Store(tmp_path / "clones").write(
        "PBE-constrained-protocol-0", {"key": "another", "finished": True}
    )
    command.main(["--plan", "--parent", "PBE", "--seed", "0", "--output", str(tmp_path)])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| PBE-")]
    assert len(rows) == 3 * len(scripts.plan.STUDENTS)
    assert "other settings" in rows[0]
    with pytest.raises(SystemExit):
        command.main(["--seed", "77"])
