"""Functionals by name."""

from __future__ import annotations

import difflib
import operator
import os
import re
from collections.abc import Callable
from typing import Any

import torch

from ._deepchem import BaseXC
from .base import SumXC, XCFunctional
from .gga_correlation import BETA_PBESOL, LYPCorrelation, PBECorrelation
from .gga_exchange import (
    KAPPA_REVPBE,
    MU_PBESOL,
    B88Exchange,
    PBEExchange,
    RPBEExchange,
)
from .lda import PW92Correlation, SlaterExchange, Teter93, VWNCorrelation
from .libxc import LibXC, libxc_identifiers
from .other_names import identifiers_of_pair, identifiers_of_whole, refuse_corrections
from .pbe import PBE
from .plain import as_functional
from .r2scan import R2SCANCorrelation, R2SCANExchange

__all__ = ["get_xc"]

# names under which people know whole functionals
_COMMON: dict[str, Callable[[], XCFunctional]] = {
    "LDA": lambda: SumXC(SlaterExchange(), PW92Correlation(), name="LDA"),
    "Teter93": Teter93,
    "PBE": PBE,
    "PBEsol": lambda: PBE(mu=MU_PBESOL, beta=BETA_PBESOL, name="PBEsol"),
    "revPBE": lambda: PBE(kappa=KAPPA_REVPBE, name="revPBE"),
    "RPBE": lambda: SumXC(RPBEExchange(), PBECorrelation(), name="RPBE"),
    "BLYP": lambda: SumXC(B88Exchange(), LYPCorrelation(), name="BLYP"),
    "TPSS": lambda: SumXC(LibXC("mgga_x_tpss"), LibXC("mgga_c_tpss"), name="TPSS"),
    "SCAN": lambda: SumXC(LibXC("mgga_x_scan"), LibXC("mgga_c_scan"), name="SCAN"),
    "r2SCAN": lambda: SumXC(R2SCANExchange(), R2SCANCorrelation(), name="r2SCAN"),
}

# libxc identifiers that are written in torch here
_NATIVE: dict[str, Callable[[], XCFunctional]] = {
    "lda_x": SlaterExchange,
    "lda_c_pw": PW92Correlation,
    "lda_c_pw_mod": lambda: PW92Correlation(modified=True),
    "lda_c_vwn": VWNCorrelation,
    "lda_xc_teter93": Teter93,
    "gga_x_pbe": PBEExchange,
    "gga_x_pbe_sol": lambda: PBEExchange(mu=MU_PBESOL, name="gga_x_pbe_sol"),
    "gga_x_pbe_r": lambda: PBEExchange(kappa=KAPPA_REVPBE, name="gga_x_pbe_r"),
    "gga_x_rpbe": RPBEExchange,
    "gga_x_b88": B88Exchange,
    "gga_c_pbe": PBECorrelation,
    "gga_c_pbe_sol": lambda: PBECorrelation(beta=BETA_PBESOL, name="gga_c_pbe_sol"),
    "gga_c_lyp": LYPCorrelation,
    "mgga_x_r2scan": R2SCANExchange,
    "mgga_c_r2scan": R2SCANCorrelation,
}

# sums of identifiers that have a common name, which solvers compare with the pseudopotentials
_SUMS = {
    frozenset({"lda_x", "lda_c_pw"}): "LDA",
    frozenset({"gga_x_pbe", "gga_c_pbe"}): "PBE",
    frozenset({"gga_x_pbe_sol", "gga_c_pbe_sol"}): "PBEsol",
    frozenset({"gga_x_pbe_r", "gga_c_pbe"}): "revPBE",
    frozenset({"gga_x_rpbe", "gga_c_pbe"}): "RPBE",
    frozenset({"gga_x_b88", "gga_c_lyp"}): "BLYP",
    frozenset({"mgga_x_r2scan", "mgga_c_r2scan"}): "r2SCAN",
}

