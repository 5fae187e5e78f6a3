"""What a functional or a network is, as plain data: written to files, and built again from it.

A definition is a dictionary of JSON values: {"class": name, "options": {...}}, the options being
the arguments of the constructor. Among them may be other functionals and networks, as definitions,
trainable numbers, and factors that are computed from such. Weights are not a part of it.

Building looks classes up in a list of the package's own and of those the caller names, and calls
their constructors: a definition can run nothing else.
"""

from __future__ import annotations

import inspect
import math
import reprlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.parametrize import (
    ParametrizationList,
    is_parametrized,
    type_before_parametrizations,
)
from torch.nn.utils.prune import BasePruningMethod

from . import (
    constrained,
    gga_correlation,
    gga_exchange,
    lda,
    libxc,
    networks,
    neural,
    one_orbital,
    pbe,
    r2scan,
)
from .base import ScaledXC, SumXC, XCFunctional
from .factor import TrainedFactor
from .plain import PlainXC

__all__ = ["build", "definition_of", "forgotten", "own_classes"]

_FUNCTIONALS: tuple[type[XCFunctional], ...] = (
    SumXC,
    ScaledXC,
    one_orbital.OneOrbital,
    pbe.PBE,
    lda.SlaterExchange,
    lda.PW92Correlation,
    lda.VWNCorrelation,
    lda.Teter93,
    gga_exchange.PBEExchange,
    gga_exchange.RPBEExchange,
    gga_exchange.B88Exchange,
    gga_correlation.PBECorrelation,
    gga_correlation.LYPCorrelation,
    r2scan.R2SCANExchange,
    r2scan.R2SCANCorrelation,
    libxc.LibXC,
    neural.NNLDA,
    neural.NNPBE,
    neural.HybridXC,
    constrained.ConstrainedGGA,
    constrained.ConstrainedMetaGGA,
    constrained.UnconstrainedGGA,
    constrained.UnconstrainedMetaGGA,
)

# their thresholds follow from those of their parts, unless they are set
_DERIVED = (SumXC, ScaledXC, one_orbital.OneOrbital, neural.HybridXC)

# layers and the attributes that are arguments of their constructors
_LAYERS: dict[type[torch.nn.Module], tuple[str, ...]] = {
    torch.nn.Linear: ("in_features", "out_features"),
    torch.nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
    torch.nn.RMSNorm: ("normalized_shape", "eps", "elementwise_affine"),
    torch.nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    torch.nn.Identity: (),
    torch.nn.GELU: ("approximate",),
    torch.nn.SiLU: (),
    torch.nn.Tanh: (),
    torch.nn.Sigmoid: (),
    torch.nn.Softplus: ("beta", "threshold"),
    torch.nn.ELU: ("alpha",),
    torch.nn.CELU: ("alpha",),
    torch.nn.SELU: (),
    torch.nn.ReLU: (),
    torch.nn.ReLU6: (),
    torch.nn.LeakyReLU: ("negative_slope",),
    torch.nn.Hardtanh: ("min_val", "max_val"),
    torch.nn.Hardsigmoid: (),
    torch.nn.Hardswish: (),
    torch.nn.LogSigmoid: (),
    torch.nn.Tanhshrink: (),
    torch.nn.Softshrink: ("lambd",),
    torch.nn.Hardshrink: ("lambd",),
    torch.nn.Threshold: ("threshold", "value"),
    torch.nn.GLU: ("dim",),
    torch.nn.Softsign: (),
    torch.nn.Mish: (),
    torch.nn.PReLU: ("num_parameters",),
    torch.nn.Softmax: ("dim",),
    torch.nn.Softmin: ("dim",),
    torch.nn.Embedding: ("num_embeddings", "embedding_dim"),
    torch.nn.Flatten: ("start_dim", "end_dim"),
    torch.nn.Unflatten: ("dim", "unflattened_size"),
    networks.ExpM1Activation: (),
}
# A smaller threshold's floor would not be a normal number.
_SMALLEST_THRESHOLD = 1e-300
# what stands for an object among the options; other keys do not begin so
_FUNCTIONAL, _NETWORK, _NUMBER, _FACTOR = "$functional", "$network", "$number", "$factor"
_TENSOR, _DTYPE = "$tensor", "$dtype"
# Largest array among the options: weights are kept apart.
_MOST_ELEMENTS = 10_000
_DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.int64, torch.bool)
}
# What is wrong with options that were tampered with.
_WRONG = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)
_CONTAINERS: tuple[Any, ...] = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
# Layers whose constructor has a flag `bias`; the attribute is the bias itself.
_BIASED = (torch.nn.Linear, torch.nn.LayerNorm)


