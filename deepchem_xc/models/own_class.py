"""Functionals of one's own, by the path of their class: ``package.module.Class``."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepchem_xc.xc import XCFunctional


def load_class(path: str, folder: Path | None = None) -> type[XCFunctional]:
    """Class of functionals with this path.

    Parameters
    ----------
    path : str
        ``package.module.Class``. Modules are searched where Python does, then in `folder` and in
        the working directory.
    folder : Path, optional
        Folder of the configuration file.

    Raises
    ------
    ValueError
        If there is no such module or class, importing it fails, or it is no `XCFunctional`.

    Examples
    --------
    >>> load_class("deepchem_xc.xc.ConstrainedGGA").__name__
    'ConstrainedGGA'
    >>> load_class("deepchem_xc.xc.get_xc")
    Traceback (most recent call last):
    ValueError: class: deepchem_xc.xc.get_xc is not a subclass of deepchem_xc.xc.XCFunctional.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise ValueError(f"class: must be a path such as package.module.Class, got {path!r}.")
    places = [str(place.absolute()) for place in (folder or Path(), Path())]
    with _also_in(places):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise _failed(module_name, error) from error
            raise ValueError(
                f"class: there is no module {error.name!r} among the installed ones, nor in "
                f"{' or '.join(dict.fromkeys(places))}."
            ) from error
        except Exception as error:
            raise _failed(module_name, error) from error
    found = getattr(module, name, None)
    if found is None:
        own = [key for key, value in vars(module).items() if _is_functional(value)]
        raise ValueError(
            f"class: {module_name} ({module.__file__}) has no {name!r}. Its functionals: "
            f"{', '.join(own) or 'none'}."
        )
    if not _is_functional(found):
        raise ValueError(f"class: {path} is not a subclass of deepchem_xc.xc.XCFunctional.")
    made: type[XCFunctional] = found
    return made


def build(made: Any, options: Mapping[str, Any]) -> XCFunctional:
    """Functional of a class or factory, with its options; trainable where that is an option.

    Raises
    ------
    ValueError
        For options that it does not have, and missing ones.

    Examples
    --------
    >>> from deepchem_xc.xc import PBE
    >>> all(p.requires_grad for p in build(PBE, {}).parameters())
    True
    """
    name, parameters = made.__name__, inspect.signature(made).parameters
    valid = [key for key, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL,)]
    anything = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    unknown = sorted(set(options) - set(valid))
    if unknown and not anything:
        raise ValueError(
            f"functional.options: {name} has no {unknown}. Valid: {', '.join(valid) or 'none'}"
        )
    given = {"trainable": True, **options} if "trainable" in valid else dict(options)
    try:
        inspect.signature(made).bind(**given)
    except TypeError as error:
        raise ValueError(f"functional.options: {name} cannot be made: {error}.") from error
    functional: XCFunctional = made(**given)
    return functional


@contextmanager
def _also_in(places: list[str]) -> Iterator[None]:
    """Context in which modules are searched in these folders, too, after the others."""
    added = [place for place in dict.fromkeys(places) if place not in sys.path]
    sys.path.extend(added)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for place in added:
            sys.path.remove(place)


def _failed(module: str, error: Exception) -> ValueError:
    return ValueError(f"class: importing {module} failed: {type(error).__name__}: {error}.")


def _is_functional(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, XCFunctional)
