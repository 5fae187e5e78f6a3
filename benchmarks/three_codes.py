"""One functional in several codes: lattice constants and moduli of a few crystals.

Each code computes the same crystals on the same k-points, with the same smearing, at the same
volumes: this package and GPAW with the same PAW datasets, this package and PySCF with the same GTH
potentials, in plane waves and in Gaussians. What differs between the last two is the basis; what
GTH potentials add is another core. Every energy is a file of its own; a run that was interrupted
resumes. Written: three_codes.md, three_codes.json and three_codes.png in the output folder.

    python benchmarks/three_codes.py --output results/three_codes
    python benchmarks/three_codes.py --systems Si --codes ours,gpaw --functionals PBE,my.safetensors
    python benchmarks/three_codes.py --report      # only from what there is
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deepchem_xc  # noqa: F401  first: it keeps DeepChem's import notices quiet

# isort: split
import numpy as np
from three_codes_calculations import CODES, LARGEST, SMALLEST, SYSTEMS, System, system_of
from tqdm import tqdm

from deepchem_xc._files import write_json
from deepchem_xc.eos.fits import MINIMUM_POINTS, fit_equation_of_state
from deepchem_xc.parallel import default_jobs, parallel_map
from deepchem_xc.plotting.style import COLORS, save
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import name_or_content

FUNCTIONALS = ("PBE", "PBEsol", "recovered_gga", "experiment_gga")
# Differences refer to this one, for which the potentials and setups were made.
REFERENCE = "PBE"


@dataclass(frozen=True)
class Task:
    """One crystal at one volume with one code: a calculation for each functional."""

    system: str
    code: str
    scale: float

    @property
    def name(self) -> str:
        """Of the record, without functional."""
        return f"{self.system}-{self.code}-{self.scale:.4f}"


def scales_of(points: int) -> list[float]:
    """Relative volumes of a curve.

    Raises
    ------
    SystemExit
        For too few points.
    """
    if points < MINIMUM_POINTS:
        raise SystemExit(f"--points must be at least {MINIMUM_POINTS}, got {points}")
    return [round(float(scale), 6) for scale in np.linspace(SMALLEST, LARGEST, points)]


def tasks_of(systems: Sequence[str], codes: Sequence[str], points: int) -> Iterator[Task]:
    """Tasks: one code after another, the slowest last, and crystals in the order of the list."""
    for code in codes:
        for system in systems:
            if CODES[code].computes(system_of(system)):
                for scale in scales_of(points):
                    yield Task(system, code, scale)


def expected_of(task: Task, functional: str) -> dict[str, Any]:
    """What a record must agree in, to be that of a task and functional."""
    settings = CODES[task.code].settings(system_of(task.system))
    return {
        "system": task.system,
        "code": task.code,
        "functional": name_or_content(functional),
        "scale": task.scale,
        "settings": settings,
    }


def energies_of(task: Task, functionals: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Energies by functional, eV, and seconds of processor; or ``error`` for one that failed."""
    code, system = CODES[task.code], system_of(task.system)
    start = time.process_time()
    calculation = code.calculation(system, task.scale, code.settings(system))
    found: dict[str, dict[str, Any]] = {}
    for functional in functionals:
        try:
            result: dict[str, Any] = dict(calculation(functional))
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        # The first one also pays for what all share.
        result["cpu_seconds"] = round(time.process_time() - start, 2)
        start = time.process_time()
        found[functional] = result
    return found


class Results:
    """Energies that are kept, and those still missing."""

    def __init__(self, folder: Path, tasks: Sequence[Task], functionals: Sequence[str]) -> None:
        self.functionals = list(functionals)
        self.store = Store(folder, lambda text: print(text, file=sys.stderr))
        self.expected = {(t, xc): expected_of(t, xc) for t in tasks for xc in functionals}
        self.energies: dict[tuple[Task, str], dict[str, Any]] = {}
        for key, expected in self.expected.items():
            record = self.store.read(self.record(*key), **expected)
            if record is not None:
                self.energies[key] = record

    def record(self, task: Task, functional: str) -> str:
        """Name of the file of an energy."""
        return f"{task.name}-{digest(self.expected[task, functional])[:12]}"

    def missing(self, task: Task) -> list[str]:
        """Functionals of which the task has no energy yet."""
        return [xc for xc in self.functionals if (task, xc) not in self.energies]

    def add(self, task: Task, functional: str, result: dict[str, Any]) -> None:
        """Keep an energy."""
        content = {**self.expected[task, functional], **result}
        self.store.write(self.record(task, functional), content)
        self.energies[task, functional] = content


