"""Predictions against labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from deepchem_xc.plotting.style import COLORS, MARKERS, axes_or_new, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_parity(
    labels: ArrayLike,
    predictions: ArrayLike,
    quantity: str,
    unit: str,
    groups: Sequence[str] | None = None,
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw predictions over labels, with the line on which both are equal.

    Parameters
    ----------
    labels, predictions : array_like
        (n,), both in `unit`; a NaN, such as the prediction of a skipped entry, is left out.
    quantity, unit : str
        Name of the quantity and its unit, for the axes.
    groups : sequence of str, optional
        (n,): name of each point's group, such as "training" and "validation". Each group has its
        colour and marker, and its mean absolute error in the legend.
    path : path, optional
        Image file.
    title : str, optional
        Title, above the legend.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        Both axes in `unit`, with equal limits.

    Raises
    ------
    ValueError
        If the lengths differ, or no point has both numbers.

    Examples
    --------
    >>> from deepchem_xc.plotting import plot_parity
    >>> ax = plot_parity([4.05, 5.43], [4.04, 5.46], "lattice constant", "Å")
    >>> ax.get_legend_handles_labels()[1]
    ['2 points, mean absolute error 0.02 Å']
    """
    x, y = (np.asarray(values, dtype=np.float64).ravel() for values in (labels, predictions))
    names = np.asarray([""] * len(x) if groups is None else list(groups))
    if not len(x) == len(y) == len(names):
        raise ValueError(
            f"labels, predictions and groups must have one value a point, got {len(x)}, {len(y)} "
            f"and {len(names)}."
        )
    there = np.isfinite(x) & np.isfinite(y)
    if not there.any():
        raise ValueError("no point has both a label and a prediction: there is nothing to draw.")
    ax = axes_or_new(ax, 4.4, 4.4)
    for number, name in enumerate(dict.fromkeys(names[there].tolist())):
        chosen = there & (names == name)
        error = float(np.abs(y[chosen] - x[chosen]).mean())
        count = f"{chosen.sum()} point{'s' if chosen.sum() > 1 else ''}"
        ax.plot(
            x[chosen],
            y[chosen],
            ls="none",
            marker=MARKERS[number % len(MARKERS)],
            color=COLORS[number % len(COLORS)],
            markerfacecolor="none",
            label=f"{name + ': ' if name else ''}{count}, mean absolute error {error:.3g} {unit}",
        )
    both = np.concatenate([x[there], y[there]])
    margin = 0.05 * float(np.ptp(both)) or 0.05 * abs(float(both[0])) or 1.0
    limits = float(both.min()) - margin, float(both.max()) + margin
    ax.plot(limits, limits, color="0.5", lw=1, zorder=0)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.set_xlabel(f"{quantity}, label ({unit})")
    ax.set_ylabel(f"{quantity}, prediction ({unit})")
    # Above the axes, because points may be anywhere in them.
    title_above = {"title": title} if title else {}
    ax.legend(
        fontsize="small", frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), **title_above
    )
    save(ax.figure, path)
    return ax
