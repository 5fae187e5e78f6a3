"""Functionals in files: one safetensors file each, read without executing anything from it.

The weights are the file's tensors, under the names of ``functional.state_dict()``. Its metadata
hold one JSON text, under the key "deepchem_xc":

    format        version of this layout: 1, or 2 if weights are shared
    package       version of deepchem_xc that wrote it
    units         of density and energy density
    name, family  of the functional, for readers
    functional    its definition, see :mod:`deepchem_xc.xc.definition`
    frozen        names of weights that are not trained
    shared        further names of weights that have several, with the first (format 2 only)
    sha256        of all these and the tensors
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepchem_xc import __version__
from deepchem_xc._atomic import replacing

from .base import XCFunctional
from .definition import build, definition_of, forgotten, own_classes
from .fingerprint import sample_energies
from .networks import check_weights
from .sharing import share, shared_names

__all__ = ["FunctionalFileError", "check_savable", "load_functional", "save_functional"]

FORMAT = 2
_KEY = "deepchem_xc"
_UNITS = {"density": "1/bohr^3", "energy": "Hartree", "length": "bohr"}
# What a definition that was tampered with may lead to.
_REFUSED = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


class FunctionalFileError(ValueError):
    """A file that holds no functional, or one that cannot be used.

    Examples
    --------
    >>> from deepchem_xc.xc import FunctionalFileError
    >>> issubclass(FunctionalFileError, ValueError)
    True
    """


def save_functional(
    functional: XCFunctional,
    path: str | os.PathLike[str],
    classes: Iterable[type[torch.nn.Module]] = (),
) -> None:
    """Write a functional, with its weights, to a file; same as ``functional.save(path)``.

    Parameters
    ----------
    functional : XCFunctional
        Any of this package: sums, multiples and :class:`~deepchem_xc.xc.HybridXC` included.
    path : str or path-like
        Usually ends in ``.safetensors``, by which :func:`~deepchem_xc.xc.get_xc` knows a file.
        Either the old or the new content is there at any time.
    classes : iterable of types
        Classes of one's own among its functionals and networks.

    Raises
    ------
    ValueError
        For classes that could not be read, weights with NaN or infinity or not of double
        precision, and if what is built from the definition computes something else.
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

    header, tensors = _contents(functional, tuple(classes))
    header["sha256"] = _digest(header, tensors)
    content = save(tensors, metadata={_KEY: json.dumps(header, allow_nan=False)})
    with replacing(path, "wb") as file:
        file.write(content)


def check_savable(
    functional: XCFunctional, classes: Iterable[type[torch.nn.Module]] | None = None
) -> None:
    """Raise ``ValueError`` if a functional could not be written to a file, before it is trained.

    Parameters
    ----------
    functional : XCFunctional
        It is left as it is.
    classes : iterable of types, optional
        As for :func:`save_functional`; by default all classes it is made of are taken as named.

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
    _contents(functional, tuple(own_classes(functional) if classes is None else classes))


def _contents(
    functional: XCFunctional, classes: tuple[type[torch.nn.Module], ...]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, without the checksum, and tensors of a functional."""
    check_weights(functional)
    shared = shared_names(functional)
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in functional.state_dict().items()
        if name not in shared
    }
    header: dict[str, Any] = {
        "format": 2 if shared else 1,
        "package": __version__,
        "units": _UNITS,
        "name": functional.name,
        "family": functional.family,
        "functional": definition_of(functional, classes),
        "frozen": [name for name, p in functional.named_parameters() if not p.requires_grad],
    }
    if shared:
        header["shared"] = shared
    # Building draws initial weights; the program's random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        _check_definition(functional, header, tensors, classes)
    return header, tensors


