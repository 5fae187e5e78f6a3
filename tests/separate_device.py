"""A device apart from the CPU, on machines that have no other.

Its tensors hold their numbers on the CPU and compute there, but an operation on tensors of both
devices raises RuntimeError where one of CUDA would: only copies, scalars (0-d) and indices of the
CPU may meet tensors of the other device. NumPy does not take them. What is wrong about the device
in a calculation shows so without a GPU; times, memory and the rounding of other kernels do not.

It answers to the name of torch's device without memory, ``meta``: torch's own engine of derivatives
knows it without hardware.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

#: Name of the device.
SEPARATE = "meta"

# Operations that take tensors of both devices.
_COPIES = {"copy_", "_to_copy"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# Operations that take no scalars of the other device either.
_UNMIXED = {"cat", "stack", "mm", "bmm", "addmm", "baddbmm", "dot", "vdot"}


class SeparateTensor(torch.Tensor):
    """A tensor of the other device, and the one on the CPU that holds its numbers."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> SeparateTensor:
        if held._is_zerotensor():  # autograd's zeros without memory, resolved above this level
            held = torch.zeros(held.shape, dtype=held.dtype)
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=SEPARATE,
        )
        torch._C._set_conj(made, held.is_conj())
        torch._C._set_neg(made, held.is_neg())
        made.held = held
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"SeparateTensor({self.held})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _computed(func, args, kwargs or {})

    # Torch would make tensors without memory of lists and arrays that are given to these.

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def new_tensor(self, data: Any, **options: Any) -> torch.Tensor:
        return torch.tensor(data, **({"dtype": self.dtype, "device": self.device} | options))

    def __getitem__(self, key: Any) -> torch.Tensor:
        return super().__getitem__(_with_tensors(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, torch.Tensor):
            value = torch.tensor(value, dtype=self.dtype)
        super().__setitem__(_with_tensors(key), value)

    # Copies and files.

    def __deepcopy__(self, memo: dict[int, Any]) -> SeparateTensor:
        found = SeparateTensor(copy.deepcopy(self.detach().held, memo))
        return found.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().held.__reduce_ex__(protocol)


class _Everywhere(TorchDispatchMode):
    """Factories too, which have no tensor among their arguments."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _computed(func, args, kwargs or {})


@contextmanager
def separate_device() -> Iterator[str]:
    """Let the package and torch have this device; its name."""
    from deepchem_xc import _values
    from deepchem_xc.planewave.eigen import states
    from deepchem_xc.planewave.response import perturbation

    sizes = states._DAVIDSON_BYTES, perturbation._BYTES
    with (
        patch.dict(sizes[0], {SEPARATE: sizes[0]["cuda"]}),
        patch.dict(sizes[1], {SEPARATE: sizes[1]["cuda"]}),
        patch.object(_values, "_DEVICES", (*_values._DEVICES, SEPARATE)),
        patch.object(torch, "tensor", _moved(torch.tensor)),
        patch.object(torch, "as_tensor", _moved(torch.as_tensor)),
        patch.object(torch, "load", _loaded(torch.load)),
        _Everywhere(),
    ):
        yield SEPARATE


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Result of an operation, on the device where it belongs."""
    name = func._schema.name.rpartition("::")[2]
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, SeparateTensor)]
    here = [x for x in tensors if not isinstance(x, SeparateTensor)]
    device = kwargs.get("device")
    if device is not None:
        to_there = torch.device(device).type == SEPARATE
    else:
        to_there = bool(there)
    if there and here:
        _check(name, args, here, tensors)
    writes = name.endswith("_") and bool(args) and isinstance(args[0], torch.Tensor)
    if writes:
        to_there = isinstance(args[0], SeparateTensor)
    if to_there and kwargs.get("generator") is not None:
        raise RuntimeError(f"{name} on {SEPARATE} takes no generator of the CPU")
    known = {id(x.held): x for x in there}

    def on_cpu(x: Any) -> Any:
        if isinstance(x, SeparateTensor):
            return x.held
        return torch.device("cpu") if isinstance(x, torch.device) else x

    def placed(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or any(x is one for one in here):
            return x
        if id(x) in known:
            return known[id(x)]
        return SeparateTensor(x) if to_there else x

    return tree_map(placed, func(*tree_map(on_cpu, args), **tree_map(on_cpu, kwargs)))


def _check(name: str, args: tuple[Any, ...], here: list[Any], tensors: list[Any]) -> None:
    """Raise RuntimeError unless CUDA would take these tensors of both devices."""
    if name in _COPIES:
        return
    devices = ", ".join(f"{tuple(x.shape)} on {x.device.type}" for x in tensors)
    home = isinstance(args[0], SeparateTensor)
    if name in _INDEXED:
        values = args[2] if len(args) > 2 and isinstance(args[2], torch.Tensor) else None
        values_here = values is not None and not isinstance(values, SeparateTensor) and values.ndim
        if not home or values_here:
            raise RuntimeError(f"{name} needs one device, but has {devices}")
        return
    if any(x.ndim for x in here) or name in _UNMIXED or (name.endswith("_") and not home):
        raise RuntimeError(f"{name} needs one device, but has {devices}")


def _with_tensors(key: Any) -> Any:
    """An index with tensors in place of lists and arrays."""
    if isinstance(key, tuple):
        return tuple(_with_tensors(one) for one in key)
    return torch.tensor(key) if isinstance(key, (list, np.ndarray)) else key


def _moved(function: Any) -> Any:
    """`torch.tensor` or `torch.as_tensor`, which makes the tensor on the CPU and moves it."""

    def made(data: Any, *args: Any, device: Any = None, **options: Any) -> torch.Tensor:
        wanted = options.pop("requires_grad", False)
        found = function(data, *args, **options)
        found = found if device is None else found.to(device)
        return found.requires_grad_() if wanted else found

    return made


def _loaded(function: Any) -> Any:
    """`torch.load`, which moves what it has read."""

    def read(path: Any, map_location: Any = None, **options: Any) -> Any:
        found = function(path, map_location="cpu", **options)
        if map_location is None:
            return found
        return tree_map(lambda x: x.to(map_location) if isinstance(x, torch.Tensor) else x, found)

    return read