def compute(results: Results, tasks: Sequence[Task], jobs: int) -> None:
    """Compute and keep what is missing; failures are reported and stay missing."""
    by_name = {task.name: task for task in tasks if results.missing(task)}
    calls = {name: (task, results.missing(task)) for name, task in by_name.items()}
    bar = tqdm(total=len(calls), desc="volumes", disable=not calls)
    with closing(parallel_map(energies_of, calls, jobs=jobs, bar=bar)) as outcomes:
        for outcome in outcomes:
            if outcome.value is None:
                print(f"{outcome.name} failed: {outcome.error}", file=sys.stderr)
                continue
            for functional, result in outcome.value.items():
                if "error" in result:
                    print(f"{outcome.name} {functional}: {result['error']}", file=sys.stderr)
                else:
                    results.add(by_name[outcome.name], functional, result)
    bar.close()


def curve_of(system: System, scales: Sequence[float], energies: Sequence[float]) -> dict[str, Any]:
    """Lattice constant (Angstrom), modulus (GPa; N/m of a layer), and deviation of the fit (eV).

    Raises
    ------
    NoMinimumError
        If the volumes do not enclose a minimum.
    """
    dimension = system.dimension
    fit = fit_equation_of_state([system.size(s) for s in scales], energies, dimension=dimension)
    a = system.crystal.a * (fit.size / system.size()) ** (1.0 / dimension)
    return {"a": a, "modulus": fit.modulus, "residual": fit.residual}


