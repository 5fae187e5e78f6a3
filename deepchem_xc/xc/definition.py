"""What a functional or a network is, as plain data: written to files, and built again from it.

A definition is a dictionary of JSON values: {"class": name, "options": {...}}, the options being
the arguments of the constructor. Among them may be other functionals and networks, as definitions,
and trainable numbers. Weights are not a part of it.

Building looks classes up in a list of the package's own and of those the caller names, and calls
their constructors: a definition can run nothing else.
"""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from . import constrained, gga_correlation, gga_exchange, lda, libxc, networks, neural, pbe, r2scan
from .base import ScaledXC, SumXC, XCFunctional

__all__ = ["build", "definition_of"]

_FUNCTIONALS: tuple[type[XCFunctional], ...] = (
    SumXC,
    ScaledXC,
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
_DERIVED = (SumXC, ScaledXC, neural.HybridXC)

# layers and the attributes that are arguments of their constructors
_LAYERS: dict[type[torch.nn.Module], tuple[str, ...]] = {
    torch.nn.Linear: ("in_features", "out_features"),
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
    torch.nn.LeakyReLU: ("negative_slope",),
    torch.nn.Softsign: (),
    torch.nn.Mish: (),
    networks.ExpM1Activation: (),
}
# A smaller threshold's floor would not be a normal number.
_SMALLEST_THRESHOLD = 1e-300
# what stands for an object among the options; other keys do not begin so
_FUNCTIONAL, _NETWORK, _NUMBER = "$functional", "$network", "$number"


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
    if known.get(cls.__name__) is not cls:
        raise ValueError(
            f"{cls.__name__} is not a functional of deepchem_xc, so that a file of it could not be "
            f"read: name the class, functional.save(path, classes=[{cls.__name__}])"
        )
    found = {
        "class": cls.__name__,
        "options": _encode(_options(functional), f"{cls.__name__}.options", tuple(classes)),
    }
    default = XCFunctional.density_threshold
    if cls in _DERIVED or functional.density_threshold != default:
        found["density_threshold"] = functional.density_threshold
    return found


def _options(module: torch.nn.Module) -> dict[str, Any]:
    own = getattr(module, "options", None)
    if callable(own):
        return own()
    found = {}
    for parameter in _arguments(type(module)):
        if hasattr(module, parameter.name):
            found[parameter.name] = getattr(module, parameter.name)
        elif parameter.default is inspect.Parameter.empty:
            raise ValueError(
                f"the constructor of {type(module).__name__} needs {parameter.name!r}, which is no "
                f"attribute of it: store it as self.{parameter.name}, or write a method options() "
                "that returns the constructor's arguments"
            )
    return found


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
    if isinstance(value, Tensor):
        if value.ndim != 0 or not torch.isfinite(value):
            raise ValueError(f"{where} must be a finite 0-d tensor to be saved, not {value}")
        trainable = isinstance(value, torch.nn.Parameter)
        return {_NUMBER: float(value.detach()), "trainable": trainable}
    if isinstance(value, XCFunctional):
        return {_FUNCTIONAL: definition_of(value, classes)}
    if isinstance(value, torch.nn.Module):
        return {_NETWORK: _network_definition(value, classes)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{where}[{i}]", classes) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and not any(str(key).startswith("$") for key in value):
        return {str(k): _encode(item, f"{where}[{k!r}]", classes) for k, item in value.items()}
    raise ValueError(
        f"{where} is a {type(value).__name__}, which cannot be saved; numbers, strings, lists, "
        "functionals and networks can"
    )


def _network_definition(
    network: torch.nn.Module, classes: tuple[type[torch.nn.Module], ...]
) -> dict[str, Any]:
    cls = type(network)
    if cls is torch.nn.Sequential:
        # Not .children(), which leaves out a layer that comes a second time.
        names = list(network._modules)
        found = [network.get_submodule(name) for name in names]
        layers = [_network_definition(layer, classes) for layer in found]
        if names == [str(i) for i in range(len(layers))]:
            return {"class": "Sequential", "layers": layers}
        return {"class": "Sequential", "layers": layers, "names": names}
    if cls in _LAYERS:
        options = {name: getattr(network, name) for name in _LAYERS[cls]}
        if cls is torch.nn.Linear:
            options["bias"] = network.bias is not None
        return {"class": cls.__name__, "options": options}
    if cls in classes:
        return {
            "class": cls.__name__,
            "options": _encode(_options(network), f"{cls.__name__}.options", classes),
        }
    raise ValueError(
        f"a network with the layer {cls.__name__} cannot be saved: known are Sequential, "
        f"{', '.join(known.__name__ for known in _LAYERS)}, and classes named when saving and "
        f"loading, functional.save(path, classes=[{cls.__name__}])"
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
    return {key: _decode(item, classes) for key, item in value.items()}


def _build_network(definition: Any, classes: tuple[type[torch.nn.Module], ...]) -> torch.nn.Module:
    name, options = _read(definition)
    if name == "Sequential":
        layers = [_build_network(layer, classes) for layer in definition.get("layers", [])]
        names = definition.get("names", range(len(layers)))
        return torch.nn.Sequential(OrderedDict(zip(map(str, names), layers, strict=True)))
    known = {cls.__name__: cls for cls in (*_LAYERS, *classes)}
    if name not in known:
        raise ValueError(f"unknown layer {name!r}; known are Sequential, {', '.join(known)}")
    return _call(known[name], options, classes).double()


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
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        raise ValueError(f"{cls.__name__} cannot be built from {options}: {error}") from error
