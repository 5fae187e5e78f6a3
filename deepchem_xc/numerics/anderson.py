r"""Anderson's extrapolation: the next input of a fixed-point iteration from the earlier ones.

A fixed-point iteration looks for the x at which the residual :math:`f(x) = F(x) - x` vanishes.
Anderson's method [1]_ [2]_ assumes that f is linear in the span of the last inputs, finds the x in
this span whose residual is smallest, and steps from there along that residual:

.. math::
    \bar x = x_n - \sum_i \gamma_i (x_n - x_i), \quad
    \bar f = f_n - \sum_i \gamma_i (f_n - f_i), \quad
    x_{n+1} = \bar x + \beta P \bar f,

with the :math:`\gamma` that minimise :math:`\langle \bar f, \bar f \rangle`. The caller passes the
inner product and the preconditioner P.

References
----------
.. [1] D. G. Anderson, J. ACM 12, 547 (1965).
.. [2] H. F. Walker, P. Ni, SIAM J. Numer. Anal. 49, 1715 (2011).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic

import torch
from torch import Tensor

from deepchem_xc.numerics.vectors import Inner, V, dot

# Fraction of the largest singular value of the scaled Gram matrix below which the others are noise:
# their residuals add no information.
_NOISE = 1e-10
# Lower bound of the squared norms used as divisors, so that two equal residuals do no harm.
_TINY = 1e-300


class Anderson(Generic[V]):
    """Inputs and residuals of a fixed-point iteration, from which it computes the next input.

    Parameters
    ----------
    history : int
        Number of earlier steps to combine with the last one, at least 0; 0 is plain iteration.
    inner : callable, optional
        ``inner(left, right)``, the real inner product whose norm measures residuals: a number, or
        a tensor that holds one. Linear in both vectors. Euclidean by default, for tensors.

    Notes
    -----
    Vectors are tensors, or any objects with ``a + b``, ``a - b`` and ``number * a``; only `inner`
    and the preconditioner look inside them. Vectors are kept by reference, not copied.

    Raises
    ------
    ValueError
        If `history` is negative.

    Examples
    --------
    The map x -> 1 - 2 x overshoots, and repeating it diverges from its fixed point 1/3. It is
    linear, so two steps are enough to find this point:

    >>> anderson, x = Anderson(history=3), torch.zeros(1, dtype=torch.float64)
    >>> for _ in range(2):
    ...     x = anderson.next_input(x, (1.0 - 2.0 * x) - x)
    >>> x
    tensor([0.3333], dtype=torch.float64)
    """

    def __init__(self, history: int, inner: Inner[V] | None = None) -> None:
        if history < 0:
            raise ValueError(f"history must be at least 0, got {history}; 0 is plain iteration.")
        self._inner: Inner = dot if inner is None else inner
        self._steps: deque[tuple[V, V]] = deque(maxlen=history)

    def next_input(
        self,
        x: V,
        residual: V,
        step: float = 1.0,
        precondition: Callable[[V], V] | None = None,
    ) -> V:
        """Remember a step and return the next input.

        Parameters
        ----------
        x, residual : vector
            The last input, and F(x) - x.
        step : float, optional
            Beta, the length of the step along the preconditioned residual.
        precondition : callable, optional
            P, which turns a residual into the direction of the step. None by default.
        """
        x, residual = self.extrapolated(x, residual)
        return x + step * (residual if precondition is None else precondition(residual))

    def extrapolated(self, x: V, residual: V) -> tuple[V, V]:
        """Remember a step; return the combination of all with smallest residual, and its residual.

        Parameters
        ----------
        x, residual : vector
            The last input, and F(x) - x.

        Examples
        --------
        >>> anderson = Anderson(history=3)
        >>> _ = anderson.extrapolated(torch.tensor([0.0]), torch.tensor([2.0]))
        >>> anderson.extrapolated(torch.tensor([1.0]), torch.tensor([1.0]))
        (tensor([2.]), tensor([0.]))
        """
        changes = [(x - earlier, residual - its) for earlier, its in self._steps]
        self._steps.append((x, residual))
        if changes:
            for weight, (dx, df) in zip(self._weights(changes, residual), changes, strict=True):
                x, residual = x - weight * dx, residual - weight * df
        return x, residual

    def shift(self, x: V, residual: V) -> None:
        """Add a vector to all remembered inputs, and one to their residuals.

        After a change of the map F that is the same wherever it is evaluated, they are those of the
        changed map.

        Parameters
        ----------
        x, residual : vector
            What is added.

        Examples
        --------
        >>> anderson, zero = Anderson(history=3), torch.zeros(1)
        >>> _ = anderson.extrapolated(zero, torch.tensor([2.0]))
        >>> anderson.shift(zero, torch.tensor([1.0]))
        >>> anderson.extrapolated(torch.tensor([1.0]), torch.tensor([2.0]))
        (tensor([3.]), tensor([0.]))
        """
        shifted = [(a + x, b + residual) for a, b in self._steps]
        self._steps = deque(shifted, maxlen=self._steps.maxlen)

    def _weights(self, changes: list[tuple[V, V]], residual: V) -> list[float]:
        """Gamma: the least-squares fit of the last residual by the changes of residuals."""
        rows = [df for _, df in changes]
        # One transfer from the device: upper triangle of the Gram matrix, and right-hand side.
        i, j = torch.triu_indices(len(rows), len(rows))
        pairs = zip(i.tolist(), j.tolist(), strict=True)
        products = [self._inner(rows[m], rows[n]) for m, n in pairs]
        products += [self._inner(row, residual) for row in rows]
        values = torch.stack([torch.as_tensor(p, dtype=torch.float64) for p in products]).cpu()
        gram = values.new_zeros(len(rows), len(rows))
        gram[i, j] = gram[j, i] = values[: len(i)]
        right: Tensor = values[len(i) :]
        # Residuals differ by orders of magnitude: scaled to unit norm, small ones count as well.
        scale = gram.diagonal().clamp_min(_TINY).rsqrt()
        scaled = scale[:, None] * gram * scale[None, :]
        inverse = torch.linalg.pinv(scaled, rtol=_NOISE, hermitian=True)
        return (scale * (inverse @ (scale * right))).tolist()
