"""Derivatives of the energy density with respect to a density and its companions, by autograd.

Other codes and calculations on atom-centred grids ask for numbers at points: the energy per volume
and its derivatives with respect to density, components of the gradient, and kinetic energy density,
up to the third order. Points are evaluated in pieces, so that memory does not grow with their
number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .base import XCFunctional
from .finite import FunctionalValueError, check_finite
from .ingredients import Ingredients
from .sampling import device_of
from .substitution import substituted

__all__ = ["HIGHEST_ORDER", "density_of_rows", "energy_derivatives", "number_of_rows"]

#: Highest order of the derivatives.
HIGHEST_ORDER = 3

# Points evaluated together, for each order of derivatives: with the third of a meta-GGA of two
# channels, a piece takes about 100 MB.
_PIECES = {0: 32768, 1: 16384, 2: 4096, 3: 1024}


def number_of_rows(ingredients: Ingredients) -> int:
    """Numbers at a point that one channel of a functional reads: 1, 4 or 5.

    Parameters
    ----------
    ingredients : Ingredients
        Those of the functional.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> number_of_rows(PBE().ingredients)
    4
    """
    if Ingredients.TAU in ingredients:
        return 5
    return 4 if Ingredients.GRADIENT in ingredients else 1


def energy_derivatives(functional: XCFunctional, density: np.ndarray, order: int) -> list[Any]:
    """Energy per volume (Hartree / bohr^3) and its derivatives.

    Parameters
    ----------
    functional : XCFunctional
        Any; its present weights are used.
    density : ndarray
        (nspin, nrow, npoint), atomic units. Rows are the density, then the three components of its
        gradient, then the kinetic energy density, as many as the functional reads (see
        `number_of_rows`). One channel is the total density, two are up and down.
    order : int
        0 to 3.

    Returns
    -------
    list of ndarray
        order + 1 arrays: (npoint,), (nspin nrow, npoint), (nspin nrow, nspin nrow, npoint), ...

    Raises
    ------
    ValueError
        For another order, or rows that are not those the functional reads.
    FunctionalValueError
        If a result is NaN or infinite; it names the functional and the density at such a point.
    NotImplementedError
        For the third order of libxc's functionals, which this package differentiates twice.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> energy, potential = energy_derivatives(get_xc("lda_x"), np.ones((1, 1, 1)), order=1)
    >>> energy, potential
    (array([-0.7386]), array([[-0.9847]]))
    """
    density = np.ascontiguousarray(density, dtype=np.float64)
    if order not in _PIECES:
        raise ValueError(f"the order of derivatives must be 0, 1, 2 or 3, not {order!r}")
    rows = number_of_rows(functional.ingredients)
    if density.ndim != 3 or density.shape[0] not in (1, 2) or density.shape[1] != rows:
        raise ValueError(
            f"the density has the shape {density.shape}; {functional.name or 'the functional'} "
            f"reads (nspin, {rows}, npoint) with nspin = 1 or 2"
        )
    nspin, _, npoint = density.shape
    variables = nspin * rows
    found = [np.empty((variables,) * n + (npoint,)) for n in range(order + 1)]
    device = device_of(functional)
    # Without gradients with respect to weights, which would take as long again.
    fixed = {name: weight.detach() for name, weight in functional.named_parameters()}
    # Callers may have switched gradients off.
    with torch.inference_mode(False), torch.enable_grad(), substituted(functional, fixed):
        for start in range(0, npoint, _PIECES[order]):
            piece = slice(start, start + _PIECES[order])
            points = torch.tensor(density[:, :, piece], device=device).reshape(variables, -1)
            for n, values in enumerate(_derivatives(functional, points, nspin, order)):
                found[n][..., piece] = values.cpu().numpy()
    return found


def _derivatives(functional: XCFunctional, points: Tensor, nspin: int, order: int) -> list[Tensor]:
    """Energy and derivatives at one piece of points, (nspin nrow, npoint)."""
    points.requires_grad_(order > 0)
    densinfo = density_of_rows(points, nspin)
    energy = functional.get_edensityxc(densinfo)
    found = [energy.detach()]
    if order >= 1:
        first = _gradient(energy, points, again=order > 1)
        found.append(first.detach())
    if order >= 2:
        variables, number = points.shape
        second = points.new_zeros((variables, variables, number))
        third = points.new_zeros((variables,) * order + (number,)) if order > 2 else None
        for i in range(variables):
            # One row at a time: its graph is freed before that of the next one is made.
            row = _gradient(first[i], points, again=order > 2)
            second[i] = row.detach()
            if third is not None:
                for j in range(i, variables):
                    third[i, j] = third[j, i] = _gradient(row[j], points)
        found.append(second)
        if third is not None:
            found.append(third)
    for n, values in enumerate(found):
        _check(functional, densinfo, values, n)
    return found


def _gradient(values: Tensor, points: Tensor, again: bool = False) -> Tensor:
    """Derivative of one number a point, as (nspin nrow, npoint); may be differentiated `again`."""
    if not values.requires_grad:
        return torch.zeros_like(points)
    (found,) = torch.autograd.grad(
        values.sum(), points, retain_graph=True, create_graph=again, materialize_grads=True
    )
    return found


def density_of_rows(points: Tensor, nspin: int) -> ValGrad | SpinParam:
    """The record that functionals read.

    Parameters
    ----------
    points : Tensor
        (nspin nrow, npoint), atomic units: rows of each channel as in `energy_derivatives`.
    nspin : int
        1 or 2.

    Examples
    --------
    >>> density_of_rows(torch.ones(4, 7), 1).grad.shape
    torch.Size([3, 7])
    """
    channels = []
    for rows in points.reshape(nspin, -1, points.shape[-1]):
        grad = rows[1:4] if len(rows) > 1 else None
        channels.append(ValGrad(value=rows[0], grad=grad, kin=rows[4] if len(rows) > 4 else None))
    return channels[0] if nspin == 1 else SpinParam(u=channels[0], d=channels[1])


def _check(
    functional: XCFunctional, densinfo: ValGrad | SpinParam, values: Tensor, order: int
) -> None:
    check_finite(functional, densinfo, values, min(order, 2))
    bad = torch.nonzero(~torch.isfinite(values))
    if len(bad):
        channels = [densinfo] if isinstance(densinfo, ValGrad) else [densinfo.u, densinfo.d]
        number = int(bad[0, -1])
        densities = [float(channel.value[number].detach()) for channel in channels]
        raise FunctionalValueError(
            f"derivatives of order {order} of the functional {functional.name} are not finite at "
            f"the density {densities} bohr^-3 (one number a channel); write what diverges there "
            "in a form that is smooth at small densities"
        )
