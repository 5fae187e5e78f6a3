"""Parts of a functional: tensors, numbers and classes, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ._deepchem import BaseXC

__all__ = ["named_parts"]

_NUMBERS = (bool, int, float, complex, str, bytes, type(None), Tensor)
# Attributes that do not affect results. xc/trial.py refuses functionals that depend on the mode.
_IGNORED = ("name", "training")


def named_parts(
    value: Any, name: str = "", above: frozenset[int] = frozenset()
) -> Iterator[tuple[str, Any]]:
    """Tensors, numbers and classes in a functional with their names.

    Plain attributes, lists and dictionaries are searched too. Names that begin with an underscore
    are private to the object and skipped.

    Parameters
    ----------
    value : object
        A functional or network.
    name : str, optional
        Its name.
    above : frozenset of int, optional
        Ids of the objects that contain it, to stop at cycles.

    Examples
    --------
    >>> from deepchem_xc.xc import PW92Correlation
    >>> dict(named_parts(PW92Correlation()))["modified"]
    False
    """
    if _is_number(value):
        yield name, value
        return
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        yield name, value.tolist()
        return
    if id(value) in above:
        return
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, (torch.nn.Module, BaseXC)):
        yield f"{name} (class)".strip(), type(value).__qualname__
        # Class attributes count too, unless the object overrides them.
        names = (k for cls in type(value).__mro__ for k, v in vars(cls).items() if _is_number(v))
        # In the order of the classes: files hold hashes of parts, which no process may change.
        found = {k: getattr(value, k) for k in names} | vars(value)
        inner = [(k, v) for k, v in found.items() if k[0] != "_" and k not in _IGNORED]
        if isinstance(value, torch.nn.Module):
            inner += [*value._parameters.items(), *value._buffers.items(), *value._modules.items()]
    elif isinstance(value, Mapping):
        inner = [*value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [*enumerate(value)]
    above = above | {id(value)}
    for key, part in inner:
        yield from named_parts(part, f"{name}.{key}" if name else str(key), above)


def _is_number(value: Any) -> bool:
    # Of thousands of values, which `isinstance` asks three times as long.
    return issubclass(type(value), _NUMBERS)
