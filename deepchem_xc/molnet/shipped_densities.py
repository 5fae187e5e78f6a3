"""Computed densities that come with the package: the quick part of a set, as ``data/*.zip``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from deepchem_xc._atomic import replacing
from deepchem_xc._files import data_file, data_names
from deepchem_xc.numerics.errors import DamagedFileError


def unpack_shipped(name: str, wanted: Iterable[Path]) -> None:
    """Copy those of some densities that come with the package to where they are kept.

    Parameters
    ----------
    name : str
        Name of the set.
    wanted : iterable of Path
        Files to write; those that do not come with the package are left alone. Whether a file is
        of the right structure and settings is for the caller to see.

    Raises
    ------
    DamagedFileError
        If the package's archive is not complete.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> unpack_shipped("silicon", [folder / "bcc.npz", folder / "clathrate_II.npz"])
    >>> [path.name for path in folder.iterdir()]
    ['bcc.npz']
    """
    archive = f"density_{name}.zip"
    if archive not in data_names("density_*.zip"):
        return
    path = data_file(archive)
    try:
        with zipfile.ZipFile(path) as shipped:
            names = set(shipped.namelist())
            for target in wanted:
                if target.name in names:
                    content = shipped.read(target.name)
                    with replacing(target, "wb") as file:
                        file.write(content)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DamagedFileError(
            f"{path} is not a complete archive of densities ({error}). Install the package again."
        ) from error
