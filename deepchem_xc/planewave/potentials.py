"""What ``pseudopotentials=`` means: norm-conserving potentials, PAW datasets, files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from deepchem_xc.planewave.paw import PAWDataset, PAWPotential, is_paw_file, is_paw_source, load_paw
from deepchem_xc.planewave.paw.loader import family_digest
from deepchem_xc.planewave.pseudo import (
    AtomicPotential,
    Pseudopotential,
    load_pseudopotential,
    potential_digest,
)
from deepchem_xc.planewave.pseudo.folders import file_in_folder, names_folder
from deepchem_xc.planewave.pseudo.loader import SUFFIXES, is_pseudopotential_file, sources_of

__all__ = [
    "Source",
    "dataset_digests",
    "family_digests",
    "load_potentials",
    "names_path",
    "potential_files",
]

Source = str | os.PathLike | Pseudopotential | PAWPotential | PAWDataset

# Endings of files of potentials; packed PAW datasets often have no other.
_ENDINGS = (*SUFFIXES, ".xml", ".gz")


def load_potentials(
    spec: Source | Mapping[str, Source], symbols: Iterable[str]
) -> dict[str, AtomicPotential]:
    """Load the potentials of a set of elements.

    Parameters
    ----------
    spec : str, path, object or mapping
        Anything that `pseudo.load_pseudopotentials` takes; a family of PAW datasets ("paw-pbe",
        "paw-lda"), with a variant ("paw-pbe:10"); the path of a PAW-XML file or of a folder that
        holds one file for each element; a `PAWDataset`. Or a mapping from chemical symbols to such
        sources, with "default" for the others.
    symbols : iterable of str
        Chemical symbols; repetitions are allowed.

    Returns
    -------
    dict
        {symbol: Pseudopotential or PAWPotential}, one entry per distinct symbol.

    Raises
    ------
    ValueError
        If a source is unknown, damaged, ambiguous or for another element, if elements are missing
        in a mapping, or if some elements have PAW datasets and others norm-conserving potentials.
    FileNotFoundError
        If a file does not exist.
    ImportError
        If a family of PAW datasets is named and the package gpaw-data is not installed.

    Examples
    --------
    >>> {symbol: p.name for symbol, p in load_potentials("gth-pbe", ["Mg", "O"]).items()}
    {'Mg': 'GTH-PBE-q10', 'O': 'GTH-PBE-q6'}
    """
    sources = sources_of(spec, symbols)
    loaded = {symbol: _load(source, symbol) for symbol, source in sources.items()}
    paw = [symbol for symbol, p in loaded.items() if isinstance(p, PAWPotential)]
    if 0 < len(paw) < len(loaded):
        others = [symbol for symbol in loaded if symbol not in paw]
        raise ValueError(
            f"{', '.join(paw)} would be treated by PAW and {', '.join(others)} by norm-conserving "
            "potentials, which cannot be combined: give one kind to all elements, for example "
            "pseudopotentials='paw-pbe'"
        )
    return loaded


def dataset_digests(spec: Source | Mapping[str, Source], symbols: Iterable[str]) -> dict[str, str]:
    """Hashes of the PAW datasets among potentials, for keys of what is computed with them.

    A family such as "paw-pbe" is not part of this package: what it names can change.

    Parameters
    ----------
    spec, symbols
        As for `load_potentials`, whose errors it raises.

    Returns
    -------
    dict
        {symbol: hash of the content}; empty for norm-conserving potentials.

    Examples
    --------
    >>> dataset_digests("gth-pbe", ["Mg", "O"])
    {}
    """
    sources = sources_of(spec, symbols)
    if not any(_may_be_paw(source) for source in sources.values()):
        return {}
    loaded = load_potentials(sources, sources)
    return {s: potential_digest(p) for s, p in loaded.items() if isinstance(p, PAWPotential)}


def family_digests(spec: Source | Mapping[str, Source]) -> dict[str, str]:
    """Hashes of the families of PAW datasets among potentials, for keys without an element.

    Parameters
    ----------
    spec
        As for `load_potentials`.

    Returns
    -------
    dict
        {source: hash of all files of its family}; empty without such families.

    Raises
    ------
    ImportError
        If a family of PAW datasets is named and the package gpaw-data is not installed.

    Examples
    --------
    >>> family_digests({"Ni": "GTH-GGA-q10", "default": "gth-pbe"})
    {}
    """
    sources = spec.values() if isinstance(spec, Mapping) else [spec]
    found = {str(source): family_digest(source) for source in sources}
    return {source: digest for source, digest in found.items() if digest is not None}


def _may_be_paw(source: Source) -> bool:
    if isinstance(source, (PAWPotential, PAWDataset)):
        return True
    return not isinstance(source, Pseudopotential) and (
        names_folder(source) or is_paw_source(source)
    )


def names_path(source: str, base: Path | None = None) -> bool:
    """Whether a source is a path, of a file by its ending or of an existing folder.

    Parameters
    ----------
    source : str
        A source of `load_potentials`.
    base : Path, optional
        Folder to which relative paths refer; the working directory by default.

    Examples
    --------
    >>> names_path("gth-pbe"), names_path("al.psp8"), names_path("Ni.10.PBE.gz")
    (False, True, True)
    """
    return source.lower().endswith(_ENDINGS) or names_folder(source, base)


def potential_files(source: str | os.PathLike) -> list[str]:
    """Existing files that a source may read: itself, or those of a folder; none for a family.

    Examples
    --------
    >>> potential_files("gth-pbe"), potential_files("absent.psp8")
    ([], [])
    """
    name = os.fspath(source)
    if names_folder(name):
        return [os.fspath(path) for path in sorted(Path(name).iterdir()) if _is_readable(path)]
    return [name] if names_path(name) and Path(name).is_file() else []


def _is_readable(path: Path) -> bool:
    return is_pseudopotential_file(path) or is_paw_file(path)


def _load(source: Source, symbol: str) -> AtomicPotential:
    if names_folder(source):
        source = file_in_folder(source, symbol, _is_readable)
    if isinstance(source, PAWPotential):
        load_paw(source.dataset, symbol)
        return source
    if isinstance(source, PAWDataset) or is_paw_source(source):
        return PAWPotential(load_paw(source, symbol))
    return load_pseudopotential(source, symbol)
