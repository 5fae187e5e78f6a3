"""Reading functionals from files, see :mod:`deepchem_xc.xc.file_format`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepchem_xc import __version__

from .base import XCFunctional
from .file_format import FORMAT, KEY, UNITS, FunctionalFileError, digest, rebuilt
from .networks import check_weights

__all__ = ["load_functional"]

# Errors that a definition may cause if it was tampered with.
_REFUSED = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


def load_functional(
    path: str | os.PathLike[str], classes: Iterable[type[torch.nn.Module]] = ()
) -> XCFunctional:
    """Functional loaded from a file.

    Parameters
    ----------
    path : str or path-like
        Written by ``functional.save(path)``.
    classes : iterable of types
        Your own classes that the file may use; otherwise only the package's are built.

    Returns
    -------
    XCFunctional
        With its weights, on the CPU, in float64. It computes the same, bit for bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FunctionalFileError
        If it is damaged or not a functional's file, was written by a newer version, names an
        unknown class, or its weights do not fit the architecture or contain NaN or infinity.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.xc import get_xc, load_functional
    >>> path = tempfile.mkdtemp() + "/mix.xc.safetensors"
    >>> (0.75 * get_xc("gga_x_pbe") + get_xc("gga_c_pbe")).save(path)
    >>> load_functional(path).name
    '0.75*gga_x_pbe+gga_c_pbe'
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r} to load a functional from")
    header, tensors = _read(path)
    try:
        if header.get("units") != UNITS:
            raise ValueError(f"its units are {header.get('units')}, not {UNITS}")
        functional = rebuilt(header, tensors, tuple(classes))
        if not isinstance(functional, XCFunctional):
            raise ValueError(f"{type(functional).__name__!r} is not a class of functionals")
        check_weights(functional)
        _finish(functional, header)
    except _REFUSED as error:
        raise FunctionalFileError(f"{path}: {error}") from error
    return functional


def _finish(functional: XCFunctional, header: dict[str, Any]) -> None:
    """Set name and frozen parameters, which the header holds besides the definition."""
    name, frozen = header["name"], header.get("frozen", [])
    parameters = dict(functional.named_parameters())
    if not isinstance(name, str):
        raise ValueError(f"its name is {name!r}")
    if not isinstance(frozen, list) or not set(frozen) <= set(parameters):
        raise ValueError(f"its frozen parameters are {frozen!r}, which it does not have")
    if header.get("family", functional.family) != functional.family:
        raise ValueError(
            f"its family is {header['family']}, but its definition has {functional.family}"
        )
    functional.name = name
    for key, parameter in parameters.items():
        parameter.requires_grad_(key not in frozen)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Checked header and tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FunctionalFileError(
            f"{path} is damaged, or not a safetensors file at all ({error})"
        ) from error
    foreign = f"{path} is a safetensors file, but does not hold a functional of deepchem_xc"
    if text is None:
        raise FunctionalFileError(f"{foreign}: its metadata have no entry {KEY!r}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FunctionalFileError(f"{path} is damaged: its definition is not JSON") from error
    version = header.get("format") if isinstance(header, dict) else None
    if type(version) is not int or version < 1:
        raise FunctionalFileError(f"{foreign}: its definition has no format version")
    if version > FORMAT:
        raise FunctionalFileError(
            f"{path} has format {version} and was written by deepchem_xc {header.get('package')}; "
            f"this is {__version__}, which reads formats up to {FORMAT}: install a newer one"
        )
    missing = [key for key in ("functional", "sha256", "name") if key not in header]
    if missing:
        raise FunctionalFileError(f"{path} is damaged: its definition lacks {', '.join(missing)}")
    if header["sha256"] != digest(header, tensors):
        raise FunctionalFileError(
            f"{path} is damaged: its content is not what was written (sha256 differs)"
        )
    return header, tensors
