"""The registry of functionals: what users, files and configurations call them.

One line at a class enters it, and one line a sum of others that has a name of its own::

    @register("gga_x_rpbe")
    class RPBEExchange(PBEExchange): ...


    register_sum("RPBE", "gga_x_rpbe", "gga_c_pbe")

A name in libxc's spelling takes the place of libxc's functional; any other is a common name, found
in upper and lower case. Files know a class by the name of the class, as does the description of a
training if it is registered with ``trained=True``. :func:`~deepchem_xc.xc.get_xc`, files,
configuration and pseudopotentials read these tables. This module knows no functional.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

__all__ = [
    "NamedFunctional",
    "common_names",
    "derives_threshold",
    "find",
    "identifiers",
    "name_of_sum",
    "register",
    "register_sum",
    "registered_classes",
    "trained_classes",
    "whole_functionals",
]

_LIBXC = re.compile(r"(lda|gga|mgga)_(x|c|xc)(_|$)")
_C = TypeVar("_C", bound=type)


@dataclass(frozen=True)
class NamedFunctional:
    """A functional under one name.

    Attributes
    ----------
    name : str
        As it is written in lists.
    make : callable or None
        Makes it; None if it is the sum of its parts.
    parts : tuple of str
        libxc's names of exchange and correlation, for a whole functional that libxc has as well.
    """

    name: str
    make: Callable[[], Any] | None
    parts: tuple[str, ...]


_names: dict[str, NamedFunctional] = {}
_classes: dict[str, type] = {}
_trained: set[type] = set()
_derived: set[type] = set()


def register(
    *names: str,
    parts: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
    trained: bool = False,
    threshold_of_parts: bool = False,
) -> Callable[[_C], _C]:
    """Decorator that enters a class; it may stand there several times, with other names.

    Parameters
    ----------
    *names : str
        What `get_xc` makes an object of the class for; a class without any can be in files only.
    parts : tuple of str, optional
        libxc's names of the functionals whose sum it is, and for which it is made as well.
    options : mapping, optional
        Arguments of the constructor under these names.
    trained : bool, optional
        Whether the description of a training may ask for the class by its name.
    threshold_of_parts : bool, optional
        Whether an object has the density threshold of its parts, unless another one is set.

    Raises
    ------
    ValueError
        If a name is taken.

    Examples
    --------
    >>> from deepchem_xc.xc.registry import find
    >>> find("PBEsol").make().name, find("pbe").parts
    ('PBEsol', ('gga_x_pbe', 'gga_c_pbe'))
    """

    def enter(cls: _C) -> _C:
        if _classes.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"there is a functional of the class name {cls.__name__} already")
        for name in names:
            _enter(NamedFunctional(name, partial(cls, **(options or {})), parts))
        if trained:
            _trained.add(cls)
        if threshold_of_parts:
            _derived.add(cls)
        return cls

    return enter


def register_sum(name: str, *parts: str) -> None:
    """Enter a name for a sum of functionals.

    Parameters
    ----------
    name : str
        Its name.
    *parts : str
        Names of what is added: registered ones, or libxc's.

    Raises
    ------
    ValueError
        If the name is taken.

    Examples
    --------
    >>> from deepchem_xc.xc.registry import find
    >>> find("BLYP").parts
    ('gga_x_b88', 'gga_c_lyp')
    """
    _enter(NamedFunctional(name, None, parts))


def _enter(entry: NamedFunctional) -> None:
    if _names.setdefault(entry.name.lower(), entry) is not entry:
        raise ValueError(f"there is a functional of the name {entry.name} already")


def find(name: str) -> NamedFunctional | None:
    """What is registered under a name, in upper or lower case; None if nothing is.

    Examples
    --------
    >>> find("no functional") is None
    True
    """
    return _names.get(name.lower())


def common_names() -> list[str]:
    """Names under which people know whole functionals: LDAs, GGAs, meta-GGAs, others.

    Examples
    --------
    >>> "PBE" in common_names(), "gga_x_pbe" in common_names()
    (True, False)
    """
    kinds = ("lda", "gga", "mgga", "")

    def kind(entry: NamedFunctional) -> int:
        return kinds.index(entry.parts[0].partition("_")[0] if entry.parts else "")

    found = [entry for entry in _names.values() if not _LIBXC.match(entry.name)]
    return [entry.name for entry in sorted(found, key=kind)]


def identifiers() -> list[str]:
    """Identifiers of libxc that are written in torch here.

    Examples
    --------
    >>> "gga_x_pbe" in identifiers(), "gga_x_am05" in identifiers()
    (True, False)
    """
    return [entry.name for entry in _names.values() if _LIBXC.match(entry.name)]


def whole_functionals() -> dict[str, tuple[str, ...]]:
    """Names of whole functionals, each with libxc's names of its parts.

    Examples
    --------
    >>> whole_functionals()["PBE"]
    ('gga_x_pbe', 'gga_c_pbe')
    """
    return {
        entry.name: entry.parts
        for entry in _names.values()
        if entry.parts and not _LIBXC.match(entry.name)
    }


def name_of_sum(parts: Iterable[str]) -> str | None:
    """Name of a sum of these functionals, in any order; None if it has none.

    Examples
    --------
    >>> name_of_sum(["gga_c_pbe", "gga_x_pbe"])
    'PBE'
    """
    wanted = sorted(parts)
    return next(
        (name for name, found in whole_functionals().items() if sorted(found) == wanted), None
    )


def registered_classes() -> dict[str, type]:
    """Classes that files may name, by their names.

    Examples
    --------
    >>> registered_classes()["PBE"]
    <class 'deepchem_xc.xc.pbe.PBE'>
    """
    return dict(_classes)


def trained_classes() -> dict[str, type]:
    """Classes that the description of a training may name, by their names in alphabetical order.

    Examples
    --------
    >>> list(trained_classes())[:2]
    ['ConstrainedGGA', 'ConstrainedMetaGGA']
    """
    return {name: cls for name, cls in sorted(_classes.items()) if cls in _trained}


def derives_threshold(cls: type) -> bool:
    """Whether objects of a class have the density threshold of their parts.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE, HybridXC
    >>> derives_threshold(HybridXC), derives_threshold(PBE)
    (True, False)
    """
    return cls in _derived
