"""The functional of an `XCModel`: the user's, or DeepChem's network beside a known one."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._values import whole_number
from deepchem_xc.xc import HybridXC, Ingredients, XCFunctional, get_xc
from deepchem_xc.xc.networks import ExpM1Activation, check_weights
from deepchem_xc.xc.saving import check_savable
from deepchem_xc.xc.trial import check_trainable

#: Options of the default network, and weights of a `HybridXC`, with their default values.
NETWORK_OPTIONS: dict[str, Any] = {
    "input_size": None,
    "hidden_size": 10,
    "n_layers": 1,
    "modeltype": 1,
}
WEIGHT_OPTIONS: dict[str, Any] = {"aweight0": 0.0, "bweight0": 1.0}


def ignored_options(
    given: Mapping[str, Any], has_network: bool = False, has_functional: bool = False
) -> list[str]:
    """Options that would have no effect and are not at their default, as ``name=value``.

    Parameters
    ----------
    given : mapping
        Values of `NETWORK_OPTIONS` and `WEIGHT_OPTIONS` that the user gave.
    has_network : bool, optional
        Whether the user gave the network.
    has_functional : bool, optional
        Whether the user gave the whole functional.

    Examples
    --------
    >>> ignored_options({"modeltype": 2, "hidden_size": 10, "aweight0": 0.5}, has_network=True)
    ['modeltype=2']
    """
    unused = NETWORK_OPTIONS if has_network or has_functional else {}
    unused = {**unused, **(WEIGHT_OPTIONS if has_functional else {})}
    return [
        f"{name}={given[name]!r}"
        for name, default in unused.items()
        if name in given and given[name] != default
    ]


def default_network(
    input_size: int, hidden_size: int = 10, n_layers: int = 1, modeltype: int = 1
) -> torch.nn.Sequential:
    """DeepChem's default network, float64.

    Parameters
    ----------
    input_size : int
        2 for an LDA (density, spin polarisation), 3 for a GGA (also the reduced gradient).
    hidden_size, n_layers : int, optional
        Width and number of hidden layers.
    modeltype : int, optional
        1: softplus everywhere; 2: exp(x) - 1 after the last hidden layer.

    Raises
    ------
    ValueError
        For another `modeltype`, or sizes that are not positive.

    Examples
    --------
    >>> default_network(3, hidden_size=4)(torch.zeros(5, 3, dtype=torch.float64)).shape
    torch.Size([5, 1])
    """
    if modeltype not in (1, 2):
        raise ValueError(f"modeltype must be 1 or 2, got {modeltype!r}.")
    input_size = whole_number(input_size, "input_size")
    hidden_size = whole_number(hidden_size, "hidden_size")
    n_layers = whole_number(n_layers, "n_layers")
    layers: list[torch.nn.Module] = []
    for i in range(n_layers):
        layers.append(torch.nn.Linear(hidden_size if i else input_size, hidden_size))
        last = i == n_layers - 1
        layers.append(ExpM1Activation() if modeltype == 2 and last else torch.nn.Softplus())
    layers.append(torch.nn.Linear(hidden_size, 1, bias=False))
    return torch.nn.Sequential(*layers).to(torch.float64)


def own_copy(module: torch.nn.Module) -> Any:
    """Copy of a functional or network that shares no parameters with it.

    Raises
    ------
    ValueError
        If it cannot be copied.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> list(own_copy(functional).parameters())[0] is list(functional.parameters())[0]
    False
    """
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError, pickle.PicklingError) as error:
        if isinstance(module, XCFunctional):
            check_trainable(module)  # may know the reason
        raise ValueError(
            f"{type(module).__name__} cannot be copied ({error}), and a model trains a copy of its "
            "functional. Define __deepcopy__, or make the model with another functional and then "
            "set model.functional, which takes the object itself."
        ) from error


def make_functional(
    functional: str | XCFunctional | None,
    xcstr: str | None,
    nnmodel: torch.nn.Module | None,
    *,
    input_size: int | None = None,
    hidden_size: int = 10,
    n_layers: int = 1,
    modeltype: int = 1,
    weights: tuple[float, float] = (0.0, 1.0),
    copied: bool = False,
) -> XCFunctional:
    """Functional that an `XCModel` trains; parameters are those of its constructor.

    With `copied`, functional and network stay as they are, and a copy of them is returned.
    A functional that cannot be saved to a file is accepted with a warning.

    Raises
    ------
    ValueError
        If both or neither of `functional` and `xcstr` are given, for options that would have no
        effect, if nothing in it is trainable, or a parameter is NaN or infinite; if
        `check_functional` refuses it, and for tensors that require gradients but are not
        parameters, because they would not be trained.

    Examples
    --------
    >>> make_functional(None, "lda_x", None).name
    'a*NNLDA+b*lda_x'
    """
    if (functional is None) == (xcstr is None):
        raise ValueError(
            "give either functional=..., or xcstr='lda_x' (with nnmodel=... for your own "
            f"network); got functional={functional!r} and xcstr={xcstr!r}."
        )
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "n_layers": n_layers}
    options = {**sizes, "modeltype": modeltype, **dict(zip(WEIGHT_OPTIONS, weights, strict=True))}
    ignored = ignored_options(options, nnmodel is not None, functional is not None)
    if ignored:
        whole = functional is not None
        raise ValueError(
            f"{', '.join(ignored)} would have no effect: "
            + (
                "functional=... is trained as it is. Leave them out, or give xcstr='lda_x' instead."
                if whole
                else "they describe the default network. Leave out these, or nnmodel."
            )
        )
    chosen: Any
    if xcstr is not None:
        known: XCFunctional = get_xc(xcstr)
        if nnmodel is None:
            gradient = Ingredients.GRADIENT in known.ingredients
            inputs = (3 if gradient else 2) if input_size is None else input_size
            nnmodel = default_network(inputs, hidden_size, n_layers, modeltype)
        elif copied:
            nnmodel = own_copy(nnmodel)  # before HybridXC converts it to float64
        chosen = HybridXC(known, nnmodel, *weights)
    else:
        if nnmodel is not None:
            raise ValueError("nnmodel belongs to xcstr; with functional=... leave it out.")
        chosen = get_xc(functional)
        if copied:
            chosen = own_copy(chosen)
    made: XCFunctional = chosen.to(torch.float64)
    check_weights(made)
    check_trainable(made)
    if not any(p.requires_grad for p in made.parameters()):
        raise ValueError(
            f"the functional {made.name} has no trainable parameters: give PBE(trainable=True), "
            "a neural functional, or xcstr with a network."
        )
    try:
        check_savable(made)
    except ValueError as error:
        warnings.warn(
            f"{made.name} can be trained, and checkpoints hold its weights, but functional.save() "
            f"could not write it: {error}",
            stacklevel=users_stacklevel(),
        )
    return made
