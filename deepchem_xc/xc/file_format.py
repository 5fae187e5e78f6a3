"""Functionals in files: one safetensors file each, read without executing anything from it.

The weights are the file's tensors, named as in ``functional.state_dict()``. The file's metadata
hold one JSON text under the key "deepchem_xc":

    format        version of this layout: 1, or 2 if weights are shared
    package       version of deepchem_xc that wrote it
    units         units of density and energy density
    name, family  name and family of the functional, for readers
    functional    its definition, see :mod:`deepchem_xc.xc.definition`
    frozen        names of weights that are not trained
    shared        further names of shared weights, each with the first name (format 2 only)
    sha256        checksum of all these and the tensors
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .contract import PointwiseXC
from .definition import build
from .sharing import share

if TYPE_CHECKING:
    # Python 3.9, which DeepChem's molecules still need, has no typing.TypeGuard.
    from typing_extensions import TypeGuard  # noqa: UP035

__all__ = ["FORMAT", "KEY", "UNITS", "FunctionalFileError", "digest", "is_file_name", "rebuilt"]

FORMAT = 2
KEY = "deepchem_xc"
_SUFFIX = ".safetensors"
UNITS = {"density": "1/bohr^3", "energy": "Hartree", "length": "bohr"}


class FunctionalFileError(ValueError):
    """A file does not hold a functional, or holds one that cannot be used.

    Examples
    --------
    >>> from deepchem_xc.xc import FunctionalFileError
    >>> issubclass(FunctionalFileError, ValueError)
    True
    """


def is_file_name(xc: Any) -> TypeGuard[str | os.PathLike[str]]:
    """Whether ``xc`` names a file: a path, or a string that ends in ".safetensors".

    Examples
    --------
    >>> is_file_name("mine.xc.safetensors"), is_file_name("PBE")
    (True, False)
    """
    return isinstance(xc, os.PathLike) or (isinstance(xc, str) and xc.lower().endswith(_SUFFIX))


def rebuilt(
    header: dict[str, Any], tensors: dict[str, Tensor], classes: tuple[type[torch.nn.Module], ...]
) -> PointwiseXC:
    """Functional built from a definition, with these weights, in double precision."""
    functional = build(header["functional"], classes).double()
    shared = header.get("shared", {})
    if not isinstance(shared, dict) or not all(isinstance(x, str) for x in shared.values()):
        raise ValueError(f"its shared weights are {shared!r}, not a mapping of names to names")
    share(functional, shared)
    _fill(functional, tensors, set(shared))
    return functional


def _fill(functional: PointwiseXC, tensors: dict[str, Tensor], shared: set[str]) -> None:
    """Set all weights; they must match this architecture, except for further names."""
    expected = {k: v for k, v in functional.state_dict().items() if k not in shared}
    missing = sorted(set(expected) - set(tensors))
    surplus = sorted(set(tensors) - set(expected))
    other = [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(set(expected) & set(tensors))
        if tensors[name].shape != expected[name].shape
    ]
    other += [
        f"{name} is {tensors[name].dtype} instead of {expected[name].dtype}"
        for name in sorted(set(expected) & set(tensors))
        if tensors[name].dtype != expected[name].dtype
    ]
    problems = [f"{name} is missing" for name in missing]
    problems += [f"{name} is not a part of it" for name in surplus] + other
    if problems:
        raise ValueError(
            f"the weights do not fit the architecture of the definition, {functional.name}: "
            + "; ".join(problems[:5])
        )
    functional.load_state_dict(tensors, strict=False)


def digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Checksum of a file's content: the header, without its checksum, and the tensors."""
    described = {key: value for key, value in header.items() if key != "sha256"}
    checksum = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        checksum.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        checksum.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return checksum.hexdigest()
