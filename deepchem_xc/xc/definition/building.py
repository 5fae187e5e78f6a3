"""Building functionals from definitions."""

from __future__ import annotations

import reprlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..contract import PointwiseXC
from ..factor import TrainedFactor
from .known import (
    CONTAINERS,
    DTYPE,
    DTYPES,
    FACTOR,
    FUNCTIONAL,
    LAYERS,
    NETWORK,
    NUMBER,
    TENSOR,
    WRONG,
    functionals_by_name,
    is_sequential,
)

# Smallest density threshold (1 / bohr^3): below it the floor would not be a normal number.
_SMALLEST_THRESHOLD = 1e-300


def build(definition: Any, classes: Iterable[type[torch.nn.Module]] = ()) -> PointwiseXC:
    """Functional built from a definition, with initial weights.

    Parameters
    ----------
    definition : dict
        As from :func:`definition_of`.
    classes : iterable of types
        Classes that may be built besides those of this package.

    Returns
    -------
    PointwiseXC
        A new functional.

    Raises
    ------
    ValueError
        For anything but a definition, unknown classes, and options that constructors refuse.

    Examples
    --------
    >>> from deepchem_xc.xc.definition import build
    >>> build({"class": "PW92Correlation", "options": {"modified": True}}).name
    'lda_c_pw_mod'
    """
    name, options = _read(definition)
    known = functionals_by_name(classes)
    if name not in known:
        raise ValueError(
            f"unknown functional class {name!r}; known are {', '.join(known)}. Name your own "
            "classes in Python: xc=load_functional(path, classes=[...]). A file's name alone, as "
            "commands take it, is enough only for known classes"
        )
    functional = _call(known[name], options, tuple(classes))
    if not isinstance(functional, PointwiseXC):
        raise ValueError(f"{name!r} is not a class of functionals")
    if "density_threshold" in definition:
        threshold = definition["density_threshold"]
        if not isinstance(threshold, float) or not _SMALLEST_THRESHOLD < threshold < 1.0:
            raise ValueError(
                f"the density threshold must be between {_SMALLEST_THRESHOLD:g} and 1 bohr^-3, not "
                f"{threshold!r}"
            )
        functional.density_threshold = threshold
    return functional


def _decode(value: Any, classes: tuple[type[torch.nn.Module], ...]) -> Any:
    if isinstance(value, list):
        return [_decode(item, classes) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {FUNCTIONAL}:
        return build(value[FUNCTIONAL], classes)
    if set(value) == {NETWORK}:
        return _build_network(value[NETWORK], classes)
    if set(value) == {NUMBER, "trainable"}:
        number = torch.tensor(float(value[NUMBER]), dtype=torch.float64)
        return torch.nn.Parameter(number) if value["trainable"] else number
    if set(value) == {TENSOR, "shape", "dtype", "trainable"}:
        return _build_tensor(value)
    if set(value) == {DTYPE}:
        return _dtype(value[DTYPE])
    if set(value) == {FACTOR, "leaves"}:
        return _build_factor(value[FACTOR], value["leaves"])
    return {key: _decode(item, classes) for key, item in value.items()}


def _dtype(name: Any) -> torch.dtype:
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"unknown number type {name!r}; known are {', '.join(DTYPES)}")
    return DTYPES[name]


def _build_tensor(value: dict[str, Any]) -> Tensor:
    try:
        tensor = torch.tensor(value[TENSOR], dtype=_dtype(value["dtype"])).reshape(value["shape"])
    except WRONG as error:
        raise ValueError(f"no tensor can be made of {reprlib.repr(value)}: {error}") from error
    return torch.nn.Parameter(tensor) if value["trainable"] else tensor


def _build_factor(expression: Any, shapes: Any) -> TrainedFactor:
    short = reprlib.repr(expression)
    try:
        leaves: list[Tensor] = []
        for leaf in shapes:
            ones = torch.ones(leaf["shape"], dtype=torch.float64)
            leaves.append(torch.nn.Parameter(ones) if leaf["trainable"] else ones)
        factor = TrainedFactor(expression, leaves)
        shape = factor().shape
    except WRONG as error:
        raise ValueError(f"a factor cannot be computed from {short}: {error}") from error
    if shape != ():
        raise ValueError(f"the factor {short} is not one number but has shape {tuple(shape)}")
    return factor


def _build_network(definition: Any, classes: tuple[type[torch.nn.Module], ...]) -> torch.nn.Module:
    name, options = _read(definition)
    containers = {cls.__name__: cls for cls in (*CONTAINERS, *filter(is_sequential, classes))}
    if name in containers and "layers" in definition:
        layers = [_build_network(layer, classes) for layer in definition["layers"]]
        names = definition.get("names", range(len(layers)))
        if len(names) != len(layers):
            raise ValueError(f"{len(names)} names for {len(layers)} layers of a {name}")
        named = OrderedDict(zip(map(str, names), layers))
        make = containers[name]
        return make(layers if make is torch.nn.ModuleList else named)
    known = {cls.__name__: cls for cls in (*LAYERS, *classes)}
    if name not in known:
        valid = ", ".join((*containers, *known))
        raise ValueError(f"unknown layer {name!r}; known are {valid}")
    layer = _call(known[name], options, classes).double()
    try:
        for weight, axis in definition.get("weight_norm", {}).items():
            torch.nn.utils.parametrizations.weight_norm(layer, weight, axis)
    except WRONG as error:
        raise ValueError(f"{name} has no weight norm {definition['weight_norm']!r}") from error
    return layer


def _read(definition: Any) -> tuple[str, dict[str, Any]]:
    valid = isinstance(definition, dict) and isinstance(definition.get("class"), str)
    options = definition.get("options", {}) if valid else None
    if not isinstance(options, dict):
        raise ValueError(
            f'a definition is {{"class": name, "options": {{...}}}}, not {str(definition)[:200]}'
        )
    return definition["class"], options


def _call(
    cls: type[torch.nn.Module], options: dict[str, Any], classes: tuple[type[torch.nn.Module], ...]
) -> Any:
    arguments = {key: _decode(value, classes) for key, value in options.items()}
    try:
        rebuild = getattr(cls, "from_options", cls)
        return rebuild(**arguments)
    except WRONG as error:
        raise ValueError(f"{cls.__name__} cannot be built from {options}: {error}") from error
