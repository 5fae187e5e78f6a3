"""Tables of `cloning_solids.py`: clone less parent, crystal by crystal and all clones together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cloning_crystals import CRYSTALS, METHODS, system_of

from deepchem_xc.tables import as_table

#: What a clone should reach: lattice constants (Angstrom), bulk moduli (GPa).
AIMS = (0.002, 1.0)


def changes(fit: Mapping[str, Any] | None, parent: Mapping[str, Any]) -> tuple[float, float] | None:
    """Changes of lattice constant (Angstrom) and modulus; None where one has no minimum."""
    if fit is None or "failed" in fit or "failed" in parent:
        return None
    return fit["a"] - parent["a"], fit["modulus"] - parent["modulus"]


def _row(curve: Mapping[str, Any]) -> list[str]:
    parent, own = curve["parent_fit"], curve["clone_fit"]
    layer = system_of(curve["crystal"]).dimension == 2
    fits = [changes(curve["first_order"], parent), changes(own, parent)]
    cells = [curve["crystal"], curve["method"]]
    known = "failed" not in parent
    cells += [f"{parent['a']:.4f}" if known else "-"]
    cells += ["-" if pair is None else f"{pair[0]:+.4f}" for pair in fits]
    unit = " N/m" if layer else ""
    cells += [f"{parent['modulus']:.1f}{unit}" if known else "-"]
    cells += ["-" if pair is None else f"{pair[1]:+.2f}" for pair in fits]
    remark = ""
    for fit in (parent, own):
        if fit is not None and "failed" in fit and not remark:
            remark = fit["failed"]
    return [*cells, remark]


def _summary(found: Mapping[str, Any], method: str) -> list[str] | None:
    """Row of a clone in the table of all clones."""
    curves = [curve for curve in found["curves"] if curve["method"] == method]
    if not curves:
        return None
    screened = all(curve["clone_fit"] is None for curve in curves)
    key = "first_order" if screened else "clone_fit"
    pairs = [(c["crystal"], changes(c[key], c["parent_fit"])) for c in curves]
    lengths = [abs(pair[0]) for _, pair in pairs if pair is not None]
    moduli = [abs(p[1]) for name, p in pairs if p is not None and system_of(name).dimension == 3]
    good = [
        pair is not None
        and abs(pair[0]) <= AIMS[0]
        and (abs(pair[1]) <= AIMS[1] or system_of(name).dimension == 2)
        for name, pair in pairs
    ]
    label = found["name"] + (" (coarse)" if found["quick"] else "")
    return [
        label,
        found["parent_name"],
        method + (", first order" if screened else ""),
        *(f"{value:.4f}" for value in _mean_and_largest(lengths)),
        *(f"{value:.2f}" for value in _mean_and_largest(moduli)),
        f"{sum(good)} of {len(pairs)}",
        str(len(pairs) - len(lengths)),
        f"{sum(curve['cpu_seconds'] for curve in curves):.0f}",
    ]


def _mean_and_largest(values: Sequence[float]) -> tuple[float, float]:
    """Both are NaN without values."""
    if not values:
        return float("nan"), float("nan")
    return sum(values) / len(values), max(values)


def tables(folder: Path) -> str:
    """Tables of all clones in a folder of results, in Markdown; empty if there are none."""
    clones = [json.loads(path.read_text()) for path in sorted((folder / "solids").glob("*.json"))]
    clones.sort(key=lambda found: (found["parent_name"], found["name"]))
    if not clones:
        return ""
    rows = [row for found in clones for method in METHODS if (row := _summary(found, method))]
    header = [
        *("clone", "parent", "potentials", "mean abs. da (Angstrom)", "largest"),
        *("mean abs. dB (GPa)", "largest", "within aims", "without minimum", "CPU s"),
    ]
    parts = [
        "Clone less parent, lattice constants a and bulk moduli B; aims: "
        f"{AIMS[0]} Angstrom and {AIMS[1]:g} GPa, of layers the length alone.",
        as_table(rows, header, left=3, markdown=True),
    ]
    for found in clones:
        titles = [
            *("crystal", "potentials", "a, parent", "da, first order", "da"),
            *("B, parent", "dB, first order", "dB", "remark"),
        ]
        coarse = ", coarse settings" if found["quick"] else ""
        title = f"{found['name']}, parent {found['parent_name']}{coarse} (Angstrom, GPa):"
        rows = [_row(curve) for curve in sorted(found["curves"], key=_place)]
        parts += [title, as_table(rows, titles, left=2, markdown=True)]
    return "\n\n".join(parts)


def _place(curve: Mapping[str, Any]) -> tuple[int, int]:
    return METHODS.index(curve["method"]), list(CRYSTALS).index(curve["crystal"])
