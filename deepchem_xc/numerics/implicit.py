r"""Implicit differentiation: derivatives of a converged iteration, without its steps.

At a fixed point :math:`x = F(x, p)` the derivative of a loss L(x) with respect to parameters p is

.. math:: \frac{dL}{dp} = n \cdot \frac{\partial F}{\partial p}, \quad
    n = u + \Big(\frac{\partial F}{\partial x}\Big)^T n, \quad u = \frac{\partial L}{\partial x}.

One linear equation, the adjoint equation, serves all parameters. `solve_adjoint` solves it with
products with the transposed Jacobian only (vector-Jacobian products, vjp). `attach_implicit` puts a
solution into the graph of its inputs: gradients are computed once in each backward pass, however
many losses were summed.

References
----------
S. Bai, J. Z. Kolter, V. Koltun, NeurIPS 32 (2019), arXiv:1909.01377.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from deepchem_xc._modes import outside_autocast
from deepchem_xc.numerics.gmres import gmres
from deepchem_xc.numerics.vectors import Inner, V


class ImplicitSolution(Protocol):
    """Result of a converged iteration, with the gradients of losses on it."""

    def values(self) -> tuple[Tensor, ...]:
        """The outputs, without a graph."""

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> Sequence[Tensor | None]:
        """Derivatives of a loss with respect to each input, without a graph; None if independent.

        Parameters
        ----------
        cotangents : tuple of Tensor
            Derivatives of the loss with respect to each output, zeros if the loss does not depend
            on it.
        inputs : tuple of Tensor
            The inputs given to `attach_implicit`.
        """


def solve_adjoint(
    vjp: Callable[[V, float], V],
    right: V,
    tolerance: float,
    maxiter: int = 50,
    *,
    inner: Inner[V] | None = None,
    equation: str = "the adjoint equation",
    advice: str = "Converge the fixed point more tightly, or ask for less accuracy.",
) -> V:
    """Solve n = u + vjp(n), the adjoint equation of a fixed point.

    Parameters
    ----------
    vjp : callable
        ``vjp(n, accuracy)`` is the product of n with the transposed Jacobian of the map, with an
        error of at most `accuracy` times the norm of n.
    right : Tensor
        u, derivative of the loss with respect to the fixed point; or another vector, as in `gmres`.
    tolerance : float
        Norm of the equation's residual, relative to that of u.
    maxiter : int, optional
        Largest number of products.
    inner : callable, optional
        Real inner product of two vectors, which defines these norms; Euclidean by default.
    equation, advice : str, optional
        Name of the equation in the error, and its advice.

    Returns
    -------
    Tensor
        n, shaped as u.

    Raises
    ------
    ResponseConvergenceError
        If `maxiter` products are not enough, or the residual is not a number.

    Examples
    --------
    The fixed point of x -> p + x / 2 is 2 p; its derivative with respect to p is 2:

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> solve_adjoint(lambda n, accuracy: 0.5 * n, one, 1e-12)
    tensor([2.], dtype=torch.float64)
    """

    def residual(n: V, accuracy: float) -> V:
        return n - vjp(n, accuracy)

    return gmres(residual, right, tolerance, maxiter, inner=inner, equation=equation, advice=advice)


def attach_implicit(
    solution: ImplicitSolution, inputs: Sequence[Tensor], refusal: str
) -> tuple[Tensor, ...]:
    """Put the values of a solution into the graph of its inputs.

    Derivatives are of first order only. Differentiating them again (``create_graph=True``) raises
    `NotImplementedError`, because the second derivative would lack terms.

    Parameters
    ----------
    solution : ImplicitSolution
        Values and their gradients.
    inputs : sequence of Tensor
        Everything the values depend on; some may not require gradients.
    refusal : str
        Message of the error for second derivatives.

    Returns
    -------
    tuple of Tensor
        As ``solution.values()``; in the graph if an input requires gradients.

    Examples
    --------
    The square root of p as the fixed point of Heron's iteration x -> (x + p / x) / 2:

    >>> class Root:
    ...     def __init__(self, p):
    ...         self.root, self.p = p.detach() ** 0.5, p.detach()
    ...     def values(self):
    ...         return (self.root,)
    ...     def gradients(self, cotangents, inputs):
    ...         slope = 0.5 * (1.0 - self.p / self.root**2)  # of the map: 0, Newton's method
    ...         n = solve_adjoint(lambda n, accuracy: slope * n, cotangents[0], 1e-12)
    ...         return [n * 0.5 / self.root]
    >>> p = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    >>> (root,) = attach_implicit(Root(p), [p], "no second derivatives of Root")
    >>> root.backward()
    >>> p.grad
    tensor([0.2500], dtype=torch.float64)
    """
    return _Node.apply(solution, refusal, *inputs)


class KnownGradients:
    """A value whose gradients are known, such as a stationary energy; an `ImplicitSolution`.

    Parameters
    ----------
    value : Tensor
        0-d, without a graph.
    gradients : sequence of (Tensor or None)
        Its derivatives with respect to each input.
    check : callable
        Called before gradients are returned; raises an error if they no longer hold.

    Examples
    --------
    >>> p = torch.tensor(3.0, requires_grad=True)
    >>> square = KnownGradients(torch.tensor(9.0), [torch.tensor(6.0)], lambda: None)
    >>> (value,) = attach_implicit(square, [p], "no second derivatives")
    >>> value.backward()
    >>> p.grad
    tensor(6.)
    """

    def __init__(
        self, value: Tensor, gradients: Sequence[Tensor | None], check: Callable[[], None]
    ) -> None:
        self._value, self._gradients, self._check = value, gradients, check

    def values(self) -> tuple[Tensor, ...]:
        """The value."""
        return (self._value.clone(),)

    def gradients(
        self, cotangents: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> list[Tensor | None]:
        """The known derivatives times the cotangent."""
        self._check()
        return [None if g is None else g * cotangents[0] for g in self._gradients]


class _Node(torch.autograd.Function):
    """Autograd node whose values and gradients are those of an `ImplicitSolution`."""

    @staticmethod
    def forward(
        ctx: Any, solution: ImplicitSolution, refusal: str, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        # save_for_backward would reject inputs that were overwritten with the same values.
        # Solutions check their inputs themselves.
        ctx.solution, ctx.refusal, ctx.sources = solution, refusal, inputs
        return solution.values()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        inputs = ctx.sources
        with torch.no_grad(), outside_autocast():
            gradients = ctx.solution.gradients(cotangents, inputs)
        if torch.is_grad_enabled():  # create_graph=True
            sources = (*cotangents, *inputs)
            gradients = [
                None if g is None else _NoFurther.apply(g, ctx.refusal, *sources) for g in gradients
            ]
        return (None, None, *gradients)


class _NoFurther(torch.autograd.Function):
    """Identity whose derivative raises an error."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, refusal: str, *sources: Tensor) -> Tensor:
        ctx.refusal = refusal
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        raise NotImplementedError(ctx.refusal)


