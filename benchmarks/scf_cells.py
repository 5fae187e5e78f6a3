"""Time of larger cells of silicon, ours and ABINIT's, and their growth with the number of atoms."""

from __future__ import annotations

import argparse
import shutil
from typing import Any

from scf_errors import add_errors
from scf_growth import exponent
from scf_process import abinit, add_ratios, compare, work
from scf_systems import CELL_DENSITY, CELL_TOLERANCE, chosen, silicon

from deepchem_xc.tables import as_table

_HEADER = ("atoms", "", "SCF s", "CPU s", "MiB", "steps", "bands", "ours/this: CPU", "errors")


def cells(options: argparse.Namespace) -> dict[str, Any]:
    """Si at Gamma with displaced atoms and forces and stress, without symmetry."""
    if not chosen(("Si",), options.systems):
        return {}
    program = shutil.which(options.abinit)
    if program is None:
        print(f"cells: the program {options.abinit!r} is not installed (Debian: abinit)\n")
    entries = {natom: _measured(natom, program, options) for natom in options.atoms}
    print("Si, 12 Ha, Gamma; errors of energy (Ha), forces (Ha/bohr), stress (Ha/bohr^3)")
    rows = []
    for natom, entry in entries.items():
        for code, result in entry.items():
            if "failed" in result:
                print(f"  {natom} atoms, {code}: {result['failed']}")
                continue
            ratio = result.get("ours_over_this", {}).get("scf_cpu")
            row = [f"{natom}", code, f"{result['scf_wall']:.2f}", f"{result['scf_cpu']:.2f}"]
            row += [f"{result['peak_MiB']:.0f}", f"{result['steps']}", f"{result['bands']}"]
            row.append("" if ratio is None else f"{ratio:.2f}")
            row.append(" ".join(f"{x:.0e}" for x in result.get("errors", {}).values()))
            rows.append(row)
    print(as_table(rows, list(_HEADER), indent="  "))
    powers: dict[str, float] = {}
    for code in ("ours", "abinit"):
        done = [n for n, entry in entries.items() if "scf_cpu" in entry.get(code, {})]
        if len(done) > 1:
            seconds = [entries[n][code]["scf_cpu"] for n in done]
            powers[code] = exponent([float(n) for n in done], seconds)
            print(f"  {code}: CPU time ~ atoms^{powers[code]:.2f}")
    print(flush=True)
    return {"entries": {str(n): entry for n, entry in entries.items()}, "exponents": powers}


def _measured(natom: int, program: str | None, options: argparse.Namespace) -> dict[str, Any]:
    """Results of both codes; the errors need tight runs of both (``--no-check`` skips them)."""
    system = silicon(natom)

    def ours(energy: float, density: float) -> dict[str, Any]:
        goal = {"energy": energy / (4 * natom), "density": density}
        return work("ours", options.threads, system=system, convergence=goal)

    programs = {"ours": lambda: ours(CELL_TOLERANCE, CELL_DENSITY)}
    tight = {"ours": ours(1e-11, 1e-8)} if options.check else {}
    if program is not None:

        def theirs(tolerance: str) -> dict[str, Any]:
            # ABINIT chooses the number of empty bands, as we do.
            return abinit(program, system, tolerance, None, options.threads)

        programs["abinit"] = lambda: theirs(f"toldfe {CELL_TOLERANCE:.1e}")
        if options.check:
            tight["abinit"] = theirs("tolvrs 1.0d-14")
    entry = compare(programs, options.repeat)
    add_errors(entry, tight)
    add_ratios(entry)
    return entry
