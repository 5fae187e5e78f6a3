"""Parameters that a functional uses in several places."""

from __future__ import annotations

from collections.abc import Mapping

import torch

__all__ = ["share", "shared_names"]


def shared_names(module: torch.nn.Module) -> dict[str, str]:
    """Further names of shared parameters, each mapped to the first name.

    Parameters
    ----------
    module : torch.nn.Module
        A functional or network.

    Examples
    --------
    >>> layer = torch.nn.Linear(2, 2)
    >>> shared_names(torch.nn.Sequential(layer, torch.nn.Tanh(), layer))
    {'2.weight': '0.weight', '2.bias': '0.bias'}
    """
    first: dict[int, str] = {}
    found = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(parameter), name)
        if known != name:
            found[name] = known
    return found


def share(module: torch.nn.Module, names: Mapping[str, str]) -> None:
    """Let several names share one parameter.

    Parameters
    ----------
    module : torch.nn.Module
        It is changed in place.
    names : mapping
        As from `shared_names`.

    Raises
    ------
    ValueError
        If it has no such parameters, or their shapes differ.

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    >>> share(network, {"1.weight": "0.weight"})
    >>> network[0].weight is network[1].weight
    True
    """
    for name, first in names.items():
        parameters = dict(module.named_parameters(remove_duplicate=False))
        if name not in parameters or first not in parameters:
            raise ValueError(f"there are no parameters {name!r} and {first!r} to share")
        if parameters[name].shape != parameters[first].shape:
            raise ValueError(f"{name!r} and {first!r} differ in shape and cannot be shared")
        owner, _, own = name.rpartition(".")
        module.get_submodule(owner).register_parameter(own, parameters[first])
