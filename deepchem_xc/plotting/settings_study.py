"""Errors of lattice constants and bulk moduli as the settings of a calculation become finer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc.plotting.style import COLORS, MARKERS, panels_or_new, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_convergence(
    series: Mapping[str, Mapping[str, Sequence[tuple[float, float, float]]]],
    path: str | Path | None = None,
    limits: tuple[float, float] = (5e-4, 1e-2),
    ax: Any = None,
) -> Figure:
    """Draw how lattice constants and bulk moduli approach their converged values.

    Parameters
    ----------
    series : mapping
        ``{parameter: {system: [(value, error of a, error of B), ...]}}``, relative errors.
    path : path, optional
        Image file.
    limits : (float, float), optional
        Errors that count as converged, drawn as lines.
    ax : array of axes, optional
        (2, number of parameters), to draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Errors of a in the first row, of B in the second; relative, dimensionless.

    Examples
    --------
    >>> from deepchem_xc.plotting import plot_convergence
    >>> series = {"cutoff (eV)": {"Al": [(200.0, 1e-3, 0.02), (300.0, 1e-4, 0.004)]}}
    >>> [ax.get_ylabel() for ax in plot_convergence(series).axes]
    ['relative error of the lattice constant', 'relative error of the bulk modulus']
    """
    axes = panels_or_new(ax, 2, len(series), (4.2, 3.2))
    for column, (parameter, systems) in enumerate(series.items()):
        for (system, points), color, marker in zip(systems.items(), COLORS * 2, MARKERS * 2):
            values = [point[0] for point in points]
            for row in (0, 1):
                # The reference setting itself has zero error, which a logarithm cannot show.
                errors = [max(abs(point[row + 1]), 1e-6) for point in points]
                axes[row, column].plot(
                    values, errors, marker=marker, color=color, label=system, lw=1, ms=4
                )
        for row, (name, limit) in enumerate(zip(("lattice constant", "bulk modulus"), limits)):
            ax = axes[row, column]
            ax.axhline(limit, color="0.6", ls="--", lw=1)
            ax.set_yscale("log")
            ax.set_xlabel(parameter)
            ax.set_ylabel(f"relative error of the {name}")
        axes[0, column].legend(fontsize="small", frameon=False)
    figure: Figure = axes.flat[0].figure
    save(figure, path)
    return figure
