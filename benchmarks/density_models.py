"""Networks that learn the difference density against the same ones that learn the total density.

    python benchmarks/density_models.py --plan                     # what there is to do, and hours
    python benchmarks/density_models.py --data-dir DIR --output DIR --minutes 60
    python benchmarks/density_models.py --data-dir DIR --output DIR --set silicon --network atoms
    python benchmarks/density_models.py --data-dir DIR --output DIR --report
    python benchmarks/density_models.py --data-dir DIR --output DIR --quick     # to see it run

Trains the networks of the plan (density_models_plan.py), predicts unseen structures, computes
silicon's allotropes at the predicted densities without a loop, starts loops from them, and measures
time and memory of predictions. Everything is kept in the folder of results, and the same command
resumes there; options restrict what is done. Tables and pictures are made from what there is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import density_models_energies as energies
import density_models_errors as errors
import density_models_starts as starts
import torch
from density_models_inference import LOOPS, SIZES, measure
from density_models_plan import NETWORKS, SETS, TARGETS, Training, chosen, plan
from density_models_report import write_report
from density_models_tables import plan_table
from density_models_training import Data, key_of, model_file, train, trained

from deepchem_xc.store import Store

STAGES = ("train", "test", "energies", "starts", "inference")


def state_of(training: Training, data: Data, output: Path) -> str:
    """How far a training is."""
    store = Store(output / "trainings")
    if not store.path(training.name).exists():
        return ""
    found = store.read(training.name, key=key_of(data, training))
    if found is None:
        return "other settings"
    if found["finished"]:
        return "finished"
    return f"{found['curve'][-1][0] if found['curve'] else 0} of {found['epochs']} epochs"


def inference(trainings: list[Training], data: Data, output: Path, deadline: float) -> bool:
    """Measure predictions of rattled silicon; ``inference/ATOMS.json`` gets the results."""
    usable = [t for t in trainings if t.set == "silicon" and t.network == "atoms"]
    done = [t for t in usable if trained(output, data, t) is not None]
    if not done:
        return False
    store, path = Store(output / "inference"), model_file(output, done[0])
    loops = LOOPS[:1] if data.quick else LOOPS
    sizes = loops if data.quick else tuple(SIZES)
    for number, loop in [*((n, False) for n in sizes), *((n, True) for n in loops)]:
        name = f"loop-{number}" if loop else f"{number}"
        # Time and memory do not depend on the weights, but on the network.
        settings = {"threads": torch.get_num_threads(), "network": done[0].settings.content}
        if store.read(name, **settings) is not None:
            continue
        if time.monotonic() > deadline:
            return False
        found = measure(path, number, 300.0, loop, settings["threads"])
        store.write(name, {**settings, **found})
        print(f"inference, {name} atoms", flush=True)
    return True


def run(
    stages: list[str], trainings: list[Training], data: Data, output: Path, deadline: float
) -> bool:
    """Do the stages one after the other; return whether all are complete."""
    names = list(dict.fromkeys(t.set for t in trainings))
    whole = [t for t in trainings if t.fraction == "1"]
    first = [t for t in whole if t.seed == 0 and t.network == "atoms"]
    complete = True

    def each(function: Callable[..., bool], items: list[Any]) -> None:
        nonlocal complete
        for item in items:
            if time.monotonic() > deadline:
                complete = False
                return
            complete &= function(item, data, output, deadline)

    if "train" in stages:
        each(_announced, trainings)
    if "test" in stages:
        each(errors.evaluate, [*names, *trainings])
    if "energies" in stages:
        silicon = [name for name in names if name == "silicon"]
        each(energies.evaluate, [*silicon, *(t for t in first if t.set == "silicon")])
    if "starts" in stages:
        wanted = [t for t in first if t.target == "difference" and t.set in starts.COUNTS]
        each(starts.evaluate, wanted)
    if "inference" in stages and "silicon" in names:
        complete &= inference(trainings, data, output, deadline)
    return complete


def _announced(training: Training, data: Data, output: Path, deadline: float) -> bool:
    if trained(output, data, training) is None:
        print(f"training {training.name}", flush=True)
    return train(training, data, output, deadline)


def main() -> None:
    """Read the options, do what is wanted, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="folder of the densities")
    parser.add_argument("--output", type=Path, default=Path("density-models"), help="of results")
    parser.add_argument("--set", nargs="+", choices=SETS)
    parser.add_argument("--network", nargs="+", choices=NETWORKS)
    parser.add_argument("--target", nargs="+", choices=TARGETS)
    parser.add_argument("--seed", nargs="+", type=int)
    parser.add_argument("--fraction", nargs="+", help="of the training structures, as in 1/8")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop, to resume")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--jobs", type=int, default=1, help="densities computed at a time")
    parser.add_argument("--quick", action="store_true", help="minutes, to see that all runs")
    parser.add_argument("--plan", action="store_true", help="print the trainings and stop")
    parser.add_argument("--report", action="store_true", help="write tables and pictures alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    deadline = time.monotonic() + 60.0 * options.minutes
    every = plan(options.quick)
    data = Data(options.data_dir, options.quick, options.jobs)
    names = ("set", "network", "target", "seed", "fraction")
    trainings = chosen(every, **{name: getattr(options, name) for name in names})
    if not trainings:
        parser.error("no training of the plan has these values; --plan lists them.")
    if options.plan:
        print(plan_table([(t, state_of(t, data, options.output)) for t in trainings]))
        print(f"{sum(t.hours for t in trainings):.0f} hours of one thread for trainings")
        return
    if not options.report:
        complete = run(options.stages, trainings, data, options.output, deadline)
        print("all is done" if complete else "not all is done: the same command resumes")
    print(write_report(every, data, options.output))


if __name__ == "__main__":
    main()
