"""Band structures along a path through the Brillouin zone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepchem_xc.plotting.style import COLORS, axes_or_new, save

if TYPE_CHECKING:
    from ase.spectrum.band_structure import BandStructure
    from matplotlib.axes import Axes


def plot_bands(
    bands: BandStructure,
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw a band structure with its reference energy at zero.

    Lines end where the path jumps, and the tick there has both names, such as X|M.

    Parameters
    ----------
    bands : ase.spectrum.band_structure.BandStructure
        From `band_structure`.
    path : path, optional
        Image file.
    title : str, optional
        Title of the axes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        Energies in eV.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from ase.spectrum.band_structure import BandStructure
    >>> from deepchem_xc.plotting import plot_bands
    >>> path = bulk("Al").cell.bandpath("GXW", npoints=9)
    >>> ax = plot_bands(BandStructure(path, np.zeros((1, 9, 2)), reference=1.0))
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['Γ', 'X', 'W']
    """
    from deepchem_xc.planewave.properties.band_path import path_axis

    axis = path_axis(bands.path)
    ax = axes_or_new(ax, 6.0, 4.5)
    for spin, color in zip(range(len(bands.energies)), COLORS):
        energies = bands.energies[spin] - bands.reference
        for number, section in enumerate(axis.sections):
            x, y = axis.distances[section], energies[section]
            # A single k-point does not make a line.
            marker = "_" if len(x) == 1 else ""
            lines = ax.plot(x, y, color=color, lw=1, marker=marker)
            if len(bands.energies) == 2 and number == 0:
                lines[0].set_label("spin down" if spin else "spin up")
    labels = ["|".join(map(_point_name, label.split("|"))) for _, label in axis.ticks]
    ax.set_xticks([position for position, _ in axis.ticks], labels)
    for position, _ in axis.ticks:
        ax.axvline(position, color="0.8", lw=0.8, zorder=0)
    ax.axhline(0.0, color="0.5", ls=":", lw=1)
    if axis.distances[-1] > 0.0:
        ax.set_xlim(0.0, axis.distances[-1])
    ax.set_ylabel("energy from the Fermi level (eV)")
    if len(bands.energies) == 2:
        ax.legend(fontsize="small", frameon=False)
    if title:
        ax.set_title(title)
    save(ax.figure, path)
    return ax


def _point_name(name: str) -> str:
    """Label of a special point: Γ, and digits as subscripts."""
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    return ("Γ" if letters == "G" else letters) + (f"$_{{{digits}}}$" if digits else "")
