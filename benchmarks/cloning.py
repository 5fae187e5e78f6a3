"""Clones of functionals, from points in molecules to the report: one command.

    python benchmarks/cloning.py --plan                      # what there is to do, and hours
    python benchmarks/cloning.py --data-dir DIR --output DIR --minutes 60
    python benchmarks/cloning.py --data-dir DIR --output DIR --parent PBE --seed 0 1
    python benchmarks/cloning.py --data-dir DIR --output DIR --report
    python benchmarks/cloning.py --data-dir DIR --output DIR --quick     # to see it run

Trains the clones of the plan (cloning_plan.py), compares them with their parents at points of
molecules that were not sampled, computes energies of molecules and reactions with them, and of
crystals with PAW, runs some in other codes, and writes report.md with pictures. Everything is kept
in the folder of results, and the same command resumes there; options restrict what is done. The
report is made from what there is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cloning_descriptors as descriptors
import cloning_elsewhere as elsewhere
import cloning_energies as energies
import cloning_points as points
import torch
from cloning_plan import PARENTS, RECIPES, STUDENTS, Clone, chosen, plan
from cloning_report import write_report
from cloning_tables import grouped, plan_table
from cloning_training import Data, key_of, train

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.store import Store

ROOT = Path(__file__).resolve().parents[1]
#: Where the file of W4-11 is looked for.
REFERENCE = ROOT.parent / "shared" / "references" / "molecules" / "w4_11.json"
STAGES = ("train", "points", "descriptors", "molecules", "set", "solids", "codes", "ccsd")
# Hours of one thread for a clone in the other stages, on a machine under load.
_HOURS = {"points": 0.01, "molecules": 0.1, "set": 0.02, "solids": 0.03}


def state_of(clone: Clone, output: Path) -> str:
    """How far a training is."""
    store = Store(output / "clones")
    if not store.path(clone.name).exists():
        return ""
    found = store.read(clone.name, key=key_of(clone))
    if found is None:
        return "other settings"
    return "finished" if found["finished"] else "begun"


def run(
    stages: list[str],
    clones: list[Clone],
    data: Data,
    output: Path,
    deadline: float,
    reference: Path | None,
    is_self_consistent: bool,
) -> bool:
    """Do the stages one after the other; return whether all are complete."""
    complete = True

    def each(stage: str, function: Callable[..., bool], items: list[Clone]) -> None:
        nonlocal complete
        for clone in items if stage in stages else []:
            if time.monotonic() > deadline:
                complete = False
                return
            began = time.monotonic()
            try:
                complete &= function(clone, data, output, deadline)
            except SCFConvergenceError as failure:
                # Other clones do not depend on a parent whose density does not converge.
                print(f"{stage}: {clone.name} failed: {failure}", flush=True)
                complete = False
            # What is kept is there at once, and not worth a line.
            if time.monotonic() - began > 1.0:
                print(f"{stage}: {clone.name}", flush=True)

    each("train", train, clones)
    each("points", points.evaluate, clones)
    each("descriptors", descriptors.evaluate, chosen(clones, parent=[descriptors.PARENT])[:1])
    each("molecules", energies.evaluate, clones)
    for parent, members in grouped(clones, lambda c: c.parent).items() if "set" in stages else ():
        print(f"set: {parent}", flush=True)
        complete &= energies.evaluate_set(
            members, data, output, deadline, reference, is_self_consistent
        )
    each("solids", elsewhere.evaluate_solids, clones)
    each("codes", elsewhere.evaluate_codes, chosen(clones, recipe=["polished"], seed=[0]))
    starts = chosen(clones, parent=["PBE"], student=["constrained"], recipe=["polished"])
    if "ccsd" in stages and time.monotonic() < deadline:
        complete &= elsewhere.train_on_energies(starts, data, output, deadline, reference)
    return complete


def main(arguments: list[str] | None = None) -> None:
    """Read the options, do what is wanted, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="folder of the densities")
    parser.add_argument("--output", type=Path, default=Path("cloning"), help="of results")
    parser.add_argument("--parent", nargs="+", choices=PARENTS)
    parser.add_argument("--student", nargs="+", choices=STUDENTS)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES)
    parser.add_argument("--seed", nargs="+", type=int)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument(
        "--w4-11", type=Path, help=f"file of W4-11; by default {REFERENCE.name} beside the project"
    )
    parser.add_argument("--g2", action="store_true", help="the rest of g2 instead of W4-11")
    parser.add_argument(
        "--self-consistent", action="store_true", help="energies of the stage set, not first order"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop, to resume")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--quick", action="store_true", help="minutes, to see that all runs")
    parser.add_argument("--plan", action="store_true", help="print the clones and stop")
    parser.add_argument("--report", action="store_true", help="write tables and pictures alone")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    deadline = time.monotonic() + 60.0 * options.minutes
    every = plan(options.quick)
    names = ("parent", "student", "recipe", "seed")
    clones = chosen(every, **{name: getattr(options, name) for name in names})
    if not clones:
        parser.error("no clone of the plan has these values; --plan lists them.")
    if options.w4_11 is not None and not options.w4_11.exists():
        parser.error(f"there is no file {options.w4_11}; without --w4-11 the g2 set is taken.")
    reference = None if options.g2 else options.w4_11 or (REFERENCE if REFERENCE.exists() else None)
    if options.plan:
        print(plan_table([(clone, state_of(clone, options.output)) for clone in clones]))
        print(f"{sum(clone.hours for clone in clones):.0f} hours of one thread for trainings")
        for stage, hours in _HOURS.items():
            print(f"{hours * len(clones):.0f} hours for {stage}, with the densities there")
        return
    if not options.report:
        data = Data(options.data_dir)
        complete = run(
            options.stages,
            clones,
            data,
            options.output,
            deadline,
            reference,
            options.self_consistent,
        )
        print("all is done" if complete else "not all is done: the same command resumes")
    print(write_report(every, options.output, reference))


if __name__ == "__main__":
    main()
