"""Special functions whose derivatives autograd alone would lose to division by zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["asinh_ratio"]

_SERIES_BELOW = 0.1
_SERIES_TERMS = 18


def _series_coefficients(order: int) -> list[float]:
    """Taylor coefficients of the ``order``-th derivative of asinh(sqrt(x)) / sqrt(x) at 0."""
    coefficients, binomial = [], 1.0
    for m in range(_SERIES_TERMS + order):
        coefficients.append((-1.0) ** m * binomial / (2 * m + 1))
        binomial *= (2 * m + 1) / (2 * m + 2)
    for _ in range(order):
        coefficients = [m * c for m, c in enumerate(coefficients)][1:]
    return coefficients


class _AsinhRatio(torch.autograd.Function):
    """Derivative of any order of h(x) = asinh(sqrt(x)) / sqrt(x).

    h obeys 2 x h' + h = (1 + x)^(-1/2); differentiated k times,
    2 x h^(k+1) + (2 k + 1) h^(k) = d^k/dx^k (1 + x)^(-1/2).
    Going up with it loses digits as x -> 0, where the Taylor series takes over.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.order = order
        large = x.clamp(min=_SERIES_BELOW)
        root = torch.sqrt(large)
        source = torch.rsqrt(1.0 + large)
        value = torch.log(root + torch.sqrt(1.0 + large)) / root
        for k in range(order):
            value = (source - (2 * k + 1) * value) / (2.0 * large)
            source = source * (-(k + 0.5)) / (1.0 + large)
        small = x.clamp(max=_SERIES_BELOW)
        *coefficients, last = _series_coefficients(order)
        series = torch.full_like(small, last)
        for coefficient in reversed(coefficients):
            series = coefficient + small * series
        return torch.where(x < _SERIES_BELOW, series, value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * _AsinhRatio.apply(x, ctx.order + 1), None


def asinh_ratio(x: Tensor) -> Tensor:
    """asinh(sqrt(x)) / sqrt(x) for x >= 0, smooth at 0, differentiable to any order.

    Parameters
    ----------
    x : Tensor
        Any shape, non-negative.

    Returns
    -------
    Tensor
        Same shape; 1 at x = 0.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.smooth import asinh_ratio
    >>> asinh_ratio(torch.tensor([0.0, 4.0], dtype=torch.float64))
    tensor([1.0000, 0.7218], dtype=torch.float64)
    """
    return _AsinhRatio.apply(x, 0)
