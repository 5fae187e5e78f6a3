"""A folder of files as a family: the file of an element by its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

from .gth_files import resolve_family

__all__ = ["file_in_folder", "names_folder"]

# Number of files that a message lists.
_SHOWN = 20


def names_folder(source: object, base: Path | None = None) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a source is the path of an existing folder and not the name of a family.

    Parameters
    ----------
    source : object
        Anything that was given as a pseudopotential.
    base : Path, optional
        Folder to which relative paths refer; the working directory by default.

    Examples
    --------
    >>> names_folder("gth-pbe"), names_folder(Path.cwd())
    (False, True)
    """
    if not isinstance(source, (str, os.PathLike)):
        return False
    is_family = isinstance(source, str) and resolve_family(source) is not None
    return not is_family and ((base or Path()) / source).is_dir()


def file_in_folder(
    folder: str | os.PathLike, symbol: str, is_wanted: Callable[[Path], bool]
) -> Path:
    """The one file of an element in a folder.

    The file's name begins with the chemical symbol, upper or lower case, and goes on with anything
    except a letter: "Si.psp8", "si_ONCV_PBE-1.2.upf", "Ni.10.PBE.gz".

    Parameters
    ----------
    folder : path
        Folder; folders inside it are not searched.
    symbol : str
        Chemical symbol.
    is_wanted : callable
        Whether a file is of a kind that can be read.

    Raises
    ------
    ValueError
        If the folder has no such file, or several; the message lists what it has.
    """
    inside = sorted(path for path in Path(folder).iterdir() if path.is_file())
    readable = [path for path in inside if is_wanted(path)]
    start = re.compile(rf"{symbol}(?![a-z])", re.IGNORECASE)
    found = [path for path in readable if start.match(path.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"the folder {os.fspath(folder)} has {len(found)} files of {symbol}: "
            f"{', '.join(path.name for path in found)}. Name one of them, for example "
            f"pseudopotentials={{{symbol!r}: {os.fspath(found[0])!r}, 'default': "
            f"{os.fspath(folder)!r}}}"
        )
    names = ", ".join(path.name for path in readable[:_SHOWN]) or "no file that can be read"
    if len(readable) > _SHOWN:
        names += f" and {len(readable) - _SHOWN} more"
    other = ", ".join(path.name for path in inside if start.match(path.name))
    unread = f"; of another kind, or damaged: {other}" if other else ""
    raise ValueError(
        f"the folder {os.fspath(folder)} has no file of {symbol}, whose name would begin with "
        f"{symbol!r} and go on with '.', '_' or '-'; it has {names}{unread}"
    )
