"""Special functions whose derivatives plain autograd would lose to division by zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["asinh_ratio", "bounded", "fourth_root_decay", "one_minus_exp", "smooth_root"]

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
    This upward recursion loses digits as x -> 0, where the Taylor series takes over.
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


def one_minus_exp(x: Tensor) -> Tensor:
    """1 - exp(-x) for x >= 0, with full relative precision in all derivatives.

    Parameters
    ----------
    x : Tensor
        Any shape, non-negative.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.smooth import one_minus_exp
    >>> one_minus_exp(torch.tensor([0.0, 1e-20], dtype=torch.float64))
    tensor([0.0000e+00, 1.0000e-20], dtype=torch.float64)
    """
    # torch's derivative of expm1 is 1 + expm1, which loses the tail of the exponential.
    return torch.where(x < 1.0, -torch.expm1(-x.clamp(max=1.0)), 1.0 - torch.exp(-x))


def fourth_root_decay(s2: Tensor, a: float) -> Tensor:
    """1 - exp(-a / sqrt(s)) as a function of s^2: 1 at s = 0, a / sqrt(s) for large s.

    Parameters
    ----------
    s2 : Tensor
        Any shape, non-negative.
    a : float
        At least 1.

    Returns
    -------
    Tensor
        Same shape. All derivatives at 0 are zero.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.smooth import fourth_root_decay
    >>> fourth_root_decay(torch.tensor([0.0, 1.0, 1e16], dtype=torch.float64), a=4.9479)
    tensor([1.0000e+00, 9.9290e-01, 4.9467e-04], dtype=torch.float64)
    """
    # Below this bound exp(-a / sqrt(s)) is less than 1e-217, and at 0 the root has no derivative.
    return one_minus_exp(a * s2.clamp(min=(a / 500.0) ** 4) ** -0.25)


def smooth_root(s2: Tensor, width: float = 1e-5) -> Tensor:
    """Square root sqrt(s2 + width^2), smooth at 0.

    Parameters
    ----------
    s2 : Tensor
        Any shape, non-negative.
    width : float
        The result exceeds the root by at most this, and by less than width^2 / (2 s).

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.smooth import smooth_root
    >>> smooth_root(torch.tensor([0.0, 4.0], dtype=torch.float64))
    tensor([1.0000e-05, 2.0000e+00], dtype=torch.float64)
    """
    return torch.sqrt(s2 + width * width)


def bounded(x2: Tensor, bound: float) -> Tensor:
    """Square of x (1 + (x / bound)^16)^(-1/16): x^2 below the bound, its square above.

    Parameters
    ----------
    x2 : Tensor
        Square of x, any shape, non-negative.
    bound : float
        Positive; the relative change of x is 3e-10 at 0.3 bounds and 1e-6 at half the bound.

    Returns
    -------
    Tensor
        Same shape.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.xc.smooth import bounded
    >>> bounded(torch.tensor([0.0, 4.0, 1e100], dtype=torch.float64), bound=10.0)
    tensor([  0.0000,   4.0000, 100.0000], dtype=torch.float64)
    """
    # Beyond ten bounds the result is constant to the last digit, but powers could overflow.
    x2 = x2.clamp(max=(10.0 * bound) ** 2)
    return x2 * (1.0 + (x2 / bound**2) ** 8) ** -0.125
