"""The registry of functionals: their names for users, files and configurations.

One line registers a class, a named sum of other functionals, or a file that the project ships::

    @register("gga_x_rpbe")
    class RPBEExchange(PBEExchange): ...


    register_sum("RPBE", "gga_x_rpbe", "gga_c_pbe")
    register_file("recovered_gga")

A name in libxc's spelling takes precedence over libxc's functional; any other is a common name.
Neither is case-sensitive. Files refer to a class by its class name, and so do training
configurations if it is registered with ``trained=True``. :func:`~deepchem_xc.xc.get_xc`, files,
configuration and pseudopotentials read these tables. This module imports no functional.
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
    "register_file",
    "register_sum",
    "registered_classes",
    "trained_classes",
    "trained_files",
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
        Spelling for lists.
    make : callable or None
        Builds it; None if it is the sum of its parts, or is in a file.
    parts : tuple of str
        libxc's names of exchange and correlation, for a whole functional that libxc also has.
    file : str or None
        Its file among the project's data, for a functional that comes trained.
    whole : bool
        Whether it is a functional by itself, and no term of others.
    """

    name: str
    make: Callable[[], Any] | None
    parts: tuple[str, ...]
    file: str | None = None
    whole: bool = True


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
    whole: bool = True,
) -> Callable[[_C], _C]:
    """Decorator that registers a class; it may be applied several times, with different names.

    Parameters
    ----------
    *names : str
        Names for which `get_xc` builds the class; a class without a name occurs only in files.
    parts : tuple of str, optional
        libxc's names of the functionals whose sum it is; it also replaces this sum.
    options : mapping, optional
        Arguments of the constructor under these names.
    trained : bool, optional
        Whether a training configuration may name the class.
    threshold_of_parts : bool, optional
        Whether an object takes the density threshold of its parts, unless another one is set.
    whole : bool, optional
        Whether it is a functional by itself, and no term of others.

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
            raise ValueError(f"there is already a functional with the class name {cls.__name__}")
        for name in names:
            make = partial(cls, **(options or {}))
            _enter(NamedFunctional(name, make, parts, whole=whole))
        if trained:
            _trained.add(cls)
        if threshold_of_parts:
            _derived.add(cls)
        return cls

    return enter


def register_sum(name: str, *parts: str) -> None:
    """Register a name for a sum of functionals.

    Parameters
    ----------
    name : str
        Its name.
    *parts : str
        Names of the terms: registered ones, or libxc's.

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


def register_file(name: str) -> None:
    """Register the name of a trained functional, ``data/<name>.safetensors``.

    Parameters
    ----------
    name : str
        Its name, and that of its file without the ending.

    Raises
    ------
    ValueError
        If the name is taken.

    Examples
    --------
    >>> from deepchem_xc.xc.registry import find
    >>> find("recovered_gga").file
    'recovered_gga.safetensors'
    """
    _enter(NamedFunctional(name, None, (), file=f"{name}.safetensors"))


def trained_files() -> dict[str, str]:
    """Files of the trained functionals that come with the project, by name in lower case.

    Examples
    --------
    >>> list(trained_files())
    ['recovered_paw', 'experiment_paw', ..., 'cloned_r2scan']
    """
    return {name: entry.file for name, entry in _names.items() if entry.file is not None}


def _enter(entry: NamedFunctional) -> None:
    if _names.setdefault(entry.name.lower(), entry) is not entry:
        raise ValueError(f"there is already a functional with the name {entry.name}")


def find(name: str) -> NamedFunctional | None:
    """Functional registered under a name (not case-sensitive); None if there is none.

    Examples
    --------
    >>> find("no functional") is None
    True
    """
    return _names.get(name.lower())


def common_names() -> list[str]:
    """Common names of whole functionals: LDAs, GGAs, meta-GGAs, others.

    Examples
    --------
    >>> "PBE" in common_names(), "gga_x_pbe" in common_names()
    (True, False)
    """
    kinds = ("lda", "gga", "mgga", "")

    def kind(entry: NamedFunctional) -> int:
        return kinds.index(entry.parts[0].partition("_")[0] if entry.parts else "")

    found = [entry for entry in _names.values() if entry.whole and not _LIBXC.match(entry.name)]
    return [entry.name for entry in sorted(found, key=kind)]


def identifiers() -> list[str]:
    """libxc identifiers of functionals that this package writes in torch.

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
    """Name of the sum of these functionals, in any order; None if it has none.

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
    """Classes that a training configuration may name, by name in alphabetical order.

    Examples
    --------
    >>> list(trained_classes())[:2]
    ['ConstrainedGGA', 'ConstrainedMetaGGA']
    """
    return {name: cls for name, cls in sorted(_classes.items()) if cls in _trained}


def derives_threshold(cls: type) -> bool:
    """Whether objects of a class take the density threshold of their parts.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE, HybridXC
    >>> derives_threshold(HybridXC), derives_threshold(PBE)
    (True, False)
    """
    return cls in _derived
