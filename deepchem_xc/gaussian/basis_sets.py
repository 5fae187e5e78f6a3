"""Gaussian basis sets by name, element by element, with the core potentials that belong to them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from ase.data import atomic_numbers
from pyscf import df, gto

# Names of basis sets that were made for pseudopotentials of Goedecker, Teter and Hutter.
_MADE_FOR_GTH = "gth"
# Basis sets that errors advise, and their elements; the first ends at radon.
_LIGHT, _HEAVY = ("def2-svp", "H to Rn"), ("ano-rcc", "H to Cm")
_LAST_LIGHT = 86
# Part of the names of a family with one core potential for each element, and a member with all of
# them: PySCF's files of def2-mTZVP and others lack them.
_FAMILY, _MEMBER = "def2", "def2-svp"


def basis_by_element(basis: Any, symbols: Iterable[str]) -> dict[str, Any]:
    """Basis set of each element, in PySCF's internal form.

    Parameters
    ----------
    basis : str or mapping
        PySCF's name of a basis set (``"def2-svp"``), or a mapping from symbols to names or to basis
        sets in PySCF's form, in which ``"default"`` stands for all other elements.
    symbols : iterable of str
        Chemical symbols.

    Raises
    ------
    ValueError
        If there is no basis, for an unknown name, for a basis set that lacks an element, and for
        functions that are not in PySCF's form.

    Examples
    --------
    >>> sorted(basis_by_element({"default": "sto-3g", "O": "def2-svp"}, ["O", "H"]))
    ['H', 'O']
    >>> basis_by_element("cc-pvdz", ["U"])
    Traceback (most recent call last):
    ValueError: the basis set 'cc-pvdz' has no functions for U: ...
    """
    if basis is None or basis == {}:
        raise ValueError(
            "a molecule needs a basis set: give basis='def2-svp', or {'O': 'def2-tzvp', "
            "'default': 'def2-svp'}."
        )
    if not isinstance(basis, (str, Mapping, list, tuple)):
        raise ValueError(
            f"basis must be a name or a mapping by symbol, got {basis!r} (a "
            f"{type(basis).__name__}): give basis='def2-svp', or {{'O': 'def2-tzvp', 'default': "
            "'def2-svp'}."
        )
    check_by_element(basis, symbols, "basis")
    return {symbol: _functions(_given(basis, symbol), symbol) for symbol in sorted(set(symbols))}


def check_by_element(given: Any, symbols: Iterable[str], keyword: str) -> None:
    """Refuse a mapping by element that lacks one, or has keys that are no elements.

    Parameters
    ----------
    given : object
        A mapping; anything else stands for all elements.
    symbols : iterable of str
        Chemical symbols of the molecule; the mapping may have more.
    keyword : str
        What it is a value of, for the message.

    Examples
    --------
    >>> check_by_element({"O": "gth-pbe"}, ["O", "H"], "pseudopotentials")
    Traceback (most recent call last):
    ValueError: pseudopotentials = {'O': 'gth-pbe'} has nothing for H: add 'H', or 'default' for ...
    """
    if not isinstance(given, Mapping):
        return
    unknown = [key for key in given if key != "default" and not atomic_numbers.get(key, 0)]
    if unknown:
        raise ValueError(
            f"{keyword} has the key(s) {', '.join(map(repr, unknown))}: keys must be chemical "
            "symbols such as 'O', or 'default' for all other elements."
        )
    missing = sorted(s for s in set(symbols) if given.get(s, given.get("default")) is None)
    if missing:
        raise ValueError(
            f"{keyword} = {dict(given)!r} has nothing for {', '.join(missing)}: add "
            f"{missing[0]!r}, or 'default' for all other elements."
        )


def core_potentials(basis: Any, symbols: Iterable[str]) -> dict[str, Any]:
    """Effective core potentials that belong to named basis sets, for the elements that have one.

    Parameters
    ----------
    basis, symbols
        As for `basis_by_element`.

    Raises
    ------
    ValueError
        For a basis set that was made for pseudopotentials.

    Examples
    --------
    >>> electrons_of_core, terms = core_potentials("def2-svp", ["I", "H"])["I"]
    >>> electrons_of_core
    28
    """
    found = {}
    for symbol in sorted(set(symbols)):
        name = _given(basis, symbol)
        if not isinstance(name, str):
            continue
        if name.lower().startswith(_MADE_FOR_GTH):
            raise ValueError(
                f"the basis set {name!r} was made for pseudopotentials and holds no core electrons "
                f"of {symbol}: give pseudopotentials='gth-pbe', or an all-electron basis set such "
                "as 'def2-svp'."
            )
        potential = _core_potential(name, symbol)
        if potential:
            found[symbol] = potential
    return found


def pseudopotentials_by_element(
    given: str | Mapping[str, str], symbols: Iterable[str]
) -> dict[str, Any]:
    """Pseudopotential of each element, in PySCF's internal form.

    Parameters
    ----------
    given : str or mapping
        PySCF's name, or names by symbol, in which ``"default"`` stands for all other elements.
    symbols : iterable of str
        Chemical symbols.

    Raises
    ------
    ValueError
        If there is none of this name for an element, and for a mapping that lacks one.

    Examples
    --------
    >>> sorted(pseudopotentials_by_element("gth-pbe", ["O", "H"]))
    ['H', 'O']
    """
    check_by_element(given, symbols, "pseudopotentials")
    found = {}
    for symbol in sorted(set(symbols)):
        name = _given(given, symbol)
        try:
            found[symbol] = gto.basis.load_pseudo(name, symbol)
        except Exception as error:  # PySCF raises many kinds
            raise ValueError(
                f"there is no pseudopotential {name!r} for {symbol}: give a name that PySCF knows, "
                "such as 'gth-pbe' or 'gth-lda'."
            ) from error
    return found


def check_auxiliary(mole: gto.Mole, name: str) -> None:
    """Raise `ValueError` unless PySCF has an auxiliary basis set for all elements of a molecule.

    Examples
    --------
    >>> check_auxiliary(gto.M(atom="He", basis="sto-3g", verbose=0), "def2-universal-jkfit")
    """
    try:
        # PySCF advises other packages, and prints calls of its own.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            df.addons.make_auxmol(mole, name)
    except Exception as error:  # PySCF raises many kinds
        raise ValueError(
            f"density_fitting = {name!r} is no auxiliary basis set that PySCF has for "
            f"{', '.join(sorted(set(mole.elements)))}: give one such as 'def2-universal-jkfit', or "
            "leave it out for exact integrals."
        ) from error


def named_elements(basis: Any, symbols: Iterable[str]) -> set[str]:
    """Elements whose functions are a basis set by name.

    Examples
    --------
    >>> named_elements({"O": "def2-svp", "H": [[0, [1.0, 1.0]]]}, ["O", "H"])
    {'O'}
    """
    return {symbol for symbol in symbols if isinstance(_given(basis, symbol), str)}


def _given(given: Any, symbol: str) -> Any:
    return given.get(symbol, given.get("default")) if isinstance(given, Mapping) else given


def _functions(name: Any, symbol: str) -> Any:
    if not isinstance(name, str):
        return _checked_shells(name, symbol)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySCF's advice to install another package
            functions = gto.basis.load(name, symbol)
    except Exception:  # PySCF raises many kinds
        functions = []
    if functions:
        return functions
    if _is_known(name):
        other, reach = _LIGHT if atomic_numbers[symbol] <= _LAST_LIGHT else _HEAVY
        raise ValueError(
            f"the basis set {name!r} has no functions for {symbol}: take another one, such as "
            f"{other!r} ({reach}), for this element: basis={{'default': {name!r}, {symbol!r}: "
            f"{other!r}}}."
        )
    raise ValueError(
        f"unknown basis set {name!r} (for {symbol}): give a name that PySCF knows, such as "
        "'def2-svp', 'def2-tzvp', 'cc-pvtz' or '6-31g*'."
    )


def _checked_shells(given: Any, symbol: str) -> Any:
    """Functions in PySCF's form, [[l, [exponent, coefficient, ...], ...], ...]; or names."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shells = gto.format_basis({symbol: given})[symbol]
            gto.M(atom=[[symbol, (0.0, 0.0, 0.0)]], basis={symbol: shells}, spin=None, verbose=0)
    except Exception as error:  # PySCF raises many kinds
        raise ValueError(
            f"the basis set of {symbol} is neither a name nor functions in PySCF's form, "
            f"[[l, [exponent, coefficient], ...], ...]: got {given!r}."
        ) from error
    return shells


def _is_known(name: str) -> bool:
    plain = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    return plain in gto.basis.ALIAS or plain in gto.basis.GTH_ALIAS


def _core_potential(name: str, symbol: str) -> Any:
    for one in (name, _MEMBER) if _FAMILY in name.lower() else (name,):
        # PySCF raises many kinds where a basis set has none.
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            found = gto.basis.load_ecp(one, symbol)
            if found:
                return found
    return None
