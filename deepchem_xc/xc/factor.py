"""Factors such as ``1 - t`` of a trainable number t, computed again at every use.

In ``t * f + (1 - t) * g`` the second factor is a tensor that was computed once: an optimiser's
step changes t but not this tensor. Its graph records how it was computed. This module turns the
graph into an expression and evaluates it with the present values of the parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["TrainedFactor", "factor_of", "leaves_of"]

# Autograd's names of operations that are linear in their inputs.
_LINEAR = {
    "Add", "Sub", "Rsub", "Neg", "Clone", "Alias", "View", "UnsafeView", "Reshape", "Squeeze",
    "Unsqueeze", "Select", "ToCopy", "Sum", "Mean", "Expand", "Identity", "Unbind", "Split",
    "SplitWithSizes", "Slice", "Stack", "Cat", "Permute", "Transpose", "T", "Flip", "Cumsum",
    "Index", "Repeat",
}  # fmt: skip
# Operations that are linear if only one of their inputs is in the graph.
_BILINEAR = {"Mul", "Mv", "Mm", "Bmm", "Dot"}
# Other operations on one tensor: the function, and its input recovered from saved tensors.
_UNARY: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Tensor]]] = {
    "Sigmoid": (torch.sigmoid, lambda node: torch.logit(node._saved_result)),
    "Exp": (torch.exp, lambda node: torch.log(node._saved_result)),
    "Expm1": (torch.expm1, lambda node: torch.log1p(node._saved_result)),
    "Tanh": (torch.tanh, lambda node: torch.atanh(node._saved_result)),
    "Sqrt": (torch.sqrt, lambda node: node._saved_result.square()),
    "Rsqrt": (torch.rsqrt, lambda node: node._saved_result.pow(-2)),
    "Reciprocal": (torch.reciprocal, lambda node: node._saved_result.reciprocal()),
    "Log": (torch.log, lambda node: node._saved_self),
    "Log1P": (torch.log1p, lambda node: node._saved_self),
    "Abs": (torch.abs, lambda node: node._saved_self),
    "Sin": (torch.sin, lambda node: node._saved_self),
    "Cos": (torch.cos, lambda node: node._saved_self),
    "Atan": (torch.atan, lambda node: node._saved_self),
    "Erf": (torch.erf, lambda node: node._saved_self),
    "Relu": (torch.relu, lambda node: node._saved_result),
    "Silu": (F.silu, lambda node: node._saved_self),
    "LogSigmoid": (F.logsigmoid, lambda node: node._saved_self),
    "Hardsigmoid": (F.hardsigmoid, lambda node: node._saved_self),
    "Prod": (torch.prod, lambda node: node._saved_self),
}
# Operations on two tensors, and the names under which the graph saves these.
_BINARY: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str, str]] = {
    "Mul": (torch.mul, "self", "other"),
    "Div": (torch.div, "self", "other"),
    "Dot": (torch.dot, "self", "tensor"),
    "Power": (torch.pow, "self", "exponent"),
    "Maximum": (torch.maximum, "self", "other"),
    "Minimum": (torch.minimum, "self", "other"),
}
# Operations on one tensor with options, and the names under which the graph saves these.
_WITH_OPTIONS: dict[str, tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    "Pow": (torch.pow, ("exponent",)),
    "Clamp": (torch.clamp, ("min", "max")),
    "ClampMin": (torch.clamp_min, ("min",)),
    "ClampMax": (torch.clamp_max, ("max",)),
    "Hardtanh": (torch.clamp, ("min_val", "max_val")),
    "Softplus": (F.softplus, ("beta", "threshold")),
    "LeakyRelu": (F.leaky_relu, ("negative_slope",)),
    "Softmax": (torch.softmax, ("dim",)),
    "LogSoftmax": (torch.log_softmax, ("dim",)),
    "Logsumexp": (torch.logsumexp, ("dim", "keepdim")),
    "LinalgVectorNorm": (torch.linalg.vector_norm, ("ord", "dim", "keepdim")),
}
_TRIED = 1e-12
# Largest number of elements of a vector that is not a leaf.
_MOST_ELEMENTS = 256

# An expression is JSON: the index of a leaf; ["affine", constant, [[coefficients, expression],
# ...]], a number; ["stack", shape, [numbers]]; or [operation, expression, ...], followed by plain
# numbers if the operation has options.
Expression = Any


class TrainedFactor(torch.nn.Module):
    """A number that follows the parameters from which it is computed.

    Parameters
    ----------
    expression : list or int
        From `factor_of`; JSON values.
    leaves : sequence of Tensor
        Its inputs. Parameters become parameters of this module, others buffers.

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
        """Tensors from which it is computed."""
        return [getattr(self, f"t{i}") for i in range(self._count)]

    def forward(self) -> Tensor:
        """Its value, 0-d."""
        return _evaluate(self.expression, self.leaves)


