"""The files that a loader is given, and the names that messages and identifiers give them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.data.formats import kind_of, known_formats

FilePath: TypeAlias = str | os.PathLike[str]

# Number of files that a warning names.
_FEW = 5


class SkippedRowsWarning(UserWarning):
    """Rows, or files of a folder, are not in a data set."""


def input_files(inputs: FilePath | Sequence[FilePath]) -> dict[str, Path]:
    """Files by the name that messages and identifiers give them.

    The name is that of the file, in a folder relative to it, or the whole path if several files
    have the same name.

    Parameters
    ----------
    inputs : path or sequence of paths
        Files and folders.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a file of an unknown format, a file that is given twice, and for no files.

    Warns
    -----
    SkippedRowsWarning
        For files of folders that are in no known format.

    Examples
    --------
    >>> input_files([])
    Traceback (most recent call last):
    ValueError: there are no files: inputs is empty, or its folders are.
    """
    given = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    found: list[tuple[Path, str]] = []
    for item in given:
        path = Path(item)
        if path.is_dir():
            found += _files_of_folder(path)
        elif not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        elif kind_of(path.name) is None:
            raise ValueError(
                f"the format of {path} is not known by its name; valid: {known_formats()}."
            )
        else:
            found.append((path, path.name))
    if not found:
        raise ValueError("there are no files: inputs is empty, or its folders are.")
    twice = [str(p) for p, n in Counter(path.resolve() for path, _ in found).items() if n > 1]
    if twice:
        raise ValueError(f"inputs name a file twice: {', '.join(twice)}.")
    names = Counter(name for _, name in found)
    return {name if names[name] == 1 else str(path): path for path, name in found}


def _files_of_folder(folder: Path) -> list[tuple[Path, str]]:
    """Files of a folder and the folders in it, named relative to it."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    known = [path for path in files if kind_of(path.name) is not None]
    others = [str(path.relative_to(folder)) for path in files if kind_of(path.name) is None]
    if others:
        listed = ", ".join(others[:_FEW]) + (", ..." if len(others) > _FEW else "")
        warnings.warn(
            f"{len(others)} file(s) of {folder} are in no known format and not in the data set: "
            f"{listed}.",
            SkippedRowsWarning,
            stacklevel=users_stacklevel(),
        )
    return [(path, str(path.relative_to(folder))) for path in known]
