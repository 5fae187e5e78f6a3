r"""Errors of clones at points of molecules that are not sampled, by reduced gradient and radius.

At the parent's densities the factors F_x and F_c, and the derivatives of the energy density e with
respect to n, its gradient and tau of each channel, are compared. These derivatives are what a
potential consists of:

    v psi = de/dn psi - div(de/d(grad n)) psi - div(de/dtau grad psi) / 2.

Unlike v itself they need no second derivatives of the density, whose values near nuclei say more
about the basis than about a functional, and they have the errors of v before the divergence hides
what cancels. Those with respect to gradient and tau are multiplied by |grad n| / n and tau / n, so
that all three are energies per electron. Squares are averaged over electrons.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cloning_molecules import held_out
from cloning_plan import Clone
from cloning_training import Data, clone_file, trained
from numpy.typing import NDArray

from deepchem_xc.cloning.densities import GridDensity
from deepchem_xc.cloning.factors import FactorPoints
from deepchem_xc.store import Store
from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional, get_xc
from deepchem_xc.xc.density_derivatives import energy_derivatives, number_of_rows
from deepchem_xc.xc.ingredients import Ingredients
from deepchem_xc.xc.variables import DensityVariables, mapped

Array = NDArray[np.float64]

#: Edges of bins of the reduced gradient, and of the Wigner-Seitz radius (bohr).
EDGES = {
    "s": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf),
    "r_s": (0.0, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf),
}
#: What is compared: factors, and derivatives in mHa.
QUANTITIES = ("F_x", "F_c", "de/dn", "de/dgrad", "de/dtau")
#: Reduced gradients at which F_x is drawn, and iso-orbital indicators of meta-GGAs.
CURVE = tuple(np.linspace(0.0, 5.0, 101).tolist())
ALPHAS = (0.0, 1.0)
#: Wigner-Seitz radius of these curves, bohr: that of the valence of a light atom.
CURVE_RS = 1.0
# Level of the grid, whose points do not have to be those of training.
_LEVEL = 1
# Density below which points are left out, bohr^-3, as those that are sampled.
_LEAST_DENSITY = 1e-10
# Density of a channel below which its derivatives do not count, relative to the total one.
_EMPTY = 1e-6


def evaluate(clone: Clone, data: Data, output: Path, deadline: float) -> bool:
    """Errors of a clone at points; ``points/NAME.json`` gets them.

    Parameters
    ----------
    clone, data, output, deadline
        As for `cloning_training.train`.

    Returns
    -------
    bool
        Whether they are there.
    """
    done = trained(output, clone)
    if done is None:
        return False
    store = Store(output / "points")
    if store.read(clone.name, model=done["model"]) is not None:
        return True
    if time.monotonic() > deadline:
        return False
    kept = data.densities(clone, held_out(clone.quick))
    parent, functional = data.parent(clone), get_xc(clone_file(output, clone))
    grid = joined([one.on_grid(_LEVEL) for one in kept])
    electrons, squares = squared_errors(parent, functional, grid)
    of_points = binned(place_of(grid), electrons, squares)
    store.write(
        clone.name,
        {"model": done["model"], **of_points, "curves": curves(parent, functional)},
    )
    return True


def joined(grids: Sequence[GridDensity]) -> GridDensity:
    """The points of several grids that hold electrons."""
    parts = []
    for grid in grids:
        info = grid.densinfo
        keep = info.u.value + info.d.value > _LEAST_DENSITY

        def selected(field: torch.Tensor, keep: torch.Tensor = keep) -> torch.Tensor:
            return field[..., keep]

        parts.append((mapped(info.u, selected), mapped(info.d, selected), grid.weights[keep]))
    ups, downs, weights = zip(*parts, strict=True)

    def concatenated(channels: Sequence[Any]) -> Any:
        fields = {
            name: torch.cat([getattr(one, name) for one in channels], dim=-1)
            for name in ("value", "grad", "kin")
        }
        return type(channels[0])(**fields)

    return GridDensity(
        SpinParam(u=concatenated(ups), d=concatenated(downs)), torch.cat(list(weights))
    )


def place_of(grid: GridDensity) -> dict[str, Array]:
    """Reduced gradient and Wigner-Seitz radius (bohr) of the total density, (nr,) each."""
    variables = DensityVariables(grid.densinfo)
    return {"s": variables.s2.sqrt().numpy(), "r_s": variables.rs.numpy()}


def squared_errors(
    parent: XCFunctional, clone: XCFunctional, grid: GridDensity
) -> tuple[Array, dict[str, Array]]:
    """Electrons at each point, (nr,), and squared errors of each quantity, (nr,).

    Those of derivatives are means over the electrons of both channels, mHa^2.
    """
    info = grid.densinfo
    total = info.u.value + info.d.value
    points = FactorPoints(parent, clone, info)
    with torch.no_grad():
        exchange, correlation = (points.factors(clone) - points.wanted).square().numpy()
    squares = {"F_x": exchange, "F_c": correlation}
    rows = torch.stack([torch.cat([c.value[None], c.grad, c.kin[None]]) for c in (info.u, info.d)])
    wrong = _derivatives(clone, rows.numpy()) - _derivatives(parent, rows.numpy())
    share = (rows[:, 0] / total).clamp(min=0.0).numpy()  # (2, nr)
    density = rows[:, 0].clamp(min=1e-30).numpy()
    slope = rows[:, 1:4].norm(dim=1).numpy() / density
    tau = rows[:, 4].numpy() / density
    share[share < _EMPTY] = 0.0
    scaled = {
        "de/dn": np.abs(wrong[:, 0]),
        "de/dgrad": np.linalg.norm(wrong[:, 1:4], axis=1) * slope,
        "de/dtau": np.abs(wrong[:, 4]) * tau,
    }
    for name, error in scaled.items():
        if name != "de/dtau" or Ingredients.TAU in parent.ingredients:
            squares[name] = 1e6 * np.where(share > 0.0, share * error**2, 0.0).sum(0)
    return (grid.weights * total).numpy(), squares


def _derivatives(functional: XCFunctional, rows: Array) -> Array:
    """Derivatives with respect to all five numbers of both channels, (2, 5, nr)."""
    number = number_of_rows(functional.ingredients)
    found = np.zeros_like(rows)
    _, first = energy_derivatives(functional, rows[:, :number], 1)
    found[:, :number] = first.reshape(2, number, -1)
    return found


def binned(places: dict[str, Array], electrons: Array, squares: dict[str, Array]) -> dict[str, Any]:
    """Root mean squares over electrons, of all points and by bins.

    Parameters
    ----------
    places : dict
        Values by which points are sorted into `EDGES`, (nr,) each.
    electrons : ndarray
        (nr,).
    squares : dict
        Squared errors by quantity, (nr,).

    Returns
    -------
    dict
        "all": root mean squares by quantity; "bins": for each place the share of electrons and the
        root mean squares of its bins, None in those without electrons.
    """
    whole = {name: _mean(square, electrons) for name, square in squares.items()}
    bins: dict[str, Any] = {}
    for place, values in places.items():
        inside = np.digitize(values, EDGES[place][1:-1])
        every = [inside == i for i in range(len(EDGES[place]) - 1)]
        bins[place] = {
            "electrons": [float(electrons[one].sum() / electrons.sum()) for one in every],
            **{
                name: [_mean(square[one], electrons[one]) for one in every]
                for name, square in squares.items()
            },
        }
    return {"all": whole, "bins": bins}


def _mean(squares: Array, electrons: Array) -> float | None:
    total = electrons.sum()
    return float(np.sqrt((electrons * squares).sum() / total)) if total > 0.0 else None


def curves(parent: XCFunctional, clone: XCFunctional) -> dict[str, Any]:
    """F_x at `CURVE` of clone and parent without polarisation, of meta-GGAs for each of `ALPHAS`.

    An unconstrained clone's F_x depends on the density, too: it is that at `CURVE_RS`.
    """
    alphas = ALPHAS if Ingredients.TAU in parent.ingredients else (1.0,)
    found = {}
    for alpha in alphas:
        points = FactorPoints(parent, clone, _without_polarisation(alpha))
        with torch.no_grad():
            pair = {"clone": points.factors(clone)[0], "parent": points.wanted[0]}
        found[f"{alpha:g}"] = {name: values.tolist() for name, values in pair.items()}
    return found


def _without_polarisation(alpha: float) -> SpinParam:
    """Densities of both channels at `CURVE` and `CURVE_RS`."""
    s = torch.tensor(CURVE, dtype=torch.float64)
    total = torch.full_like(s, 3.0 / (4.0 * np.pi * CURVE_RS**3))
    fermi = (3.0 * np.pi**2 * total) ** (1.0 / 3.0)
    slope = 2.0 * fermi * total * s
    tau = slope.square() / (8.0 * total) + alpha * 0.3 * fermi.square() * total
    gradient = torch.stack([slope, 0.0 * slope, 0.0 * slope])
    half = ValGrad(value=0.5 * total, grad=0.5 * gradient, kin=0.5 * tau)
    return SpinParam(u=half, d=half)
