"""Checks of a molecule, which raise a `ValueError` that says what is wrong and what to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr

from deepchem_xc._values import whole_number

# Smallest distance between atoms, Angstrom. The shortest bond in chemistry is H2's 0.74; duplicated
# atoms and lengths in the wrong unit are closer.
_MINIMUM_DISTANCE = 0.3
# Smallest eigenvalue of the overlap matrix. Rounding errors of orbitals grow as its inverse.
_SMALLEST_OVERLAP = 1e-9
# Sum of initial moments, mu_B, below which they ask for no unpaired electron.
_MOMENT = 0.5


class SpinError(ValueError):
    """A number of unpaired electrons that electrons and basis functions do not allow."""


def check_atoms(symbols: Sequence[str], positions: np.ndarray) -> None:
    """Refuse no atoms, unknown elements, positions (bohr) that are no numbers, atoms that overlap.

    Examples
    --------
    >>> check_atoms(["H", "H"], np.zeros((2, 3)))
    Traceback (most recent call last):
    ValueError: atoms overlap: H0 and H1 are 0.0000 Angstrom apart, less than 0.3. ...
    """
    if not len(symbols):
        raise ValueError("there are no atoms; a molecule needs at least one.")
    unknown = sorted({symbol for symbol in symbols if atomic_numbers.get(symbol, 0) == 0})
    if unknown:
        raise ValueError(
            f"unknown element(s) {', '.join(map(repr, unknown))}: symbols must be chemical "
            "elements such as 'H', 'C' or 'Fe'."
        )
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1)).tolist()
    if bad:
        raise ValueError(f"the positions of atoms {bad} contain NaN or infinite numbers.")
    first, second = np.triu_indices(len(symbols), k=1)
    if not len(first):
        return
    distances = np.linalg.norm(positions[first] - positions[second], axis=1) * Bohr
    closest = int(distances.argmin())
    if distances[closest] < _MINIMUM_DISTANCE:
        i, j = int(first[closest]), int(second[closest])
        raise ValueError(
            f"atoms overlap: {symbols[i]}{i} and {symbols[j]}{j} are {distances[closest]:.4f} "
            f"Angstrom apart, less than {_MINIMUM_DISTANCE}. Remove duplicated atoms, and check "
            "the unit: ASE's atoms are in Angstrom."
        )


def check_declared_charge(info: Mapping[str, Any], charge: Any) -> None:
    """Refuse a charge that contradicts the one in ``atoms.info``, which files may set.

    Examples
    --------
    >>> check_declared_charge({"charge": 1}, 0)
    Traceback (most recent call last):
    ValueError: atoms.info['charge'] says +1, and the molecule would be computed with charge 0: ...
    """
    for key in ("charge", "total_charge"):
        said = info.get(key)
        if said is None:
            continue
        try:
            number = float(said)
        except (TypeError, ValueError):
            number = math.nan
        if number != charge:
            shown = f"{number:+g}" if math.isfinite(number) else repr(said)
            raise ValueError(
                f"atoms.info[{key!r}] says {shown}, and the molecule would be computed with charge "
                f"{charge}: give charge={shown.lstrip('+')}, or correct or delete the entry."
            )


def check_declared_moments(moments: np.ndarray) -> None:
    """Refuse atoms whose initial magnetic moments ask for spin where none was given.

    Parameters
    ----------
    moments : ndarray
        Of the atoms, mu_B; (natom,), or vectors (natom, 3).

    Examples
    --------
    >>> check_declared_moments(np.array([1.0, 1.0]))
    Traceback (most recent call last):
    deepchem_xc.gaussian.molecule_checks.SpinError: the initial magnetic moments add up to 2 ...
    """
    total = float(np.linalg.norm(moments.sum(0)))
    if total >= _MOMENT:
        raise SpinError(
            f"the initial magnetic moments add up to {total:g} mu_B, and the molecule would be "
            f"computed without unpaired electrons: give spin={round(total)}, or spin=0."
        )


def check_charge(charge: Any) -> int:
    """The charge as an int; anything but a whole number is refused.

    Examples
    --------
    >>> check_charge(0.5)
    Traceback (most recent call last):
    ValueError: charge must be a whole number of elementary charges, got 0.5.
    """
    whole = isinstance(charge, (int, np.integer)) and not isinstance(charge, bool)
    if not whole:
        raise ValueError(f"charge must be a whole number of elementary charges, got {charge!r}.")
    return int(charge)


def check_spin(spin: Any, nelectrons: int, norbital: int) -> int:
    """The number of unpaired electrons as an int, if the electrons and the basis allow it.

    Parameters
    ----------
    spin : object
        Given number.
    nelectrons : int
        Electrons, without those of cores that potentials replace.
    norbital : int
        Basis functions.

    Raises
    ------
    SpinError
        If they do not allow it.
    ValueError
        For anything but a whole number of at least 0, and without electrons.

    Examples
    --------
    >>> check_spin(0, 9, 20)
    Traceback (most recent call last):
    deepchem_xc.gaussian.molecule_checks.SpinError: 9 electrons cannot have 0 unpaired ones: ...
    """
    spin = whole_number(spin, "spin (the number of unpaired electrons)", minimum=0)
    if nelectrons <= 0:
        raise ValueError(
            f"the molecule has {nelectrons} electrons, and needs at least one: check its charge."
        )
    if (nelectrons - spin) % 2:
        parity = "odd" if nelectrons % 2 else "even"
        raise SpinError(
            f"{nelectrons} electrons cannot have {spin} unpaired ones: spin must be {parity}, such "
            f"as {nelectrons % 2} (spin is the number of unpaired electrons, as in PySCF); or "
            "change the charge."
        )
    if spin > nelectrons:
        raise SpinError(f"{nelectrons} electrons cannot have {spin} unpaired ones: lower spin.")
    up = (nelectrons + spin) // 2
    if up > norbital:
        raise SpinError(
            f"the basis set has {norbital} functions and cannot hold {up} electrons of one spin: "
            "take a larger basis set, lower spin, or check the charge."
        )
    return spin


def check_independence(overlap: np.ndarray) -> None:
    """Refuse basis functions that are linearly dependent to rounding.

    Parameters
    ----------
    overlap : ndarray
        Overlap matrix, (nao, nao).

    Examples
    --------
    >>> check_independence(np.ones((2, 2)))
    Traceback (most recent call last):
    ValueError: the basis functions are linearly dependent: the smallest eigenvalue ...
    """
    smallest = float(np.linalg.eigvalsh(overlap)[0])
    if smallest < _SMALLEST_OVERLAP:
        raise ValueError(
            "the basis functions are linearly dependent: the smallest eigenvalue of their overlap "
            f"is {smallest:.1e}, and at least {_SMALLEST_OVERLAP:.0e} is needed. Leave out diffuse "
            "functions, or move close atoms apart."
        )
