"""Other programs' notation for functionals: PySCF's pairs, numbers, names of whole functionals.

Each becomes a sum of libxc identifiers, and of exact exchange for hybrids. Dispersion corrections,
van der Waals functionals and double hybrids, which this package does not compute, are refused by
name.
"""

from __future__ import annotations

import contextlib
import io
import re

from .libxc_library import library, libxc_identifiers

__all__ = ["EXACT_EXCHANGE", "identifiers_of_pair", "identifiers_of_whole", "refuse_corrections"]

Terms = list[tuple[str, float]]

#: Name of exact exchange among the terms.
EXACT_EXCHANGE = "exact_exchange"

# Whole functionals that PySCF has no name for.
_WHOLE = {
    "AM05": "GGA_X_AM05,GGA_C_AM05",
    "WC": "GGA_X_WC,GGA_C_PBE",
    "SVWN5": "LDA_X,LDA_C_VWN",
    # libxc's definitions, from parts that this package writes in torch as far as it can.
    "PBE0": "0.25*HF + 0.75*GGA_X_PBE,GGA_C_PBE",
    "PBEH": "0.25*HF + 0.75*GGA_X_PBE,GGA_C_PBE",
    "B3LYP": "0.2*HF + 0.08*LDA_X + 0.72*GGA_X_B88,0.81*GGA_C_LYP + 0.19*LDA_C_VWN_RPA",
    "SCAN0": "0.25*HF + 0.75*MGGA_X_SCAN,MGGA_C_SCAN",
    "R2SCAN0": "0.25*HF + 0.75*MGGA_X_R2SCAN,MGGA_C_R2SCAN",
    "TPSSH": "0.1*HF + 0.9*MGGA_X_TPSS,MGGA_C_TPSS",
    "HSE": "HYB_GGA_XC_HSE06",
    "EXX": "HF",
}
_HYBRIDS = {"REVPBE0", "BHLYP", "RSHXLDA", "WPBE", "LC-WPBE", "M08-HX", "M08-SO"}
# Long-range corrected and double hybrids: "LC-BLYP", "B2PLYP", "DSD-PBEP86", "PBE-QIDH", "XYG3"
_HYBRID = re.compile(
    r"r?lc[-_]|w?b2g?p[-_]?\w+$|dsd[-_]|\w*-?(?:qidh|0-dh)$|pwpb95$|xygj?[-_]?\w*$", re.I
)
# "-D3(BJ)", "+D4", "-TS", "+rVV10", "-vdW", "vdW-DF2", "B97-D", "r2SCAN-3c", "PBE-dDsC"
_DISPERSION = re.compile(
    r"[-+_ ]d[234]?(?:\(?(?:bj|bjm|zero|zerom|0|op)\)?)?(?=$|[\s+-])|[-+](?:ts|mbd\w*|xdm)$"
    r"|[-+]?r?vv10|vdw|[xm]-r?v$|rev-?vdw|-3c$|-ddsc$",
    re.IGNORECASE,
)
# "rVV10", and functionals whose last letters are the V of VV10: "wB97X-V", "B97M-rV"
_VV10 = re.compile(r"vv10|[xm]-r?v$", re.IGNORECASE)
_HUBBARD = re.compile(r"\+ *u(?:eff)?$", re.IGNORECASE)
# Prefixes of the libxc identifiers that a bare name may stand for.
_PARTS = ("lda_x", "lda_c", "lda_xc", "gga_x", "gga_c", "mgga_x", "mgga_c")
# Usual partner of a part in a whole functional.
_PARTNERS = {"gga_x_b88": "gga_c_lyp", "gga_c_lyp": "gga_x_b88"}
_ALIASES = {"slater": "x", "dirac": "x", "pw92": "pw", "vwn5": "vwn", "vwn3": "vwn_3"}


def refuse_corrections(text: str) -> None:
    """Raise ``ValueError`` if a name means a Hubbard or dispersion correction.

    Examples
    --------
    >>> refuse_corrections("PBE-D3")
    Traceback (most recent call last):
    ...
    ValueError: 'PBE-D3' means a functional with dispersion (van der Waals) corrections, ...
    """
    name = text.strip()
    if _HUBBARD.search(name):
        raise ValueError(
            f"{name!r} means a functional with Hubbard's U on some shells, which this package does "
            "not compute: take the functional alone, such as 'PBE' or 'r2SCAN'"
        )
    if not _DISPERSION.search(name):
        return

    def without_identifiers(word: re.Match[str]) -> str:
        return "" if word[0].lower() in libxc_identifiers() else word[0]

    if not _DISPERSION.search(re.sub(r"[a-zA-Z]\w*", without_identifiers, name)):
        return  # libxc identifiers of the semilocal parts of such functionals
    bare = re.split(r"[-+]", name)[0]
    known = [
        identifier
        for identifier in (f"gga_xc_{bare}vdw".lower(), f"gga_x_{bare}_vdw".lower())
        if identifier in libxc_identifiers()
    ]
    rest = f"; of this one libxc has the semilocal part, {known[0]}" if known else ""
    kind = " (here the nonlocal correlation VV10)" if _VV10.search(name) else ""
    raise ValueError(
        f"{name!r} means a functional with dispersion (van der Waals) corrections{kind}, which "
        "this package does not compute: take the functional alone, such as 'PBE' or 'r2SCAN', and "
        f"add the energy of a correction (ASE's SumCalculator with dftd3 or dftd4){rest}"
    )


