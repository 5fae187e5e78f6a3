"""Functionals that learn CCSD(T) energies, from clones and from random networks.

The second half of the chain of arXiv:2605.10331: a network is a clone of a parent first, and then
learns 25 atomisation energies of the g2 set (`data/ccsd_g2.json`). How far its weights may go is
chosen on nine other molecules (`train_on_energies`); W4-11 is only evaluated. All of it is at the
densities of the parent, to first order. Molecules that were not learned from are then computed
self-consistently for one seed. Every result is kept in the output folder, and an interrupted run
resumes.
    python benchmarks/cloning_ccsd.py --quick                 # about a minute
    python benchmarks/cloning_ccsd.py --clones clone_0.safetensors clone_1.safetensors
    python benchmarks/cloning_ccsd.py --report                # only from what there is

The clone of seed i is the i-th file; without files clones are trained briefly.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import deepchem_xc  # noqa: F401  first: it keeps DeepChem's import notices quiet

# isort: split
from cloning_ccsd_report import STARTS, plot, table
from cloning_ccsd_sets import VALIDATION, W411, Sets

from deepchem_xc._files import file_digest
from deepchem_xc.cloning import (
    QUICK,
    SAMPLED,
    clone_dataset,
    compare_energies,
    new_student,
    parent_densities,
    train_clone,
    train_on_energies,
)
from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.store import Store, digest
from deepchem_xc.xc import XCFunctional, get_xc

W4_11 = Path(__file__).resolve().parents[2] / "shared" / "references" / "molecules" / "w4_11.json"
# Folder of results in the output folder.
_ROOM = "ccsd"


@dataclass(frozen=True)
class Plan:
    """What is trained, and on what.

    Attributes
    ----------
    training, validation : tuple of str
        Molecules of the g2 set.
    seeds : tuple of int
        Of random networks; the place in the list of clones.
    basis : str
        Of the densities.
    stiffnesses, max_steps : tuple of float, int
        As for `train_on_energies`.
    largest : float
        Electrons of a molecule of W4-11.
    self_consistent : tuple of str
        Molecules that are computed self-consistently with the first seed.
    points, adam, polish : int
        Points a molecule and steps of clones that are trained here.
    """

    training: tuple[str, ...] = SAMPLED
    validation: tuple[str, ...] = VALIDATION
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    basis: str = "def2-TZVP"
    stiffnesses: tuple[float, ...] = (1e3, 1e2, 1e1, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
    max_steps: int = 15
    largest: float = math.inf
    self_consistent: tuple[str, ...] = VALIDATION
    points: int = 200
    adam: int = 500
    polish: int = 50


FULL = Plan()
SMALL = Plan(
    training=QUICK,
    validation=("CO", "HF"),
    seeds=(0,),
    basis="def2-SVP",
    stiffnesses=(1e2, 1.0),
    largest=8,
    self_consistent=("HF",),
    points=100,
    adam=100,
    polish=10,
)


def run(
    clones: Sequence[str | os.PathLike[str]],
    folder: Path,
    *,
    parent: str = "PBE",
    data_dir: Path | None = None,
    w4_11: Path | None = W4_11,
    plan: Plan = FULL,
    minutes: float = math.inf,
) -> None:
    """Train, evaluate and keep what is missing.

    Parameters
    ----------
    clones : sequence of path
        Files of clones, one for each seed of the plan; none: they are trained briefly.
    folder : Path
        ``ccsd/`` in it gets the results.
    parent : str
        Functional that was cloned, at whose densities everything is.
    data_dir : Path, optional
        As for `parent_densities`.
    w4_11 : Path, optional
        File of W4-11; where it does not exist that evaluation is left out.
    plan : Plan
        What is trained.
    minutes : float
        Time after which nothing new is begun.

    Raises
    ------
    ValueError
        If the number of clones is not that of the seeds.
    """
    if clones and len(clones) != len(plan.seeds):
        raise ValueError(
            f"there are {len(clones)} clones for the seeds {plan.seeds}: give one file for each, "
            "or none."
        )
    deadline = time.monotonic() + 60.0 * minutes
    store = Store(folder / _ROOM, print)
    functional = get_xc(parent)
    options = {"data_dir": data_dir, "basis": plan.basis, "progress": None}
    sets = _sets(functional, plan, w4_11, options)
    store.write("parent", {"errors": sets.errors(functional), "left_out": sets.left_out})
    how = [plan.stiffnesses, plan.max_steps]
    key = digest([parent, plan.basis, *how, plan.training, plan.validation])
    for name, start in _starts(clones, functional, plan, store.folder, options):
        if time.monotonic() > deadline:
            return
        trained = _trained(store, name, key, start, plan, sets)
        if name.endswith(f"-{plan.seeds[0]}"):
            _self_consistent(store, name, trained, functional, plan, options)


def _sets(parent: XCFunctional, plan: Plan, w4_11: Path | None, options: dict[str, Any]) -> Sets:
    sets = Sets()
    sets.add_g2("training", parent, plan.training, **options)
    sets.add_g2("validation", parent, plan.validation, **options)
    if w4_11 is not None and w4_11.exists():
        others = W411.read(w4_11, plan.training + plan.validation, plan.largest)
        sets.add_w4_11("W4-11", parent, others, **options)
    return sets


def _starts(
    clones: Sequence[str | os.PathLike[str]],
    parent: XCFunctional,
    plan: Plan,
    room: Path,
    options: dict[str, Any],
) -> Iterator[tuple[str, XCFunctional]]:
    """Name and network of every start, seed by seed."""
    for place, seed in enumerate(plan.seeds):
        if clones:
            clone = get_xc(clones[place])
        else:
            clone = _short_clone(parent, seed, plan, room, options)
        yield f"clone-{seed}", clone
        yield f"random-{seed}", new_student("constrained", parent, seed)


def _short_clone(
    parent: XCFunctional, seed: int, plan: Plan, room: Path, options: dict[str, Any]
) -> XCFunctional:
    """A clone that was trained for minutes; it is kept."""
    what = digest([parent.name, seed, plan.training, plan.points, plan.adam, plan.polish])
    path = room / f"start-{seed}-{what[:12]}.safetensors"
    if not path.exists():
        dataset = clone_dataset(parent_densities(parent, plan.training, **options), plan.points)
        train_clone(parent, dataset, steps=plan.adam, polish=plan.polish, seed=seed).save(path)
    return get_xc(path)


def _trained(
    store: Store,
    name: str,
    key: str,
    start: XCFunctional,
    plan: Plan,
    sets: Sets,
) -> XCFunctional:
    """The functional that is best on the validation molecules, trained if it is not kept."""
    expected = {"key": key, "start": digest([weight.tolist() for weight in start.parameters()])}
    model = store.folder / f"{name}.safetensors"
    found = store.read(name, **expected)
    if found is None or not model.exists() or found["model"] != file_digest(model):
        began = time.process_time()
        path, chosen = _path(start, plan, sets)
        chosen.save(model)
        spent = round(time.process_time() - began, 1)
        found = {**expected, "path": path, "model": file_digest(model), "cpu_seconds": spent}
    functional = get_xc(model)
    evaluated = {one: energies.names for one, energies in sets.energies.items()}
    if found.get("evaluated") != evaluated:
        errors = {"before": sets.errors(start), "after": sets.errors(functional)}
        training = sets.energies["training"]
        moved = training.atom_changes(functional).tolist()
        store.write(
            name,
            {**found, "evaluated": evaluated, **errors, "atoms": dict(zip(training.atoms, moved))},
        )
        print(f"{name} is trained and evaluated", flush=True)
    return functional


def _path(start: XCFunctional, plan: Plan, sets: Sets) -> tuple[list[list[float]], XCFunctional]:
    """Stiffness, distance, both errors and steps along the path; the best on validation."""
    path, best, chosen = [], math.inf, start
    energies, how = sets.energies["training"], {"max_steps": plan.max_steps}
    for one in train_on_energies(start, energies, plan.stiffnesses, **how):
        validation = float(sets.energies["validation"].errors(one.functional).abs().mean())
        training = float(one.errors.abs().mean())
        path.append([one.stiffness, one.distance, training, validation, one.steps])
        if validation < best:
            best, chosen = validation, one.functional
    return path, chosen


def _self_consistent(
    store: Store,
    name: str,
    functional: XCFunctional,
    parent: XCFunctional,
    plan: Plan,
    options: dict[str, Any],
) -> None:
    """Keep self-consistent errors of molecules, or why there are none."""
    expected = {"weights": digest([weight.tolist() for weight in functional.parameters()])}
    if store.read(f"self-consistent-{name}", **expected) is not None:
        return
    names = plan.self_consistent
    sets = Sets()
    sets.add_g2("all", parent, names, **options)
    record: dict[str, Any] = {**expected, "first_order": sets.errors(functional)["all"]}
    try:
        changes = compare_energies(functional, parent, names, **options).atomisation
    except SCFConvergenceError as error:
        record["error"] = str(error)
    else:
        of_parent = sets.errors(parent)["all"]
        record["errors"] = {one: of_parent[one] + changes[one] for one in names}
    store.write(f"self-consistent-{name}", record)


def tables(folder: Path) -> str:
    """Results that are in a folder, in Markdown, empty without any; draws the figure beside them.

    Parameters
    ----------
    folder : Path
        As for `run`.
    """
    room = folder / _ROOM
    records = {path.stem: Store(room).read(path.stem) for path in sorted(room.glob("*.json"))}
    found = {name: record for name, record in records.items() if record is not None}
    if "parent" not in found:
        return ""
    if any(name.startswith(STARTS) for name in found):
        plot(found, room / "ccsd.png")
    return table(found)


def main(arguments: list[str] | None = None) -> int:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clones", nargs="*", default=[], help="one file for each seed")
    parser.add_argument("--parent", default="PBE", help="functional that was cloned")
    parser.add_argument("--data-dir", type=Path, default=None, help="folder of densities")
    parser.add_argument("--w4-11", type=Path, default=W4_11, help="file of reference energies")
    parser.add_argument(
        "--largest", type=float, default=math.inf, help="electrons of a molecule of W4-11"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=None, help="some of 0 to 4")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop to be resumed")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results/cloning"))
    parser.add_argument("--quick", action="store_true", help="few molecules, one seed")
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    plan = SMALL if options.quick else replace(FULL, largest=options.largest)
    if options.seeds is not None:
        plan = replace(plan, seeds=tuple(options.seeds))
    if not options.report:
        run(
            options.clones,
            options.output,
            parent=options.parent,
            data_dir=options.data_dir,
            w4_11=options.w4_11,
            plan=plan,
            minutes=options.minutes,
        )
    text = tables(options.output)
    print(text)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "cloning_ccsd.md").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