def definition_of(
    functional: XCFunctional, classes: Iterable[type[torch.nn.Module]] = ()
) -> dict[str, Any]:
    """Definition of a functional.

    Parameters
    ----------
    functional : XCFunctional
        Of a class of this package, or of one among ``classes``.
    classes : iterable of types
        Other classes of functionals and networks. Their constructors' arguments, also those that
        ``**options`` hands on to a base class, must be attributes of the same names (or have
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
    known = _by_name(classes)
    cls = type(functional)
    if cls is PlainXC:
        raise ValueError(
            f"{type(functional.xc).__name__} is only DeepChem's BaseXC, which a file cannot "
            "express: derive the class from deepchem_xc.xc.XCFunctional instead, with name, family "
            "and energy_density(variables), and name it, functional.save(path, classes=[...])"
        )
    for part in functional.modules():
        if isinstance(part, XCFunctional) and (found := _parametrizations(part)):
            raise ValueError(_parametrized(type_before_parametrizations(part), found[0][0]))
    if known.get(cls.__name__) is not cls:
        raise ValueError(
            f"{cls.__name__} is not a functional of deepchem_xc, so that a file of it could not be "
            f"read: name the class, functional.save(path, classes=[{cls.__name__}])"
        )
    definition = {
        "class": cls.__name__,
        "options": _encode(_options(functional), f"{cls.__name__}.options", tuple(classes)),
    }
    default = XCFunctional.density_threshold
    if cls in _DERIVED or functional.density_threshold != default:
        definition["density_threshold"] = functional.density_threshold
    return definition


def _options(module: torch.nn.Module) -> dict[str, Any]:
    own = getattr(module, "options", None)
    if callable(own):
        try:
            return own()
        except _WRONG as error:
            raise ValueError(
                f"{type(module).__name__}.options() does not give the arguments of its "
                f"constructor ({error}): was a part of it exchanged after it was made?"
            ) from error
    found = {}
    for parameter in _arguments(type(module)):
        if hasattr(module, parameter.name):
            value = getattr(module, parameter.name)
            # A flag such as bias=True, where the attribute is what it asks for.
            flag = isinstance(parameter.default, bool) and not isinstance(value, (bool, int))
            found[parameter.name] = value is not None if flag else value
        elif parameter.default is inspect.Parameter.empty:
            raise ValueError(
                f"the constructor of {type(module).__name__} needs {parameter.name!r}, which is no "
                f"attribute of it: store it as self.{parameter.name}, or write a method options() "
                "that returns the constructor's arguments"
            )
    return found


def forgotten(module: torch.nn.Module, classes: Iterable[type[torch.nn.Module]] = ()) -> list[str]:
    """Arguments of constructors that are no attributes, so that their defaults are taken.

    Parameters
    ----------
    module : torch.nn.Module
        A functional or network; its parts are looked at too.
    classes : iterable of types
        Classes of one's own.

    Returns
    -------
    list of str
        One line for each class.

    Examples
    --------
    >>> class Scaled(torch.nn.Module):
    ...     def __init__(self, scale=1.0):
    ...         super().__init__()
    ...         self.by = scale
    >>> forgotten(Scaled(2.0), [Scaled])
    ["Scaled does not keep 'scale', and its default was taken: store it as self.scale"]
    """
    known, found = {*classes}, {}
    for part in module.modules():
        cls = type(part)
        if cls not in known or callable(getattr(part, "options", None)) or _is_sequential(cls):
            continue
        names = [a.name for a in _arguments(cls) if not hasattr(part, a.name)]
        if names:
            which, where = ", ".join(map(repr, names)), ", ".join(f"self.{n}" for n in names)
            it, was = ("it", "its default was") if len(names) == 1 else ("them", "defaults were")
            found[cls] = (
                f"{cls.__name__} does not keep {which}, and {was} taken: store {it} as {where}"
            )
    return list(found.values())


def own_classes(functional: XCFunctional) -> list[type[torch.nn.Module]]:
    """Classes in a functional that are neither this package's nor layers that are known.

    Parameters
    ----------
    functional : XCFunctional
        Any.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> own_classes(PBE())
    []
    """
    known = {*_FUNCTIONALS, *_LAYERS, *_CONTAINERS, TrainedFactor, PlainXC, ParametrizationList}
    found = dict.fromkeys(type_before_parametrizations(part) for part in functional.modules())
    return [c for c in found if c not in known and not c.__module__.startswith("torch.")]


def _arguments(cls: type[torch.nn.Module]) -> list[inspect.Parameter]:
    """Of the constructor; those of its base classes, too, where it takes any keywords."""
    found: list[inspect.Parameter] = []
    for base in cls.__mro__:
        if base is torch.nn.Module:
            break
        if "__init__" not in vars(base):
            continue
        arguments = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        kinds = {argument.kind for argument in arguments}
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            raise ValueError(
                f"the constructor of {base.__name__} takes any number of arguments: write a method "
                "options() that returns a dictionary of them, and a class method "
                "from_options(**options) that builds it again"
            )
        found += [argument for argument in arguments if argument.kind is not argument.VAR_KEYWORD]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found


def _encode(value: Any, where: str, classes: tuple[type[torch.nn.Module], ...]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which no functional can be built from")
        return value
    if isinstance(value, Integral):
        return int(value)  # of numpy
    if isinstance(value, Tensor):
        return _encode_tensor(value, where)
    if isinstance(value, torch.dtype) and value in _DTYPES.values():
        return {_DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, TrainedFactor):
        leaves = [
            {"shape": list(leaf.shape), "trainable": isinstance(leaf, torch.nn.Parameter)}
            for leaf in value.leaves
        ]
        return {_FACTOR: value.expression, "leaves": leaves}
    if isinstance(value, XCFunctional):
        return {_FUNCTIONAL: definition_of(value, classes)}
    if isinstance(value, torch.nn.Module):
        return {_NETWORK: _network_definition(value, classes)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{where}[{i}]", classes) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and not any(str(key).startswith("$") for key in value):
        return {str(k): _encode(item, f"{where}[{k!r}]", classes) for k, item in value.items()}
    hint = "; instead of a function give a layer, torch.nn.Tanh() or one of your own"
    raise ValueError(
        f"{where} is a {type(value).__name__}, which cannot be saved; numbers, strings, lists, "
        f"tensors, functionals and networks can{hint if callable(value) else ''}"
    )


def _encode_tensor(value: Tensor, where: str) -> dict[str, Any]:
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{where} must be finite to be saved, not {value}")
    trainable = isinstance(value, torch.nn.Parameter)
    if value.ndim == 0 and value.is_floating_point():
        return {_NUMBER: float(value.detach()), "trainable": trainable}
    if value.dtype not in _DTYPES.values() or value.numel() > _MOST_ELEMENTS:
        raise ValueError(
            f"{where} is a tensor of {value.numel()} elements of {value.dtype}: saved are up to "
            f"{_MOST_ELEMENTS}, of {', '.join(_DTYPES)}"
        )
    numbers, dtype = value.detach().cpu().tolist(), str(value.dtype).removeprefix("torch.")
    return {_TENSOR: numbers, "shape": list(value.shape), "dtype": dtype, "trainable": trainable}


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
    if cls in _CONTAINERS or (cls in classes and _is_sequential(cls)):
        # Not .children(), which leaves out a layer that comes a second time.
        names = list(network._modules)
        found = [network.get_submodule(name) for name in names]
        layers = [_network_definition(layer, classes) for layer in found]
        if names == [str(i) for i in range(len(layers))]:
            return {"class": cls.__name__, "layers": layers}
        return {"class": cls.__name__, "layers": layers, "names": names}
    if cls in _LAYERS:
        options = {name: getattr(network, name) for name in _LAYERS[cls]}
        if cls in _BIASED:
            options["bias"] = network.bias is not None
        options = _encode(options, cls.__name__, ())
        return {"class": cls.__name__, "options": options}
    if cls in classes:
        return {
            "class": cls.__name__,
            "options": _encode(_options(network), f"{cls.__name__}.options", classes),
        }
    raise ValueError(
        f"a network with the layer {cls.__name__} cannot be saved: known are "
        f"{', '.join(known.__name__ for known in (*_CONTAINERS, *_LAYERS))}, and classes named "
        f"when saving and loading, functional.save(path, classes=[{cls.__name__}])"
    )


def build(definition: Any, classes: Iterable[type[torch.nn.Module]] = ()) -> XCFunctional:
    """Functional of a definition, with initial weights.

    Parameters
    ----------
    definition : dict
        As from :func:`definition_of`.
    classes : iterable of types
        Classes that may be built besides those of this package.

    Returns
    -------
    XCFunctional
        A new functional.

    Raises
    ------
    ValueError
        For what is no definition, unknown classes, and options their constructors refuse.

    Examples
    --------
    >>> from deepchem_xc.xc.definition import build
    >>> build({"class": "PW92Correlation", "options": {"modified": True}}).name
    'lda_c_pw_mod'
    """
    name, options = _read(definition)
    known = _by_name(classes)
    if name not in known:
        raise ValueError(
            f"unknown functional class {name!r}; known are {', '.join(known)}. A class of your own "
            "has to be named: load_functional(path, classes=[...])"
        )
    functional = _call(known[name], options, tuple(classes))
    if not isinstance(functional, XCFunctional):
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
    if set(value) == {_FUNCTIONAL}:
        return build(value[_FUNCTIONAL], classes)
    if set(value) == {_NETWORK}:
        return _build_network(value[_NETWORK], classes)
    if set(value) == {_NUMBER, "trainable"}:
        number = torch.tensor(float(value[_NUMBER]), dtype=torch.float64)
        return torch.nn.Parameter(number) if value["trainable"] else number
    if set(value) == {_TENSOR, "shape", "dtype", "trainable"}:
        return _build_tensor(value)
    if set(value) == {_DTYPE}:
        return _dtype(value[_DTYPE])
    if set(value) == {_FACTOR, "leaves"}:
        return _build_factor(value[_FACTOR], value["leaves"])
    return {key: _decode(item, classes) for key, item in value.items()}


def _dtype(name: Any) -> torch.dtype:
    if not isinstance(name, str) or name not in _DTYPES:
        raise ValueError(f"unknown type of numbers {name!r}; known are {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _build_tensor(value: dict[str, Any]) -> Tensor:
    try:
        tensor = torch.tensor(value[_TENSOR], dtype=_dtype(value["dtype"])).reshape(value["shape"])
    except _WRONG as error:
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
    except _WRONG as error:
        raise ValueError(f"a factor cannot be computed from {short}: {error}") from error
    if shape != ():
        raise ValueError(f"the factor {short} is not one number but of shape {tuple(shape)}")
    return factor


def _build_network(definition: Any, classes: tuple[type[torch.nn.Module], ...]) -> torch.nn.Module:
    name, options = _read(definition)
    containers = {cls.__name__: cls for cls in (*_CONTAINERS, *filter(_is_sequential, classes))}
    if name in containers and "layers" in definition:
        layers = [_build_network(layer, classes) for layer in definition["layers"]]
        names = definition.get("names", range(len(layers)))
        named = OrderedDict(zip(map(str, names), layers, strict=True))
        make = containers[name]
        return make(layers if make is torch.nn.ModuleList else named)
    known = {cls.__name__: cls for cls in (*_LAYERS, *classes)}
    if name not in known:
        valid = ", ".join((*containers, *known))
        raise ValueError(f"unknown layer {name!r}; known are {valid}")
    layer = _call(known[name], options, classes).double()
    try:
        for weight, axis in definition.get("weight_norm", {}).items():
            torch.nn.utils.parametrizations.weight_norm(layer, weight, axis)
    except _WRONG as error:
        raise ValueError(f"{name} has no weight norm {definition['weight_norm']!r}") from error
    return layer


def _is_sequential(cls: type) -> bool:
    """Whether a class is a Sequential that takes the layers as torch's does."""
    if not issubclass(cls, torch.nn.Sequential):
        return False
    return cls.__init__ is torch.nn.Sequential.__init__


def _by_name(classes: Iterable[type[torch.nn.Module]]) -> dict[str, type[torch.nn.Module]]:
    own = {cls.__name__: cls for cls in (*_FUNCTIONALS, *_LAYERS)}
    for cls in classes:
        if own.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(
                f"the class {cls.__name__} has the name of another one, by which files know it: "
                "give it a name of its own"
            )
    return {name: cls for name, cls in own.items() if cls not in _LAYERS}


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
    except _WRONG as error:
        raise ValueError(f"{cls.__name__} cannot be built from {options}: {error}") from error
