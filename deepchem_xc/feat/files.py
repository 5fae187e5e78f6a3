"""Files of entries: structures are read at once, pseudopotentials are checked for changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import Bohr

from deepchem_xc._files import file_digest
from deepchem_xc.planewave.inputs import as_crystal
from deepchem_xc.planewave.potentials import names_path, potential_files
from deepchem_xc.planewave.structure.cif import read_cif
from deepchem_xc.planewave.structure.files import read_atoms

if TYPE_CHECKING:
    from ase import Atoms

# Number of characters of a text that a message repeats.
_SHOWN = 60


def absolute_potential(name: str, folder: Path | None = None) -> str:
    """Absolute path of a pseudopotential file or folder; other names are returned as they are.

    Parameters
    ----------
    name : str
        A family, a name, a file or a folder.
    folder : Path, optional
        Folder to which a relative path refers; the working directory by default.

    Examples
    --------
    >>> absolute_potential("gth-pbe"), os.path.isabs(absolute_potential("al.psp8"))
    ('gth-pbe', True)
    """
    if not names_path(name, folder):
        return name
    return os.path.abspath((folder or Path()) / name)


def content_digests(potentials: str | Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the files among pseudopotentials, and in their folders; missing ones are left out.

    Parameters
    ----------
    potentials : str or mapping
        As in a system.

    Returns
    -------
    dict
        ``{path: digest}``.

    Examples
    --------
    >>> content_digests({"Al": "gth-pbe"})
    {}
    """
    names = [potentials] if isinstance(potentials, str) else list(potentials.values())
    return {file: file_digest(file) for name in names for file in potential_files(name)}


def check_digests(digests: Mapping[str, str]) -> None:
    """Raise `ValueError` if a file is missing or has changed.

    Parameters
    ----------
    digests : mapping
        From `content_digests`.
    """
    for name, digest in digests.items():
        if not Path(name).is_file():
            raise ValueError(
                f"the file {name}, with which this entry was made, is missing; put it back, or "
                "make the data set again"
            )
        if file_digest(name) != digest:
            raise ValueError(
                f"the file {name} has changed since this entry was made; make the data set again, "
                "so that it is clear which version counts"
            )


def structure_values(given: Any, folder: Path | None = None) -> Any:
    """Values for `StructureSpec`, so that the entry does not depend on a file.

    Parameters
    ----------
    given : str, path, ase.Atoms, pymatgen Structure, Crystal or mapping
        A file that ASE reads or that holds a pymatgen Structure as JSON, the text of a CIF or of
        such JSON, a structure, or the dictionary of one (pymatgen's ``as_dict``, ASE's
        ``todict``); anything else is returned as it is.
    folder : Path, optional
        Folder to which relative paths refer.

    Raises
    ------
    ValueError
        If there is no such file, it cannot be read, or its sites are not fully occupied.

    Examples
    --------
    >>> from ase.build import bulk
    >>> structure_values(bulk("Al"))["symbols"]
    ['Al']
    """
    if isinstance(given, str | os.PathLike):
        given = _read(os.fspath(given), folder)
    if isinstance(given, Mapping):
        given = _from_dictionary(given)
    if isinstance(given, Mapping):
        return given
    try:
        crystal = as_crystal(given)  # also checks it
    except TypeError:
        return given  # the caller's error lists what is valid
    if not hasattr(given, "get_scaled_positions"):
        return {
            "symbols": list(crystal.symbols),
            "cell": (crystal.lattice * Bohr).tolist(),
            "scaled_positions": crystal.positions.tolist(),
            "magmoms": crystal.magnetic_moments,
            "pbc": crystal.pbc,
        }
    moments = given.get_initial_magnetic_moments()
    return {
        "symbols": given.get_chemical_symbols(),
        "cell": given.cell.tolist(),
        "positions": given.positions.tolist(),
        "magmoms": moments.tolist() if moments.any() else None,
        "pbc": given.pbc.tolist(),
    }


def structure_atoms(given: Any, folder: Path | None = None) -> Atoms:
    """ASE Atoms of anything that `structure_values` takes, with checks of the sites and the cell.

    Parameters
    ----------
    given, folder
        As for `structure_values`.

    Raises
    ------
    ValueError
        As for `structure_values`, and for anything else than a structure.

    Examples
    --------
    >>> from ase.build import bulk
    >>> structure_atoms(bulk("Al").todict()).symbols
    Symbols('Al')
    """
    from ase import Atoms

    values = structure_values(given, folder)
    words = {"symbols", "cell", "positions", "scaled_positions", "magmoms", "pbc"}
    if not isinstance(values, Mapping) or not {"symbols", "cell"} <= set(values) <= words:
        raise ValueError(
            f"{str(given)[:_SHOWN]!r} is not a structure: give the path of a file, the text of a "
            "CIF, or the dictionary of a pymatgen Structure, of ASE Atoms, or with symbols, cell "
            "and positions"
        )
    return Atoms(**{"pbc": True, **values})


def _from_dictionary(given: Mapping[str, Any]) -> Any:
    """Structure of pymatgen or ASE from its dictionary; other mappings are returned."""
    if "sites" in given:
        if "lattice" not in given:
            raise ValueError(
                "the dictionary has sites, but no lattice: it is a molecule's. Put the pymatgen "
                "Molecule into a box with molecule.get_boxed_structure(a, b, c)"
            )
        try:
            from pymatgen.core.structure import Structure
        except ImportError as error:
            raise ValueError(
                "the structure is a dictionary of pymatgen, which is not installed here: pip "
                "install pymatgen, or give symbols, cell and positions"
            ) from error
        return _made(lambda: Structure.from_dict(dict(given)), "pymatgen")
    if "numbers" in given and "positions" in given:
        from ase import Atoms

        # `plain` has made lists of ASE's arrays.
        arrays = {k: np.asarray(v) if isinstance(v, list) else v for k, v in given.items()}
        return _made(lambda: Atoms.fromdict(arrays), "ASE")
    return given


def _made(make: Callable[[], Any], kind: str) -> Any:
    try:
        return make()
    except Exception as error:
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ValueError(f"the dictionary is not one of {kind} ({why})") from error


def _read(name: str, folder: Path | None) -> Any:
    if name.lstrip().startswith("{"):
        return _dictionary(name, "the text")
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    if "\n" in name:
        return read_cif(name, f"the text {shown!r}")[-1]
    path = (folder or Path()) / name
    try:
        there = path.is_file()
    except OSError:  # a name that is too long
        there = False
    if not there:
        raise ValueError(f"there is no structure file {shown if shown != name else path}")
    if path.suffix.lower() == ".json":
        found = _dictionary(path.read_text(errors="replace"), os.fspath(path))
        if "sites" in found:
            return found
    return read_atoms(path)


def _dictionary(text: str, shown: str) -> Mapping[str, Any]:
    """Mapping from JSON."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{shown} is not JSON, or only a part of it ({error})") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{shown} holds a {type(found).__name__}, not one structure")
    return found
