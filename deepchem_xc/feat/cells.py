"""The single calculations behind an entry, each with a name under which its state is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.volume_series import VolumeSeries


@dataclass(frozen=True, eq=False)
class Cell:
    """One structure and everything that its calculation needs, but for the functional.

    Attributes
    ----------
    key : str
        The same for the same calculation, in any entry and any run.
    group : str
        The same for one crystal at all volumes: what one can be started from another.
    scale : float
        Volume, or area, in units of the structure's.
    crystal : Crystal
        The structure at this scale.
    keywords : mapping
        Of `planewave.scf`.
    files : mapping
        ``{path: SHA-256}`` of the pseudopotential files that the key stands for.

    Examples
    --------
    >>> from ase.build import bulk
    >>> cell = single_cell(Crystal.from_ase(bulk("Si")), {"ecut": 200.0}, "silicon")
    >>> cell.scale, len(cell.key)
    (1.0, 24)
    """

    key: str
    group: str
    scale: float
    crystal: Crystal
    keywords: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


def digest(content: Any) -> str:
    """Name of anything that JSON can hold.

    Examples
    --------
    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def single_cell(
    crystal: Crystal,
    keywords: Mapping[str, Any],
    identity: Any,
    files: Mapping[str, str] | None = None,
) -> Cell:
    """The structure itself.

    Parameters
    ----------
    crystal : Crystal
        The structure.
    keywords : mapping
        Of `planewave.scf`.
    identity : object
        What names it: anything that JSON can hold.
    files : mapping, optional
        ``{path: SHA-256}`` of its pseudopotential files.
    """
    group = digest(identity)
    return Cell(digest([group, 1.0]), group, 1.0, crystal, keywords, files or {})


def series_cells(
    series: VolumeSeries,
    keywords: Mapping[str, Any],
    identity: Any,
    files: Mapping[str, str] | None = None,
) -> list[Cell]:
    """One cell for each volume, with the k-points and grid that all of them share.

    Parameters
    ----------
    series : VolumeSeries
        The volumes.
    keywords : mapping
        Of `planewave.scf`, without k-points and grid.
    identity : object
        What names the crystal: anything that JSON can hold.
    files : mapping, optional
        ``{path: SHA-256}`` of its pseudopotential files.
    """
    shared = {**keywords, "kpts": series.kpoints, "fft_size": series.fft_size}
    group = digest([identity, series.axis, series.fft_size])
    return [
        Cell(digest([group, scale]), group, scale, series.crystal(scale), shared, files or {})
        for scale in series.scales
    ]