def identifiers_of_pair(text: str) -> Terms:
    """Terms of a functional in PySCF's notation "exchange,correlation".

    Raises
    ------
    ValueError
        If PySCF's parser does not know it or finds it ambiguous.

    Examples
    --------
    >>> identifiers_of_pair("pbe,pbe")
    [('gga_x_pbe', 1.0), ('gga_c_pbe', 1.0)]
    """
    terms = _parsed(text)
    if terms is None:
        raise ValueError(
            f"cannot read the functional {text!r} as PySCF's pair of exchange and correlation; "
            "write both as libxc identifiers: 'gga_x_pbe,gga_c_pbe' or 'gga_x_pbe+gga_c_pbe'"
        )
    return terms


def identifiers_of_whole(name: str) -> Terms | None:
    """Terms of a name such as "PW91" or "M06-L", or None if it is unknown.

    Raises
    ------
    ValueError
        For hybrids that PySCF has no such name for, and for names of exchange or correlation alone.

    Examples
    --------
    >>> identifiers_of_whole("M06-L")
    [('mgga_x_m06_l', 1.0), ('mgga_c_m06_l', 1.0)]
    >>> identifiers_of_whole("PBE0")
    [('exact_exchange', 0.25), ('gga_x_pbe', 0.75), ('gga_c_pbe', 1.0)]
    """
    upper = name.strip().upper()
    terms = _parsed(_WHOLE.get(upper, upper))
    if terms is not None and _is_whole(terms):
        return terms
    if upper in _HYBRIDS or _HYBRID.match(upper):
        raise ValueError(
            f"{name.strip()!r} is a hybrid that this package does not know by this name: write its "
            "libxc identifier, such as hyb_gga_xc_lc_blyp; double hybrids, which add energies of "
            "perturbation theory, are not computed"
        )
    _refuse_part(name)
    return None


def _is_whole(terms: Terms) -> bool:
    names = [identifier.removeprefix("hyb_") for identifier, _ in terms]
    kinds = {"x" if name == EXACT_EXCHANGE else name.split("_")[1] for name in names}
    return "xc" in kinds or kinds >= {"x", "c"} or names == [EXACT_EXCHANGE]


def _parsed(text: str) -> Terms | None:
    """libxc identifiers and factors by PySCF's parser; None if unknown or ambiguous."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            hybrid, parts = library().parse_xc(text)
    except (KeyError, ValueError, NotImplementedError, AssertionError, IndexError):
        return None
    names = {number: identifier for identifier, number in libxc_identifiers().items()}
    if said.getvalue() or any(int(number) not in names for number, _ in parts):
        return None
    terms = [(names[int(number)], float(factor)) for number, factor in parts]
    short, long, omega = hybrid
    if omega != 0.0 or short != long:
        raise ValueError(
            f"{text!r} adds exact exchange of a range: write the functional as a sum with "
            "deepchem_xc.xc.ExactExchange(omega, part='long'), or a libxc identifier (hyb_...)"
        )
    if short != 0.0:
        terms.insert(0, (EXACT_EXCHANGE, float(short)))
    return terms or None


def _refuse_part(name: str) -> None:
    """Raise an error that lists the identifiers a name of exchange or correlation may mean."""
    bare = _ALIASES.get(name.strip().lower(), name.strip().lower())
    if bare == "x":
        found = ["lda_x"]
    else:
        found = [f"{part}_{bare}" for part in _PARTS if f"{part}_{bare}" in libxc_identifiers()]
    if not found:
        return
    both = [f"{family}_{kind}_{bare}" for family in ("lda", "gga", "mgga") for kind in "xc"]
    for exchange, correlation in zip(both[::2], both[1::2]):
        if {exchange, correlation} <= set(found):
            raise ValueError(
                f"{name!r} stands for exchange, {exchange}, and for correlation, {correlation}: "
                f"write the sum of both, '{exchange}+{correlation}', or the one that is meant"
            )
    first = found[0]
    whole = (
        f"{first}+{_PARTNERS.get(first, 'lda_c_pw')}"
        if "_x" in first
        else f"{_PARTNERS.get(first, 'lda_x')}+{first}"
    )
    note = ", form V of Vosko, Wilk and Nusair ('SVWN')" if bare == "vwn" else ""
    raise ValueError(
        f"{name!r} names exchange or correlation alone, and several programs mean different "
        f"functionals by it: write the libxc identifier, {' or '.join(found)}, or a sum of both "
        f"parts, such as '{whole}'{note}"
    )
