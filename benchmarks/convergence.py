"""Convergence of the benchmark's equations of state with cutoff, k-mesh, smearing and vacuum.

One parameter is varied at a time around a setting that is coarse in the others: the errors are
nearly independent, and the study stays affordable. Each series ends with a setting that is taken
as converged; errors are relative to it. Written: docs/convergence-tables.md, docs/convergence.json
and docs/convergence.png; docs/convergence.md draws the conclusions. An interrupted study resumes.

    python benchmarks/convergence.py --systems al,graphene --series kpts
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepchem_xc._files import write_json
from deepchem_xc.against_gpaw import BenchmarkError, Case, run_benchmark
from deepchem_xc.against_gpaw.report import make_curve
from deepchem_xc.against_gpaw.store import PointStore
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.plotting import plot_convergence
from deepchem_xc.tables import as_table

# Five points give the same lattice constant as seven, to the accuracy needed here.
FIVE_VOLUME_SCALES = (0.94, 0.97, 1.0, 1.03, 1.06)
DOCS = Path(__file__).resolve().parents[1] / "docs"

AL = Case("Al", "gth-pbe", ecut=400, kpts=(8, 8, 8))
CA = Case("Ca", "gth-pbe", ecut=1200, ecut_smoothing=110, kpts=(6, 6, 6), density=1e-4)
NI = Case(
    "Ni",
    "GTH-PBE-q18",
    ecut=3600,
    ecut_smoothing=220,
    kpts=(6, 6, 6),
    magmom=0.7,
    density=1e-4,
)
NI10 = replace(NI, pseudopotential="GTH-GGA-q10", ecut=2200, ecut_smoothing=0)
LAYER = Case("graphene", "gth-pbe", ecut=1400, kpts=(6, 6, 1), vacuum=7.0)

# (label, parameter, base, values); the last value is the reference of the series.
SERIES: list[tuple[str, str, Case, list[Any]]] = [
    ("Al", "ecut", AL, [300, 350, 400, 450, 500, 550, 600, 700, 900]),
    ("Al", "kpts", AL, [8, 10, 12, 14, 16, 20, 24, 28, 32]),
    ("Al", "width", replace(AL, kpts=(16, 16, 16)), [0.4, 0.2, 0.1, 0.05]),
    ("graphene", "ecut", LAYER, [800, 900, 1000, 1200, 1400, 2000]),
    ("graphene", "kpts", replace(LAYER, vacuum=8.0), [6, 9, 12, 15]),
    ("graphene", "vacuum", LAYER, [5.0, 6.0, 7.0, 8.0, 10.0]),
    ("graphene", "width", replace(LAYER, kpts=(12, 12, 1)), [0.2, 0.1, 0.05]),
    ("Ca", "ecut", replace(CA, density=1e-5), [800, 900, 1000, 1200, 1400, 2000]),
    ("Ca", "smoothing", CA, [0, 55, 110, 160]),
    ("Ca", "kpts", CA, [6, 8, 10, 12]),
    ("Ca", "width", replace(CA, kpts=(8, 8, 8)), [0.2, 0.1, 0.05]),
    ("Ni", "ecut", NI, [2400, 3000, 3600, 4000, 5000]),
    ("Ni", "smoothing", NI, [0, 110, 220]),
    ("Ni", "kpts", NI, [6, 8, 10, 12, 16]),
    ("Ni", "width", replace(NI, kpts=(8, 8, 8)), [0.2, 0.1, 0.05]),
    ("Ni, 10 electrons", "kpts", NI10, [6, 8]),
]

AXES = {
    "ecut": "cutoff (eV)",
    "kpts": "divisions of the mesh",
    "width": "width (eV)",
    "vacuum": "height of the cell (Angstrom)",
    "smoothing": "smoothing of the cutoff (eV)",
}


def with_value(case: Case, parameter: str, value: Any) -> Case:
    """Case with one parameter changed; a k-mesh is given by its first number."""
    if parameter == "kpts":
        value = (value, value, 1 if case.vacuum else value)
    return replace(case, **{"ecut_smoothing" if parameter == "smoothing" else parameter: value})


def chosen(systems: list[str], parameters: list[str]) -> Iterator[tuple[str, str, dict[Any, Case]]]:
    """Series of the requested systems and parameters."""
    for label, parameter, base, values in SERIES:
        if systems and not any(label.lower().startswith(name.lower()) for name in systems):
            continue
        if parameters and parameter not in parameters:
            continue
        yield label, parameter, {v: with_value(base, parameter, v) for v in values}


def rows_of(cases: dict[Any, Case], folder: Path) -> list[dict[str, Any]]:
    """Results of the points that exist, in the order of the series."""
    store = PointStore(folder / "points")
    rows = []
    for value, case in cases.items():
        # If a setting is the benchmark's, points of the benchmark itself serve as well.
        for scales in (FIVE_VOLUME_SCALES, VOLUME_SCALES):
            points = [store.read(case, scale) for scale in scales]
            found = [point for point in points if point is not None]
            if len(found) == len(scales):
                break
        else:
            continue
        row: dict[str, Any] = {
            "value": value,
            "plane_waves": max(point["plane_waves"] for point in found),
            "irreducible_kpoints": found[0]["irreducible_kpoints"],
            "cpu_seconds": round(sum(point["cpu_seconds"] for point in found) / len(found), 1),
        }
        try:
            curve = make_curve(found)
        except ValueError:
            # Too coarse: the minimum is not even in the range.
            row.update(a=None, modulus=None, moment=None)
        else:
            row.update(a=curve.a, modulus=curve.fit.modulus, moment=curve.moment)
        rows.append(row)
    return rows


def published(report: dict[str, Any], label: str, parameter: str, base: Case) -> list[Any]:
    """Rows of a series from the last report, if it has the same settings; none otherwise."""
    series = report.get(label, {}).get(parameter)
    if series is None or {"ecut_smoothing": 0.0, **series["settings"]} != base.settings():
        return []
    rows: list[Any] = series["rows"]
    return rows


def table_of(label: str, parameter: str, case: Case, rows: list[dict[str, Any]]) -> str:
    """Markdown table of one series."""
    units = {"vacuum": "Angstrom", "kpts": "N"}
    unit = units.get(parameter, "eV")
    fixed = {
        "cutoff": f"{case.ecut:g} eV",
        "mesh": "x".join(map(str, case.kpts)),
        "smoothing": f"{case.ecut_smoothing:g} eV" if case.ecut_smoothing else "",
        "width": f"{case.width:g} eV",
        "vacuum": f"{case.vacuum:g} Angstrom" if case.vacuum else "",
    }
    del fixed[{"ecut": "cutoff", "kpts": "mesh"}.get(parameter, parameter)]
    held = ", ".join(f"{name} {value}" for name, value in fixed.items() if value)
    title = f"{label} ({case.pseudopotential}): {parameter}, with {held}"
    header = [f"{parameter} ({unit})", "a (Angstrom)", "error", "B", "error", "moment (mu_B)"]
    header += ["k-points", "plane waves", "CPU s a point"]
    lines = []
    last = rows[-1]
    for row in rows:
        cells = [f"{row['value']:g}"]
        if row["a"] is None or last["a"] is None:
            cells += ["no minimum", "-", "-", "-"]
        else:
            cells += [f"{row['a']:.4f}", f"{100 * (row['a'] / last['a'] - 1):+.3f} %"]
            cells += [f"{row['modulus']:.2f}"]
            cells += [f"{100 * (row['modulus'] / last['modulus'] - 1):+.2f} %"]
        cells += [f"{row['moment']:.3f}" if case.magmom and row["moment"] is not None else "-"]
        cells += [str(row["irreducible_kpoints"]), str(row["plane_waves"])]
        cells += [f"{row['cpu_seconds']:.1f}"]
        lines.append(cells)
    return f"{title}\n\n" + as_table(lines, header, left=0, markdown=True)


def main() -> None:
    """Compute missing points, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", default="", help="comma-separated, for example al,ni")
    parser.add_argument("--series", default="", help="comma-separated, of ecut, kpts, ...")
    parser.add_argument("--values", default="", help="only these, for example 6,8")
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path("benchmark-results/convergence"))
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the report")
    parser.add_argument("--report", action="store_true", help="only write the report")
    arguments = parser.parse_args()

    if not arguments.report:
        systems = [name for name in arguments.systems.split(",") if name]
        series = [name for name in arguments.series.split(",") if name]
        only = [float(value) for value in arguments.values.split(",") if value]
        for label, parameter, cases in chosen(systems, series):
            cases = {value: case for value, case in cases.items() if not only or value in only}
            named = {
                f"{label} {parameter} {value}": replace(case, scales=FIVE_VOLUME_SCALES)
                for value, case in cases.items()
            }
            print(f"{label} {parameter}", flush=True)
            try:
                run_benchmark(named, arguments.output, jobs=arguments.jobs)
            except BenchmarkError as error:
                # The other settings of the series are still useful.
                print(error, flush=True)

    # Series that were not computed here keep the numbers they have.
    path = arguments.docs / "convergence.json"
    last_report = json.loads(path.read_text()) if path.exists() else {}
    report: dict[str, Any] = {}
    tables = []
    figure: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for label, parameter, cases in chosen([], []):
        base = next(iter(cases.values()))
        rows = rows_of(cases, arguments.output)
        if len(rows) < 2:  # nothing to compare with
            rows = published(last_report, label, parameter, base)
        if not rows:
            continue
        report.setdefault(label, {})[parameter] = {"settings": base.settings(), "rows": rows}
        tables.append(table_of(label, parameter, base, rows))
        fitted = [row for row in rows if row["a"] is not None]
        if len(fitted) > 1 and fitted[-1] is rows[-1]:
            last = rows[-1]
            figure.setdefault(AXES[parameter], {})[label] = [
                (row["value"], row["a"] / last["a"] - 1, row["modulus"] / last["modulus"] - 1)
                for row in fitted[:-1]
            ]
    if not report:
        raise SystemExit(f"there are no complete series in {arguments.output} yet")
    write_json(path, report)
    page = ["# Tables of the convergence study", *tables]
    (arguments.docs / "convergence-tables.md").write_text("\n\n".join(page) + "\n")
    plot_convergence(figure, arguments.docs / "convergence.png")
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
