"""Equations of state of crystals with a clone and with its parent.

Lattice constants and bulk moduli of ten crystals, which no clone was trained on, with PAW; Al, Si,
C and graphene also with GTH potentials. The parent's states are kept and serve all clones: from
them each clone has its energies to first order in seconds (``--screen``: these alone), and its
self-consistent ones in a few steps. An interrupted run resumes. A curve without a minimum, or a
calculation that does not converge, is reported as such.

    python benchmarks/cloning_solids.py clone.safetensors --parent PBE --output results/cloning
    python benchmarks/cloning_solids.py a.safetensors b.safetensors --screen
    python benchmarks/cloning_solids.py clone.safetensors --crystals Al,Si --methods PAW,GTH
    python benchmarks/cloning_solids.py --untrained 0     # the constrained network before training
    python benchmarks/cloning_solids.py --report          # only from what there is
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cloning_crystals import (
    CRYSTALS,
    FIRST,
    METHODS,
    POINTS,
    Point,
    clone_energies,
    parent_state,
    settings_of,
    system_of,
)
from cloning_solids_tables import tables
from three_codes import chosen, curve_of

from deepchem_xc._files import file_digest
from deepchem_xc.cloning import new_student
from deepchem_xc.eos.fits import NoMinimumError
from deepchem_xc.parallel import Jobs, parallel_map
from deepchem_xc.store import Store
from deepchem_xc.xc import get_xc
from deepchem_xc.xc.identity import content_digest

#: Crystals of trials.
QUICK = ("Si", "Al")
# How often, and by how many volumes, a range without a minimum is moved.
_MOVES, _MOVE = 3, 3
# A point this far off the fit (eV) is in another state: smooth curves leave a tenth of it.
_UNEVEN = 0.01

# Energies (eV) of points; a sentence for those that failed.
Energies = Callable[[Sequence[Point]], Mapping[Point, "float | str"]]


class Curve(NamedTuple):
    """A crystal with a kind of potentials."""

    crystal: str
    method: str


@dataclass(frozen=True)
class Window:
    """A range of volumes: index of the first one."""

    first: int = FIRST

    def points(self, curve: Curve, quick: bool) -> list[Point]:
        """Points of a curve in it."""
        indices = range(self.first, self.first + POINTS)
        return [Point(curve.crystal, curve.method, i, quick) for i in indices]


def search(
    windows: Mapping[Curve, Window], energies_of: Energies, quick: bool
) -> dict[Curve, dict[str, Any]]:
    """Fit curves, and move their ranges of volumes where these hold no minimum.

    Parameters
    ----------
    windows : mapping
        Range to begin with, for each curve.
    energies_of : callable
        Energies of points.
    quick : bool
        Whether points are computed coarsely.

    Returns
    -------
    dict
        For each curve ``first``, index of its range; ``a`` (Angstrom), ``modulus`` (GPa, N/m of
        layers) and ``residual`` (eV); or ``failed``, a sentence.
    """
    found: dict[Curve, dict[str, Any]] = {}
    open_ones = dict(windows)
    for _ in range(_MOVES + 1):
        points = {curve: window.points(curve, quick) for curve, window in open_ones.items()}
        energies = energies_of([point for own in points.values() for point in own])
        for curve, own in points.items():
            window = open_ones.pop(curve)
            failed = [f"volume {p.scale:g}: {e}" for p in own if isinstance(e := energies[p], str)]
            if failed:
                found[curve] = {"failed": failed[0]}
                continue
            values = [float(energies[point]) for point in own]
            scales = [point.scale for point in own]
            try:
                fit = curve_of(system_of(curve.crystal, quick), scales, values)
                uneven = fit["residual"] > _UNEVEN
                found[curve] = (
                    {"failed": f"uneven curve, {fit['residual']:.2g} eV off the fit"}
                    if uneven
                    else {"first": window.first, **fit}
                )
            except NoMinimumError:
                found[curve] = {"failed": f"no minimum at volumes {scales[0]:g} to {scales[-1]:g}"}
                smaller = values[0] < values[-1]
                open_ones[curve] = Window(window.first + (-_MOVE if smaller else _MOVE))
    return found


class Calculations:
    """Energies of a clone and its parent, kept in a folder.

    Parameters
    ----------
    clone, parent : str
        File of the clone; name or file of its parent.
    folder : Path
        Results.
    jobs : optional
        As for `parallel_map`.
    screen : bool
        Whether self-consistent energies are left out.
    """

    def __init__(
        self, clone: str, parent: str, folder: Path, jobs: Jobs | None, screen: bool
    ) -> None:
        self.clone, self.parent, self.folder = clone, parent, folder
        self.jobs, self.screen = jobs, screen
        self.identity = {
            "clone": file_digest(clone),
            "parent": content_digest(get_xc(parent)),
        }
        complain = partial(print, file=sys.stderr)
        self.store = Store(folder / "clones" / self.identity["clone"][:12], complain)

    def parents(self, points: Sequence[Point]) -> dict[Point, float | str]:
        """The parent's energies."""
        calls = {point.name: (point, self.parent, self.folder) for point in points}
        states = dict(self._outcomes(parent_state, calls))
        return {
            point: state if isinstance(state, str) else _energy(state.record)
            for point in points
            for state in [states[point.name]]
        }

    def clones(self, points: Sequence[Point]) -> dict[Point, float | str]:
        """The clone's self-consistent energies."""
        records = self._records(points)
        return {point: _energy(record) for point, record in records.items()}

    def first_order(self, points: Sequence[Point]) -> dict[Point, float | str]:
        """The clone's energies at the parent's states."""
        without = "needs what the parent's densities do not hold"
        found: dict[Point, float | str] = {}
        for point, record in self._records(points).items():
            energy = record.get("first_order")
            found[point] = record.get("failed", without) if energy is None else energy
        return found

    def seconds(self, points: Sequence[Point]) -> float:
        """Processor time of the clone's own calculations."""
        records = self._records(points).values()
        return sum(float(record.get("cpu_seconds", 0.0)) for record in records)

    def _records(self, points: Sequence[Point]) -> dict[Point, dict[str, Any]]:
        """Records of points; what is missing is computed and kept, unless it raised an error."""
        found, missing = {}, {}
        for point in points:
            record = self.store.read(self._name(point), **self._expected(point))
            if record is not None and (self.screen or {"energy", "failed"} & set(record)):
                found[point] = record
            else:
                missing[point.name] = point
        inputs = (self.parent, self.clone, self.folder, self.screen)
        calls = {name: (point, *inputs) for name, point in missing.items()}
        for name, value in self._outcomes(clone_energies, calls):
            point = missing[name]
            if isinstance(value, str):
                found[point] = {"first_order": None, "failed": value}
                continue
            found[point] = {**self._expected(point), **value}
            self.store.write(self._name(point), found[point])
        return found

    def _name(self, point: Point) -> str:
        return f"{point.name}-{self.identity['parent'][:8]}"

    def _expected(self, point: Point) -> dict[str, Any]:
        return {**self.identity, "scale": point.scale, "settings": point.settings}

    def _outcomes(
        self, function: Callable[..., Any], calls: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Names and values as they are ready; a sentence for a call that raised an error."""
        with closing(parallel_map(function, calls, jobs=self.jobs)) as outcomes:
            for outcome in outcomes:
                if outcome.value is not None:
                    yield outcome.name, outcome.value
                    continue
                print(f"{outcome.name} failed: {outcome.error}", file=sys.stderr)
                yield outcome.name, outcome.error.splitlines()[0]


def _energy(record: Mapping[str, Any]) -> float | str:
    found: float | str = record["failed"] if "failed" in record else record["energy"]
    return found


def run(
    clone: str | Path,
    parent: str,
    crystals: Sequence[str],
    folder: Path,
    *,
    methods: Sequence[str] = METHODS[:1],
    screen: bool = False,
    quick: bool = False,
    jobs: Jobs | None = None,
) -> dict[str, Any]:
    """Equations of state with a clone and its parent; what is kept is not computed again.

    Parameters
    ----------
    clone : path
        Its file; its hash is the key of everything that is kept.
    parent : str
        Name, or file, of the functional that was cloned.
    crystals : sequence of str
        Some of `CRYSTALS`.
    folder : Path
        Results. ``solids/HASH.json`` gets the fits, which `tables` reads.
    methods : sequence of str, optional
        Some of `METHODS`. With ``"GTH"`` crystals without such potentials are left out.
    screen : bool, optional
        Only energies to first order.
    quick : bool, optional
        Coarse cutoffs and meshes, to see that everything runs.
    jobs : optional
        As for `parallel_map`.

    Returns
    -------
    dict
        ``name`` of the clone, ``clone`` and ``parent`` (hashes), ``parent_name``, ``quick`` and
        ``curves``, a list with ``crystal``, ``method``, ``cpu_seconds`` and the results of `search`
        for ``parent_fit``, ``first_order`` and ``clone_fit`` (None with `screen`).

    Raises
    ------
    ValueError
        For other crystals or methods.
    """
    clone = Path(clone)
    curves = [
        Curve(crystal, method)
        for method in methods
        for crystal in crystals
        if method != "GTH" or system_of(crystal).ecut is not None
    ]
    for curve in curves:
        settings_of(*curve)  # errors come before hours of work
    calculations = Calculations(str(clone), parent, folder, jobs, screen)
    start = search(dict.fromkeys(curves, Window()), calculations.parents, quick)
    windows = {curve: Window(fit["first"]) for curve, fit in start.items() if "failed" not in fit}
    first = search(windows, calculations.first_order, quick)
    own = {} if screen else search(windows, calculations.clones, quick)
    rows = []
    for curve in curves:
        failed = {"failed": f"parent: {start[curve].get('failed')}"}
        points = windows[curve].points(curve, quick) if curve in windows else []
        rows.append(
            {
                "crystal": curve.crystal,
                "method": curve.method,
                "cpu_seconds": calculations.seconds(points),
                "parent_fit": start[curve],
                "first_order": first.get(curve, failed),
                "clone_fit": None if screen else own.get(curve, failed),
            }
        )
    identity = {**calculations.identity, "parent_name": parent, "quick": quick}
    return _merged(folder / "solids", {"name": clone.stem, **identity, "curves": rows})


def _merged(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Write results over those of the same clone and settings; curves of other runs stay."""
    suffix = "-quick" if found["quick"] else ""
    store = Store(folder, partial(print, file=sys.stderr))
    name = f"{found['clone'][:12]}-{found['parent'][:8]}{suffix}"
    same = {key: value for key, value in found.items() if key not in ("name", "curves")}
    kept = store.read(name, **same)
    curves = {(c["crystal"], c["method"]): c for c in (kept or {"curves": []})["curves"]}
    for curve in found["curves"]:
        key = curve["crystal"], curve["method"]
        if curve["clone_fit"] is None and key in curves:
            curve["clone_fit"] = curves[key]["clone_fit"]
        curves[key] = curve
    store.write(name, {**found, "curves": list(curves.values())})
    return found


def untrained(parent: str, seed: int, folder: Path) -> Path:
    """File of the constrained network with random weights, which is the baseline."""
    path = folder / f"untrained_{Path(parent).stem}_{seed}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    new_student("constrained", get_xc(parent), seed).save(path)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Compute and print the tables; returns 1 if a curve has no minimum."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clones", nargs="*", type=Path, help="files")
    parser.add_argument("--parent", default="PBE", help="name or file")
    parser.add_argument("--untrained", type=int, metavar="SEED", help="add an untrained network")
    parser.add_argument("--crystals", default="", help=f"some of {', '.join(CRYSTALS)}")
    parser.add_argument("--methods", default=METHODS[0], help=f"some of {', '.join(METHODS)}")
    parser.add_argument("--screen", action="store_true", help="only to first order")
    parser.add_argument("--quick", action="store_true", help=f"coarsely, {', '.join(QUICK)}")
    parser.add_argument("--jobs", type=int, default=None, help="calculations at a time")
    parser.add_argument("--output", type=Path, default=Path("results/cloning"))
    parser.add_argument("--report", action="store_true", help="compute nothing")
    options = parser.parse_args(arguments)
    usual = ",".join(QUICK if options.quick else CRYSTALS)
    crystals = chosen(options.crystals or usual, list(CRYSTALS), "crystals")
    methods = chosen(options.methods, METHODS, "methods")
    clones = [] if options.report else list(options.clones)
    if options.untrained is not None and not options.report:
        clones.append(untrained(options.parent, options.untrained, options.output))
    complete = True
    for clone in clones:
        found = run(
            clone,
            options.parent,
            crystals,
            options.output,
            methods=methods,
            screen=options.screen,
            quick=options.quick,
            jobs=options.jobs,
        )
        key = "first_order" if options.screen else "clone_fit"
        complete &= all("failed" not in curve[key] for curve in found["curves"])
    text = tables(options.output)
    print(text or "no clone has been computed yet")
    if text:
        (options.output / "solids.md").write_text(text + "\n")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
