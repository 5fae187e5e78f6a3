"""Atoms of molecules in DeepChem's form: one text with symbols and coordinates in bohr."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.units import Bohr
from numpy.typing import NDArray

from deepchem_xc.gaussian.molecule_checks import check_declared_charge, check_declared_moments
from deepchem_xc.planewave.structure.files import read_atoms

# Number of characters of a text that a message repeats.
_SHOWN = 60


def moldesc_text(given: Any, folder: Path | None = None) -> Any:
    """Text of atoms, of whatever a system's ``moldesc`` may be.

    Parameters
    ----------
    given : str, path or ase.Atoms
        Atoms as ``"H 0.87 0 0; F -0.87 0 0"`` in bohr, which are returned as they are; a file that
        ASE reads, or ASE Atoms, both in Angstrom. Anything else is returned for the caller's error.
    folder : Path, optional
        Folder to which a relative path refers; the working directory by default.

    Raises
    ------
    ValueError
        If the text is neither atoms nor a file, and for a crystal.

    Examples
    --------
    >>> moldesc_text(Atoms("He", [[0.0, 0.0, Bohr]]))
    'He 0.0 0.0 1.0'
    >>> moldesc_text("H 0 0")
    Traceback (most recent call last):
    ValueError: 'H 0 0' is neither atoms nor a file: 'H 0 0' is not a symbol and three numbers ...
    """
    given = _read(given, folder)
    if not isinstance(given, Atoms):
        return given
    if given.pbc.any():
        raise ValueError(
            f"{given.get_chemical_formula()} repeats periodically (pbc = {given.pbc.tolist()}): "
            "give it as 'structure' with 'ecut', or use atoms.set_pbc(False)"
        )
    rows = zip(given.get_chemical_symbols(), (given.positions / Bohr).tolist(), strict=True)
    return "; ".join(f"{symbol} {x!r} {y!r} {z!r}" for symbol, (x, y, z) in rows)


def _read(given: Any, folder: Path | None) -> Any:
    """Atoms of the file that a text names; anything else as it is."""
    if not isinstance(given, str) or not given.strip():
        return given
    try:
        parsed_moldesc(given)
    except ValueError as error:
        path = (folder or Path()) / given
        if not _is_file(path):
            raise ValueError(f"{given[:_SHOWN]!r} is neither atoms nor a file: {error}") from None
        return read_atoms(path, moments=False)
    return given


def with_declarations(values: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """A molecule's keys with the atoms of its file, if these declare nothing else than the keys.

    Parameters
    ----------
    values : mapping
        Keys of a molecule's system.
    folder : Path, optional
        As for `moldesc_text`, whose errors are left to it.

    Raises
    ------
    ValueError
        If the atoms declare another charge, or moments where no spin is given, as for molecules
        outside of data sets.

    Examples
    --------
    >>> with_declarations({"moldesc": Atoms("H", magmoms=[1.0])})
    Traceback (most recent call last):
    deepchem_xc.gaussian.molecule_checks.SpinError: the initial magnetic moments add up to 1 ...
    """
    found = dict(values)
    try:
        given = _read(values["moldesc"], folder)
    except (KeyError, ValueError):
        return found
    found["moldesc"] = given
    if isinstance(given, Atoms):
        check_declared_charge(given.info, values.get("charge", 0))
        if values.get("spin") is None:
            check_declared_moments(given.get_initial_magnetic_moments())
    return found


def parsed_moldesc(moldesc: str) -> tuple[list[str], NDArray[np.float64]]:
    """Symbols and positions, (natom, 3), bohr, of a text.

    Raises
    ------
    ValueError
        For anything but symbols with three finite coordinates, separated by semicolons or lines.

    Examples
    --------
    >>> parsed_moldesc("H 0.5 0 0; F -0.5 0 0")
    (['H', 'F'], array([[ 0.5,  0. ,  0. ], [-0.5,  0. ,  0. ]]))
    """
    symbols, rows = [], []
    for line in moldesc.replace(";", "\n").splitlines():
        if not line.strip():
            continue
        symbol, *numbers = line.split()
        try:
            row = [float(number) for number in numbers]
        except ValueError:
            row = []
        if len(row) != 3:
            raise ValueError(
                f"{line.strip()[:_SHOWN]!r} is not a symbol and three numbers in bohr, as in "
                "'H 0.87 0 0; F -0.87 0 0'"
            )
        if atomic_numbers.get(symbol, 0) == 0:
            raise ValueError(f"there is no element {symbol!r}")
        symbols.append(symbol)
        rows.append(row)
    if not symbols:
        raise ValueError("there are no atoms")
    return symbols, np.array(rows, dtype=np.float64)


def _is_file(path: str | os.PathLike[str]) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero
        return False
