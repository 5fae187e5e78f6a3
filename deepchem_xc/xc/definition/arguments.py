"""Constructor arguments, recovered from objects."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch

from .known import WRONG, is_sequential


def options_of(module: torch.nn.Module) -> dict[str, Any]:
    """Arguments that rebuild an object like this one.

    Parameters
    ----------
    module : torch.nn.Module
        A functional or network. Its method ``options`` gives them; without one they are the
        attributes with the names of the constructor's arguments. Those that its class lists as
        ``later_options`` are left out at their defaults: earlier versions do not know them.

    Raises
    ------
    ValueError
        If an argument without a default is not an attribute, or ``options`` fails.

    Examples
    --------
    >>> from deepchem_xc.xc import PW92Correlation
    >>> options_of(PW92Correlation(modified=True))
    {'modified': True}
    """
    own = getattr(module, "options", None)
    if callable(own):
        try:
            return own()
        except WRONG as error:
            raise ValueError(
                f"{type(module).__name__}.options() does not give the arguments of its "
                f"constructor ({error}): was a part of it replaced after it was made?"
            ) from error
    found = {}
    later = getattr(type(module), "later_options", ())
    for parameter in arguments_of(type(module)):
        if hasattr(module, parameter.name):
            value = getattr(module, parameter.name)
            if parameter.name in later and value == parameter.default:
                continue
            # For a flag such as bias=True, the attribute is the object that the flag asks for.
            flag = isinstance(parameter.default, bool) and not isinstance(value, (bool, int))
            found[parameter.name] = value is not None if flag else value
        elif parameter.default is inspect.Parameter.empty:
            raise ValueError(
                f"the constructor of {type(module).__name__} needs {parameter.name!r}, which is "
                f"not an attribute: store it as self.{parameter.name}, or write a method "
                "options() that returns the constructor's arguments"
            )
    return found


def forgotten(module: torch.nn.Module, classes: Iterable[type[torch.nn.Module]] = ()) -> list[str]:
    """Constructor arguments that are not attributes, so that rebuilding uses their defaults.

    Parameters
    ----------
    module : torch.nn.Module
        A functional or network; its parts are included.
    classes : iterable of types
        Your own classes.

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
        if cls not in known or callable(getattr(part, "options", None)) or is_sequential(cls):
            continue
        names = [a.name for a in arguments_of(cls) if not hasattr(part, a.name)]
        if names:
            which, where = ", ".join(map(repr, names)), ", ".join(f"self.{n}" for n in names)
            it, was = ("it", "its default was") if len(names) == 1 else ("them", "defaults were")
            found[cls] = (
                f"{cls.__name__} does not keep {which}, and {was} taken: store {it} as {where}"
            )
    return list(found.values())


def arguments_of(cls: type[torch.nn.Module]) -> list[inspect.Parameter]:
    """Arguments of a constructor, and of its base classes' if it takes any keywords.

    Parameters
    ----------
    cls : type
        A functional's or network's class.

    Raises
    ------
    ValueError
        If it takes any number of positional arguments.

    Examples
    --------
    >>> [argument.name for argument in arguments_of(torch.nn.Softplus)]
    ['beta', 'threshold']
    """
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
                "from_options(**options) that rebuilds the object"
            )
        found += [argument for argument in arguments if argument.kind is not argument.VAR_KEYWORD]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found
