"""Figures, drawn without a display and without matplotlib's global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from ase.spectrum.band_structure import BandStructure
    from matplotlib.figure import Figure

    from deepchem_xc.eos.fits import EquationOfStateFit
    from deepchem_xc.models.training_log import EpochRecord

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_MARKERS = ("o", "s", "^", "D")
_LINES = ("-", "--", ":")
_DECADE = 10.0


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
    panels: Sequence[EosPanel], path: str | Path, title: str | None = None
) -> None:
    """Draw energy curves, one panel a system; each curve's zero is its own minimum.

    Parameters
    ----------
    panels : sequence of EosPanel
        At least one.
    path : path
        Image file; its ending determines the format.
    title : str, optional
        Title of the whole figure.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(5.2 * columns, 3.8 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax, panel in zip(axes.flat, panels):
        for curve, color, marker in zip(panel.curves, _COLORS, _MARKERS):
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
    if title:
        figure.suptitle(title)
    _save(figure, path)


def plot_bands(bands: BandStructure, path: str | Path, title: str | None = None) -> None:
    """Draw a band structure with its reference energy at zero.

    Lines end where the path jumps, and the tick there has both names, such as X|M.

    Parameters
    ----------
    bands : ase.spectrum.band_structure.BandStructure
        From `band_structure`.
    path : path
        Image file.
    title : str, optional
        Title of the axes.
    """
    from deepchem_xc.planewave.properties.band_path import path_axis

    axis = path_axis(bands.path)
    figure = _figure(6.0, 4.5)
    ax = figure.subplots()
    for spin, color in zip(range(len(bands.energies)), _COLORS):
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
    _save(figure, path)


def plot_convergence(
    series: Mapping[str, Mapping[str, Sequence[tuple[float, float, float]]]],
    path: str | Path,
    limits: tuple[float, float] = (5e-4, 1e-2),
) -> None:
    """Draw how lattice constants and bulk moduli approach their converged values.

    Parameters
    ----------
    series : mapping
        ``{parameter: {system: [(value, error of a, error of B), ...]}}``, relative errors.
    path : path
        Image file.
    limits : (float, float), optional
        Errors that count as converged, drawn as lines.
    """
    figure = _figure(4.2 * len(series), 6.4)
    axes = figure.subplots(2, len(series), squeeze=False)
    for column, (parameter, systems) in enumerate(series.items()):
        for (system, points), color, marker in zip(systems.items(), _COLORS * 2, _MARKERS * 2):
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
    _save(figure, path)


def plot_lattice_errors(
    systems: Sequence[str], errors: Mapping[str, Sequence[float | None]], path: str | Path
) -> None:
    """Draw errors of lattice constants as bars, grouped by crystal.

    Parameters
    ----------
    systems : sequence of str
        Names of the crystals.
    errors : mapping
        ``{functional: [relative error for each crystal]}``; None leaves a gap.
    path : path
        Image file; its ending determines the format.
    """
    n = len(systems)
    figure = _figure(2.5 + min(1.6 * n, 5.0 + 0.3 * n), 3.6)
    ax = figure.subplots()
    width = 0.8 / max(len(errors), 1)
    for i, (name, values) in enumerate(errors.items()):
        x = np.arange(len(systems)) - 0.4 + (i + 0.5) * width
        heights = [np.nan if value is None else 100 * value for value in values]
        ax.bar(x, heights, 0.92 * width, label=name, color=_COLORS[i % 4], alpha=0.6 ** (i // 4))
    ax.axhline(0.0, color="0.3", lw=0.8)
    ax.set_xticks(range(len(systems)), systems)
    ax.set_ylabel("error of the lattice constant (%)")
    ax.legend(fontsize="small", frameon=False)
    _save(figure, path)


def plot_training(
    records: Sequence[EpochRecord],
    path: str | Path,
    validation: Mapping[str, Sequence[tuple[int, float]]] | None = None,
) -> None:
    """Draw the loss of each type of entry over epochs, and errors of validation entries.

    A type has the same colour in all panels, each unit has its own panel, and ticks at the bottom
    of the loss panel mark the epochs in which ground states were computed.

    Parameters
    ----------
    records : sequence of EpochRecord
        Records of the epochs.
    path : path
        Image file; its ending determines the format.
    validation : mapping, optional
        ``{"type (unit)": [(epoch, mean absolute error), ...]}``.
    """
    losses: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        for name, loss in {"all": record.loss, **record.loss_by_type}.items():
            losses.setdefault(name, []).append((record.epoch, loss))
    if len(losses) == 2:
        # With a single type both curves are the same.
        del losses["all"]
    panels: dict[str, dict[str, Sequence[tuple[int, float]]]] = {"loss": dict(losses)}
    for described, points in (validation or {}).items():
        name, _, unit = described.partition(" (")
        label = f"mean absolute error ({unit}" if unit else "mean absolute error"
        panels.setdefault(label, {})[name] = points
    types = sorted({name for curves in panels.values() for name in curves} - {"all"})
    styles = {name: (_COLORS[i % 4], _LINES[i // 4 % 3]) for i, name in enumerate(types)}
    styles["all"] = ("0.5", "-")
    figure = _figure(5.2 * len(panels), 3.8)
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for ax, (label, curves) in zip(axes, panels.items(), strict=True):
        _draw_falling(ax, curves, styles)
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
    computed = [record.epoch for record in records if record.calculations]
    axes[0].plot(
        computed,
        [0.02] * len(computed),
        transform=axes[0].get_xaxis_transform(),
        ls="none",
        marker="|",
        color="0.3",
        label="ground states computed",
    )
    for ax in axes:
        ax.legend(fontsize="small", frameon=False)
    _save(figure, path)


def _draw_falling(
    ax: Any,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    from matplotlib.ticker import MaxNLocator

    for name, points in curves.items():
        x, y = zip(*points, strict=True)
        color, line = styles[name]
        marker = "." if len(points) < 50 else ""
        ax.plot(x, y, label=name, color=color, ls=line, lw=1, marker=marker)
    values = [y for points in curves.values() for _, y in points]
    # Labels of a logarithmic axis over less than a decade are hard to read.
    if min(values) > 0 and max(values) > _DECADE * min(values):
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _point_name(name: str) -> str:
    """Label of a special point: Γ, and digits as subscripts."""
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    return ("Γ" if letters == "G" else letters) + (f"$_{{{digits}}}$" if digits else "")


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: str | Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
