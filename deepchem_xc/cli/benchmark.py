"""Implementation of `deepchem-xc benchmark`: PBE next to GPAW, then other functionals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from deepchem_xc._files import write_json
from deepchem_xc.against_gpaw import (
    Case,
    compare,
    format_table,
    gpaw_reference,
    run_benchmark,
    select_cases,
)
from deepchem_xc.against_gpaw.functionals import (
    Row,
    constants_of,
    format_functionals,
    mean_error,
    with_functional,
)
from deepchem_xc.against_gpaw.gth_reference import load_gth_constants
from deepchem_xc.against_gpaw.report import about_run, write_report
from deepchem_xc.against_gpaw.trainings import Training, train_beside
from deepchem_xc.cli.options import say, workers
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.planewave.paw import available_variants

Points = Mapping[str, Sequence[Mapping[str, Any]] | None]


def run(
    systems: str | None,
    output: Path,
    *,
    quick: bool = False,
    potentials: PotentialKind | None = None,
    seeds: Sequence[int] = (),
    live_gpaw: bool = False,
    fresh: bool = False,
    jobs: int | None = None,
    threads: int = 1,
    scheduler: str | None = None,
    device: str = "cpu",
) -> None:
    """Compute the equations of state, compare them with GPAW's, print and write the comparison.

    Parameters
    ----------
    systems : str, optional
        Names, separated by commas; all by default.
    output : path
        Folder for results, finished points and trainings.
    quick : bool, optional
        Coarse settings.
    potentials : "paw" or "gth", optional
        GPAW's datasets, or GTH potentials; by default GPAW's datasets where they are installed.
    seeds : sequence of int, optional
        Train a functional for each seed, and compare PBE, LDA and the trained functionals.
    live_gpaw, fresh, jobs, threads, scheduler, device : optional
        As the options of the command.

    Raises
    ------
    ValueError
        For options that are not valid.
    BenchmarkError, TrainingError
        If points or a training fail.
    ImportError
        If GPAW's datasets are asked for and not installed.
    ClusterError
        If no scheduler answers, or its workers cannot be used.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    potentials = _checked(potentials)
    cases = select_cases(systems, quick, potentials)
    if live_gpaw:
        # Check this first: the solver's own part may take an hour.
        gpaw_reference.require_gpaw()
    trainings = [Training(seed, output / f"training-{seed}", potentials) for seed in seeds]
    options: dict[str, Any] = {"threads": threads, "device": device, "fresh": fresh}
    start = time.perf_counter()
    try:
        known = {**cases, **(with_functional(cases, "LDA", "LDA") if trainings else {})}
        with workers(scheduler, jobs, threads) as places:
            options |= {"jobs": places, "notify": say}
            with train_beside(trainings, fresh, threads, device, say):
                points = run_benchmark(known, output, **options)
            trained: dict[str, Case] = {}
            for training in trainings:
                # Absolute, because workers of a cluster have other working directories.
                file = str(training.functional.absolute())
                trained |= with_functional(cases, training.name, file)
            if trained:
                points |= run_benchmark(trained, output, **options)
    except KeyboardInterrupt:
        say(f"finished work is kept in {output}; the same command resumes from there")
        raise
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    reference = gpaw_points(cases, output if live_gpaw else None)
    gpaw_seconds = time.perf_counter() - start if live_gpaw else 0.0
    beside = load_gth_constants() if potentials == "paw" and not quick else {}
    comparisons = [
        compare(case, points[name], reference[name], beside.get(name))
        for name, case in cases.items()
    ]
    typer.echo(format_table(comparisons, quick, live_gpaw))
    about = {**about_run(), "seconds": round(seconds, 1), "gpaw_seconds": round(gpaw_seconds, 1)}
    paths = write_report(comparisons, output, quick, about, live_gpaw)
    if trainings:
        names = ["PBE", "LDA", *(training.name for training in trainings)]
        rows = constants_of(cases, points, names, reference)
        paths |= write_functionals(rows, names, points, output, quick)
    took = f"{seconds:.0f} s" + (f", and GPAW {gpaw_seconds:.0f} s" if live_gpaw else "")
    typer.echo(f"Took {took}. Written: {', '.join(map(str, paths.values()))}")


def _checked(potentials: PotentialKind | None) -> PotentialKind:
    """The potentials to use; says so if GPAW's datasets would be better and are missing."""
    try:
        available_variants("paw-pbe", "Al")
    except ImportError as error:
        if potentials == "paw":
            raise
        if potentials is None:
            say(f"GTH potentials are used, which take an hour instead of minutes: {error}")
        return "gth"
    return potentials or "paw"


def write_functionals(
    rows: Sequence[Row], names: Sequence[str], points: Points, output: Path, quick: bool
) -> dict[str, Path]:
    """Print the table of functionals; write the table, its numbers and its figure."""
    from deepchem_xc.plotting import plot_lattice_errors

    table = format_functionals(rows, quick)
    typer.echo("\n" + table)
    paths = {
        f"functionals {kind}": output / f"functionals.{kind}" for kind in ("json", "md", "png")
    }
    content = {
        "quick": quick,
        "units": {"constants": "Angstrom", "errors": "relative"},
        "systems": {row.system: asdict(row) for row in rows},
        "mean_errors": {name: mean_error(rows, name) for name in names},
        "points": {key: found for key, found in points.items() if ", " in key},
    }
    write_json(paths["functionals json"], content)
    paths["functionals md"].write_text(table + "\n")
    errors = {name: [row.error(name) for row in rows] for name in names}
    plot_lattice_errors([row.system for row in rows], errors, paths["functionals png"])
    return paths


def gpaw_points(cases: Mapping[str, Case], folder: Path | None) -> dict[str, Any]:
    """Reference points of each system: the project's or, with a `folder`, computed there now."""
    if folder is None:
        results = gpaw_reference.load_gpaw_eos()
    else:
        from tqdm import tqdm

        total = len(cases) * len(VOLUME_SCALES)
        with tqdm(total=total, unit="GPAW point", leave=False) as bar:
            results = gpaw_reference.run_gpaw_eos(
                cases, path=folder / "gpaw_eos.json", on_point=lambda name, point: bar.update()
            )
    found: dict[str, Any] = {}
    for name in cases:
        entry = results.get(name, {})
        # An entry has a fit once all its points are computed.
        found[name] = entry["points"] if "fit" in entry else None
        if found[name] is None:
            say(f"there is no complete reference for {name}")
    return found