def curves(results: Results, tasks: Sequence[Task]) -> dict[str, Any]:
    """Fits by crystal, functional and code, of the curves that are complete."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(task.system for task in tasks):
        system = system_of(name)
        for functional in results.functionals:
            for code in dict.fromkeys(task.code for task in tasks):
                points = [task for task in tasks if (task.system, task.code) == (name, code)]
                if not points:
                    continue
                kept = [results.energies.get((task, functional)) for task in points]
                if any(record is None for record in kept):
                    continue
                energies = [record["energy"] for record in kept if record is not None]
                try:
                    curve = curve_of(system, [task.scale for task in points], energies)
                except ValueError as error:
                    print(f"{name} {functional} {code}: {error}", file=sys.stderr)
                    continue
                found.setdefault(name, {}).setdefault(functional, {})[code] = curve
    return found


def shift_of(curve: Mapping[str, Any], functional: str, code: str) -> float | None:
    """Lattice constant with a functional minus that with PBE in the same code, Angstrom."""
    pair = [curve.get(xc, {}).get(code) for xc in (functional, REFERENCE)]
    if pair[0] is None or pair[1] is None:
        return None
    return float(pair[0]["a"] - pair[1]["a"])


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def tables(found: Mapping[str, Any], codes: Sequence[str], functionals: Sequence[str]) -> str:
    """Lattice constants with their differences, and moduli, in Markdown."""
    titles = [CODES[code].title for code in codes]
    constants, moduli = [], []
    for name, curve in found.items():
        for functional in functionals:
            of_codes = [curve.get(functional, {}).get(code) for code in codes]
            if not any(of_codes):
                continue
            row = [name, functional]
            constants.append(
                row
                + [_cell(c and c["a"], ".4f") for c in of_codes]
                + [_cell(shift_of(curve, functional, code), "+.4f") for code in codes]
            )
            unit = " N/m" if system_of(name).dimension == 2 else ""
            moduli.append(row + [_cell(c and c["modulus"], ".1f") + unit for c in of_codes])
    if not constants:
        return "no curve is complete yet"
    shifts = [f"difference, {title}" for title in titles]
    first = as_table(constants, ["crystal", "functional", *titles, *shifts], left=2, markdown=True)
    second = as_table(moduli, ["crystal", "functional", *titles], left=2, markdown=True)
    return (
        f"Lattice constants and their differences from {REFERENCE}'s in the same code, "
        f"Angstrom:\n\n{first}\n\nModuli, GPa:\n\n{second}"
    )


def draw(
    found: Mapping[str, Any], codes: Sequence[str], functionals: Sequence[str], path: Path
) -> None:
    """Figure of a(functional) - a(PBE), a panel for each functional, a colour for each code."""
    from matplotlib.figure import Figure

    others = [xc for xc in functionals if xc != REFERENCE]
    names = list(found)
    if not others or not names:
        return
    figure = Figure(figsize=(1.5 + 0.9 * len(names), 2.4 * len(others)), layout="constrained")
    panels = figure.subplots(len(others), 1, sharex=True, squeeze=False)[:, 0]
    width = 0.8 / len(codes)
    for axes, functional in zip(panels, others, strict=True):
        for i, code in enumerate(codes):
            shifts = [shift_of(found[name], functional, code) for name in names]
            heights = [np.nan if shift is None else shift for shift in shifts]
            places = np.arange(len(names)) - 0.4 + (i + 0.5) * width
            axes.bar(places, heights, 0.92 * width, label=CODES[code].title, color=COLORS[i % 4])
        axes.axhline(0.0, color="0.3", lw=0.8)
        label = functional if len(functional) < 20 else Path(functional).stem
        axes.set_ylabel(f"a({label}) - a({REFERENCE})\n(Angstrom)")
    panels[-1].set_xticks(range(len(names)), names)
    panels[-1].set_xlim(-0.6, len(names) - 0.4)
    panels[0].legend(fontsize="small", frameon=False)
    save(figure, path)


def cost(results: Results, tasks: Sequence[Task]) -> str:
    """Table of the mean processor time of an energy, by crystal and code, and of what is left."""
    rows = []
    left, unknown = 0.0, 0
    for system, code in dict.fromkeys((task.system, task.code) for task in tasks):
        own = [task for task in tasks if (task.system, task.code) == (system, code)]
        kept = [r for (task, _), r in results.energies.items() if task in own]
        missing = sum(len(results.missing(task)) for task in own)
        mean = sum(r["cpu_seconds"] for r in kept) / len(kept) if kept else None
        if mean is None:
            unknown += missing
        else:
            left += mean * missing
        rows.append([system, CODES[code].title, _cell(mean, ".1f"), str(len(kept)), str(missing)])
    header = ["crystal", "code", "CPU s an energy", "computed", "missing"]
    table = as_table(rows, header, left=2, markdown=True)
    rest = f"; {unknown} more of which none is known" if unknown else ""
    return f"{table}\n\nMissing energies: about {left / 3600:.1f} hours of processor time{rest}"


def chosen(text: str, valid: Sequence[str], what: str) -> list[str]:
    """Names with commas between them, all of the valid ones for an empty text.

    Raises
    ------
    SystemExit
        For a name that is not valid.
    """
    by_lower = {name.lower(): name for name in valid}
    names = [name.strip() for name in text.split(",") if name.strip()] or list(valid)
    unknown = [name for name in names if name.lower() not in by_lower]
    if unknown:
        raise SystemExit(f"--{what}: no {', '.join(unknown)}; valid: {', '.join(valid)}")
    return list(dict.fromkeys(by_lower[name.lower()] for name in names))


def main(arguments: list[str] | None = None) -> int:
    """Compute and print the tables; returns 1 if an energy is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", default="", help=f"some of {', '.join(SYSTEMS)}, with commas")
    parser.add_argument("--codes", default="", help=f"some of {', '.join(CODES)}, with commas")
    parser.add_argument("--functionals", default=",".join(FUNCTIONALS), help="names or files")
    parser.add_argument("--points", type=int, default=7, help="volumes of a curve")
    parser.add_argument("--jobs", type=int, default=None, help="calculations at a time")
    parser.add_argument("--output", type=Path, default=Path("results/three_codes"))
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    systems = chosen(options.systems, SYSTEMS, "systems")
    codes = chosen(options.codes, list(CODES), "codes")
    functionals = [name.strip() for name in options.functionals.split(",") if name.strip()]
    for name in functionals:
        get_xc(name)  # before hours of work
    tasks = list(tasks_of(systems, codes, options.points))
    results = Results(options.output / "energies", tasks, functionals)
    if not options.report:
        compute(results, tasks, options.jobs or default_jobs())
    found = curves(results, tasks)
    text = tables(found, codes, functionals)
    print(f"{text}\n\n{cost(results, tasks)}")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "three_codes.md").write_text(text + "\n")
    settings = {
        name: {code: CODES[code].settings(system_of(name)) for code in codes} for name in systems
    }
    content = {"scales": scales_of(options.points), "settings": settings, "curves": found}
    write_json(options.output / "three_codes.json", content)
    draw(found, codes, functionals, options.output / "three_codes.png")
    return 1 if any(results.missing(task) for task in tasks) else 0


if __name__ == "__main__":
    sys.exit(main())
