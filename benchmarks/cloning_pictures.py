"""Pictures of `cloning.py`: errors by seed, exchange factors, errors at points, descriptors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cloning_descriptors import EDGES as DESCRIPTOR_EDGES
from cloning_descriptors import KINDS
from cloning_plan import RANDOM, STUDENTS
from cloning_points import CURVE, EDGES

from deepchem_xc.plotting.style import COLORS, LINES, MARKERS, axes_or_new, panels_or_new, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = {
    "F_x": "$F_x$",
    "F_c": "$F_c$",
    "de/dn": r"$\partial e/\partial n$ (mHa)",
    "de/dgrad": r"$\partial e/\partial\nabla n$ (mHa)",
    "de/dtau": r"$\partial e/\partial\tau$ (mHa)",
    "r_s": "$r_s$ (bohr)",
    "s": "$s$",
    "zeta": r"$|\zeta|$",
    "alpha": r"$\alpha$",
}
# Error of a factor below which it is not drawn: a constrained clone is exact at s = 0.
_LEAST_ERROR = 1e-7


def _style(kind: str) -> dict[str, Any]:
    """Colour by student, line and marker by recipe; the rest of the kinds repeat."""
    student, _, recipe = kind.partition(", ")
    color = COLORS[STUDENTS.index(student)]
    place = ["protocol", "polished", RANDOM].index(recipe)
    return {"color": color, "ls": LINES[place], "marker": MARKERS[place]}


def plot_seeds(
    errors: Mapping[str, Mapping[str, Sequence[float]]],
    title: str,
    path: Path | None = None,
    ax: Any = None,
) -> Axes:
    """One number of every seed, by parent and kind of clone, on a logarithmic axis.

    Parameters
    ----------
    errors : mapping
        ``{parent: {kind: [value of each seed]}}``; zeros cannot be drawn.
    title : str
        Of the axis.
    path : path, optional
        Image file.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.
    """
    ax = axes_or_new(ax, 2.0 + 1.6 * len(errors), 4.0)
    kinds = list(dict.fromkeys(kind for one in errors.values() for kind in one))
    for i, kind in enumerate(kinds):
        offset = (i - 0.5 * (len(kinds) - 1)) * 0.8 / max(len(kinds), 1)
        pairs = [(p, v) for p, one in enumerate(errors.values()) for v in one.get(kind, ())]
        x, y = np.array(pairs, dtype=float).reshape(-1, 2).T
        style = {**_style(kind), "ls": "none"}
        ax.plot(x + offset, y, label=kind, ms=5, alpha=0.8, **style)
    ax.set_yscale("log")
    ax.set_xticks(range(len(errors)), list(errors))
    ax.set_ylabel(title)
    ax.legend(fontsize="x-small", frameon=False)
    save(ax.figure, path)
    return ax


def plot_factor(
    curves: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    path: Path | None = None,
    ax: Any = None,
) -> Axes:
    """F_x over s of a parent, and the error of each kind of clone below it.

    Parameters
    ----------
    curves : mapping
        ``{kind: {alpha: {"clone": [...], "parent": [...]}}}`` at `CURVE`.
    path : path, optional
        Image file.
    ax : sequence of two axes, optional
        Axes to draw into.
    """
    upper, lower = panels_or_new(ax, 2, 1, (5.5, 3.0), sharex=True)[:, 0]
    drawn: set[str] = set()
    for kind, found in curves.items():
        for i, (alpha, one) in enumerate(found.items()):
            label = f", alpha = {alpha}" if len(found) > 1 else ""
            if alpha not in drawn:
                drawn.add(alpha)
                upper.plot(CURVE, one["parent"], "k", lw=2.5, alpha=0.4, label=f"parent{label}")
            style = {k: v for k, v in _style(kind).items() if k != "marker"}
            upper.plot(CURVE, one["clone"], label=f"{kind}{label}", lw=1, **style)
            error = np.abs(np.subtract(one["clone"], one["parent"]))
            lower.plot(CURVE, np.maximum(error, _LEAST_ERROR), lw=1 + i, **style)
    upper.set_ylabel("$F_x$")
    upper.legend(fontsize="x-small", frameon=False)
    lower.set_yscale("log")
    lower.set_xlabel("$s$")
    lower.set_ylabel("error of $F_x$")
    save(upper.figure, path)
    return upper


def plot_bins(
    values: Mapping[str, Mapping[str, Sequence[float | None]]],
    shares: Sequence[float],
    place: str,
    path: Path | None = None,
    ax: Any = None,
) -> Axes:
    """Errors at points over bins of the reduced gradient or radius, a panel for each quantity.

    Parameters
    ----------
    values : mapping
        ``{quantity: {kind: [root mean square of each bin, None if empty]}}``.
    shares : sequence of float
        Share of electrons in each bin, drawn in grey.
    place : {"s", "r_s"}
        What is binned.
    path : path, optional
        Image file.
    ax : axes, optional
        As many as there are quantities.
    """
    panels = panels_or_new(ax, 1, len(values), (4.0, 3.6), sharex=True)[0]
    edges = EDGES[place]
    bins = np.arange(len(edges) - 1)
    for panel, (quantity, kinds) in zip(panels, values.items(), strict=True):
        behind = panel.twinx()
        behind.bar(bins, shares, color="0.9", width=1.0, zorder=0)
        behind.set_yticks([])
        panel.set_zorder(behind.get_zorder() + 1)
        panel.patch.set_visible(False)
        for kind, found in kinds.items():
            y = np.array([np.nan if one is None else one for one in found], dtype=float)
            panel.plot(bins, y, label=kind, ms=4, lw=1, **_style(kind))
        panel.set_yscale("log")
        labels = [f"{edge:g}" for edge in edges[:-1]]
        panel.set_xticks(bins - 0.5, labels, fontsize="x-small")
        panel.set_xlabel(_TITLES[place])
        panel.set_ylabel(f"error of {_TITLES[quantity]}")
    kinds = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(*kinds, loc="outside upper center", ncols=6, frameon=False)
    save(panels[0].figure, path)
    return panels[0]


def plot_descriptors(
    found: Mapping[str, Mapping[str, Any]], path: Path | None = None, ax: Any = None
) -> Axes:
    """Distributions of electrons over descriptors, all electrons and GTH; means over molecules.

    Parameters
    ----------
    found : mapping
        As for `cloning_tables.descriptor_table`.
    path : path, optional
        Image file.
    ax : axes, optional
        As many as there are descriptors.
    """
    panels = panels_or_new(ax, 2, 2, (4.0, 2.8)).ravel()
    for panel, (key, edges) in zip(panels, DESCRIPTOR_EDGES.items(), strict=True):
        for i, kind in enumerate(KINDS):
            shares = np.mean([kinds[kind]["shares"][key] for kinds in found.values()], axis=0)
            panel.stairs(shares, edges, label=kind, color=COLORS[i], fill=i == 0, alpha=0.6)
        if key == "r_s":
            panel.set_xscale("log")
        if key == "zeta":
            panel.set_yscale("log")  # most electrons are in closed shells
            panel.set_ylim(1e-5, 2.0)
        panel.set_xlabel(_TITLES[key])
        panel.set_ylabel("share of electrons")
    panels[0].legend(fontsize="x-small", frameon=False)
    save(panels[0].figure, path)
    return panels[0]