def explicit_gradients(value: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Derivatives of a scalar with respect to each input, as for ``ImplicitSolution.gradients``.

    Parameters
    ----------
    value : Tensor
        0-d, in the graph of the inputs that require gradients.
    inputs : sequence of Tensor
        Any.

    Returns
    -------
    list of (Tensor or None)
        None if an input does not require gradients, or the scalar does not depend on it.

    Examples
    --------
    >>> x, y = torch.tensor(3.0, requires_grad=True), torch.tensor(2.0)
    >>> explicit_gradients(x * y, [x, y])
    [tensor(2.), None]
    """
    wanted = [x for x in inputs if x.requires_grad]
    found = iter(torch.autograd.grad(value, wanted, allow_unused=True))
    return [next(found) if x.requires_grad else None for x in inputs]


def added_gradients(
    one: Sequence[Tensor | None], other: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Sums of two lists of derivatives with respect to the same inputs.

    Parameters
    ----------
    one, other : sequence of (Tensor or None)
        None stands for zero.

    Examples
    --------
    >>> added_gradients([torch.tensor(1.0), None], [torch.tensor(2.0), None])
    [tensor(3.), None]
    """
    return [
        (y if x is None else x) if x is None or y is None else x + y
        for x, y in zip(one, other, strict=True)
    ]
