"""Structures from files that ASE reads."""

from __future__ import annotations

import errno
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.structure.cif import read_cif
from deepchem_xc.planewave.structure.reading import (
    IgnoredInputWarning,
    few_moments,
    result_moments,
)

if TYPE_CHECKING:
    from ase import Atoms

_CIF = (".cif", ".mcif")


def read_atoms(path: str | os.PathLike[str], moments: bool = True) -> Atoms:
    """Structure from a file that ASE reads; the last one of several.

    Parameters
    ----------
    path : str or path
        CIF, POSCAR, extended XYZ, ...
    moments : bool, optional
        Whether moments that are results of an earlier calculation (the column ``magmoms`` of an
        extended XYZ file) serve as initial ones if the file has no initial ones.

    Raises
    ------
    ValueError
        If the file holds no structure, or is a CIF that `read_cif` refuses.
    FileNotFoundError
        If there is no such file.

    Warns
    -----
    IgnoredInputWarning
        If results are used as initial moments.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from ase.build import bulk
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "al.cif"
    >>> bulk("Al", cubic=True).write(path)
    >>> len(read_atoms(path))
    4
    """
    from ase import Atoms
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    if not Path(path).exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    if Path(path).suffix.lower() in _CIF and Path(path).is_file():
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return read_cif(text, os.fspath(path))[-1]
    try:
        atoms = read(Path(path))
    except UnknownFileTypeError as error:
        raise ValueError(f"ASE does not know the format of {os.fspath(path)} ({error}).") from error
    except StopIteration as error:
        # ASE's readers end without a word where a file holds no structure.
        raise ValueError(
            f"{os.fspath(path)} holds no complete structure: it may have been cut off."
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ValueError(f"{os.fspath(path)} cannot be read as a structure ({reason}).") from error
    if not isinstance(atoms, Atoms):
        raise ValueError(f"{os.fspath(path)!r} holds {type(atoms).__name__}, not one structure.")
    if moments:
        start_from_results(atoms, repr(os.fspath(path)))
    return atoms


def start_from_results(atoms: Atoms, shown: str) -> None:
    """Make moments that are results of an earlier calculation initial ones, if there are none.

    Parameters
    ----------
    atoms : ase.Atoms
        From a file; changed in place.
    shown : str
        Name of the file in the warning.

    Warns
    -----
    IgnoredInputWarning
        If results are used.

    Examples
    --------
    >>> from ase.build import bulk
    >>> start_from_results(bulk("Al"), "al.xyz")
    """
    found = result_moments(atoms)
    if found is not None:
        atoms.set_initial_magnetic_moments(found)
        warnings.warn(
            f"the magnetic moments in {shown} are results of an earlier calculation ("
            f"{few_moments(found)} mu_B): they are taken as initial moments, for two spin "
            "channels.",
            IgnoredInputWarning,
            stacklevel=users_stacklevel(),
        )