_TERM = re.compile(
    r"\s*(?P<sign>[+-])?\s*(?:(?P<factor>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*\*\s*)?"
    r"(?P<name>[a-z]\w*|\d+(?![\w.]))\s*",
    re.IGNORECASE,
)
# A path or an ending: neither is in any name, number or factor.
_FILE_NAME = re.compile(r"[/\\]|\.[a-z]\w*\s*$", re.IGNORECASE)
_NAME_WITH_DASHES = re.compile(r"\s*[a-z]\w*(?:-\w+)+\s*", re.IGNORECASE)


def get_xc(xc: str | os.PathLike[str] | int | BaseXC) -> BaseXC:
    """Exchange-correlation functional by name.

    Parameters
    ----------
    xc : str, path-like, int or BaseXC
        - a common name: "LDA" (Slater exchange and PW92 correlation), "Teter93", "PBE", "PBEsol",
          "revPBE", "RPBE", "BLYP", "r2SCAN", and from libxc "TPSS", "SCAN";
        - a libxc identifier such as "lda_x" or "gga_c_pbe", or its number;
        - a sum of either, with optional factors: "0.75*gga_x_pbe + gga_c_pbe"; a sum that has a
          common name is that functional;
        - PySCF's pairs of exchange and correlation, "pbe,pbe", "gga_x_pbe,gga_c_pbe" or ",lyp",
          and its names of whole functionals, such as "PW91", "revTPSS" or "M06-L", also "AM05" and
          "WC"; "vwn" in a pair and "SVWN" mean libxc's lda_c_vwn, form V;
        - a file that ``functional.save(path)`` wrote, if a string's end is ".safetensors";
        - a functional, which is returned as it is, or made one of this package if it is
          DeepChem's ``BaseXC`` only.

        Upper and lower case are the same.

    Returns
    -------
    BaseXC
        An :class:`~deepchem_xc.xc.XCFunctional` for every string: written in torch where this
        package has it, else libxc's (CPU only, see :class:`~deepchem_xc.xc.LibXC`).

    Raises
    ------
    ValueError
        For a name that is neither common nor known to libxc, for a sum that cannot be read, for
        libxc functionals that need more than density, gradient and kinetic energy density, and for
        hybrids and dispersion corrections by any name;
        a :class:`~deepchem_xc.xc.FunctionalFileError` for a file that cannot be used.
    FileNotFoundError
        For a file that is not there.

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
    """
    if isinstance(xc, BaseXC):
        return as_functional(xc)
    if isinstance(xc, os.PathLike) or (isinstance(xc, str) and xc.lower().endswith(".safetensors")):
        from .saving import load_functional  # its definitions name functionals by their classes

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
    common = _SUMS.get(frozenset(term.name for term in terms))
    return _COMMON[common]() if common and len(terms) == 2 else SumXC(*terms)


def _is_known(name: str) -> bool:
    name = name.strip().lower()
    return name in libxc_identifiers() or name in {common.lower() for common in _COMMON}


def _by_name(name: str) -> XCFunctional:
    for common, make in _COMMON.items():
        if name.lower() == common.lower():
            return make()
    if name.isdigit():
        name = _by_number(int(name))
    if name.lower() in _NATIVE:
        return _NATIVE[name.lower()]()
    if name.lower() in libxc_identifiers():
        return LibXC(name)
    whole = identifiers_of_whole(name)
    if whole is not None:
        return _sum([_scaled(_by_name(part), factor) for part, factor in whole])
    valid = {known.lower(): known for known in (*_COMMON, *_NATIVE, *libxc_identifiers())}
    close = difflib.get_close_matches(name.lower(), valid, n=5)
    hint = f" Did you mean {', '.join(valid[known] for known in close)}?" if close else ""
    raise ValueError(
        f"unknown functional {name!r}.{hint} Valid are {', '.join(_COMMON)}, and libxc identifiers "
        "such as lda_x, gga_c_pbe or mgga_x_scan, alone or in sums like '0.75*gga_x_pbe+gga_c_pbe'."
    )


def _by_number(number: int) -> str:
    for identifier, known in libxc_identifiers().items():
        if known == number:
            return identifier
    raise ValueError(
        f"libxc has no functional of the number {number}; write a name such as 'PBE', or an "
        "identifier such as gga_x_pbe (101)"
    )
