"""Colours, markers, and figures that belong to nobody's global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Colours of Okabe and Ito that are dark enough for thin lines on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
MARKERS = ("o", "s", "^", "D")
LINES = ("-", "--", ":", "-.")


def new_figure(width: float, height: float) -> Any:
    """An empty figure (inches).

    Examples
    --------
    >>> new_figure(4.0, 3.0).axes
    []
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Any, width: float, height: float) -> Any:
    """The axes given, or those of a new figure (inches).

    Examples
    --------
    >>> ax = axes_or_new(None, 4.0, 3.0)
    >>> axes_or_new(ax, 4.0, 3.0) is ax
    True
    """
    return new_figure(width, height).subplots() if ax is None else ax


def panels_or_new(ax: Any, rows: int, columns: int, size: tuple[float, float], **how: Any) -> Any:
    """The axes given, one a panel, or those of a new figure; an array (rows, columns).

    Parameters
    ----------
    ax : axes, nested sequence of axes or None
        As many as there are panels.
    rows, columns : int
        Number of panels.
    size : (float, float)
        Width and height of a panel, inches.
    **how
        Keywords of ``Figure.subplots``.

    Raises
    ------
    ValueError
        For another number of axes.

    Examples
    --------
    >>> panels_or_new(None, 2, 3, (4.0, 3.0)).shape
    (2, 3)
    """
    import numpy as np

    if ax is None:
        figure = new_figure(size[0] * columns, size[1] * rows)
        return figure.subplots(rows, columns, squeeze=False, **how)
    given = np.atleast_1d(np.asarray(ax, dtype=object))
    if given.size != rows * columns:
        raise ValueError(
            f"this figure has {rows} x {columns} panels and needs as many axes, got {given.size}: "
            f"give figure.subplots({rows}, {columns}), or leave ax out."
        )
    return given.reshape(rows, columns)


def save(figure: Any, path: str | Path | None) -> None:
    """Write a figure, if there is a path; the ending of its name determines the format.

    Examples
    --------
    >>> save(new_figure(4.0, 3.0), None)
    """
    if path is None:
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
