"""Functionals by name: `get_xc`."""

from __future__ import annotations

import difflib
import operator
import os
import re
from typing import Any, overload

import torch

from deepchem_xc._files import data_file

from ._deepchem import BaseXC
from .base import SumXC, XCFunctional, as_functional
from .file_format import is_file_name
from .libxc import LibXC, libxc_identifiers
from .loading import load_functional
from .other_names import (
    EXACT_EXCHANGE,
    identifiers_of_pair,
    identifiers_of_whole,
    refuse_corrections,
)
from .registry import common_names, find, identifiers, name_of_sum, register_file

__all__ = ["get_xc"]

register_file("recovered_paw")
register_file("experiment_paw")
register_file("recovered_gga")
register_file("experiment_gga")
register_file("cloned_pbe")
register_file("cloned_pbesol")
register_file("cloned_r2scan")

_TERM = re.compile(
    r"\s*(?P<sign>[+-])?\s*(?:(?P<factor>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*\*\s*)?"
    r"(?P<name>[a-z]\w*|\d+(?![\w.]))\s*",
    re.IGNORECASE,
)
# A path or a file ending: no name, number or factor contains either.
_FILE_NAME = re.compile(r"[/\\]|\.[a-z]\w*\s*$", re.IGNORECASE)
_NAME_WITH_DASHES = re.compile(r"\s*[a-z]\w*(?:-\w+)+\s*", re.IGNORECASE)


@overload
def get_xc(xc: str | os.PathLike[str] | int | XCFunctional) -> XCFunctional: ...
@overload
def get_xc(xc: BaseXC) -> BaseXC: ...
def get_xc(xc: str | os.PathLike[str] | int | BaseXC) -> BaseXC:
    """Exchange-correlation functional by name.

    Parameters
    ----------
    xc : str, path-like, int or BaseXC
        - a common name: "LDA" (Slater exchange and PW92 correlation), "Teter93", "PBE", "PBEsol",
          "revPBE", "RPBE", "BLYP", "r2SCAN", and from libxc "TPSS", "SCAN";
        - a trained functional that comes with the project: "recovered_paw", "experiment_paw",
          and, made with GTH potentials, "recovered_gga" and "experiment_gga"; clones of known
          functionals, "cloned_pbe", "cloned_pbesol" and "cloned_r2scan";
        - a libxc identifier such as "lda_x" or "gga_c_pbe", or its number;
        - a sum of either, with optional factors: "0.75*gga_x_pbe + gga_c_pbe"; a sum that has a
          common name is that functional;
        - a hybrid, which molecules can be computed with: "PBE0", "B3LYP" (as in libxc), "HSE06", or
          libxc's identifier such as "hyb_gga_xc_cam_b3lyp"; "exact_exchange" is a term of sums;
        - PySCF's pairs of exchange and correlation, "pbe,pbe", "gga_x_pbe,gga_c_pbe" or ",lyp",
          and its names of whole functionals, such as "PW91", "revTPSS" or "M06-L", also "AM05" and
          "WC"; "vwn" in a pair and "SVWN" mean libxc's lda_c_vwn, form V;
        - a file that ``functional.save(path)`` wrote; a string must end in ".safetensors";
        - a functional, which is returned as it is, or converted to one of this package if it is
          only DeepChem's ``BaseXC``.

        Names are not case-sensitive.

    Returns
    -------
    BaseXC
        An :class:`~deepchem_xc.xc.XCFunctional` for every string: this package's, written in
        torch, where there is one, otherwise libxc's (CPU only, see
        :class:`~deepchem_xc.xc.LibXC`).

    Raises
    ------
    ValueError
        For a name that is neither common nor known to libxc, for a sum that cannot be read, for
        libxc functionals that need more than density, gradient, kinetic energy density and exact
        exchange, and for dispersion corrections and double hybrids under any name;
        a :class:`~deepchem_xc.xc.FunctionalFileError` for a file that cannot be used.
    FileNotFoundError
        For a file that does not exist, also that of a trained functional in an installation
        without the project's data.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> get_xc("pbe").name
    'PBE'
    >>> get_xc("gga_x_pbe+gga_c_pbe").name
    'PBE'
    >>> get_xc("gga_x_pbe+gga_c_lyp").family
    2
    >>> get_xc("0.5*lda_x").name
    '0.5*lda_x'
    >>> get_xc("recovered_gga").name  # its class: weights are trained, names are not
    'ConstrainedGGA'
    """
    if isinstance(xc, BaseXC):
        return as_functional(xc)
    if is_file_name(xc):
        return load_functional(xc)
    if not isinstance(xc, str):
        try:
            xc = str(operator.index(None if isinstance(xc, bool) else xc))  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(
                f"xc must be a name or a functional, not {type(xc).__name__}: {xc!r}{_hint(xc)}"
            ) from None
    if _FILE_NAME.search(xc):
        raise ValueError(
            f"{xc!r} looks like a file's name, but a functional's file ends in '.safetensors': "
            "functional.save('name.safetensors') writes one, deepchem-xc train puts "
            "functional.safetensors into its folder."
        )
    refuse_corrections(xc)
    if "," in xc:
        return _sum([_scaled(_by_name(name), c) for name, c in identifiers_of_pair(xc)])
    if _NAME_WITH_DASHES.fullmatch(xc) and not all(map(_is_known, xc.split("-"))):
        return _by_name(xc.strip())
    terms: list[XCFunctional] = []
    position = 0
    while position < len(xc) or not terms:
        match = _TERM.match(xc, position)
        if match is None or (terms and match["sign"] is None):
            raise ValueError(
                f"cannot read the functional {xc!r} at {xc[position:]!r}; write a name such as "
                "'PBE', or a sum of names with optional factors: '0.75*gga_x_pbe + gga_c_pbe'"
            )
        factor = float(match["factor"] or 1.0) * (-1.0 if match["sign"] == "-" else 1.0)
        terms.append(_scaled(_by_name(match["name"]), factor))
        position = match.end()
    return _sum(terms)


