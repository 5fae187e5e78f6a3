"""Finding reference results, writing results, and values that files can hold."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from deepchem_xc._atomic import replacing


def data_file(name: str) -> Path:
    """Path of a file in the project's ``data/`` folder, in a checkout or an installed package.

    Parameters
    ----------
    name
        File name, for example ``"gpaw_eos.json"``.

    Raises
    ------
    FileNotFoundError
        If neither the checkout nor the installed package has this file.

    Examples
    --------
    >>> data_file("gpaw_eos.json").name
    'gpaw_eos.json'
    """
    beside, listed = _places()
    # setup.cfg installs data/ into <prefix>/share/deepchem_xc, as the list of files says; with
    # `pip install --target` that folder is beside the package, and the list is wrong.
    candidates = [
        beside[0] / name,
        *(Path(str(entry.locate())) for entry in listed if entry.name == name),
        beside[1] / name,
    ]
    for path in candidates:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"data file {name!r} is neither in {candidates[0].parent} nor among the installed files of "
        f"deepchem-xc, nor in {candidates[-1].parent}; install the package from a complete checkout"
    )


def data_names(pattern: str) -> list[str]:
    """Names of the files in the project's ``data/`` folder that match a pattern, sorted.

    Parameters
    ----------
    pattern
        As in a shell, for example ``"*.json"``.

    Examples
    --------
    >>> "gpaw_eos.json" in data_names("gpaw_*.json")
    True
    """
    beside, listed = _places()
    names = {entry.name for entry in listed}
    names |= {path.name for folder in beside for path in folder.glob("*")}
    return sorted(name for name in fnmatch.filter(names, pattern) if _is_there(name))


def _places() -> tuple[tuple[Path, Path], list[importlib.metadata.PackagePath]]:
    """Folders beside the package that may hold data, and the data among its installed files."""
    beside = Path(__file__).resolve().parents[1]
    try:
        listed = importlib.metadata.files("deepchem-xc") or []
    except importlib.metadata.PackageNotFoundError:
        listed = []
    shared = ("share", "deepchem_xc")
    return (beside / "data", beside.joinpath(*shared)), [
        entry for entry in listed if entry.parts[-3:-1] == shared
    ]


def _is_there(name: str) -> bool:
    try:
        data_file(name)
    except FileNotFoundError:
        return False
    return True


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Examples
    --------
    >>> len(file_digest(data_file("gpaw_eos.json")))
    64
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def source_digest() -> str:
    """SHA-256 of the package's source, which tells development versions apart.

    Examples
    --------
    >>> len(source_digest())
    64
    """
    root, content = Path(__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content.update(str(path.relative_to(root)).encode())
        content.update(path.read_bytes())
    return content.hexdigest()


def plain(value: Any) -> Any:
    """Convert numpy's and torch's values to Python's numbers and lists, and paths to strings.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"kpts": np.array([2, 2, 2]), "nbands": np.int64(8), "structure": Path("al.cif")})
    {'kpts': [2, 2, 2], 'nbands': 8, 'structure': 'al.cif'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON so that ``path`` always holds either the complete old or the complete new content.

    Parameters
    ----------
    path
        Destination; missing parent folders are created.
    content
        Anything ``json`` can write. NaN and infinity are refused, as many JSON readers do.

    Raises
    ------
    ValueError
        If ``content`` holds NaN or infinity.
    OSError
        If the file cannot be written (a full disk, for example); ``path`` is then as it was.

    Examples
    --------
    >>> import tempfile, json
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "new" / "result.json"
    ...     write_json(path, {"energy": -1.5})
    ...     json.loads(path.read_text())
    {'energy': -1.5}
    """
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with replacing(path) as file:
        file.write(text)
