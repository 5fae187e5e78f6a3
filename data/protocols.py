"""Measure the cutoffs and k-point densities of the protocols "fast", "balanced" and "precise".

For every element the lattice constant of a simple crystal is computed at rising cutoffs on one
mesh, until three of them agree; for some real metals and insulators at rising k-point densities
with one cutoff. The last one of a series is its reference. A setting is enough for a tolerance if
its error and those of all higher ones, each with the scatter of the last ones added, are below it.
The errors of cutoff and mesh are measured separately and bounded separately; together they are at
most their sum. A mesh's error does not depend on the potential: rows of kinds, measured with GTH
potentials, serve for PAW datasets too.

Every curve is kept in the output folder as soon as it is computed, an interrupted run resumes, and
the table is written after every element: what is in it is complete. Elements that it has already
keep their rows until they are measured again; another --output starts a new table.

    python data/protocols.py --elements Si,Al,Na --jobs 1
    python data/protocols.py --limit 2500      # all elements up to this estimated cutoff (eV)
    python data/protocols.py --pseudopotentials paw-pbe
    python data/protocols.py --report          # only the table, from the curves that exist
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepchem_xc._files import write_json
from deepchem_xc.eos.fits import NoMinimumError
from deepchem_xc.feat.protocols import TOLERANCES
from deepchem_xc.parallel import parallel_map
from deepchem_xc.planewave import equation_of_state
from deepchem_xc.planewave.low_cutoff import LowCutoffWarning
from deepchem_xc.planewave.potentials import dataset_digests
from deepchem_xc.store import Store, digest
from deepchem_xc.tables import as_table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from protocol_crystals import FAMILIES, KINDS, PAW, STRUCTURES, first_guess, measured, source

# Width, relative to the cutoff, within which plane waves are smoothed (docs/settings.md).
SMOOTHING = 0.07
SCALES = (0.94, 0.97, 1.0, 1.03, 1.06)
WIDE_SCALES = (0.8, 0.88, 0.96, 1.04, 1.12, 1.2)
# Volumes, in units of the first guess's, around which a minimum is looked for, one after the other.
SIZES = (1.0, 1.4, 0.7, 2.0, 0.5, 2.8, 4.0)
OCCUPATIONS = {"name": "fermi-dirac", "width": 0.1}  # eV
CONVERGENCE = {"energy": 1e-7, "density": 1e-6}
# Points per 1/Angstrom of the mesh on which cutoffs are compared.
COARSE = 2.0
# Cutoffs, in units of the estimate.
RUNGS = tuple(0.25 * 2 ** (i / 4) for i in range(18))
DENSITIES = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0)
# Largest relative difference of the last three lattice constants of a finished series.
AGREE = 5e-5
# Number of last members of a series by which its reference is judged.
LAST = 3
# Number of crystals without which nothing is said about their kind.
LEAST = 2


def rounded(cutoff: float) -> float:
    """Cutoff rounded up to 10 eV."""
    return 10.0 * -(-cutoff // 10.0)


def lattice_constant(
    store: Store,
    symbol: str,
    potential: str,
    ecut: float,
    density: float,
    size: float,
    scales: Sequence[float] = SCALES,
) -> float | None:
    """Lattice constant (Angstrom) at settings, from the store or computed; None: no minimum.

    Parameters
    ----------
    size : float
        Volume in units of the first guess's around which volumes are taken.
    """
    # Datasets belong to another package, whose content of that name can change.
    potentials = {symbol: source(potential)}
    digests = dataset_digests(potentials, [symbol])
    settings = {
        **({"dataset": digests[symbol]} if digests else {}),
        "potential": potential,
        "structure": STRUCTURES[symbol],
        "size": size,
        "ecut": ecut,
        "ecut_smoothing": round(SMOOTHING * ecut),
        "density": density,
        "scales": list(scales),
        "convergence": CONVERGENCE,
        "occupations": OCCUPATIONS,
    }
    name = f"{symbol}-{potential}-{digest(settings)[:16]}"
    found = store.read(name, settings=settings)
    if found is None:
        atoms = first_guess(symbol)
        atoms.set_cell(atoms.cell * size ** (1 / 3), scale_atoms=True)
        with warnings.catch_warnings():
            # Cutoffs that are too low are what is measured.
            warnings.simplefilter("ignore", LowCutoffWarning)
            curve = equation_of_state(
                atoms,
                "PBE",
                ecut=ecut,
                ecut_smoothing=settings["ecut_smoothing"],
                kpts={"density": density, "gamma": True},
                pseudopotentials=potentials,
                scales=scales,
                convergence=CONVERGENCE,
                occupations=OCCUPATIONS,
            )
        found = {"settings": settings, **curve.todict()}
        store.write(name, found)
    constants = found["lattice_constants"]
    return None if constants is None else float(constants["a"])


def minimum(store: Store, symbol: str, potential: str, ecut: float) -> float:
    """Volume of the minimum in units of the first guess's.

    Raises
    ------
    NoMinimumError
        If there is none within 20 % of one of `SIZES`.
    """
    guess = first_guess(symbol)
    for size in SIZES:
        a = lattice_constant(store, symbol, potential, ecut, COARSE, size, WIDE_SCALES)
        if a is not None:
            return round((a / float(guess.cell.get_bravais_lattice().vars()["a"])) ** 3, 3)
    raise NoMinimumError(
        f"{symbol} ({potential}) has no minimum within 20 % of the first guess's volume times "
        f"{', '.join(map(str, SIZES))}: change its crystal in data/protocol_crystals.py"
    )


def climb(
    rungs: Sequence[float], value: Callable[[float], float | None], stop: bool
) -> dict[float, float | None]:
    """Lattice constants at rising settings; `stop` ends where the last three agree."""
    found: dict[float, float | None] = {}
    for rung in rungs:
        found[rung] = value(rung)
        if stop and scatter(list(found.values())) <= AGREE:
            break
    return found


def scatter(constants: Sequence[float | None]) -> float:
    """Largest relative deviation of the `LAST` constants from the last one; infinite if missing."""
    last = constants[-LAST:]
    if len(last) < LAST or any(a is None for a in last):
        return float("inf")
    reference = last[-1]
    return max(abs(a / reference - 1.0) for a in last)  # type: ignore[operator]


def errors(series: Mapping[float, float | None]) -> dict[float, float | None]:
    """Relative errors of a series against its last member, without it; None: no minimum."""
    *rungs, last = series
    reference = series[last]
    assert reference is not None
    return {rung: None if (a := series[rung]) is None else a / reference - 1.0 for rung in rungs}


def enough(series: Mapping[float, float | None], tolerance: float) -> float | None:
    """Smallest setting that is enough for a tolerance; None if the series is too short for it.

    The error of a setting is the largest of its own and of all higher ones' before the last
    `LAST`, plus the scatter of those, which is what is known of the reference.

    Examples
    --------
    >>> series = {1.0: None, 2.0: 4.1, 3.0: 4.01, 4.0: 4.001, 5.0: 4.0, 6.0: 4.0, 7.0: 4.0}
    >>> enough(series, 0.005), enough(series, 0.001), enough(series, 0.0001)
    (3.0, 4.0, 5.0)
    """
    unknown = scatter(list(series.values()))
    chosen = None
    for rung, error in reversed(errors(series).items()):
        if error is None or abs(error) + unknown > tolerance:
            break
        chosen = rung
    return chosen


def measure_cutoffs(folder: str, symbol: str, potential: str, estimate: float) -> dict[str, Any]:
    """Row of an element in the table: the cutoffs, and the errors that they follow from."""
    store = Store(folder)
    size = minimum(store, symbol, potential, rounded(estimate))

    def value(ecut: float) -> float | None:
        return lattice_constant(store, symbol, potential, ecut, COARSE, size)

    series = climb([rounded(rung * estimate) for rung in RUNGS], value, stop=True)
    if scatter(list(series.values())) > AGREE:
        raise ValueError(
            f"lattice constants of {symbol} ({potential}) have not converged: {series}"
        )
    ecut = {name: enough(series, tolerance) for name, tolerance in TOLERANCES.items()}
    return {
        "structure": STRUCTURES[symbol],
        "ecut": ecut,
        "reference": {"ecut": list(series)[-1], "a": list(series.values())[-1]},
        "errors": [[rung, error] for rung, error in errors(series).items()],
    }


def measure_meshes(
    folder: str, symbol: str, potential: str, estimate: float, densest: float
) -> dict[str, Any]:
    """Densities of meshes for a crystal, and the errors that they follow from.

    Two meshes of a metal that agree prove little, so that its series goes on to the densest one.
    """
    store = Store(folder)
    row = measure_cutoffs(folder, symbol, potential, estimate)
    ecut, size = row["ecut"]["balanced"], minimum(store, symbol, potential, rounded(estimate))

    def value(density: float) -> float | None:
        return lattice_constant(store, symbol, potential, ecut, density, size)

    kind = KINDS[symbol]
    densities = [density for density in DENSITIES if density <= densest]
    series = climb(densities, value, stop=kind == "insulator")
    density = {name: enough(series, tolerance) for name, tolerance in TOLERANCES.items()}
    return {
        "kind": kind,
        "potential": potential,
        "ecut": ecut,
        "density": density,
        "reference": {"density": list(series)[-1], "a": list(series.values())[-1]},
        "errors": [[rung, error] for rung, error in errors(series).items()],
    }


def table(elements: Mapping[str, Any], meshes: Mapping[str, Any]) -> dict[str, Any]:
    """Content of the file; a density of a kind is the largest of its crystals'.

    A kind of which fewer than `LEAST` crystals were measured has none.
    """
    kinds: dict[str, dict[str, float]] = {}
    for kind in sorted({row["kind"] for row in meshes.values()}):
        rows = [row["density"] for row in meshes.values() if row["kind"] == kind]
        if len(rows) < LEAST:
            continue
        kinds[kind] = {
            name: max(row[name] for row in rows)
            for name in TOLERANCES
            if all(row[name] is not None for row in rows)
        }
    return {
        "quantity": "relative errors of PBE's lattice constants; ecut in eV, densities of "
        "Gamma-centred meshes in points per 1/Angstrom",
        "tolerances": TOLERANCES,
        "ecut_smoothing": SMOOTHING,
        "occupations": OCCUPATIONS,
        "elements": dict(sorted(elements.items())),
        "densities": kinds,
        "meshes": dict(sorted(meshes.items())),
    }


def cutoffs_table(elements: Mapping[str, Any]) -> str:
    """The table of docs/paw.md: cutoffs (eV) of PAW datasets, balanced ones in the middle."""
    rows = [
        [symbol, name, row["structure"], *(_cell(row["ecut"][protocol]) for protocol in TOLERANCES)]
        for symbol, found in elements.items()
        for name, row in found.items()
        if source(name).split(":")[0] == PAW
    ]
    header = ["element", "dataset", "measured as", *TOLERANCES]
    return as_table(rows, header, left=3, markdown=True)


def _cell(cutoff: float | None) -> str:
    return "-" if cutoff is None else f"{cutoff:g}"


def main() -> None:
    """Measure what is missing, and write the table after every element."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", default="", help="comma-separated, for example si,al")
    parser.add_argument("--pseudopotentials", choices=FAMILIES, default=FAMILIES[0])
    parser.add_argument("--limit", type=float, default=4500.0, help="estimated cutoff, eV")
    parser.add_argument("--no-meshes", action="store_true", help="only cutoffs")
    parser.add_argument(
        "--densest", type=float, default=DENSITIES[-1], help="densest mesh, points per 1/Angstrom"
    )
    parser.add_argument("--jobs", type=int, default=None)
    parser.add_argument("--folder", type=Path, default=Path("benchmark-results/protocols"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("protocols.json"))
    parser.add_argument("--report", action="store_true", help="only write the table")
    arguments = parser.parse_args()

    wanted = [name.capitalize() for name in arguments.elements.split(",") if name]
    unknown = sorted(set(wanted) - set(STRUCTURES))
    if unknown:
        parser.error(f"--elements: {', '.join(unknown)}; valid: {', '.join(STRUCTURES)}")
    results = Store(arguments.folder / "results")
    curves = str(arguments.folder / "curves")
    cutoffs: dict[str, tuple[Any, ...]] = {}
    meshes: dict[str, tuple[Any, ...]] = {}
    estimates = measured(arguments.pseudopotentials)
    for (symbol, potential), estimate in estimates.items():
        if estimate > arguments.limit or (wanted and symbol not in wanted):
            continue
        call = (curves, symbol, potential, estimate)
        cutoffs[f"{symbol} {potential}"] = call
        if symbol in KINDS and arguments.pseudopotentials != PAW:
            meshes[f"{symbol} {potential}"] = (*call, arguments.densest)

    def write() -> None:
        present = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
        elements: dict[str, Any] = present.get("elements", {})
        found: dict[str, Any] = present.get("meshes", {})
        for symbol, potential in estimates:
            row = results.read(f"cutoffs {symbol} {potential}")
            if row is not None:
                elements.setdefault(symbol, {})[potential] = row
            row = results.read(f"meshes {symbol} {potential}")
            if row is not None:
                found[symbol] = row
        write_json(arguments.output, table(elements, found))

    if not arguments.report:
        for what, function, calls in (
            ("cutoffs", measure_cutoffs, cutoffs),
            ("meshes", measure_meshes, {} if arguments.no_meshes else meshes),
        ):
            for outcome in parallel_map(function, calls, jobs=arguments.jobs):
                if outcome.value is None:
                    print(f"{what} {outcome.name}: {outcome.error}", flush=True)
                    continue
                results.write(f"{what} {outcome.name}", outcome.value)
                write()
                print(f"{what} {outcome.name}: {_line(outcome.value)}", flush=True)
    write()
    if arguments.pseudopotentials == PAW:
        print(cutoffs_table(json.loads(arguments.output.read_text())["elements"]))


def _line(row: Mapping[str, Any]) -> str:
    key = "density" if "density" in row else "ecut"
    return ", ".join(f"{name} {value}" for name, value in row[key].items())


if __name__ == "__main__":
    main()
