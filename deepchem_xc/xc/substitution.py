"""Evaluating a module with other tensors in place of its own.

``torch.func.functional_call`` does the same, but loses the parameters of a layer that occurs
several times in a module (torch 2.13): it leaves the substitutes behind as the layer's own.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["called_with", "substituted"]


def called_with(module: torch.nn.Module, tensors: Mapping[str, Tensor], *arguments: Any) -> Any:
    """Output of a module with other tensors.

    Parameters
    ----------
    module : torch.nn.Module
        It is left as it is.
    tensors : mapping
        Substitutes by name of the parameter or buffer; they apply wherever that one is used.
    *arguments
        Arguments of the module.

    Examples
    --------
    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> twice = torch.nn.Sequential(layer, layer)
    >>> called_with(twice, {"0.weight": torch.full((1, 1), 3.0)}, torch.ones(1))
    tensor([9.])
    >>> twice[0].weight is layer.weight and isinstance(layer.weight, torch.nn.Parameter)
    True
    """
    with substituted(module, tensors):
        return module(*arguments)


@contextlib.contextmanager
def substituted(module: torch.nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Context in which a module has other tensors, as in `called_with`.

    Examples
    --------
    >>> layer = torch.nn.Linear(1, 1)
    >>> with substituted(layer, {"bias": torch.tensor([2.0])}):
    ...     print(layer.bias)
    tensor([2.])
    """
    own: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    own.update(module.named_buffers(remove_duplicate=False))
    others = {id(own[name]): tensor for name, tensor in tensors.items()}
    undo: list[Callable[[], None]] = []
    try:
        for part in module.modules():
            if isinstance(part, torch.jit.ScriptModule):
                undo += _overwritten(part, others)
                continue
            for table in (part._parameters, part._buffers):
                undo += _exchanged(table, others)
            if isinstance(part, torch.nn.RNNBase):  # it also keeps a list of its weights
                undo += _exchanged(part._flat_weights, others)
        yield
    finally:
        for step in reversed(undo):
            step()


def _exchanged(table: Any, others: Mapping[int, Tensor]) -> list[Callable[[], None]]:
    """Exchange tensors in a dictionary or list; returns how to undo it."""
    undo: list[Callable[[], None]] = []
    for key, tensor in [*(table.items() if isinstance(table, dict) else enumerate(table))]:
        if id(tensor) in others:
            table[key] = others[id(tensor)]
            undo.append(functools.partial(table.__setitem__, key, tensor))
    return undo


def _overwritten(part: torch.nn.Module, others: Mapping[int, Tensor]) -> list[Callable[[], None]]:
    """The same for TorchScript, whose tensors cannot be replaced: overwrite their values."""
    undo: list[Callable[[], None]] = []
    for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
        other = others.get(id(tensor))
        if other is not None:
            undo.append(functools.partial(_written, tensor, tensor.data, tensor.requires_grad))
            tensor.requires_grad_(False)
            tensor.data = other.detach().clone()
    return undo


def _written(tensor: Tensor, data: Tensor, trained: bool) -> None:
    tensor.data = data
    tensor.requires_grad_(trained)
