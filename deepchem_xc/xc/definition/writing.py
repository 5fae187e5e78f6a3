"""Writing functionals as definitions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations
from torch.nn.utils.prune import BasePruningMethod

from ..contract import PointwiseXC
from ..factor import TrainedFactor
from ..registry import derives_threshold
from .arguments import options_of
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
    functionals_by_name,
    is_sequential,
)

# Largest number of elements of an array among the options; weights are stored separately.
_MOST_ELEMENTS = 10_000
# Layers whose constructor has a flag `bias`; the attribute is the bias itself.
_BIASED = (torch.nn.Linear, torch.nn.LayerNorm)


def definition_of(
    functional: PointwiseXC, classes: Iterable[type[torch.nn.Module]] = ()
) -> dict[str, Any]:
    """Definition of a functional.

    Parameters
    ----------
    functional : XCFunctional
        Of a class of this package or one of ``classes``.
    classes : iterable of types
        Other classes of functionals and networks. Their constructors' arguments, also those that
        ``**options`` passes to a base class, must be attributes of the same names (or have
        defaults), or be returned by a method ``options``.

    Returns
    -------
    dict
        JSON values only.

    Raises
    ------
    ValueError
        For other classes, and options that JSON cannot hold.

    Examples
    --------
    >>> from deepchem_xc.xc import PW92Correlation
    >>> from deepchem_xc.xc.definition import definition_of
    >>> definition_of(PW92Correlation(modified=True))
    {'class': 'PW92Correlation', 'options': {'modified': True}}
    """
    known = functionals_by_name(classes)
    cls = type(functional)
    if reason := functional.why_no_file():
        raise ValueError(reason)
    for part in functional.modules():
        if isinstance(part, PointwiseXC) and (found := _parametrizations(part)):
            raise ValueError(_parametrized(type_before_parametrizations(part), found[0][0]))
    if known.get(cls.__name__) is not cls:
        raise ValueError(
            f"{cls.__name__} is not a functional of deepchem_xc, so that a file of it could not be "
            f"read: name the class, functional.save(path, classes=[{cls.__name__}])"
        )
    definition = {
        "class": cls.__name__,
        "options": _encode(options_of(functional), f"{cls.__name__}.options", tuple(classes)),
    }
    default = PointwiseXC.density_threshold
    if derives_threshold(cls) or functional.density_threshold != default:
        definition["density_threshold"] = functional.density_threshold
    return definition


def _encode(value: Any, where: str, classes: tuple[type[torch.nn.Module], ...]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which no functional can be built from")
        return value
    if isinstance(value, Integral):
        return int(value)  # numpy's number
    if isinstance(value, Tensor):
        return _encode_tensor(value, where)
    if isinstance(value, torch.dtype) and value in DTYPES.values():
        return {DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, TrainedFactor):
        leaves = [
            {"shape": list(leaf.shape), "trainable": isinstance(leaf, torch.nn.Parameter)}
            for leaf in value.leaves
        ]
        return {FACTOR: value.expression, "leaves": leaves}
    if isinstance(value, PointwiseXC):
        return {FUNCTIONAL: definition_of(value, classes)}
    if isinstance(value, torch.nn.Module):
        return {NETWORK: _network_definition(value, classes)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{where}[{i}]", classes) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and not any(str(key).startswith("$") for key in value):
        return {str(k): _encode(item, f"{where}[{k!r}]", classes) for k, item in value.items()}
    hint = "; instead of a function give a layer, torch.nn.Tanh() or your own"
    raise ValueError(
        f"{where} is a {type(value).__name__}, which cannot be saved; numbers, strings, lists, "
        f"tensors, functionals and networks can{hint if callable(value) else ''}"
    )


def _encode_tensor(value: Tensor, where: str) -> dict[str, Any]:
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{where} must be finite to be saved, not {value}")
    trainable = isinstance(value, torch.nn.Parameter)
    if value.ndim == 0 and value.is_floating_point():
        return {NUMBER: float(value.detach()), "trainable": trainable}
    if value.dtype not in DTYPES.values() or value.numel() > _MOST_ELEMENTS:
        raise ValueError(
            f"{where} is a tensor of {value.numel()} elements of {value.dtype}: files hold up to "
            f"{_MOST_ELEMENTS}, of {', '.join(DTYPES)}"
        )
    numbers, dtype = value.detach().cpu().tolist(), str(value.dtype).removeprefix("torch.")
    return {TENSOR: numbers, "shape": list(value.shape), "dtype": dtype, "trainable": trainable}


def _network_definition(
    network: torch.nn.Module, classes: tuple[type[torch.nn.Module], ...]
) -> dict[str, Any]:
    cls = type_before_parametrizations(network)
    norms = _weight_norms(network)
    found = _unparametrized_definition(network, cls, classes)
    return {**found, "weight_norm": norms} if norms else found


def _weight_norms(network: torch.nn.Module) -> dict[str, int]:
    """Axes of the weights that are normalised, by name; other parametrizations are refused."""
    cls, norms = type_before_parametrizations(network), {}
    for hook in network._forward_pre_hooks.values():
        if isinstance(hook, BasePruningMethod):
            raise ValueError(
                f"{cls.__name__} with pruned weights cannot be saved: make them plain weights, "
                f"torch.nn.utils.prune.remove(layer, {hook._tensor_name!r}), or for several rounds "
                "of pruning call it for each name"
            )
        if type(hook).__module__.startswith("torch.nn.utils"):
            raise ValueError(
                f"{cls.__name__} with the hook {type(hook).__name__} cannot be saved: use "
                "torch.nn.utils.parametrizations.weight_norm instead of torch.nn.utils.weight_norm"
            )
    for name, parts in _parametrizations(network):
        if len(parts) != 1 or type(parts[0]).__name__ != "_WeightNorm":
            raise ValueError(_parametrized(cls, name))
        norms[name] = parts[0].dim
    return norms


def _parametrizations(module: torch.nn.Module) -> list[tuple[str, Any]]:
    found: Any = module.parametrizations if is_parametrized(module) else {}
    return [*found.items()]


def _parametrized(cls: type[torch.nn.Module], name: str) -> str:
    return (
        f"{cls.__name__} with a parametrization of {name!r} cannot be saved, except for "
        "torch.nn.utils.parametrizations.weight_norm of a layer: make plain weights of it, "
        f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r})"
    )


def _unparametrized_definition(
    network: torch.nn.Module, cls: type, classes: tuple[type[torch.nn.Module], ...]
) -> dict[str, Any]:
    if cls in CONTAINERS or (cls in classes and is_sequential(cls)):
        # Not .children(), which omits a layer that occurs a second time.
        names = list(network._modules)
        found = [network.get_submodule(name) for name in names]
        layers = [_network_definition(layer, classes) for layer in found]
        if names == [str(i) for i in range(len(layers))]:
            return {"class": cls.__name__, "layers": layers}
        return {"class": cls.__name__, "layers": layers, "names": names}
    if cls in LAYERS:
        options = {name: getattr(network, name) for name in LAYERS[cls]}
        if cls in _BIASED:
            options["bias"] = network.bias is not None
        options = _encode(options, cls.__name__, ())
        return {"class": cls.__name__, "options": options}
    if cls in classes:
        return {
            "class": cls.__name__,
            "options": _encode(options_of(network), f"{cls.__name__}.options", classes),
        }
    raise ValueError(
        f"a network with the layer {cls.__name__} cannot be saved: known are "
        f"{', '.join(known.__name__ for known in (*CONTAINERS, *LAYERS))}, and classes named "
        f"when saving and loading, functional.save(path, classes=[{cls.__name__}])"
    )
