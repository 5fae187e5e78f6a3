"""Loads the potentials that a user names with ``pseudopotentials=``."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .base import Pseudopotential
from .folders import file_in_folder, names_folder
from .gth_files import FAMILIES, load_gth
from .psp8 import read_psp8
from .upf import read_upf

__all__ = ["is_pseudopotential_file", "load_pseudopotential", "load_pseudopotentials", "sources_of"]

Source = str | os.PathLike | Pseudopotential

_READERS = {".psp8": read_psp8, ".upf": read_upf}
#: Endings of pseudopotential files, in lower case.
SUFFIXES = tuple(f"{suffix}{packed}" for suffix in _READERS for packed in ("", ".gz"))
# Endings of other codes' files that a user may try, and the names of these formats.
_FOREIGN = {
    ".psml": "PSML",
    ".psf": "SIESTA",
    ".xml": "XML (PSML, PAW-XML or QSO)",
    ".hgh": "HGH",
    ".fhi": "FHI98PP",
    ".cpi": "FHI98PP",
    ".pspnc": "ABINIT's Troullier-Martins",
    ".rrkj3": "Quantum ESPRESSO's older",
    ".vdb": "Vanderbilt's ultrasoft",
    ".potcar": "VASP's PAW",
    ".usp": "CASTEP",
    ".recpot": "CASTEP",
    ".ncpp": "PWmat's",
    ".oncvpsp": "ONCVPSP's output",
}


def load_pseudopotentials(
    spec: Source | Mapping[str, Source], symbols: Iterable[str]
) -> dict[str, Pseudopotential]:
    """Load the pseudopotentials of a set of elements.

    Parameters
    ----------
    spec : str, path, Pseudopotential or mapping
        Either one source for all of `symbols`: a family ("gth-pbe"), a name ("GTH-PBE-q4"), a
        file (.psp8 or .upf, optionally followed by .gz), a folder with one such file for each
        element, or an object. Or a mapping from chemical symbols to sources. In a mapping the key
        "default" is not an element: its source, usually a family, is for all elements that the
        mapping does not name. Without this key the mapping must name every element; no family is
        assumed.
    symbols : iterable of str
        Chemical symbols; repetitions are allowed.

    Returns
    -------
    dict
        {symbol: Pseudopotential}, one entry per distinct symbol.

    Raises
    ------
    ValueError
        If a family, name or element is unknown, a file is damaged, of an unsupported kind or for
        another element, a folder has no or several files of an element, or the mapping lacks an
        element or has a key that is not one. The message lists what is valid.
    FileNotFoundError
        If a file does not exist.

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotentials
    >>> potentials = load_pseudopotentials("gth-pbe", ["Mg", "O", "O"])
    >>> {symbol: p.name for symbol, p in potentials.items()}
    {'Mg': 'GTH-PBE-q10', 'O': 'GTH-PBE-q6'}

    Nickel by name, all other elements from a family:

    >>> spec = {"Ni": "GTH-GGA-q10", "default": "gth-pbe"}
    >>> potentials = load_pseudopotentials(spec, ["Ni", "Al", "O"])
    >>> {symbol: p.name for symbol, p in potentials.items()}
    {'Ni': 'GTH-GGA-q10', 'Al': 'GTH-PBE-q3', 'O': 'GTH-PBE-q6'}

    Without "default" the other elements are missing:

    >>> load_pseudopotentials({"Ni": "GTH-GGA-q10"}, ["Ni", "Al"])
    Traceback (most recent call last):
    ValueError: pseudopotentials {'Ni': 'GTH-GGA-q10'} name nothing for Al: add 'Al' or ...
    """
    sources = sources_of(spec, symbols)
    return {symbol: load_pseudopotential(source, symbol) for symbol, source in sources.items()}


def sources_of(spec: Any, symbols: Iterable[str]) -> dict[str, Any]:
    """The source of each distinct element, see `load_pseudopotentials`.

    Raises
    ------
    ValueError
        If the mapping lacks an element or has a key that is not one.

    Examples
    --------
    >>> sources_of({"Ni": "GTH-GGA-q10", "default": "gth-pbe"}, ["Ni", "Al", "Al"])
    {'Ni': 'GTH-GGA-q10', 'Al': 'gth-pbe'}
    """
    wanted = list(dict.fromkeys(symbols))
    if not isinstance(spec, Mapping):
        return dict.fromkeys(wanted, spec)
    _check_keys(spec)
    default = spec.get("default")
    found: dict[str, Any] = {}
    for symbol in wanted:
        source = spec.get(symbol, default)
        if source is None:
            raise ValueError(
                f"pseudopotentials {dict(spec)!r} name nothing for {symbol}: add {symbol!r} or a "
                "'default' family of the same kind, for example 'gth-pbe' or 'paw-pbe'"
            )
        found[symbol] = source
    return found


def is_pseudopotential_file(path: str | os.PathLike) -> bool:
    """Whether a path ends like a norm-conserving potential that is read.

    Examples
    --------
    >>> is_pseudopotential_file("Si.UPF"), is_pseudopotential_file("Si.PBE.gz")
    (True, False)
    """
    return os.fspath(path).lower().endswith(SUFFIXES)


def _check_keys(spec: Mapping[str, object]) -> None:
    """Raise for keys that are not elements, because their sources would be silently ignored."""
    from ase.data import atomic_numbers

    unknown = [key for key in spec if key != "default" and not atomic_numbers.get(key)]
    if unknown:
        raise ValueError(
            f"pseudopotentials {dict(spec)!r} name {', '.join(map(repr, unknown))}, which is not "
            "an element: the keys are chemical symbols such as 'Ni', and 'default' for all others"
        )


def load_pseudopotential(source: Source, symbol: str) -> Pseudopotential:
    """Load the pseudopotential of one element from a family, a name, a file or a folder.

    Parameters
    ----------
    source : str, path or Pseudopotential
        See `load_pseudopotentials`; an object is returned as it is.
    symbol : str
        Chemical symbol that the potential must have.

    Returns
    -------
    Pseudopotential

    Raises
    ------
    ValueError, FileNotFoundError
        See `load_pseudopotentials`.

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import load_pseudopotential
    >>> load_pseudopotential("gth-pade", "C").functional
    'LDA'
    """
    if isinstance(source, Pseudopotential):
        if source.symbol != symbol:
            raise ValueError(f"{source!r} was given for {symbol}")
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            f"pseudopotential {source!r} of {symbol} is neither a name nor a path nor a "
            f"Pseudopotential. Families: {', '.join(FAMILIES)}; of PAW datasets: paw-pbe, paw-lda"
        )
    if names_folder(source):
        return load_pseudopotential(file_in_folder(source, symbol, is_pseudopotential_file), symbol)
    name = os.fspath(source)
    lower = Path(name.lower().removesuffix(".gz"))
    reader = _READERS.get(lower.suffix)
    if reader is not None:
        if not Path(name).exists():
            raise FileNotFoundError(
                errno.ENOENT, f"there is no pseudopotential file of {symbol}", name
            )
        return reader(name, symbol)
    foreign = _FOREIGN.get(lower.suffix) or _FOREIGN.get(f".{lower.name}")
    if foreign is not None:
        raise ValueError(
            f"{name}: {foreign} files are not read. Give a norm-conserving potential as "
            f"{' or '.join(_READERS)} (version 2 of UPF; .gz may follow), for example from "
            "PseudoDojo or SG15, or a family such as 'gth-pbe'"
        )
    if isinstance(source, os.PathLike) or os.sep in name or Path(name).is_file():
        endings = f"the name of a pseudopotential file must end in one of {', '.join(SUFFIXES)}"
        if Path(name).exists():
            raise ValueError(f"{name}: {endings}")
        raise ValueError(
            f"{name}: there is no such file or folder (names of families such as 'gth-pbe' are "
            f"text without {os.sep!r}); {endings}, of a PAW dataset in one of .xml, .xml.gz, .gz"
        )
    if name.lower().replace("_", "-").startswith("paw-"):
        raise ValueError(
            f"{name!r} is a family of PAW datasets, which cannot be used here; norm-conserving "
            f"families: {', '.join(FAMILIES)}"
        )
    return load_gth(symbol, name)
