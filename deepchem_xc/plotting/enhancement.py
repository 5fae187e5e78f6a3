"""Enhancement factors of functionals over the reduced gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from deepchem_xc.plotting.style import COLORS, LINES, axes_or_new, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_S = np.linspace(0.0, 3.0, 151)


def plot_exchange_enhancement(
    functionals: Mapping[str, Any] | Sequence[Any] | Any,
    s: ArrayLike = _S,
    alpha: float | Sequence[float] = 1.0,
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw F_x(s), the enhancement factor of exchange.

    Parameters
    ----------
    functionals : functional, sequence or mapping
        One, several, or ``{label: functional}``.
    s : array_like, optional
        Reduced gradients, 0 to 3 by default.
    alpha : float or sequence of float, optional
        Iso-orbital indicators of meta-GGAs: one line each.
    path : path, optional
        Image file.
    title : str, optional
        Title of the axes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        One line for each functional, and for each alpha of a meta-GGA.

    Raises
    ------
    ValueError
        For a functional whose exchange is not defined, see
        `deepchem_xc.xc.enhancement.exchange_enhancement`.

    Examples
    --------
    >>> from deepchem_xc.plotting import plot_exchange_enhancement
    >>> from deepchem_xc.xc import get_xc
    >>> ax = plot_exchange_enhancement([get_xc("PBE"), get_xc("LDA")], s=[0.0, 1e4])
    >>> [line.get_ydata().round(3).tolist() for line in ax.lines]
    [[1.0, 1.804], [1.0, 1.0]]
    """
    from deepchem_xc.xc.enhancement import exchange_enhancement

    ax = axes_or_new(ax, 5.2, 3.8)
    s = np.asarray(s, dtype=np.float64)
    for number, (label, functional) in enumerate(_named(functionals).items()):
        for other, value in enumerate(_alphas(functional, alpha)):
            ax.plot(
                s,
                exchange_enhancement(functional, s, 1.0 if value is None else value),
                color=COLORS[number % len(COLORS)],
                # A colour that is used again has other lines.
                ls=LINES[(2 * (number // len(COLORS)) + other) % len(LINES)],
                label=label if value is None else rf"{label}, $\alpha$ = {value:g}",
            )
    return _finished(ax, "enhancement factor of exchange $F_x$", path, title)


def plot_enhancement(
    functionals: Mapping[str, Any] | Sequence[Any] | Any,
    rs: float | Sequence[float] = (0.5, 2.0, 10.0),
    zeta: float | Sequence[float] = 0.0,
    s: ArrayLike = _S,
    alpha: float = 1.0,
    path: str | Path | None = None,
    title: str | None = None,
    ax: Any = None,
) -> Axes:
    """Draw F_xc(r_s, s, zeta), the enhancement factor of exchange and correlation.

    Parameters
    ----------
    functionals : functional, sequence or mapping
        One, several, or ``{label: functional}``; each has a colour.
    rs, zeta : float or sequence of float, optional
        Wigner-Seitz radii (bohr) and relative polarisations: one line for each pair.
    s : array_like, optional
        Reduced gradients, 0 to 3 by default.
    alpha : float, optional
        Iso-orbital indicator, for meta-GGAs.
    path : path, optional
        Image file.
    title : str, optional
        Title of the axes.
    ax : matplotlib.axes.Axes, optional
        Axes to draw into.

    Returns
    -------
    matplotlib.axes.Axes
        One line for each functional, radius and polarisation.

    Examples
    --------
    >>> from deepchem_xc.plotting import plot_enhancement
    >>> from deepchem_xc.xc import get_xc
    >>> ax = plot_enhancement({"LDA": get_xc("LDA")}, rs=2.0)
    >>> ax.lines[0].get_label(), f"{ax.lines[0].get_ydata()[0]:.3f}"
    ('LDA, $r_s$ = 2 bohr', '1.195')
    """
    from deepchem_xc.xc.enhancement import enhancement

    ax = axes_or_new(ax, 5.2, 3.8)
    s = np.asarray(s, dtype=np.float64)
    named = _named(functionals)
    radii, polarisations = np.atleast_1d(rs), np.atleast_1d(zeta)
    number = 0
    for index, (label, functional) in enumerate(named.items()):
        for line, polarisation in enumerate(polarisations):
            for radius in radii:
                # Of a single functional colours are for radii, otherwise radii fade.
                color = COLORS[(number if len(named) == 1 else index) % len(COLORS)]
                number += 1
                shade = list(radii).index(radius) / max(len(radii), 1) if len(named) > 1 else 0.0
                spin = rf", $\zeta$ = {polarisation:g}" if len(polarisations) > 1 else ""
                ax.plot(
                    s,
                    enhancement(functional, radius, s, polarisation, alpha),
                    color=color,
                    alpha=1.0 - 0.7 * shade,
                    ls=LINES[line % len(LINES)],
                    label=f"{label}, $r_s$ = {radius:g} bohr{spin}",
                )
        number = 0
    given = []
    if len(polarisations) == 1 and polarisations[0]:
        given.append(rf"$\zeta$ = {polarisations[0]:g}")
    if any(int(getattr(functional, "family", 0)) == 4 for functional in named.values()):
        given.append(rf"$\alpha$ = {alpha:g}")
    where = f" at {', '.join(given)}" if given else ""
    return _finished(ax, f"enhancement factor $F_{{xc}}${where}", path, title)


def _named(functionals: Any) -> dict[str, Any]:
    """Functionals by label; those with the same name are numbered."""
    if isinstance(functionals, Mapping):
        return dict(functionals)
    several = list(functionals) if isinstance(functionals, (list, tuple)) else [functionals]
    found: dict[str, Any] = {}
    for one in several:
        name = str(getattr(one, "name", "") or type(one).__name__)
        found[name if name not in found else f"{name} ({len(found) + 1})"] = one
    return found


def _alphas(functional: Any, alpha: float | Sequence[float]) -> list[float | None]:
    if int(getattr(functional, "family", 0)) != 4:
        return [None]
    return np.atleast_1d(alpha).astype(float).tolist()


def _finished(ax: Any, quantity: str, path: str | Path | None, title: str | None) -> Any:
    ax.set_xlabel("reduced gradient $s$ (dimensionless)")
    ax.set_ylabel(quantity)
    ax.margins(x=0.0)
    # Many lines leave no room for their names between them.
    beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(ax.lines) > 6 else {}
    ax.legend(fontsize="small", frameon=False, **beside)
    if title:
        ax.set_title(title)
    save(ax.figure, path)
    return ax
