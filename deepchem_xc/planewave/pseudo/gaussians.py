"""Fourier transforms of Gaussians times powers of r, the building blocks of GTH potentials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["gaussian_coefficients", "polynomial"]


def gaussian_coefficients(l: int, n: int, width: float) -> list[float]:
    r"""Transform r^(l+2n) exp(-r^2 / 2 s^2) with the spherical Bessel function j_l.

    .. math::

        4\pi \int_0^\infty r^2 \, r^{l+2n} e^{-r^2/2s^2} j_l(qr) \, dr
        = 4\pi \sqrt{\pi/2}\, 2^n n!\, s^{2l+2n+3}\, q^l e^{-t/2} L_n^{(l+1/2)}(t/2),
        \qquad t = q^2 s^2

    with the generalised Laguerre polynomial L (Gradshteyn and Ryzhik, 6.631.10).

    Parameters
    ----------
    l, n : int
        Angular momentum and half the extra power of r.
    width : float
        s in bohr.

    Returns
    -------
    list of float
        Coefficients c_k, lowest power first, so that the transform divided by q^l is
        exp(-t/2) * sum_k c_k t^k.

    Examples
    --------
    A Gaussian of l = 0, n = 0 integrates to (2 pi)^(3/2) s^3:

    >>> round(gaussian_coefficients(0, 0, 1.0)[0], 6)
    15.749610
    """
    front = 4.0 * math.pi * math.sqrt(math.pi / 2.0) * 2.0**n * width ** (2 * l + 2 * n + 3)
    coefficients = []
    for k in range(n + 1):
        # n! times the k-th coefficient of L_n^(l+1/2)(t/2).
        binomial = math.gamma(n + l + 1.5) / (math.gamma(n - k + 1) * math.gamma(l + 1.5 + k))
        coefficients.append(front * (-0.5) ** k * binomial * math.factorial(n) / math.factorial(k))
    return coefficients


def polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """Sum of coefficients[k] * x^k (Horner), zero for no coefficients.

    Examples
    --------
    >>> polynomial([1.0, 0.0, 2.0], torch.tensor(3.0)).item()
    19.0
    """
    if not coefficients:
        return torch.zeros_like(x)
    value = torch.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * x + c
    return value
