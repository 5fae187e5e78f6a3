"""Files that come with the functionals."""

from __future__ import annotations

import hashlib
from pathlib import Path


def data_file(name: str) -> Path:
    """Path of a file in the folder ``data`` beside this module.

    Parameters
    ----------
    name : str
        File name, for example ``"recovered_gga.safetensors"``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> data_file("recovered_gga.safetensors").name
    'recovered_gga.safetensors'
    """
    path = Path(__file__).resolve().parent / "data" / name
    if not path.is_file():
        raise FileNotFoundError(f"data file {name!r} is not in {path.parent}")
    return path


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, hexadecimal.

    Examples
    --------
    >>> len(file_digest(data_file("recovered_gga.safetensors")))
    64
    """
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
