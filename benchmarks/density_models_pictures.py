"""Pictures of `density_models.py`: violins, curves, parity, errors by element, learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepchem_xc.plotting import plot_errors_by_class, plot_parity
from deepchem_xc.plotting.style import COLORS, LINES, MARKERS, axes_or_new, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_violins(
    errors: Mapping[str, Mapping[str, float]], path: Path | None = None, ax: Any = None
) -> Axes:
    """Distribution of the errors of each model over structures, on a logarithmic axis.

    Parameters
    ----------
    errors : mapping
        ``{model: {structure: error}}``, per cent.
    path : path, optional
        Image file.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.
    """
    ax = axes_or_new(ax, 2.0 + 1.3 * len(errors), 4.0)
    values = [np.log10(list(one.values())) for one in errors.values()]
    places = np.arange(len(values))
    rng = np.random.default_rng(0)
    for place, one in zip(places, values, strict=True):
        color = COLORS[place % len(COLORS)]
        if np.ptp(one) > 0.0:  # a single value has no distribution
            drawn = ax.violinplot(one, [place], widths=0.8, showmedians=True, showextrema=False)
            for body in (*drawn["bodies"], drawn["cmedians"]):
                body.set_color(color)
        jitter = rng.uniform(-0.1, 0.1, len(one))
        ax.plot(place + jitter, one, ls="none", marker=".", ms=4, color=color, alpha=0.7)
    ticks = _decades(np.concatenate(values))
    ax.set_yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
    ax.set_xticks(places, [name.replace(", ", "\n") for name in errors], fontsize="small")
    ax.set_ylabel("density error (% of the electrons)")
    save(ax.figure, path)
    return ax


def _decades(logarithms: Any) -> list[float]:
    first, last = int(np.floor(logarithms.min())), int(np.ceil(logarithms.max()))
    steps = [10.0**k * m for k in range(first, last + 1) for m in (1.0, 2.0, 5.0)]
    low, high = 10.0 ** logarithms.min() / 1.5, 10.0 ** logarithms.max() * 1.5
    return [step for step in steps if low <= step <= high]


def plot_curves(
    curves: Mapping[str, Sequence[Sequence[float | None]]],
    path: Path | None = None,
    ax: Any = None,
) -> Axes:
    """Validation error of trainings over their part that is done.

    Parameters
    ----------
    curves : mapping
        ``{training: [[epoch, loss, validation or None], ...]}``.
    path : path, optional
        Image file.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.
    """
    ax = axes_or_new(ax, 6.0, 4.0)
    for i, (name, curve) in enumerate(curves.items()):
        points = [(epoch, error) for epoch, _, error in curve if error is not None]
        if not points:
            continue
        x, y = np.array(points, dtype=float).T
        style = {"color": COLORS[i % len(COLORS)], "ls": LINES[i // len(COLORS) % len(LINES)]}
        ax.plot(x / float(curve[-1][0] or 1), y, label=name, lw=1, **style)
    ax.axvline(2.0 / 3.0, color="0.7", lw=0.8)
    ax.set_yscale("log")
    ax.set_xlabel("part of the training")
    ax.set_ylabel("validation error (% of the electrons)")
    ax.legend(fontsize="x-small", frameon=False)
    save(ax.figure, path)
    return ax


def plot_learning(
    errors: Mapping[str, Mapping[int, float]], path: Path | None = None, ax: Any = None
) -> Axes:
    """Mean error over the number of training structures, both axes logarithmic.

    Parameters
    ----------
    errors : mapping
        ``{model: {number of structures: mean error}}``, per cent.
    path : path, optional
        Image file.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.
    """
    ax = axes_or_new(ax, 5.0, 4.0)
    numbers = sorted({number for one in errors.values() for number in one})
    for i, (name, one) in enumerate(errors.items()):
        x = sorted(one)
        ax.plot(x, [one[n] for n in x], label=name, color=COLORS[i], marker=MARKERS[i])
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(numbers, [str(number) for number in numbers])
    # A logarithmic axis has no numbers of its own within a decade.
    ticks = _decades(np.log10([error for one in errors.values() for error in one.values()]))
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("training structures")
    ax.set_ylabel("mean density error (% of the electrons)")
    ax.legend(fontsize="small", frameon=False)
    save(ax.figure, path)
    return ax


def plot_by_element(
    errors: Mapping[str, Mapping[str, float]],
    elements: Mapping[str, Sequence[str]],
    path: Path | None = None,
) -> Axes:
    """Errors of the structures that contain each element.

    Parameters
    ----------
    errors : mapping
        ``{model: {structure: error}}``, per cent.
    elements : mapping
        ``{structure: its elements}``.
    path : path, optional
        Image file.
    """
    order = sorted({symbol for found in elements.values() for symbol in found})
    # A structure counts once for each of its elements.
    pairs = [(name, symbol) for symbol in order for name, e in elements.items() if symbol in e]
    classes = {f"{name}, {symbol}": symbol for name, symbol in pairs}
    each = {
        model: {f"{name}, {symbol}": one[name] for name, symbol in pairs if name in one}
        for model, one in errors.items()
    }
    return plot_errors_by_class(each, classes, "density", "% of the electrons", path)


def plot_bonding(
    samples: Mapping[str, Sequence[Sequence[float]]], path: Path | None = None
) -> Axes:
    """Parity of the difference density at points of the test structures.

    Parameters
    ----------
    samples : mapping
        ``{model: [[converged, predicted], ...]}``, bohr^-3.
    path : path, optional
        Image file.
    """
    converged, predicted, groups = [], [], []
    for name, pairs in samples.items():
        x, y = np.array(pairs).T
        converged.append(x)
        predicted.append(y)
        groups += [name] * len(x)
    return plot_parity(
        np.concatenate(converged),
        np.concatenate(predicted),
        "difference density",
        "bohr$^{-3}$",
        groups,
        path,
        ax=axes_or_new(None, 6.4, 6.4),  # long names above the axes
    )