def _hint(given: Any) -> str:
    if isinstance(given, type) and issubclass(given, BaseXC):
        return f"; call the class, {given.__name__}()"
    if type(given).__module__.startswith("torch._dynamo"):
        return "; give the functional itself, without torch.compile"
    if isinstance(given, torch.nn.Module):
        return "; a network becomes one in NNLDA, NNPBE or HybridXC"
    return ""


def _scaled(functional: XCFunctional, factor: float) -> XCFunctional:
    return functional if factor == 1.0 else functional * factor


def _sum(terms: list[XCFunctional]) -> XCFunctional:
    if len(terms) == 1:
        return terms[0]
    known = name_of_sum(term.name for term in terms)
    return SumXC(*terms) if known is None else _by_name(known)


def _is_known(name: str) -> bool:
    name = name.strip()
    return name.lower() in libxc_identifiers() or find(name) is not None


def _by_name(name: str) -> XCFunctional:
    if name.isdigit():
        name = _by_number(int(name))
    known = find(name)
    if known is not None:
        if known.file is not None:
            return load_functional(data_file(known.file))
        if known.make is None:
            return SumXC(*map(_by_name, known.parts), name=known.name)
        made: XCFunctional = known.make()
        return made
    if name.lower() in libxc_identifiers():
        return LibXC(name)
    whole = identifiers_of_whole(name)
    if whole is not None:
        terms = [_scaled(_by_name(part), factor) for part, factor in whole]
        if len(terms) > 1 and any(part == EXACT_EXCHANGE for part, _ in whole):
            return SumXC(*terms, name=name.upper())
        return _sum(terms)
    common = common_names()
    names = (*common, *identifiers(), *libxc_identifiers())
    valid = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), valid, n=5)
    hint = f" Did you mean {', '.join(valid[known] for known in close)}?" if close else ""
    raise ValueError(
        f"unknown functional {name!r}.{hint} Valid are {', '.join(common)}, and libxc identifiers "
        "such as lda_x, gga_c_pbe or mgga_x_scan, alone or in sums like '0.75*gga_x_pbe+gga_c_pbe'."
    )


def _by_number(number: int) -> str:
    for identifier, known in libxc_identifiers().items():
        if known == number:
            return identifier
    raise ValueError(
        f"libxc has no functional with the number {number}; write a name such as 'PBE', or an "
        "identifier such as gga_x_pbe (101)"
    )
