"""Errors of functionals, by crystal and by class of solid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_xc.plotting.style import COLORS, MARKERS, axes_or_new, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_lattice_errors(
    systems: Sequence[str],
    errors: Mapping[str, Sequence[float | None]],
    path: str | Path | None = None,
    ax: Any = None,
) -> Axes:
    """Draw errors of lattice constants as bars, grouped by crystal.

    Parameters
    ----------
    systems : sequence of str
        Names of the crystals.
    errors : mapping
        ``{functional: [relative error for each crystal]}``; None leaves a gap.
    path : path, optional
        Image file; its ending determines the format.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        Errors in %.

    Examples
    --------
    >>> from deepchem_xc.plotting import plot_lattice_errors
    >>> ax = plot_lattice_errors(["Al", "Si"], {"PBE": [0.002, 0.005], "LDA": [-0.01, None]})
    >>> [f"{bar.get_height():.1f}" for bar in ax.patches]
    ['0.2', '0.5', '-1.0', 'nan']
    """
    n = len(systems)
    ax = axes_or_new(ax, 2.5 + min(1.6 * n, 5.0 + 0.3 * n), 3.6)
    width = 0.8 / max(len(errors), 1)
    for i, (name, values) in enumerate(errors.items()):
        x = np.arange(len(systems)) - 0.4 + (i + 0.5) * width
        heights = [np.nan if value is None else 100 * value for value in values]
        ax.bar(x, heights, 0.92 * width, label=name, color=COLORS[i % 4], alpha=0.6 ** (i // 4))
    ax.axhline(0.0, color="0.3", lw=0.8)
    ax.set_xticks(range(len(systems)), systems)
    ax.set_ylabel("error of the lattice constant (%)")
    ax.legend(fontsize="small", frameon=False)
    save(ax.figure, path)
    return ax


def plot_errors_by_class(
    errors: Mapping[str, Mapping[str, float | None]],
    classes: Mapping[str, str],
    quantity: str = "lattice constant",
    unit: str = "%",
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw errors of functionals by class of solid: each crystal, and the mean absolute error.

    Parameters
    ----------
    errors : mapping
        ``{functional: {crystal: signed error}}`` in `unit`; None is left out.
    classes : mapping
        ``{crystal: class}``, such as "metal", "semiconductor", "ionic".
    quantity, unit : str, optional
        For the axis.
    path : path, optional
        Image file.
    title : str, optional
        Title of the axes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        A bar is the mean absolute error of a class, a ring the absolute error of one crystal.

    Raises
    ------
    ValueError
        If a crystal has no class.

    Examples
    --------
    >>> from deepchem_xc.plotting import plot_errors_by_class
    >>> classes = {"Al": "metal", "Cu": "metal", "Si": "semiconductor"}
    >>> errors = {"PBE": {"Al": 0.2, "Cu": -0.4, "Si": 0.6}}
    >>> ax = plot_errors_by_class(errors, classes)
    >>> [f"{bar.get_height():.1f}" for bar in ax.patches]
    ['0.3', '0.6']
    """
    crystals = list(dict.fromkeys(name for found in errors.values() for name in found))
    if missing := [name for name in crystals if name not in classes]:
        raise ValueError(f"no class is given for {', '.join(missing)}: add them to `classes`.")
    names = list(dict.fromkeys(classes[name] for name in crystals))
    members = [[c for c in crystals if classes[c] == name] for name in names]
    ax = axes_or_new(ax, 2.5 + 1.5 * len(names), 3.6)
    width = 0.8 / max(len(errors), 1)
    for i, (functional, found) in enumerate(errors.items()):
        color = COLORS[i % len(COLORS)]
        x = np.arange(len(names)) - 0.4 + (i + 0.5) * width
        sizes = [[abs(e) for c in group if (e := found.get(c)) is not None] for group in members]
        means = [np.mean(group) if group else np.nan for group in sizes]
        ax.bar(x, means, 0.92 * width, label=functional, color=color, alpha=0.45)
        ax.plot(
            np.repeat(x, [len(group) for group in sizes]),
            np.concatenate([*sizes, []]),
            ls="none",
            marker=MARKERS[i % len(MARKERS)],
            ms=4,
            color=color,
            markerfacecolor="none",
        )
    counts = [f"{name}\n({len(group)})" for name, group in zip(names, members, strict=True)]
    ax.set_xticks(range(len(names)), counts)
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel(f"absolute error of the {quantity} ({unit})")
    ax.legend(fontsize="small", frameon=False)
    if title:
        ax.set_title(title)
    save(ax.figure, path)
    return ax
