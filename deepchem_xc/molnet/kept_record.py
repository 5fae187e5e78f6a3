"""Kept densities of a set, one file a structure, recognised by what they were computed from."""

from __future__ import annotations

import json
from pathlib import Path

from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave.record import DensityRecord
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
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = json.dumps({"request": request})
    DensityRecord.of(result, orbitals=False, notes=notes).save(path)


def read_record(path: Path, request: str) -> DensityRecord | None:
    """The kept density, or None if there is none of this request.

    Raises
    ------
    DamagedFileError
        If the file is incomplete, or was not written by `write_record`.
    """
    try:
        record = DensityRecord.load(path)
    except FileNotFoundError:
        return None
    try:
        return record if json.loads(record.notes)["request"] == request else None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{path} does not say what it was computed from: it is not of a set of densities. "
            "Move it elsewhere."
        ) from error
