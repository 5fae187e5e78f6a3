"""Energy curves of crystals and layers, with the fit through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepchem_xc.plotting.style import COLORS, MARKERS, panels_or_new, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepchem_xc.eos.fits import EquationOfStateFit


@dataclass(frozen=True)
class EosCurve:
    """Points and fit of an equation of state: sizes (Angstrom^3 or Angstrom^2), energies (eV)."""

    label: str
    sizes: Sequence[float]
    energies: Sequence[float]
    fit: EquationOfStateFit


@dataclass(frozen=True)
class EosPanel:
    """One system's curves."""

    title: str
    curves: Sequence[EosCurve]


def fitted_energy(fit: EquationOfStateFit, sizes: ArrayLike) -> NDArray[np.float64]:
    r"""Energy of a fitted equation of state.

    Parameters
    ----------
    fit : EquationOfStateFit
        From `fit_equation_of_state`.
    sizes : array_like
        Volumes (Angstrom^3) or areas (Angstrom^2).

    Returns
    -------
    ndarray
        eV.

    Notes
    -----
    Birch-Murnaghan [1]_: with :math:`x = (V_0/V)^{2/3}`,
    :math:`E = E_0 + \frac{9 V_0 B}{16} [(x-1)^3 B' + (x-1)^2 (6 - 4x)]`. Layers: with
    :math:`f = (A_0/A - 1)/2`, :math:`E = E_0 + 2 A_0 B [f^2 + \frac{2}{3} (B' - 5) f^3]`.

    References
    ----------
    .. [1] F. Birch, Phys. Rev. 71, 809 (1947).

    Examples
    --------
    >>> from deepchem_xc.eos.fits import fit_equation_of_state
    >>> from deepchem_xc.plotting import fitted_energy
    >>> volumes = [15.0, 15.5, 16.0, 16.5, 17.0]
    >>> fit = fit_equation_of_state(volumes, [0.09, 0.025, 0.0, 0.02, 0.08])
    >>> bool(abs(fitted_energy(fit, fit.size) - fit.energy) < 1e-12)
    True
    """
    from ase.units import GPa, J, m

    ratio = fit.size / np.asarray(sizes, dtype=np.float64)
    if fit.dimension == 2:
        strain = (ratio - 1) / 2
        scale = 2 * fit.size * fit.modulus * J / m**2
        cubic = 2 * (fit.derivative - 5) / 3
        return np.asarray(fit.energy + scale * (strain**2 + cubic * strain**3))
    x = ratio ** (2 / 3)
    scale = 9 * fit.size * fit.modulus * GPa / 16
    return np.asarray(
        fit.energy + scale * ((x - 1) ** 3 * fit.derivative + (x - 1) ** 2 * (6 - 4 * x))
    )


def plot_equations_of_state(
    panels: Sequence[EosPanel],
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Figure:
    """Draw energy curves, one panel a system; each curve's zero is its own minimum.

    Parameters
    ----------
    panels : sequence of EosPanel
        At least one.
    path : path, optional
        Image file; its ending determines the format.
    title : str, optional
        Title of the whole figure.
    ax : axes or array of axes, optional
        As many as there are panels, to draw into.

    Returns
    -------
    matplotlib.figure.Figure
        Energies in meV per cell, sizes in Angstrom^3 or Angstrom^2.

    Raises
    ------
    ValueError
        Without a panel, or for another number of axes.

    Examples
    --------
    >>> from deepchem_xc.eos.fits import fit_equation_of_state
    >>> from deepchem_xc.plotting import EosCurve, EosPanel, plot_equations_of_state
    >>> volumes, energies = [15.0, 15.5, 16.0, 16.5, 17.0], [0.09, 0.025, 0.0, 0.02, 0.08]
    >>> curve = EosCurve("PBE", volumes, energies, fit_equation_of_state(volumes, energies))
    >>> figure = plot_equations_of_state([EosPanel("Al", [curve])])
    >>> figure.axes[0].get_xlabel()
    'volume (Å$^3$)'
    """
    if not panels:
        raise ValueError("there is no panel to draw: give at least one EosPanel.")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    if ax is None:
        axes = panels_or_new(None, rows, columns, (5.2, 3.8))
    else:
        axes = panels_or_new(ax, 1, len(panels), (5.2, 3.8))
    for ax, panel in zip(axes.flat, panels):
        for curve, color, marker in zip(panel.curves, COLORS, MARKERS):
            line = np.linspace(min(curve.sizes), max(curve.sizes), 200)
            zero = curve.fit.energy
            ax.plot(line, 1e3 * (fitted_energy(curve.fit, line) - zero), color=color, lw=1)
            ax.plot(
                curve.sizes,
                1e3 * (np.asarray(curve.energies) - zero),
                linestyle="none",
                marker=marker,
                color=color,
                # Rings, so that coinciding points of two codes both remain visible.
                markerfacecolor="none",
                label=curve.label,
            )
        layer = panel.curves[0].fit.dimension == 2
        ax.set_xlabel("area (Å$^2$)" if layer else "volume (Å$^3$)")
        ax.set_ylabel("energy (meV per cell)")
        ax.set_title(panel.title)
        ax.legend(fontsize="small", frameon=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    figure: Figure = axes.flat[0].figure
    if title:
        figure.suptitle(title)
    save(figure, path)
    return figure
