"""Writing functionals to files, see :mod:`deepchem_xc.xc.file_format`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deepchem_xc import __version__
from deepchem_xc._atomic import replacing

from .contract import PointwiseXC
from .definition import definition_of, forgotten, own_classes
from .file_format import KEY, UNITS, digest, rebuilt
from .identity import fixed_energies
from .networks import check_weights
from .sharing import shared_names

__all__ = ["check_savable", "file_contents", "save_functional"]


def save_functional(
    functional: PointwiseXC,
    path: str | os.PathLike[str],
    classes: Iterable[type[torch.nn.Module]] = (),
) -> None:
    """Write a functional, with its weights, to a file; same as ``functional.save(path)``.

    Parameters
    ----------
    functional : XCFunctional
        Any of this package: sums, multiples and :class:`~deepchem_xc.xc.HybridXC` included.
    path : str or path-like
        Should end in ``.safetensors``, by which :func:`~deepchem_xc.xc.get_xc` recognises files.
        At any time the file has either the old or the new content.
    classes : iterable of types
        Your own classes among its functionals and networks.

    Raises
    ------
    ValueError
        For classes that could not be read again, weights that are NaN, infinite or not in double
        precision, and if a functional built from the definition computes something else.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.xc import ConstrainedGGA, load_functional
    >>> path = tempfile.mkdtemp() + "/mine.xc.safetensors"
    >>> ConstrainedGGA(name="mine").save(path)
    >>> load_functional(path).name
    'mine'
    """
    from safetensors.torch import save

    header, tensors = file_contents(functional, tuple(classes))
    header["sha256"] = digest(header, tensors)
    content = save(tensors, metadata={KEY: json.dumps(header, allow_nan=False)})
    with replacing(path, "wb") as file:
        file.write(content)


def check_savable(
    functional: PointwiseXC, classes: Iterable[type[torch.nn.Module]] | None = None
) -> None:
    """Raise ``ValueError`` if a functional could not be written to a file, before it is trained.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.
    classes : iterable of types, optional
        As for :func:`save_functional`; by default all classes in the functional count as named.

    Raises
    ------
    ValueError
        As :func:`save_functional`.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> from deepchem_xc.xc.saving import check_savable
    >>> check_savable(PBE(trainable=True))
    """
    file_contents(functional, tuple(own_classes(functional) if classes is None else classes))


def file_contents(
    functional: PointwiseXC, classes: tuple[type[torch.nn.Module], ...]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, without the checksum, and tensors of a functional."""
    check_weights(functional)
    shared = shared_names(functional)
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in functional.state_dict().items()
        if name not in shared
    }
    frozen = [name for name, p in functional.named_parameters() if not p.requires_grad]
    header: dict[str, Any] = {
        "format": 2 if shared else 1,
        "package": __version__,
        "units": UNITS,
        "name": functional.name,
        "family": functional.family,
        "functional": definition_of(functional, classes),
        "frozen": frozen,
    }
    if shared:
        header["shared"] = shared
    # Building draws initial weights, which must not change the program's random numbers.
    with torch.random.fork_rng(devices=[]):
        _check_definition(functional, header, tensors, classes)
    return header, tensors


def _check_definition(
    functional: PointwiseXC,
    header: dict[str, Any],
    tensors: dict[str, Tensor],
    classes: tuple[type[torch.nn.Module], ...],
) -> None:
    """Raise ``ValueError`` if building from the definition gives another functional.

    Otherwise replaced layers, or arguments that the constructor did not keep, would be noticed only
    at the file's first use, or not at all.
    """
    name = type(functional).__name__
    lost = forgotten(functional, {*classes, type(functional)})
    for where, part in functional.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            lost.append(f"files cannot hold hooks, such as that of {where!r}: make it a layer")
    advice = "; ".join(lost) or (
        f"keep the arguments of the constructor of {name} as attributes of the same names, or "
        "return them from a method options(), and make its networks from them"
    )
    try:
        again = rebuilt(header, tensors, classes)
    except ValueError as error:
        raise ValueError(f"{name} could not be read from a file ({error}): {advice}") from error
    with torch.no_grad():
        expected, found = fixed_energies(functional), fixed_energies(again)
    if not torch.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True):
        worst = int((found - expected).abs().argmax())
        raise ValueError(
            f"{name} read from a file would be another functional: the energy density at a point "
            f"would be {float(found[worst])} instead of {float(expected[worst])}. "
            + (advice if lost else f"Something was probably changed after it was made: {advice}")
        )
