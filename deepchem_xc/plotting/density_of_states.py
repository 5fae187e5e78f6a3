"""Densities of states."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc.plotting.style import COLORS, axes_or_new, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deepchem_xc.planewave.properties.dos import DensityOfStates


def plot_density_of_states(
    dos: DensityOfStates,
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw a density of states with the Fermi level at zero; spin down points downwards.

    Projections, if it has any, are drawn as lines, one for each element and angular momentum.

    Parameters
    ----------
    dos : DensityOfStates
        From `density_of_states`.
    path : path, optional
        Image file.
    title : str, optional
        Title of the axes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        Energies in eV, states per eV and cell.

    Examples
    --------
    >>> import numpy as np
    >>> from deepchem_xc.planewave.properties.dos import DensityOfStates
    >>> from deepchem_xc.plotting import plot_density_of_states
    >>> energies = np.linspace(0.0, 5.0, 6)
    >>> dos = DensityOfStates(energies, np.sqrt(energies)[None], fermi_level=3.0, width=0.1)
    >>> plot_density_of_states(dos).lines[0].get_xdata().tolist()
    [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0]
    """
    ax = axes_or_new(ax, 6.0, 3.8)
    energies = dos.energies - dos.fermi_level
    for spin, (values, color) in enumerate(zip(dos.values, COLORS, strict=False)):
        label = ("spin up", "spin down")[spin] if len(dos.values) == 2 else "both spins"
        signed = -values if spin else values
        ax.plot(energies, signed, color=color, lw=1, label=label)
        ax.fill_between(energies, signed, color=color, alpha=0.15, lw=0)
    # The first two colors of the cycle resemble those of the spins.
    pairs = dict.fromkeys((part.symbol, part.l) for part in dos.atomic)
    for number, (symbol, l) in enumerate(pairs):
        for spin, values in enumerate(dos.of(symbol, l)):
            name = f"{symbol} {l}" if spin == 0 else None
            color = f"C{2 + number % 8}"
            ax.plot(energies, -values if spin else values, color=color, lw=0.8, ls="--", label=name)
    ax.axvline(0.0, color="0.5", ls=":", lw=1)
    ax.set_xlim(energies[0], energies[-1])
    ax.set_xlabel("energy from the Fermi level (eV)")
    ax.set_ylabel("density of states (1/eV per cell)")
    if len(dos.values) == 2:
        ax.axhline(0.0, color="0.3", lw=0.8)
    else:
        ax.set_ylim(bottom=0.0)
    if len(dos.values) == 2 or dos.atomic:
        ax.legend(fontsize="small", frameon=False)
    if title:
        ax.set_title(title)
    save(ax.figure, path)
    return ax
