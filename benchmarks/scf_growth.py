"""Growth of our time with cutoff, k-points and atoms."""

from __future__ import annotations

import argparse
import math
from typing import Any

from scf_process import compare, work
from scf_systems import DENSITY, TOLERANCE, chosen, growth_series


def exponent(sizes: list[float], times: list[float]) -> float:
    """Slope of log(time) against log(size), least squares."""
    x = [math.log(size) for size in sizes]
    y = [math.log(seconds) for seconds in times]
    centre, level = sum(x) / len(x), sum(y) / len(y)
    return sum((a - centre) * (b - level) for a, b in zip(x, y)) / sum((a - centre) ** 2 for a in x)


def growth(options: argparse.Namespace) -> dict[str, Any]:
    """Our time against cutoff, k-points and atoms."""
    results: dict[str, Any] = {}
    if not chosen(("Al",), options.systems):
        return results
    for series, (variable, systems) in growth_series().items():
        print(f"growth with {series} (Al)")
        print(
            f"  {'':10} {variable:>8} {'k-points':>8} {'waves':>6} {'bands':>5} {'steps':>5} "
            f"{'SCF s':>8} {'CPU s':>8} {'MiB':>6} {'Ha/atom':>12}"
        )
        rows = []
        for label, system in systems:
            goal = {"energy": TOLERANCE, "density": DENSITY}
            entry = compare(
                {
                    "ours": lambda system=system, goal=goal: work(
                        "ours", options.threads, system=system, convergence=goal
                    )
                },
                options.repeat,
            )["ours"]
            atoms = len(system["atoms"])
            row = {"label": label, "ecut": system["ecut"], "atoms": atoms, **entry}
            rows.append(row)
            if "failed" in row:
                print(f"  {label:10} failed: {row['failed']}")
                continue
            print(
                f"  {label:10} {row[variable]:8g} {row['kpoints']:8d} {row['plane_waves']:6d} "
                f"{row['bands']:5d} {row['steps']:5d} {row['scf_wall']:8.2f} {row['scf_cpu']:8.2f} "
                f"{row['peak_MiB']:6.0f} {row['energy'] / atoms:12.7f}",
                flush=True,
            )
        done = [row for row in rows if "failed" not in row]
        powers: dict[str, float] = {}
        if len(done) > 1:
            size = [float(row[variable]) for row in done]
            for key in ("scf_cpu", "scf_wall"):
                powers[key] = exponent(size, [row[key] for row in done])
            last = exponent(size[-2:], [row["scf_cpu"] for row in done[-2:]])
            powers["scf_cpu_last_two"] = last
            print(
                f"  CPU time ~ {variable}^{powers['scf_cpu']:.2f} (last two: {last:.2f}), "
                f"wall time ~ {variable}^{powers['scf_wall']:.2f}\n"
            )
        results[series] = {"variable": variable, "rows": rows, "exponents": powers}
    return results
