"""Files of density models, which calculations are given by path or by name.

Here they are only found: what is in them the room of the networks knows.
"""

from __future__ import annotations

import os
from pathlib import Path

from deepchem_xc._files import data_file, data_names

#: Ending of the files.
SUFFIX = ".safetensors"


def shipped_models() -> list[str]:
    """Names of the density models that come with the package.

    Examples
    --------
    >>> all(name.startswith("density_") for name in shipped_models())
    True
    """
    return [name.removesuffix(SUFFIX) for name in data_names(f"density_*{SUFFIX}")]


def model_file(given: str | os.PathLike[str]) -> Path | None:
    """Path of a model's file that is given by its path or by the name of a shipped one.

    Parameters
    ----------
    given : str or path
        A file takes precedence over a name. Names are not case-sensitive.

    Returns
    -------
    Path or None
        None if it is neither a model's file, whatever its name, nor the name of a shipped one.

    Examples
    --------
    >>> model_file("no_such_model") is None
    True
    """
    path = Path(given)
    if path.is_file():
        return path if path.suffix == SUFFIX or _is_safetensors(path) else None
    wanted = os.fspath(given).lower().removesuffix(SUFFIX)
    found = [name for name in shipped_models() if name.lower() == wanted]
    return data_file(found[0] + SUFFIX) if found else None


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: with the length of a JSON object, and the object."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length <= path.stat().st_size - 8


def valid_models() -> str:
    """The names in words, for messages."""
    names = shipped_models()
    return f"the shipped models are {', '.join(names)}" if names else "no models are shipped"
