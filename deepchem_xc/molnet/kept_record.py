"""Kept densities of a set, one file a structure, recognised by what they were computed from.

The only place that knows how a density is written: `write_record` and `read_record`.
"""

from __future__ import annotations

import json
from pathlib import Path

from deepchem_xc import __version__
from deepchem_xc._files import plain
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.loop.restart import Restart
from deepchem_xc.planewave.result import SCFResult


def write_record(path: Path, result: SCFResult, request: str) -> None:
    """Keep the density of a result, without orbitals.

    Parameters
    ----------
    path : Path
        File to write; it appears when it is complete.
    result : SCFResult
        A converged calculation.
    request : str
        Digest of what was computed; see `DensityStructure.digest`.
    """
    notes = {
        "request": request,
        "version": __version__,
        "free_energy": plain(result.free_energy),
        "forces": plain(result.forces),
        "nsteps": result.nsteps,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    Restart.of(result.detach(), orbitals=False, notes=json.dumps(notes)).save(path)


def read_record(path: Path, request: str) -> Restart | None:
    """The kept density, or None if there is none of this request.

    Raises
    ------
    DamagedFileError
        If the file is incomplete.
    """
    try:
        record = Restart.load(path)
    except FileNotFoundError:
        return None
    try:
        notes = json.loads(record.notes)
        return record if notes["request"] == request else None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{path} says nothing about what it was computed from.") from error
