"""Reports where a functional gives NaN or infinity, in terms of the density at that point."""

from __future__ import annotations

import torch
from torch import Tensor

from ._deepchem import SpinParam, ValGrad
from .contract import PointwiseXC
from .variables import mapped

__all__ = ["FunctionalValueError", "check_finite"]

_WHAT = ("energy", "potential", "kernel (the potential's derivative)")


class FunctionalValueError(FloatingPointError):
    """A functional gives NaN or infinity at a density.

    Examples
    --------
    >>> from deepchem_xc.xc import FunctionalValueError
    >>> issubclass(FunctionalValueError, FloatingPointError)
    True
    """


def check_finite(
    functional: PointwiseXC, densinfo: ValGrad | SpinParam, values: Tensor, order: int = 0
) -> None:
    """Raise an error that names functional and density if a result is not finite.

    Parameters
    ----------
    functional : XCFunctional
        The functional that was evaluated.
    densinfo : ValGrad or SpinParam[ValGrad]
        Its argument, see :meth:`~deepchem_xc.xc.XCFunctional.get_edensityxc`.
    values : Tensor
        The result, or a sum or other linear map of it; any shape.
    order : int
        0 for an energy, 1 or 2 for first or second derivatives with respect to the density.

    Raises
    ------
    FunctionalValueError
        If `values` are not finite.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc import PBECorrelation, ValGrad, check_finite
    >>> n, gradient = torch.tensor([0.05]).double(), torch.full((3, 1), 0.02).double()
    >>> density, broken = ValGrad(value=n, grad=gradient), PBECorrelation(beta=-0.6)
    >>> check_finite(broken, density, broken.get_edensityxc(density))
    Traceback (most recent call last):
    ...
    deepchem_xc.xc.finite.FunctionalValueError: the functional gga_c_pbe gives nan as ...
    """
    if bool(torch.isfinite(values.detach()).all()):
        return
    with torch.enable_grad():
        place = _first_bad_point(functional, densinfo, order)
    if place is None and order > 0:
        return  # the functional is finite: the vector multiplied with its derivative was not
    place = place or f"finite energies, whose sum is {float(values.detach().sum()):g}"
    raise FunctionalValueError(
        f"the functional {functional.name or type(functional).__name__} gives {place}. After a "
        "training step its parameters may have left their range: go back to the last good ones and "
        "try a smaller learning rate; otherwise bound what grows there"
    )


def _first_bad_point(
    functional: PointwiseXC, densinfo: ValGrad | SpinParam, order: int
) -> str | None:
    channels = [densinfo] if isinstance(densinfo, ValGrad) else [densinfo.u, densinfo.d]
    copies = [_copy(channel) for channel in channels]
    given = copies[0] if len(copies) == 1 else SpinParam(*copies)
    results = [functional.get_edensityxc(given)]
    fields = [x for c in copies for x in (c.value, c.grad, c.kin) if x is not None]
    number = results[0].numel()
    for _ in range(order):
        if not results[-1].requires_grad:
            break
        found = torch.autograd.grad(
            results[-1].sum(), fields, create_graph=True, materialize_grads=True
        )
        results.append(torch.stack([x.reshape(-1, number).sum(0) for x in found]).sum(0))
    for what, result in zip(_WHAT, results):
        flat = result.detach().flatten()
        bad = torch.nonzero(~torch.isfinite(flat))
        if len(bad):
            index = int(bad[0])
            places = [_described(channel, index) for channel in channels]
            where = places[0] if len(places) == 1 else f"up: {places[0]}; down: {places[1]}"
            more = f" ({len(bad)} of {number} points are alike)" if len(bad) > 1 else ""
            return f"{float(flat[index]):g} as {what} at {where}{more}"
    return None


def _copy(channel: ValGrad) -> ValGrad:
    return mapped(channel, lambda x: x.detach().clone().requires_grad_())


def _described(channel: ValGrad, index: int) -> str:
    n = float(channel.value.detach().flatten()[index])
    text = f"n = {n:.3g} bohr^-3"
    if channel.grad is not None:
        gradient = channel.grad.detach().movedim(-2, 0).reshape(3, -1)[:, index].norm()
        text += f", |grad n| = {float(gradient):.3g} bohr^-4"
        if n > 0.0:
            s = float(gradient) / (2.0 * (3.0 * torch.pi**2) ** (1.0 / 3.0) * n ** (4.0 / 3.0))
            text += f" (s = {s:.3g})"
    if channel.kin is not None:
        text += f", tau = {float(channel.kin.detach().flatten()[index]):.3g} Hartree bohr^-3"
    return text
