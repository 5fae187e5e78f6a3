"""PAW datasets that a user names: families of the package gpaw-data, their variants, and files."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TypeGuard

from deepchem_xc._files import file_digest
from deepchem_xc.planewave.pseudo.loader import is_pseudopotential_file

from .dataset import PAWDataset
from .xml import is_paw_file, read_paw_xml

__all__ = ["FAMILIES", "available_variants", "family_digest", "is_paw_source", "load_paw"]

#: Families of gpaw-data by name: the functional in the names of their files.
FAMILIES = {"paw-pbe": "PBE", "paw-lda": "LDA"}
# Names of families and misspelt ones, with or without a variant.
_NAME = re.compile(r"(?P<family>paw[^:/.]*)(:(?P<variant>.*))?", re.IGNORECASE)
_FILE = re.compile(r"(?P<symbol>[A-Z][a-z]?)(\.(?P<variant>[^.]+))?\.(?P<functional>[^.]+)\.gz")
# Endings of files that are taken for datasets whatever they hold, if no other format claims them.
_ENDINGS = (".xml", ".gz")


def is_paw_source(source: object) -> TypeGuard[str | os.PathLike[str] | PAWDataset]:
    """Whether a source of ``pseudopotentials=`` is a PAW dataset by its name or content.

    Parameters
    ----------
    source : object
        A name such as "paw-pbe:10", a path, or a `PAWDataset`.

    Examples
    --------
    >>> is_paw_source("paw-pbe"), is_paw_source("gth-pbe"), is_paw_source("Si.xml")
    (True, False, True)
    """
    if isinstance(source, PAWDataset):
        return True
    if not isinstance(source, (str, os.PathLike)):
        return False
    name = os.fspath(source)
    is_name = isinstance(source, str) and _NAME.fullmatch(source) and not Path(name).exists()
    if is_pseudopotential_file(name):
        return False
    return bool(is_name) or name.lower().endswith(_ENDINGS) or is_paw_file(name)


def load_paw(source: str | os.PathLike | PAWDataset, symbol: str) -> PAWDataset:
    """Load the PAW dataset of one element.

    Parameters
    ----------
    source : str, path or PAWDataset
        A family of `FAMILIES`, which gives the element's default dataset; a family and a variant
        ("paw-pbe:10", the file Ni.10.PBE.gz for nickel); the path of a file; or an object, which is
        returned.
    symbol : str
        Chemical symbol that it must have.

    Returns
    -------
    PAWDataset

    Raises
    ------
    ValueError
        If there is no such family, variant or element (the message lists the valid ones), or the
        file is damaged or for another element.
    FileNotFoundError
        If there is no such file.
    ImportError
        If the package gpaw-data is needed and not installed.

    Examples
    --------
    >>> load_paw("paw-blyp", "Si")
    Traceback (most recent call last):
    ValueError: there is no family 'paw-blyp' of PAW datasets; valid are paw-pbe, paw-lda, ...
    """
    if isinstance(source, PAWDataset):
        if source.symbol != symbol:
            raise ValueError(f"{source!r} was given for {symbol}")
        return source
    match = _NAME.fullmatch(source) if isinstance(source, str) else None
    if match is None or Path(source).exists():
        if not Path(source).exists():
            raise FileNotFoundError(
                errno.ENOENT, f"there is no PAW dataset of {symbol}", os.fspath(source)
            )
        return read_paw_xml(source, symbol)
    family, variant = match["family"].lower().replace("_", "-"), match["variant"]
    if family not in FAMILIES:
        raise ValueError(
            f"there is no family {match['family']!r} of PAW datasets; valid are "
            f"{', '.join(FAMILIES)}, each with ':' and the name of a variant where an element has "
            "several, for example {'Ni': 'paw-pbe:10'}; or give the path of a PAW-XML file"
        )
    variants = available_variants(family, symbol)
    if (variant or "") not in variants:
        raise ValueError(_missing(family, symbol, variant, list(variants)))
    return read_paw_xml(variants[variant or ""], symbol)


def available_variants(family: str, symbol: str) -> dict[str, Path]:
    """Files of an element in a family by the names of their variants; "" is the default.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    symbol : str
        Chemical symbol.

    Raises
    ------
    ImportError
        If the package gpaw-data is not installed.
    """
    found = {
        match["variant"] or "": path
        for path, match in _files(_folder())
        if match["symbol"] == symbol and match["functional"] == FAMILIES[family]
    }
    return dict(sorted(found.items()))


def family_digest(source: object) -> str | None:
    """Hash of all files of the family that a source names, whatever the element.

    What is kept for many elements depends on it: a family is not part of this package.

    Parameters
    ----------
    source : object
        Anything that was given as a potential.

    Returns
    -------
    str or None
        SHA-256; None if it names no family of `FAMILIES`.

    Raises
    ------
    ImportError
        If the package gpaw-data is not installed.

    Examples
    --------
    >>> family_digest("gth-pbe") is None, family_digest("Si.xml") is None
    (True, True)
    """
    match = _NAME.fullmatch(source) if isinstance(source, str) else None
    family = match["family"].lower().replace("_", "-") if match is not None else ""
    if family not in FAMILIES or Path(str(source)).exists():
        return None
    return _digest_of(_folder(), FAMILIES[family])


@cache
def _digest_of(folder: Path, functional: str) -> str:
    content = hashlib.sha256()
    for path, match in _files(folder):
        if match["functional"] == functional:
            content.update(f"{path.name} {file_digest(path)}\n".encode())
    return content.hexdigest()


@cache
def _files(folder: Path) -> list[tuple[Path, re.Match[str]]]:
    """Files of datasets with the parts of their names; basis sets have none of the functionals."""
    found = [(path, _FILE.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    return [(path, match) for path, match in found if match is not None]


def _folder() -> Path:
    """The folder of datasets of the package gpaw-data."""
    try:
        package = import_module("gpaw_data")
    except ImportError as error:
        raise ImportError(
            f"the families {' and '.join(FAMILIES)} come from the package gpaw-data, which is not "
            "installed: pip install 'deepchem-xc[paw]'. Or give paths of PAW-XML files, for "
            "example pseudopotentials={'Si': 'Si.xml'}"
        ) from error
    return Path(package.datapath())


def _missing(family: str, symbol: str, variant: str | None, variants: list[str]) -> str:
    """Message about an element or a variant that a family lacks."""
    if not variants:
        functional = FAMILIES[family]
        elements = {m["symbol"] for _, m in _files(_folder()) if m["functional"] == functional}
        return (
            f"{family} has no dataset of {symbol}; its elements are {', '.join(sorted(elements))}"
        )
    names = ", ".join(f"{family}:{name}" if name else family for name in variants)
    asked = f"no variant {variant!r} of {symbol}" if variant else f"no default dataset of {symbol}"
    # A variant that was meant for another element of the crystal.
    advice = (
        f". A variant belongs to one element: {{'Ni': '{family}:10', 'default': '{family}'}}, for "
        "example"
        if variant
        else ""
    )
    return f"{family} has {asked}; valid are {names}{advice}"
