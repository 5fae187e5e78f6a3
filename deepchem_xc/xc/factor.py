"""Factors such as ``1 - t`` of a trainable number t, computed again at every use.

In ``t * f + (1 - t) * g`` the second factor is a tensor that was computed once: an optimiser's
step moves t and leaves it where it was. Its graph says how it was made. Here that becomes an
expression, which is evaluated with the present values of the parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["TrainedFactor", "factor_of", "leaves_of"]

# What autograd calls operations that are linear in their input.
_LINEAR = {
    "Add", "Sub", "Rsub", "Neg", "Clone", "Alias", "View", "UnsafeView", "Reshape", "Squeeze",
    "Unsqueeze", "Select", "ToCopy", "Sum", "Mean", "Expand", "Identity",
}  # fmt: skip
# Others of one number: the operation, and its input from what the graph keeps.
_UNARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Tensor]]] = {
    "Sigmoid": (torch.sigmoid, lambda node: torch.logit(node._saved_result)),
    "Exp": (torch.exp, lambda node: torch.log(node._saved_result)),
    "Tanh": (torch.tanh, lambda node: torch.atanh(node._saved_result)),
    "Sqrt": (torch.sqrt, lambda node: node._saved_result.square()),
    "Reciprocal": (torch.reciprocal, lambda node: node._saved_result.reciprocal()),
    "Log": (torch.log, lambda node: node._saved_self),
    "Abs": (torch.abs, lambda node: node._saved_self),
    "Sin": (torch.sin, lambda node: node._saved_self),
    "Cos": (torch.cos, lambda node: node._saved_self),
    "Relu": (torch.relu, lambda node: node._saved_result),
}
_TRIED = 1e-12

# An expression is JSON: the number of a leaf; ["affine", constant, [[coefficients, expression],
# ...]]; or [operation, expression, ...], with plain numbers behind them where it has options.
Expression = Any


class TrainedFactor(torch.nn.Module):
    """A number that follows the parameters it is made of.

    Parameters
    ----------
    expression : list or int
        As `factor_of` finds it; JSON values.
    leaves : sequence of Tensor
        What it is made of. Parameters become parameters of this module, others buffers.

    Examples
    --------
    >>> import torch
    >>> t = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    >>> rest = factor_of(1 - t)
    >>> _ = t.data.fill_(0.5)
    >>> rest().item()
    0.5
    """

    def __init__(self, expression: Expression, leaves: Sequence[Tensor]) -> None:
        super().__init__()
        self.expression = expression
        self._count = len(leaves)
        for i, leaf in enumerate(leaves):
            if isinstance(leaf, torch.nn.Parameter):
                self.register_parameter(f"t{i}", leaf)
            else:
                self.register_buffer(f"t{i}", leaf)

    @property
    def leaves(self) -> list[Tensor]:
        """What it is made of."""
        return [getattr(self, f"t{i}") for i in range(self._count)]

    def forward(self) -> Tensor:
        """Its value, 0-d."""
        return _evaluate(self.expression, self.leaves)


def factor_of(value: Tensor) -> TrainedFactor | None:
    """The way a number was computed, from its graph.

    Parameters
    ----------
    value : Tensor
        0-d, in the graph of other tensors.

    Returns
    -------
    TrainedFactor or None
        None if the graph holds an operation that is not known here, or was freed.

    Examples
    --------
    >>> import torch
    >>> t = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    >>> factor_of(2 * torch.sigmoid(t)).expression
    ['affine', 0.0, [[2.0, ['Sigmoid', 0]]]]
    >>> factor_of(torch.erf(t)) is None
    True
    """
    reader = _Reader()
    try:
        with torch.no_grad():
            expression = reader.affine(value.grad_fn, value.detach())
            factor = TrainedFactor(expression, reader.leaves)
            again = factor()
    except (_UnknownError, RuntimeError, TypeError, ValueError, AttributeError):
        # RuntimeError: the graph was freed.
        return None
    scale = max(1.0, abs(float(value.detach())))
    return factor if abs(float(again - value.detach())) <= _TRIED * scale else None


def leaves_of(value: Tensor) -> list[Tensor]:
    """Tensors at the ends of a graph, the tensor itself if it is one.

    Parameters
    ----------
    value : Tensor
        That requires gradients.

    Examples
    --------
    >>> t = torch.ones((), requires_grad=True)
    >>> leaves_of(1 - t)[0] is t
    True
    """
    if value.grad_fn is None:
        return [value] if value.requires_grad else []
    found: list[Tensor] = []
    todo, seen = [value.grad_fn], {value.grad_fn}
    while todo:
        node = todo.pop()
        if hasattr(node, "variable"):
            found.append(node.variable)
        for child, _ in node.next_functions:
            if child is not None and child not in seen:
                seen.add(child)
                todo.append(child)
    return found


class _UnknownError(Exception):
    """An operation that cannot be read."""


class _Reader:
    """Reads graphs; equal leaves get one number."""

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []

    def affine(self, node: Any, value: Tensor) -> Expression:
        """A node of this value as a constant and multiples of what is not linear below it.

        Constants that were added are in no graph: they follow from the value.
        """
        parts: dict[Any, Tensor] = {}
        todo = [(node, torch.ones_like(value))]
        while todo:
            here, coefficient = todo.pop()
            children = [(child, i) for child, i in here.next_functions if child is not None]
            if hasattr(here, "variable") or not _is_linear(here, children):
                parts[here] = parts[here] + coefficient if here in parts else coefficient
                continue
            found = here(coefficient)
            found = found if isinstance(found, tuple) else (found,)
            for (child, i), part in zip(here.next_functions, found, strict=True):
                if child is not None:
                    if i != 0 or part is None:
                        raise _UnknownError
                    todo.append((child, part))
        terms, known = [], 0.0
        for part, coefficient in parts.items():
            expression = self._leaf(part) if hasattr(part, "variable") else self._nonlinear(part)
            now = _evaluate(expression, self.leaves)
            known += float((coefficient * now).sum())
            terms.append([coefficient.tolist(), expression])
        constant = float(value) - known
        if not math.isfinite(constant):
            raise _UnknownError
        return ["affine", constant, terms]

    def _leaf(self, node: Any) -> int:
        for i, leaf in enumerate(self.leaves):
            if leaf is node.variable:
                return i
        self.leaves.append(node.variable)
        return len(self.leaves) - 1

    def _nonlinear(self, node: Any) -> Expression:
        name, children = _operation(node), [child for child, _ in node.next_functions]
        if name in _UNARY:
            return [name, self._input(children[0], _UNARY[name][1](node))]
        if name == "Pow" and len(children) == 1:
            return ["Pow", self._input(children[0], node._saved_self), node._saved_exponent]
        if name == "Softmax":
            axis = node._saved_dim
            # Autograd shows negative axes as unsigned numbers.
            axis = axis - 2**64 if axis >= 2**63 else axis
            return [name, self._input(children[0], None), axis]
        if name == "Clamp":
            options = (node._saved_min, node._saved_max)
            return [name, self._input(children[0], node._saved_self), *options]
        if name == "Softplus":
            options = (float(node._saved_beta), float(node._saved_threshold))
            return [name, self._input(children[0], node._saved_self), *options]
        if name in ("Mul", "Div"):
            values = (node._saved_self, node._saved_other)
            return [name, *map(self._input, children, values)]
        raise _UnknownError

    def _input(self, node: Any, value: Tensor | None) -> Expression:
        if hasattr(node, "variable"):
            return self._leaf(node)
        if value is None or value.ndim != 0:
            raise _UnknownError
        return ["affine", float(value), []] if node is None else self.affine(node, value)


def _operation(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", type(node).__name__)


def _is_linear(node: Any, children: list[Any]) -> bool:
    name = _operation(node)
    if name == "Mul":
        return len(children) == 1
    if name == "Div":  # by something that depends on nothing
        return len(children) == 1 and node.next_functions[0][0] is not None
    return name in _LINEAR


def _evaluate(expression: Expression, leaves: Sequence[Tensor]) -> Tensor:
    if isinstance(expression, int):
        return leaves[expression]
    name, *rest = expression
    if name == "affine":
        constant, terms = rest
        total: Tensor | None = None
        for coefficient, part in terms:
            found = _evaluate(part, leaves)
            factor = torch.as_tensor(coefficient, dtype=found.dtype, device=found.device)
            term = factor * found
            term = term.sum() if term.ndim else term
            total = term if total is None else total + term
        if total is None:
            return torch.tensor(constant, dtype=torch.float64)
        return total + constant
    argument = _evaluate(rest[0], leaves)
    if name in _UNARY:
        return _UNARY[name][0](argument)
    if name == "Pow":
        return argument ** rest[1]
    if name == "Softmax":
        return torch.softmax(argument, rest[1])
    if name == "Clamp":
        return torch.clamp(argument, *rest[1:])
    if name == "Softplus":
        return torch.nn.functional.softplus(argument, *rest[1:])
    if name == "Mul":
        return argument * _evaluate(rest[1], leaves)
    if name == "Div":
        return argument / _evaluate(rest[1], leaves)
    raise ValueError(f"unknown operation {name!r} in a factor")
