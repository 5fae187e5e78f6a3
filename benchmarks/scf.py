"""Time one SCF from scratch, next to ABINIT, GPAW and PySCF, and the growth of our time.

All programs run one after another on the same machine in the same run, each measurement in a
fresh process with the same number of threads; the best of ``--repeat`` is kept. Nothing is
asserted: ratios are printed, and everything measured goes into a JSON file::

    python benchmarks/scf.py                                  # everything that is installed
    python benchmarks/scf.py --only abinit --systems si,al --repeat 5
    python benchmarks/scf.py --only pyscf --pyscf-limit 1800

- abinit: same potential, cutoff, mesh, bands (for metals), FFT grid and tolerance. ABINIT gets
  ``toldfe 1e-8``; we use the same energy tolerance. The difference of each from its own tightly
  converged energy is printed.
- gpaw: the benchmark's crystals, same mesh, smearing and tolerances, each code with its cutoff.
- pyscf: KRKS with gth-dzvp for Al, with symmetry-reduced k-points; stopped at ``--pyscf-limit``.
- growth: our time against cutoff, number of k-points and number of atoms (Al).
- cells: Si with 8 to 64 displaced atoms at Gamma, ours and ABINIT's time and their growth.

Seconds are those of one process: "SCF" without imports (for ABINIT without its start-up, which is
measured), "process" with everything from the shell's point of view.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scf_cells import cells
from scf_errors import add_errors
from scf_growth import growth
from scf_process import TIMES, abinit, add_ratios, compare, work
from scf_systems import (
    ABINIT_SYSTEMS,
    DENSITY,
    ELECTRONS,
    GPAW_SYSTEMS,
    SILICON_CELLS,
    TOLERANCE,
    chosen,
    mesh,
)

from deepchem_xc._files import write_json
from deepchem_xc.tables import as_table


def against_abinit(options: argparse.Namespace) -> dict[str, Any]:
    """Same potential, cutoff, mesh, grid and tolerance."""
    program = shutil.which(options.abinit)
    if program is None:
        print(f"abinit: the program {options.abinit!r} is not installed (Debian: abinit)\n")
    results: dict[str, Any] = {}
    for name in chosen(ABINIT_SYSTEMS, options.systems):
        system, electrons = ABINIT_SYSTEMS[name], ELECTRONS[name]

        def ours(energy: float, density: float, system: Any = system, n: int = electrons) -> Any:
            goal = {"energy": energy / n, "density": density}
            return work("ours", options.threads, system=system, convergence=goal)

        tight = {"ours": ours(1e-12, 1e-9)} if options.check else {}
        # An insulator's empty bands cost time and are not needed: ABINIT chooses their number. A
        # metal gets as many as we use.
        bands = tight.get("ours", {}).get("bands") or ours(TOLERANCE, DENSITY)["bands"]
        bands = bands if "occupations" in system else None
        programs = {"ours": lambda: ours(TOLERANCE, DENSITY)}
        if program is not None:

            def theirs(tolerance: str, system: Any = system, bands: Any = bands) -> Any:
                return abinit(program, system, tolerance, bands, options.threads)

            programs["abinit"] = lambda: theirs(f"toldfe {TOLERANCE:.1e}")
            if options.check:
                tight["abinit"] = theirs("tolvrs 1.0d-14")
        entry = compare(programs, options.repeat)
        add_errors(entry, tight)
        add_ratios(entry)
        results[name] = entry
        print_entry(f"{name}, {system['ecut']:g} Ha, {mesh(system['kmesh'])}", entry)
    return results


def against_gpaw(options: argparse.Namespace) -> dict[str, Any]:
    """Crystals of the benchmark at equal convergence."""
    installed = importlib.util.find_spec("gpaw") is not None
    if not installed:
        print("gpaw: GPAW is not installed ('make gpaw' compiles it)\n")
    results: dict[str, Any] = {}
    for name in chosen(GPAW_SYSTEMS, options.systems):
        programs = {
            "ours": lambda name=name: work("ours_case", options.threads, case=name, paw=False)
        }
        if importlib.util.find_spec("gpaw_data") is not None:
            programs["ours, PAW"] = lambda name=name: work(
                "ours_case", options.threads, case=name, paw=True
            )
        if installed:
            programs["gpaw"] = lambda name=name: work("gpaw_case", options.threads, case=name)
        entry = compare(programs, options.repeat)
        # Equal datasets and cutoffs, where the package with the datasets is there.
        add_ratios(entry, "ours, PAW" if "ours, PAW" in entry else "ours")
        results[name] = entry
        cutoffs = ", ".join(
            f"{code} {result['settings']['ecut_eV']:g} eV"
            for code, result in entry.items()
            if "settings" in result
        )
        print_entry(f"{name}, benchmark settings ({cutoffs})", entry)
    return results


def against_pyscf(options: argparse.Namespace) -> dict[str, Any]:
    """Al with a Gaussian basis, in the other periodic code that Python users can install."""
    if not chosen(("Al",), options.systems):
        return {}
    system = {**ABINIT_SYSTEMS["Al"], "kmesh": [options.pyscf_mesh] * 3}
    goal = {"energy": TOLERANCE / ELECTRONS["Al"], "density": DENSITY}
    entry = compare(
        {"ours": lambda: work("ours", options.threads, system=system, convergence=goal)},
        options.repeat,
    )
    for multigrid in (True, False):
        label = "pyscf multigrid" if multigrid else "pyscf"
        entry |= compare(
            {
                label: lambda multigrid=multigrid: work(
                    "pyscf_krks",
                    options.threads,
                    options.pyscf_limit,
                    system=system,
                    conv_tol=TOLERANCE,
                    multigrid=multigrid,
                )
            },
            1,
        )
    add_ratios(entry)
    print_entry(f"Al, {mesh(system['kmesh'])}: plane waves (20 Ha) and gth-dzvp", entry)
    return {"Al": entry}


def print_entry(title: str, entry: dict[str, Any]) -> None:
    """Print one comparison."""
    print(title)
    header = ["", "SCF s", "CPU s", "process s", "CPU s", "MiB", "steps", "k", "bands"]
    header += ["ours/this: SCF", "CPU", "process"]
    rows = []
    for code, result in entry.items():
        if "failed" in result:
            print(f"  {code}: {result['failed']}")
            continue
        row = [code, *(f"{result[key]:.2f}" for key in TIMES), f"{result['peak_MiB']:.0f}"]
        row += [f"{result[key]}" for key in ("steps", "kpoints", "bands")]
        ratios = result.get("ours_over_this", {})
        for key in ("scf_wall", "scf_cpu", "process_wall"):
            row.append(f"{ratios[key]:.3f}" if key in ratios else "")
        rows.append(row)
    print(as_table(rows, header, indent="  "))
    for code, result in entry.items():
        if "errors" in result:
            errors = result["errors"]
            print(
                f"  error of {code}: energy {errors['energy_Ha']:.1e} Ha, forces "
                f"{errors['forces_Ha_bohr']:.1e} Ha/bohr, stress "
                f"{errors['stress_Ha_bohr3']:.1e} Ha/bohr^3"
            )
    difference = entry.get("ours", {}).get("tight_minus_abinit_Ha")
    if difference is not None:
        print(f"  tightly converged, ours - ABINIT: {difference:.1e} Ha")
    print(flush=True)


PARTS = {
    "abinit": against_abinit,
    "gpaw": against_gpaw,
    "pyscf": against_pyscf,
    "growth": growth,
    "cells": cells,
}


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Conditions that the numbers depend on besides the code."""
    packages = {}
    for name in ("torch", "numpy", "scipy", "gpaw", "pyscf"):
        if importlib.util.find_spec(name) is not None:
            packages[name] = version(name)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "repeat": options.repeat,
        "load_average": os.getloadavg()[0],
        "python": sys.version.split()[0],
        "packages": packages,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(PARTS), action="append", help="may be repeated")
    parser.add_argument("--systems", default="", help="comma-separated, for example si,al")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3, help="best of so many")
    parser.add_argument("--no-check", dest="check", action="store_false", help="skip tight runs")
    parser.add_argument("--abinit", default="abinit", help="the program")
    parser.add_argument(
        "--atoms",
        type=int,
        nargs="+",
        choices=list(SILICON_CELLS),
        default=list(SILICON_CELLS),
        help="sizes of the silicon cells",
    )
    parser.add_argument("--pyscf-mesh", type=int, default=6)
    parser.add_argument("--pyscf-limit", type=float, default=900.0, help="seconds a PySCF run")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results/scf.json"))
    options = parser.parse_args()
    options.systems = [name.strip().lower() for name in options.systems.split(",") if name.strip()]
    known = {name.lower() for name in (*ABINIT_SYSTEMS, *GPAW_SYSTEMS)}
    if unknown := sorted(set(options.systems) - known):
        parser.error(f"unknown systems {unknown}; there are {', '.join(sorted(known))}")
    if options.threads < 1 or options.repeat < 1:
        parser.error("--threads and --repeat must be at least 1")

    # A terminated benchmark ends the program that it is timing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report: dict[str, Any] = {"environment": environment(options)}
    load = report["environment"]["load_average"]
    if load > 0.5:
        print(f"other programs are running (load {load:.1f}): trust processor seconds only\n")
    for part in options.only or PARTS:
        report[part] = PARTS[part](options)
        write_json(options.output, report)
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
