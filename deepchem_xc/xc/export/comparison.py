"""Numbers of an exported program against those of its functional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._deepchem import SpinParam, ValGrad
from ..contract import PointwiseXC
from ..sampling import sample_points
from ..variables import channels_of
from .signature import Signature

__all__ = ["compare", "invariants", "reference"]

# Largest difference between program and functional, relative to each output's largest value; both
# perform the same operations in the same order.
_ROUNDING = 1e-10


def invariants(points: ValGrad | SpinParam, signature: Signature) -> list[Tensor]:
    """Inputs of a program for densities as functionals take them.

    Parameters
    ----------
    points : ValGrad or SpinParam[ValGrad]
        ``value`` (nr,), ``grad`` (3, nr), ``kin`` (nr,).
    signature : Signature
        For as many channels.

    Returns
    -------
    list of Tensor
        ``rho`` (nspin, nr), ``sigma`` (1 or 3, nr), ``tau`` (nspin, nr), as far as they are inputs.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> signature = Signature.of(get_xc("r2SCAN").ingredients, nspin=2)
    >>> [tuple(x.shape) for x in invariants(sample_points(2, 5), signature)]
    [(2, 5), (3, 5), (2, 5)]
    """
    channels = channels_of(points)
    gradients = [channel.grad for channel in channels if channel.grad is not None]
    pairs = [(0, 0)] if len(channels) == 1 else [(0, 0), (0, 1), (1, 1)]
    found = [
        torch.stack([channel.value for channel in channels]),
        torch.stack([(gradients[i] * gradients[j]).sum(-2) for i, j in pairs]),
        torch.stack([channel.kin for channel in channels if channel.kin is not None]),
    ]
    return found[: len(signature.inputs)]


def reference(functional: PointwiseXC, points: ValGrad | SpinParam) -> list[Tensor]:
    """Energy per volume and its derivatives with respect to density, gradient and tau.

    Parameters
    ----------
    functional : XCFunctional
        Evaluated as solvers do.
    points : ValGrad or SpinParam[ValGrad]
        As for `invariants`.

    Returns
    -------
    list of Tensor
        (nr,), and with a first axis of channels (nspin, nr), (nspin, 3, nr), (nspin, nr).

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> [tuple(x.shape) for x in reference(get_xc("PBE"), sample_points(2, 5))]
    [(5,), (2, 5), (2, 3, 5), (2, 5)]
    """
    channels = channels_of(points)
    fields = [
        [x.detach().clone().requires_grad_() for x in (c.value, c.grad, c.kin) if x is not None]
        for c in channels
    ]
    filled = [ValGrad(value=n, grad=gradient, kin=tau) for n, gradient, tau in fields]
    with torch.enable_grad():
        energy = functional.get_edensityxc(
            filled[0] if len(filled) == 1 else SpinParam(u=filled[0], d=filled[1])
        )
    flat = [x for channel in fields for x in channel]
    if energy.requires_grad:
        derivatives = torch.autograd.grad(
            energy.sum(), flat, allow_unused=True, materialize_grads=True
        )
    else:
        derivatives = tuple(torch.zeros_like(x) for x in flat)
    return [energy.detach(), *(torch.stack(derivatives[i::3]) for i in range(3))]


def compare(functional: PointwiseXC, program: Callable[..., Any], signature: Signature) -> None:
    """Raise ``ValueError`` if a program gives other numbers than its functional.

    Anything that was fixed while recording shows up here, such as a dependence on the number of
    points.

    Parameters
    ----------
    functional : XCFunctional
        The functional.
    program : callable
        From `invariants` to the outputs of `signature`.
    signature : Signature
        Its inputs and outputs.

    Examples
    --------
    >>> from deepchem_xc.xc import SlaterExchange
    >>> slater = SlaterExchange()
    >>> signature = Signature.of(slater.ingredients, nspin=1)
    >>> compare(slater, lambda rho: (-0.7386 * rho[0] ** (4 / 3), rho), signature)
    Traceback (most recent call last):
    ...
    ValueError: lda_x cannot be exported: exc of its program differs from the functional's for ...
    """
    for npoints in (0, 1, 2, 24):
        points = sample_points(signature.nspin, npoints, seed=npoints)
        expected = reference(functional, points)
        try:
            found = list(program(*invariants(points, signature)))
        except Exception as error:
            raise ValueError(
                f"{functional.name} cannot be exported: its program fails for {npoints} points "
                f"({str(error).strip().splitlines()[0]}). Its energy_density must not use the "
                "number of points, as .squeeze() without an axis does"
            ) from error
        if len(found) > 2:
            found[2] = _with_respect_to_gradients(found[2], points)
        names = [quantity.name for quantity in signature.outputs]
        for name, got, wanted in zip(names, found, expected):
            scale = wanted.abs().amax() if wanted.numel() else 0.0
            if got.shape != wanted.shape or not bool(
                torch.isclose(got, wanted, rtol=_ROUNDING, atol=_ROUNDING * float(scale)).all()
            ):
                raise ValueError(
                    f"{functional.name} cannot be exported: {name} of its program differs from the "
                    f"functional's for {npoints} points. Its energy_density must compute the same "
                    "operations for any density and number of points"
                )


def _with_respect_to_gradients(vsigma: Tensor, points: ValGrad | SpinParam) -> Tensor:
    """Derivatives with respect to gradients (nspin, 3, nr) from those of their products."""
    gradients = [channel.grad for channel in channels_of(points) if channel.grad is not None]
    if len(gradients) == 1:
        return (2.0 * vsigma[0] * gradients[0])[None]
    up, down = gradients
    return torch.stack(
        (2.0 * vsigma[0] * up + vsigma[1] * down, 2.0 * vsigma[2] * down + vsigma[1] * up)
    )
