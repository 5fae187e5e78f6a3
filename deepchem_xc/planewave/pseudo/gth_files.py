"""GTH potentials by family and name, from the files that come with PySCF."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ase.data import atomic_numbers

from .gth import GTHPseudopotential, parse_gth

__all__ = ["FAMILIES", "GTHFamily", "load_gth", "resolve_family"]


@dataclass(frozen=True)
class GTHFamily:
    """A set of GTH potentials that belong together.

    Attributes
    ----------
    file : str
        File in PySCF's pseudopotential folder.
    prefix : str
        Common beginning of its entries' names, such as "GTH-PBE".
    functional : str
        Functional for which the set was made.
    aliases : tuple of str
        Other names of the family.
    """

    file: str
    prefix: str
    functional: str
    aliases: tuple[str, ...] = ()


#: Families by name. Names of single potentials are searched in this order.
FAMILIES: dict[str, GTHFamily] = {
    "gth-pbe": GTHFamily("gth-pbe.dat", "GTH-PBE", "PBE"),
    "gth-pade": GTHFamily("gth-pade.dat", "GTH-PADE", "LDA", ("gth-lda",)),
    "gth-pbesol": GTHFamily("gth-pbesol.dat", "GTH-PBESol", "PBEsol"),
    "gth-blyp": GTHFamily("gth-blyp.dat", "GTH-BLYP", "BLYP"),
    "gth-bp": GTHFamily("gth-bp.dat", "GTH-BP", "BP86"),
    "gth-hcth120": GTHFamily("gth-hcth120.dat", "GTH-HCTH120", "HCTH120"),
    "gth-hcth407": GTHFamily("gth-hcth407.dat", "GTH-HCTH407", "HCTH407"),
    "gth-olyp": GTHFamily("gth-olyp.dat", "GTH-OLYP", "OLYP"),
    "gth-hf": GTHFamily("gth-hf.dat", "GTH-HF", "HF"),
    "gth-hf-rev": GTHFamily("gth-hf-rev.dat", "GTH2-HF", "HF"),
    "gth-uzh": GTHFamily("POTENTIAL_UZH", "GTH-PBE", "PBE", ("gth-uzh-pbe", "gth-uzh-gga")),
    "gth-uzh-scan": GTHFamily("POTENTIAL_UZH", "GTH-SCAN", "SCAN", ("gth-uzh-mgga",)),
    "gth-uzh-pbe0": GTHFamily("POTENTIAL_UZH", "GTH-PBE0", "PBE0", ("gth-uzh-hyb",)),
}

_HEADER = re.compile(r"^\s*([A-Z][a-z]?)\s+(\S*[A-Za-z]\S*(?:\s+\S+)*)\s*$")
_VALENCE = re.compile(r"-q(\d+)$")


def resolve_family(name: str) -> str | None:
    """Canonical name of a family; None for an unknown name.

    Examples
    --------
    >>> resolve_family("GTH-LDA")
    'gth-pade'
    """
    wanted = name.lower().replace("_", "-")
    for family, entry in FAMILIES.items():
        if wanted == family or wanted in entry.aliases:
            return family
    return None


def load_gth(symbol: str, name: str) -> GTHPseudopotential:
    """Load one GTH potential by family or by name.

    A family ("gth-pbe") gives the file's default potential for the element, which has the family's
    bare name as a label. If the file marks no default (the UZH set), the valence is that of the
    gth-pbe default if the set has it, otherwise the largest.

    Parameters
    ----------
    symbol : str
        Chemical symbol.
    name : str
        A family, or the name of a potential: "GTH-PBE-q18", "GTH-GGA-q10" (UZH set),
        "Ni.GTH-PBE-q18". Names are searched in all families, in the order of `FAMILIES`; they are
        not case-sensitive.

    Returns
    -------
    GTHPseudopotential

    Raises
    ------
    ValueError
        If there is no such family, name or element; the message lists the valid ones.

    Examples
    --------
    >>> from deepchem_xc.planewave.pseudo import load_gth
    >>> load_gth("Ni", "gth-pbe").name, load_gth("Ni", "GTH-GGA-q10").valence
    ('GTH-PBE-q18', 10.0)
    """
    family = resolve_family(name)
    if family is not None:
        return _load_default(symbol, family)
    prefix, dot, wanted = name.rpartition(".")
    if dot and prefix != symbol and prefix in atomic_numbers:
        raise ValueError(
            f"the pseudopotential {name!r} belongs to {prefix}, but was requested for {symbol}"
        )
    for candidate in FAMILIES:
        for labels, body in _entries(candidate).get(symbol, ()):
            if wanted.upper() in (label.upper() for label in labels):
                return _build(symbol, labels, body, candidate)
    known = sorted(
        {label for f in FAMILIES for ls, _ in _entries(f).get(symbol, ()) for label in ls}
    )
    if not known:
        known = ["none, no family has the element"]
    raise ValueError(
        f"no pseudopotential {name!r} for {symbol}. Families: {', '.join(FAMILIES)}; "
        f"names for {symbol}: {', '.join(known)}; or the path of a .psp8 or .upf "
        "(version 2) file or of a folder of files. Families of PAW datasets: paw-pbe, paw-lda"
    )


def _load_default(symbol: str, family: str) -> GTHPseudopotential:
    entries = _entries(family).get(symbol, ())
    if not entries:
        others = [f for f in FAMILIES if symbol in _entries(f)]
        raise ValueError(
            f"the pseudopotential family {family!r} has no {symbol}. "
            + (f"Families that have it: {', '.join(others)}. " if others else "")
            + f"{family!r} holds: {', '.join(_entries(family))}. "
            f"Or give a file: {{{symbol!r}: 'path.psp8', 'default': {family!r}}}"
        )
    marked = [e for e in entries if any(not _VALENCE.search(label) for label in e[0])]
    if marked:
        return _build(symbol, *marked[0], family)
    by_valence = {int(m.group(1)): e for e in entries if (m := _VALENCE.search(e[0][0]))}
    preferred = max(by_valence)
    if family != "gth-pbe" and symbol in _entries("gth-pbe"):
        usual = int(_load_default(symbol, "gth-pbe").valence)
        preferred = usual if usual in by_valence else preferred
    return _build(symbol, *by_valence[preferred], family)


def _build(
    symbol: str, labels: tuple[str, ...], body: tuple[str, ...], family: str
) -> GTHPseudopotential:
    with_valence = [label for label in labels if _VALENCE.search(label)] or list(labels)
    # The UZH set repeats the names of the older sets; only its second label (GTH-GGA-q4) is unique.
    name = with_valence[-1] if FAMILIES[family].file == "POTENTIAL_UZH" else with_valence[0]
    try:
        parameters = parse_gth(body)
    except ValueError as error:
        raise ValueError(f"{name} of {symbol} in {FAMILIES[family].file}: {error}") from error
    return GTHPseudopotential(symbol, name, parameters, FAMILIES[family].functional)


_Entry = tuple[tuple[str, ...], tuple[str, ...]]


@cache
def _entries(family: str) -> dict[str, tuple[_Entry, ...]]:
    """Labels and lines of all entries of a family, by element."""
    prefix = FAMILIES[family].prefix
    own = re.compile(re.escape(prefix) + r"(-q\d+)?$")
    found: dict[str, list[_Entry]] = {}
    for symbol, labels, body in _blocks(FAMILIES[family].file):
        # Entries that were never generated contain "NA" instead of numbers.
        if own.match(labels[0]) and body and body[0].split()[0] != "NA":
            found.setdefault(symbol, []).append((labels, body))
    return {symbol: tuple(entries) for symbol, entries in found.items()}


@cache
def _blocks(file: str) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """Element, labels and lines of every entry of a file in CP2K's format.

    PySCF finds an entry only as the default or by one suffix, and cannot list entries. Messages
    here list them, and the UZH set holds several functionals.
    """
    blocks: list[tuple[str, tuple[str, ...], list[str]]] = []
    for line in (_folder() / file).read_text().splitlines():
        line = line.split("#", 1)[0]
        if not line.strip() or line.split()[0] == "END":
            continue
        header = _HEADER.match(line)
        if header:
            blocks.append((header.group(1), tuple(header.group(2).split()), []))
        elif blocks:
            blocks[-1][2].append(line)
    return tuple((symbol, labels, tuple(body)) for symbol, labels, body in blocks)


@cache
def _folder() -> Path:
    """PySCF's folder of pseudopotentials.

    `importlib.resources` would import PySCF, which takes half a second.
    """
    spec = importlib.util.find_spec("pyscf")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pbc" / "gto" / "pseudo"
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        "the GTH pseudopotentials come with PySCF, which is not installed: pip install pyscf, "
        "or give .psp8 or .upf files"
    )