def load_functional(
    path: str | os.PathLike[str], classes: Iterable[type[torch.nn.Module]] = ()
) -> XCFunctional:
    """Functional of a file.

    Parameters
    ----------
    path : str or path-like
        Written by ``functional.save(path)``.
    classes : iterable of types
        Classes of one's own that the file may use; no others but the package's are built.

    Returns
    -------
    XCFunctional
        With its weights, on the CPU, in float64. Computes the same, bit for bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FunctionalFileError
        If it is damaged or no file of a functional, was written by a newer version, names an
        unknown class, has weights of another architecture, or has NaN or infinity among them.

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
        if header.get("units") != _UNITS:
            raise ValueError(f"its units are {header.get('units')}, not {_UNITS}")
        functional = _rebuilt(header, tensors, tuple(classes))
        check_weights(functional)
        _finish(functional, header)
    except _REFUSED as error:
        raise FunctionalFileError(f"{path}: {error}") from error
    return functional


def _finish(functional: XCFunctional, header: dict[str, Any]) -> None:
    """What a header says besides the definition."""
    name, frozen = header["name"], header.get("frozen", [])
    parameters = dict(functional.named_parameters())
    if not isinstance(name, str):
        raise ValueError(f"its name is {name!r}")
    if not isinstance(frozen, list) or not set(frozen) <= set(parameters):
        raise ValueError(f"its frozen parameters are {frozen!r}, which it does not have")
    if header.get("family", functional.family) != functional.family:
        raise ValueError(f"its family is {header['family']}, that of its definition another")
    functional.name = name
    for key, parameter in parameters.items():
        parameter.requires_grad_(key not in frozen)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Checked header and tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise FunctionalFileError(
            f"{path} is damaged, or no safetensors file at all ({error})"
        ) from error
    foreign = f"{path} is a safetensors file, but not of a functional of deepchem_xc"
    if text is None:
        raise FunctionalFileError(f"{foreign}: its metadata have no entry {_KEY!r}")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FunctionalFileError(f"{path} is damaged: its definition is no JSON") from error
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
    if header["sha256"] != _digest(header, tensors):
        raise FunctionalFileError(
            f"{path} is damaged: its content is not what was written (sha256 differs)"
        )
    return header, tensors


def _rebuilt(
    header: dict[str, Any], tensors: dict[str, Tensor], classes: tuple[type[torch.nn.Module], ...]
) -> XCFunctional:
    """Functional of a definition, with these weights, in double precision."""
    functional = build(header["functional"], classes).double()
    shared = header.get("shared", {})
    if not isinstance(shared, dict) or not all(isinstance(x, str) for x in shared.values()):
        raise ValueError(f"its shared weights are {shared!r}, not names with names")
    share(functional, shared)
    _fill(functional, tensors, set(shared))
    return functional


def _check_definition(
    functional: XCFunctional,
    header: dict[str, Any],
    tensors: dict[str, Tensor],
    classes: tuple[type[torch.nn.Module], ...],
) -> None:
    """Raise ``ValueError`` if a functional is not what would be built from its definition.

    Layers that were exchanged or arguments that the constructor did not keep would show in the
    file's first use only, or not at all.
    """
    name = type(functional).__name__
    lost = forgotten(functional, {*classes, type(functional)})
    for where, part in functional.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            lost.append(f"files hold no hooks, as the one of {where!r}: make it a layer")
    advice = "; ".join(lost) or (
        f"keep the arguments of the constructor of {name} as attributes of the same names, or "
        "return them from a method options(), and make its networks from them"
    )
    try:
        again = _rebuilt(header, tensors, classes)
    except ValueError as error:
        raise ValueError(f"{name} could not be read from a file ({error}): {advice}") from error
    with torch.no_grad():
        expected, found = sample_energies(functional), sample_energies(again)
    if not torch.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True):
        worst = int((found - expected).abs().argmax())
        raise ValueError(
            f"{name} read from a file would be another functional: the energy density at a point "
            f"would be {float(found[worst])} instead of {float(expected[worst])}. "
            + (advice if lost else f"Probably something was changed after it was made: {advice}")
        )


def _fill(functional: XCFunctional, tensors: dict[str, Tensor], shared: set[str]) -> None:
    """Set all weights, which must be those of this architecture, but for further names."""
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
            f"the weights are of another architecture than the definition, {functional.name}: "
            + "; ".join(problems[:5])
        )
    functional.load_state_dict(tensors, strict=False)


def _digest(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    described = {key: value for key, value in header.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
