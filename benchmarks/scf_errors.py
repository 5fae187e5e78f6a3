"""Errors of energies, forces and stress against tightly converged ones of the same code."""

from __future__ import annotations

from typing import Any


def largest_difference(a: Any, b: Any) -> float:
    """Largest absolute difference of two nested lists."""
    if isinstance(a, list):
        return max(largest_difference(x, y) for x, y in zip(a, b, strict=True))
    return abs(a - b)


def add_errors(entry: dict[str, Any], tight: dict[str, Any]) -> None:
    """Add ``errors`` to the results of every code in `tight`, and the difference of two codes."""
    for code, exact in tight.items():
        result = entry[code]
        if "failed" not in result:
            result["errors"] = {
                "energy_Ha": result["energy"] - exact["energy"],
                "forces_Ha_bohr": largest_difference(result["forces"], exact["forces"]),
                "stress_Ha_bohr3": largest_difference(result["stress"], exact["stress"]),
            }
    if len(tight) == 2:
        difference = tight["ours"]["energy"] - tight["abinit"]["energy"]
        entry["ours"]["tight_minus_abinit_Ha"] = difference
