r"""Fourier transforms of functions tabulated on a radial mesh.

A form factor F(q) = 4 pi int r^2 f(r) j_l(qr) dr / q^l of a function with l-fold symmetry is an
even, analytic function of q. It is integrated once on the file's mesh for equidistant q and then
evaluated as

* its Taylor series in q^2 for small q: the parity is exact, so that derivatives of any order with
  respect to q^2 are finite at zero, unlike those of a spline in q,
* a quintic spline in q elsewhere (four continuous derivatives).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["RadialTransform", "quadrature_weights"]

# Spacing of the spline's nodes (1/bohr): error below 1e-9 of the maximum for r < 10 bohr.
_SPACING = 0.01
_TAYLOR_REACH = 2.0  # largest q r_max for which the series is used
_TAYLOR_TERMS = 13  # terms of the series; (x/2)^2k / (k! Gamma(k+l+3/2)) is then below 1e-16
_FINE_NODES = 64  # nodes between two coarse ones of tables with l = 0
_MARGIN = 12  # nodes beyond both ends of a table, so that its end conditions do no harm


def quadrature_weights(r: NDArray, rab: NDArray | None = None) -> NDArray:
    """Weights w_i with sum_i w_i f(r_i) = int_0^rmax f dr for f that vanishes as r^2 at zero.

    This is the trapezoidal rule in the mesh index, with a third-order end correction at r_max. The
    origin needs none: r^2 times a smooth, even function has vanishing odd derivatives there, and
    for such a function the plain rule converges faster than any power of the spacing, unlike
    Simpson's.

    Parameters
    ----------
    r : ndarray, shape (n,)
        Mesh in bohr, increasing, at least 8 points.
    rab : ndarray, shape (n,), optional
        Derivative of r with respect to the mesh index; required unless the mesh is equidistant.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    ValueError
        If the mesh is too short, negative or not increasing, or `rab` does not belong to it.

    Examples
    --------
    >>> r = np.linspace(0.0, 12.0, 601)
    >>> value = quadrature_weights(r) @ (r**2 * np.exp(-(r**2)))
    >>> bool(abs(value - np.sqrt(np.pi) / 4) < 1e-14)
    True
    """
    if r.ndim != 1 or len(r) < 8 or not r[0] >= 0 or not np.all(np.diff(r) > 0):
        raise ValueError(
            "a radial mesh needs at least 8 increasing points from r >= 0 on, got "
            f"{len(r)} points {r[:3]} ..."
        )
    if rab is None:
        spacing = (r[-1] - r[0]) / (len(r) - 1)
        if np.abs(np.diff(r) - spacing).max() > 1e-6 * spacing:
            raise ValueError("the radial mesh is not equidistant: dr/di is needed as well")
        rab = np.full_like(r, spacing)
    elif (
        rab.shape != r.shape
        or not np.all(np.isfinite(rab))
        or not np.allclose(0.5 * (rab[1:] + rab[:-1]), np.diff(r), rtol=0.02, atol=1e-12)
    ):
        raise ValueError("dr/di does not match the radial mesh r")
    weights = rab.copy()
    weights[0] *= 0.5
    weights[-3:] *= np.array([23.0 / 24.0, 7.0 / 6.0, 3.0 / 8.0])
    # Add the part from the origin to the first point, where the integrand is c r^2.
    weights[0] += r[0] / 3.0
    return weights


class RadialTransform:
    r"""Form factors 4 pi int r^2 f_i(r) j_l(qr) dr / q^l of functions on a radial mesh.

    Parameters
    ----------
    l : int
        Angular momentum.
    r : ndarray, shape (nr,)
        Mesh in bohr.
    weights : ndarray, shape (nr,)
        Integration weights, see `quadrature_weights`.
    functions : ndarray, shape (n, nr)
        r^2 f_i(r).

    Notes
    -----
    The table in q is made when first needed, and again when a larger q is requested.

    Examples
    --------
    >>> r = np.linspace(0.0, 8.0, 401)
    >>> f = RadialTransform(0, r, quadrature_weights(r), (r**2 * np.exp(-(r**2)))[None])
    >>> q2 = torch.tensor([0.0, 4.0], dtype=torch.float64)
    >>> bool(torch.allclose(f(q2), torch.pi**1.5 * torch.exp(-q2 / 4), atol=1e-10))
    True
    """

    def __init__(self, l: int, r: NDArray, weights: NDArray, functions: NDArray) -> None:
        self.l = l
        # A file's functions often end before its mesh does. One that is zero everywhere, such as
        # the core of hydrogen, keeps all of it.
        nonzero = np.nonzero(np.any(functions != 0.0, axis=0))[0]
        used = int(nonzero[-1]) + 1 if len(nonzero) else len(r)
        self._r = np.ascontiguousarray(r[:used])
        self._weighted = 4.0 * math.pi * np.ascontiguousarray((functions * weights)[:, :used])
        self._switch = _TAYLOR_REACH / self._r[-1]
        self._taylor = self._taylor_coefficients()
        self._q_max = 0.0
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def __call__(self, q2: Tensor) -> Tensor:
        """Form factors at squared wave vectors q2 (bohr^-2), shape (n, *q2.shape).

        In the unit of f_i times bohr^(3 + l).
        """
        taylor, spline = self._on_device(q2)
        switch2 = self._switch**2
        small = q2 < switch2
        # Each branch sees only arguments of its own range, or its gradient would be NaN.
        u = torch.where(small, q2 / switch2, torch.ones_like(q2))
        q = torch.sqrt(torch.where(small, torch.full_like(q2, switch2), q2))
        node = torch.floor(q.detach() / _SPACING)
        near = _horner(taylor.view(*taylor.shape, *([1] * q2.ndim)), u)
        far = _horner(spline[:, :, node.long()], q - node * _SPACING)
        return torch.where(small, near, far)

    def at_zero(self) -> NDArray:
        """Form factors at q = 0, shape (n,), in the unit of f_i times bohr^(3 + l)."""
        return self._taylor[:, 0].copy()

    def _on_device(self, q2: Tensor) -> tuple[Tensor, Tensor]:
        needed = math.sqrt(max(float(q2.detach().max()), 0.0)) if q2.numel() else 0.0
        if not math.isfinite(needed):
            raise ValueError("squared wave vectors must be finite")
        if needed >= self._q_max:
            self._q_max = 8.0 * math.ceil((1.1 * needed + 1.0) / 8.0)
            self._spline = self._spline_coefficients(self._q_max)
            self._tables.clear()
        if q2.device not in self._tables:
            taylor, spline = (
                torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 0))).to(q2.device)
                for x in (self._taylor, self._spline)
            )
            self._tables[q2.device] = (taylor, spline)
        return self._tables[q2.device]

    def _taylor_coefficients(self) -> NDArray:
        """Coefficients of (q / switch)^(2k), shape (n, terms)."""
        coefficients = np.empty((len(self._weighted), _TAYLOR_TERMS))
        moment = self._weighted * self._r**self.l / math.prod(range(1, 2 * self.l + 2, 2))
        x2 = (self._switch * self._r) ** 2
        for k in range(_TAYLOR_TERMS):
            coefficients[:, k] = moment.sum(axis=1)
            moment = moment * (-0.5 * x2 / ((k + 1) * (2 * self.l + 2 * k + 3)))
        return coefficients

    def _spline_coefficients(self, q_max: float) -> NDArray:
        """Polynomial coefficients on each interval, shape (n, intervals, 6)."""
        # Imported late, so that analytic potentials start without SciPy.
        from scipy.interpolate import make_interp_spline
        from scipy.special import spherical_jn

        intervals = round(q_max / _SPACING) + 1
        q = _SPACING * np.arange(intervals + _MARGIN)
        values = np.empty((len(q), len(self._weighted)))
        low = int(np.searchsorted(q, self._switch))
        values[:low] = np.polynomial.polynomial.polyval(
            (q[:low] / self._switch) ** 2, self._taylor.T
        ).T
        if self.l == 0:
            values[low:] = self._sine_transform(len(q))[low:] / q[low:, None]
        else:
            for start in range(low, len(q), 256):  # in pieces that fit the cache
                piece = q[start : start + 256, None]
                bessel = spherical_jn(self.l, piece * self._r)
                values[start : start + 256] = bessel @ self._weighted.T / piece**self.l
        mirrored = slice(_MARGIN, 0, -1)
        spline = make_interp_spline(
            np.concatenate([-q[mirrored], q]), np.concatenate([values[mirrored], values]), k=5
        )
        nodes = q[:intervals]
        derivatives = [spline(nodes, nu=k) / math.factorial(k) for k in range(6)]
        return np.stack(derivatives, axis=-1).transpose(1, 0, 2)

    def _sine_transform(self, count: int) -> NDArray:
        """Integrals of 4 pi r f_i(r) sin(qr) at the first `count` nodes q, shape (count, n).

        Nodes are sums of a coarse and a fine one: few sines and matrix products do. The fine ones
        are always as many, so that a longer table begins with the same numbers.
        """
        fine = _SPACING * np.arange(_FINE_NODES)[:, None] * self._r
        sine, cosine = np.sin(fine).T, np.cos(fine).T
        # At the origin the sine vanishes.
        over_r = self._weighted / np.where(self._r > 0.0, self._r, np.inf)  # (n, nr)
        values = np.empty((count, len(over_r)))
        for start in range(0, count, _FINE_NODES):
            coarse = _SPACING * start * self._r
            both = (over_r * np.sin(coarse)) @ cosine + (over_r * np.cos(coarse)) @ sine
            values[start : start + _FINE_NODES] = both.T[: count - start]
        return values


def _horner(coefficients: Tensor, x: Tensor) -> Tensor:
    """Sum over k of coefficients[k] * x^k, with coefficients of shape (terms, n, ...)."""
    value = coefficients[-1]
    for c in coefficients[:-1].flip(0):
        value = value * x + c
    return value
