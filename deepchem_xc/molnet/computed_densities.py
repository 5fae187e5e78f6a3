"""Computing the densities of a set: side by side, resumable, one file a structure."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from deepchem.utils.data_utils import get_data_dir

from deepchem_xc.molnet.density_structures import (
    FUNCTIONAL,
    PARTS,
    DensitySet,
    DensityStructure,
)
from deepchem_xc.molnet.kept_record import read_record, write_record
from deepchem_xc.molnet.shipped_densities import unpack_shipped
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.parallel import Jobs, checked_jobs, parallel_map
from deepchem_xc.planewave.ground_state import scf

# Characters that any file system takes in names.
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]+")


class MissingDensitiesError(RuntimeError):
    """Some densities of a set could not be computed; the others are kept.

    Attributes
    ----------
    reasons : dict
        What happened, by the name of the structure.

    Examples
    --------
    >>> print(MissingDensitiesError("silicon", {"bcc": "MemoryError"}, 3))
    1 of 3 densities of 'silicon' could not be computed (bcc: MemoryError). The others are kept;
    the same call tries those again.
    """

    def __init__(self, name: str, reasons: Mapping[str, str], wanted: int) -> None:
        listed = "; ".join(f"{key}: {reason}" for key, reason in reasons.items())
        super().__init__(
            f"{len(reasons)} of {wanted} densities of {name!r} could not be computed ({listed}). "
            "The others are kept; the same call tries those again."
        )
        self.reasons = dict(reasons)


def compute_densities(
    densities: str | DensitySet,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    quick: bool = False,
    parts: tuple[str, ...] = PARTS,
    jobs: Jobs | None = None,
    progress: bool | None = None,
) -> dict[str, Path]:
    """Compute the densities of a set that are not kept yet; return the files of all by name.

    Those that come with the package, the quick part of ``"silicon"``, are copied. A density is
    kept when it is converged, so that a call that was interrupted goes on where it was. A kept one
    is used again if it has the same structure and settings.

    Parameters
    ----------
    densities : str or DensitySet
        ``"silicon"``, ``"mixed"``, ``"molecules"``, ``"magnets"``, or a set of your own.
    data_dir : path, optional
        Folder in which ``density_<name>/`` holds the files; DeepChem's data folder by default.
    quick : bool, optional
        The small part of the set alone.
    parts : tuple of str, optional
        Some of ``"train"``, ``"valid"`` and ``"test"``; all by default.
    jobs : int, str or distributed.Client, optional
        How many are computed at a time, and where; see `parallel.parallel_map`.
    progress : bool, optional
        Show a progress bar; by default on a terminal.

    Returns
    -------
    dict
        ``{name: path}`` in the order of the set.

    Raises
    ------
    MissingDensitiesError
        If some could not be computed, after all others were.
    ValueError
        If the set, a part or `jobs` is unknown.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from deepchem_xc.molnet import DensitySet, DensityStructure, compute_densities
    >>> keywords = {"ecut": 100.0, "kpts": [1, 1, 1]}
    >>> silicon = DensityStructure("Si", "train", "diamond", "ASE", bulk("Si"), keywords)
    >>> folder = tempfile.mkdtemp()
    >>> files = compute_densities(DensitySet("mine", "One crystal", {"Si": silicon}), folder)
    >>> files["Si"].relative_to(folder).as_posix()
    'density_mine/Si.npz'
    """
    from tqdm.auto import tqdm

    jobs = checked_jobs(jobs)
    given = DensitySet.read(densities) if isinstance(densities, str) else densities
    wanted = given.select(quick=quick, parts=parts)
    paths = density_paths(given, wanted, data_dir)
    missing = _missing(wanted, paths)
    if missing:
        unpack_shipped(given.name, [paths[name] for name in missing])
        missing = _missing(missing, paths)
    # The largest first, so that no process is left with one at the end.
    order = sorted(missing, key=lambda name: -len(missing[name].atoms))
    # Processes get absolute paths: those of a cluster may have another working folder.
    calls = {name: (paths[name].absolute(), missing[name]) for name in order}
    reasons: dict[str, str] = {}
    show = sys.stderr.isatty() if progress is None else progress
    with (
        tqdm(
            total=len(wanted),
            initial=len(wanted) - len(missing),
            desc=f"densities of {given.name}",
            unit="structure",
            disable=not show,
        ) as bar,
        closing(parallel_map(compute_density, calls, jobs=jobs, bar=bar)) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.error:
                reasons[outcome.name] = outcome.error
                bar.write(f"{outcome.name}: {outcome.error}", file=sys.stderr)
    if reasons:
        named = {name: reasons[name] for name in wanted if name in reasons}
        raise MissingDensitiesError(given.name, named, len(wanted))
    return paths


def compute_density(path: Path, structure: DensityStructure) -> None:
    """Compute the density of one structure, and keep it.

    Parameters
    ----------
    path : Path
        File to write.
    structure : DensityStructure
        What to compute.
    """
    keywords: dict[str, Any] = dict(structure.keywords)
    result = scf(structure.atoms, FUNCTIONAL, **keywords)
    write_record(path, result, structure.digest)


def density_paths(
    densities: DensitySet,
    wanted: Mapping[str, DensityStructure],
    data_dir: str | os.PathLike[str] | None = None,
) -> dict[str, Path]:
    """Files of the densities of some structures of a set, by name; they need not exist.

    Raises
    ------
    ValueError
        If two names have the same file.
    """
    folder = Path(data_dir or get_data_dir()) / f"density_{densities.name}"
    paths = {name: folder / f"{_UNUSUAL.sub('_', name)}.npz" for name in wanted}
    # Some file systems do not tell capital letters from small ones.
    if len({path.name.lower() for path in paths.values()}) < len(paths):
        raise ValueError(
            f"names of structures of {densities.name!r} must differ in letters, digits, '.', '_' "
            f"or '-', got {list(wanted)}."
        )
    return paths


def _missing(
    wanted: Mapping[str, DensityStructure], paths: Mapping[str, Path]
) -> dict[str, DensityStructure]:
    """Structures whose density is not kept."""
    return {name: wanted[name] for name in wanted if not _is_kept(paths[name], wanted[name])}


def _is_kept(path: Path, structure: DensityStructure) -> bool:
    """Whether the file is complete and has this structure and settings."""
    try:
        return read_record(path, structure.digest) is not None
    except DamagedFileError:
        return False