def factor_of(value: Tensor) -> TrainedFactor | None:
    """Recover from its graph how a number was computed.

    Parameters
    ----------
    value : Tensor
        0-d, in the graph of other tensors.

    Returns
    -------
    TrainedFactor or None
        None if the graph contains an operation that is not known here, or was freed.

    Examples
    --------
    >>> import torch
    >>> t = torch.nn.Parameter(torch.tensor(0.25, dtype=torch.float64))
    >>> factor_of(2 * torch.sigmoid(t)).expression
    ['affine', 0.0, [[2.0, ['Sigmoid', 0]]]]
    >>> factor_of(torch.lgamma(t)) is None
    True
    """
    reader = _Reader()
    try:
        with torch.no_grad():
            here = (value.grad_fn, value.output_nr)
            expression = reader.affine(here, value.detach(), torch.ones_like(value))
            factor = TrainedFactor(expression, reader.leaves)
            again = factor()
    except (_UnknownError, RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        # RuntimeError: the graph was freed.
        return None
    scale = max(1.0, abs(float(value.detach())))
    return factor if abs(float(again - value.detach())) <= _TRIED * scale else None


def leaves_of(value: Tensor) -> list[Tensor]:
    """Leaves of a tensor's graph: the tensor itself if it is a leaf.

    Parameters
    ----------
    value : Tensor
        If it requires no gradient, there are none.

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


# A node of a graph, and which of its outputs.
_Place = tuple[Any, int]


class _Reader:
    """Reads graphs; a leaf that occurs several times gets one index."""

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []

    def affine(self, place: _Place, value: Tensor, coefficient: Tensor) -> Expression:
        """Sum of coefficients times a tensor: a constant plus multiples of its inputs.

        Graphs do not hold added constants: the constant follows from the value, 0-d.
        """
        parts: dict[Any, Tensor] = {}
        todo = [(*place, coefficient)]
        while todo:
            here, index, factor = todo.pop()
            if hasattr(here, "variable") or not _is_linear(here):
                if index != 0:
                    raise _UnknownError
                parts[here] = parts[here] + factor if here in parts else factor
                continue
            outputs = [None] * len(here._input_metadata)
            found = here(*outputs[:index], factor, *outputs[index + 1 :])
            found = found if isinstance(found, tuple) else (found,)
            if len(found) != len(here.next_functions):
                raise _UnknownError
            for (child, i), part in zip(here.next_functions, found):
                if child is not None:
                    if part is None:
                        raise _UnknownError
                    todo.append((child, i, part))
        terms, known = [], 0.0
        for part, factor in parts.items():
            if not factor.any():
                continue
            expression = self._leaf(part) if hasattr(part, "variable") else self._nonlinear(part)
            known += float((factor * _evaluate(expression, self.leaves)).sum())
            terms.append([factor.tolist(), expression])
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
        name, places = _operation(node), node.next_functions
        if name in _UNARY and len(places) == 1:
            return [name, self._input(places[0], _UNARY[name][1](node))]
        if name == "Softmax":
            # Its input is known except for a constant, which softmax ignores.
            value = torch.log(node._saved_result)
            return [name, self._shifted(self._input(places[0], value)), _axis(node._saved_dim)]
        if name == "LogSoftmax":
            given = self._shifted(self._input(places[0], node._saved_result))
            return [name, given, _axis(node._saved_dim)]
        if name in _WITH_OPTIONS:
            options = [_option(getattr(node, f"_saved_{o}")) for o in _WITH_OPTIONS[name][1]]
            return [name, self._input(places[0], node._saved_self), *options]
        if name in _BINARY:
            values = [getattr(node, f"_saved_{key}") for key in _BINARY[name][1:]]
            if len(places) == 1:  # a plain number to the power of a tensor
                number = torch.as_tensor(values[0], dtype=values[1].dtype)
                return [name, self._input((None, 0), number), self._input(places[0], values[1])]
            return [name, *map(self._input, places, values)]
        raise _UnknownError

    def _input(self, place: _Place, value: Tensor) -> Expression:
        node, index = place
        if node is not None and hasattr(node, "variable"):
            return self._leaf(node)
        if node is not None and index == 0 and not _is_linear(node):
            return self._nonlinear(node)
        if value.numel() > _MOST_ELEMENTS:
            raise _UnknownError
        if value.ndim == 0:
            return self._number(place, value, torch.ones_like(value))
        numbers = [
            self._number(place, element, one.view_as(value))
            for element, one in zip(value.flatten(), torch.eye(value.numel()).to(value))
        ]
        return ["stack", list(value.shape), numbers]

    def _number(self, place: _Place, value: Tensor, coefficient: Tensor) -> Expression:
        constant = place[0] is None
        return ["affine", float(value), []] if constant else self.affine(place, value, coefficient)

    def _shifted(self, expression: Expression) -> Expression:
        """Expression with the constant of its first number subtracted from all numbers."""
        if isinstance(expression, int) or expression[0] != "stack":
            return expression
        first = expression[2][0][1]
        numbers = [["affine", constant - first, terms] for _, constant, terms in expression[2]]
        return ["stack", expression[1], numbers]


def _operation(node: Any) -> str:
    name = type(node).__name__
    # The exponent is a tensor; the base is a number or a tensor.
    return (
        "Power" if name in ("PowBackward1", "PowBackward2") else re.sub(r"Backward\d*$", "", name)
    )


def _is_linear(node: Any) -> bool:
    name = _operation(node)
    inside = [child is not None for child, _ in node.next_functions]
    if name in _BILINEAR:
        return sum(inside) == 1
    if name == "Div":  # linear if the divisor is not in the graph
        return inside == [True] or inside == [True, False]
    return name in _LINEAR or type(node).__name__ == "LerpBackward0"


def _axis(axis: int) -> int:
    # Autograd shows negative axes as unsigned numbers.
    return axis - 2**64 if axis >= 2**63 else axis


def _option(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_axis(axis) for axis in value]
    if value is not None and not isinstance(value, (bool, int, float)):
        raise _UnknownError  # a tensor, for example
    return value


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
            device = leaves[0].device if leaves else None
            return torch.tensor(constant, dtype=torch.float64, device=device)
        return total + constant
    if name == "stack":
        shape, numbers = rest
        return torch.stack([_evaluate(number, leaves) for number in numbers]).reshape(shape)
    argument = _evaluate(rest[0], leaves)
    if name in _UNARY:
        return _UNARY[name][0](argument)
    if name in _WITH_OPTIONS:
        return _WITH_OPTIONS[name][0](argument, *rest[1:])
    if name in _BINARY:
        return _BINARY[name][0](argument, _evaluate(rest[1], leaves))
    raise ValueError(f"unknown operation {name!r} in a factor")
