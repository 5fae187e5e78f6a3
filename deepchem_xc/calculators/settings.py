"""The settings of a calculator as data: how they are kept in files, and which have changed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.io.jsonio import decode, encode

from deepchem_xc._files import file_digest
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.potentials import dataset_digests, names_path, potential_files
from deepchem_xc.planewave.record import DensityRecord
from deepchem_xc.planewave.result import SCFResult

if TYPE_CHECKING:
    from ase import Atoms

    from deepchem_xc.xc.identity import Identity

#: Settings that may be Python objects, which no file holds.
OBJECTS = ("xc", "pseudopotentials")
# Ending of functionals' files.
_FUNCTIONAL = ".safetensors"


@dataclass(frozen=True)
class SavedCalculation:
    """Contents of a calculator's file besides the density.

    Attributes
    ----------
    atoms : ase.Atoms
        Structure.
    settings : dict
        Keywords of `PlaneWaveDFT`; None for those in `objects`.
    objects : dict
        Settings that were given as objects, with the objects' names.
    results : dict
        Results in ASE's units. They are not used if there are `objects`, because other objects
        would give other results.
    files : dict or None
        `file_digests` of the settings that the results belong to; None in files of earlier
        versions.
    """

    atoms: Atoms
    settings: dict[str, Any]
    objects: dict[str, Any]
    results: dict[str, Any]
    files: dict[str, str] | None = None

    def to_notes(self) -> str:
        """As text, for `DensityRecord.notes`."""
        return str(encode({name: getattr(self, name) for name in self.__dataclass_fields__}))

    @classmethod
    def from_record(cls, record: DensityRecord, path: str | os.PathLike[str]) -> SavedCalculation:
        """From the notes of a record.

        Raises
        ------
        DamagedFileError
            If a calculator did not write them.
        """
        try:
            notes = decode(record.notes)
            needed = [name for name in cls.__dataclass_fields__ if name != "files"]
            return cls(**{name: notes[name] for name in needed}, files=notes.get("files"))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFileError(
                f"{os.fspath(path)!r} holds a density, but not a calculator's settings and results "
                f"({error}): write it with calc.write(...)."
            ) from error


def check_objects(settings: Mapping[str, Any], missing: Collection[str]) -> None:
    """Raise ValueError if an object that the file could not hold was not given again."""
    for name in missing:
        if settings[name] is None:
            raise ValueError(
                f"{name} is missing: it was an object, which the calculator's file does not hold. "
                f"Give it again: PlaneWaveDFT(restart=..., {name}=...)."
            )


def identity_of(xc: Any) -> Identity | None:
    """Identity of a functional that was given as an object; None for names."""
    from deepchem_xc.xc import BaseXC, get_xc
    from deepchem_xc.xc.identity import Identity

    return Identity.of(get_xc(xc)) if isinstance(xc, BaseXC) else None


def is_unchanged(xc: Any, before: Identity | None) -> bool:
    """Whether a functional is unchanged; True for names (`changed_files` checks files)."""
    from deepchem_xc.xc import BaseXC, get_xc

    return not isinstance(xc, BaseXC) or (before is not None and before.holds(get_xc(xc)))


def file_digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files among functional and pseudopotentials, by absolute path.

    Files that do not exist are left out.

    Examples
    --------
    >>> file_digests({"xc": "PBE", "pseudopotentials": {"Si": "absent.psp8"}})
    {}
    """
    names = [name for key in OBJECTS for name in _file_names(key, settings.get(key))]
    paths = [os.path.abspath(name) for name in names]
    return {path: file_digest(path) for path in paths if os.path.isfile(path)}


def changed_files(settings: Mapping[str, Any], before: Mapping[str, str]) -> list[str]:
    """Settings with a file whose content has changed.

    A file that no longer exists counts as unchanged, and results computed with it are kept.

    Parameters
    ----------
    settings : mapping
        Keywords of `PlaneWaveDFT`.
    before : mapping
        From `file_digests`.
    """
    found = []
    for key in OBJECTS:
        now = file_digests({key: settings.get(key)})
        if any(before.get(path) != digest for path, digest in now.items()):
            found.append(key)
    return found


def has_other_datasets(
    pseudopotentials: Any, symbols: Iterable[str], before: Mapping[str, str] | None
) -> bool:
    """Whether PAW datasets are others than those of a kept density.

    Families such as "paw-pbe" keep their names when their package changes. What is not there any
    more counts as unchanged, as in `changed_files`.

    Parameters
    ----------
    pseudopotentials : str, path or mapping
        Keyword of `PlaneWaveDFT`, without objects.
    symbols : iterable of str
        Chemical symbols.
    before : mapping or None
        `DensityRecord.potentials` of the density, which earlier versions did not keep.

    Examples
    --------
    >>> has_other_datasets("gth-pbe", ["Si"], {"Si": "a hash"})
    False
    """
    if before is None:
        return False
    try:
        now = dataset_digests(pseudopotentials, symbols)
    except (ImportError, FileNotFoundError):
        return False
    return any(before.get(symbol) != digest for symbol, digest in now.items())


def _file_names(key: str, value: Any) -> Iterator[str]:
    """Files that a setting names, also those in folders of pseudopotentials."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _file_names(key, item)
    elif isinstance(value, (str, os.PathLike)):
        if key == "pseudopotentials":
            yield from potential_files(value)
        elif isinstance(value, os.PathLike) or value.lower().endswith(_FUNCTIONAL):
            yield os.fspath(value)


def copied(value: Any) -> Any:
    """Copy of a setting, which later changes of the caller's dictionary, list or array don't reach.

    Functionals and other objects are shared.

    Examples
    --------
    >>> given = {"size": [2, 2, 2]}
    >>> kept = copied(given)
    >>> given["size"][0] = 4
    >>> kept
    {'size': [2, 2, 2]}
    """
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def is_plain(value: Any) -> bool:
    """Whether JSON can hold a value."""
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    return value is None or isinstance(value, (str, os.PathLike, int, float, bool, list, tuple))


def plain(value: Any) -> Any:
    """Settings with objects replaced by their names."""
    if isinstance(value, Mixing):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, FunctionType):
        return value.__name__  # a preconditioner: its name is refused when the file is read
    if isinstance(value, (os.PathLike, torch.device)):
        return str(value)
    if isinstance(value, SCFResult) or hasattr(value, "density_for"):
        return type(value).__name__  # a start, which changes no result
    name = getattr(value, "name", None)
    if not isinstance(name, str) and hasattr(value, "get_edensityxc"):
        return type(value).__name__  # a functional of DeepChem's, without a name
    return name if isinstance(name, str) else value


def with_absolute_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with absolute paths of files, which are valid in any folder.

    Examples
    --------
    >>> settings = with_absolute_files({"xc": "PBE", "pseudopotentials": {"Si": "si.psp8"}})
    >>> settings["xc"], os.path.isabs(settings["pseudopotentials"]["Si"])
    ('PBE', True)
    """
    return {
        key: _absolute(key, value) if key in OBJECTS else value for key, value in settings.items()
    }


def _absolute(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _absolute(key, item) for name, item in value.items()}
    if not isinstance(value, str):
        return value
    is_potential = key == "pseudopotentials" and names_path(value)
    return os.path.abspath(value) if is_potential or value.lower().endswith(_FUNCTIONAL) else value
