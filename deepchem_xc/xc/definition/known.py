"""Classes and values that a definition can contain, and the keys that mark them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.utils.parametrize import ParametrizationList, type_before_parametrizations

from ..contract import PointwiseXC
from ..factor import TrainedFactor
from ..networks import ExpM1Activation
from ..registry import registered_classes

# Layers, each with the attributes that correspond to arguments of its constructor.
LAYERS: dict[type[torch.nn.Module], tuple[str, ...]] = {
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
    ExpM1Activation: (),
}
# Modules that only contain others.
CONTAINERS: tuple[Any, ...] = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
# Keys that mark an object among the options; no other key begins with a dollar sign.
FUNCTIONAL, NETWORK, NUMBER, FACTOR = "$functional", "$network", "$number", "$factor"
TENSOR, DTYPE = "$tensor", "$dtype"
# Number types that tensors among the options may have.
DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.int64, torch.bool)
}
# Errors that constructors raise for options that were tampered with.
WRONG = (TypeError, ValueError, AttributeError, LookupError, RuntimeError)


def is_sequential(cls: type) -> bool:
    """Whether a class is a Sequential with torch's constructor.

    Examples
    --------
    >>> is_sequential(torch.nn.Sequential), is_sequential(torch.nn.Linear)
    (True, False)
    """
    if not issubclass(cls, torch.nn.Sequential):
        return False
    return cls.__init__ is torch.nn.Sequential.__init__


def functionals_by_name(
    classes: Iterable[type[torch.nn.Module]],
) -> dict[str, type[torch.nn.Module]]:
    """Functionals of this package and the caller's classes, by their names in files.

    Parameters
    ----------
    classes : iterable of types
        The caller's classes.

    Raises
    ------
    ValueError
        If two classes share a name.

    Examples
    --------
    >>> functionals_by_name([])["PBE"]
    <class 'deepchem_xc.xc.pbe.PBE'>
    """
    own = registered_classes() | {cls.__name__: cls for cls in LAYERS}
    for cls in classes:
        if own.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(
                f"the class {cls.__name__} has the same name as another one, and files know "
                "classes by name: rename it"
            )
    return {name: cls for name, cls in own.items() if cls not in LAYERS}


def own_classes(functional: PointwiseXC) -> list[type[torch.nn.Module]]:
    """Classes in a functional that are neither this package's nor known layers.

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
    known = {*registered_classes().values(), *LAYERS, *CONTAINERS, TrainedFactor}
    known.add(ParametrizationList)
    found = dict.fromkeys(
        type_before_parametrizations(part)
        for part in functional.modules()
        if not (isinstance(part, PointwiseXC) and part.why_no_file())
    )
    return [c for c in found if c not in known and not c.__module__.startswith("torch.")]
