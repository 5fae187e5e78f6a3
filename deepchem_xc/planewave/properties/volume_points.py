"""Points of an energy curve, and their computation side by side; units are those of ASE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from ase.units import Hartree

from deepchem_xc.parallel import Jobs, held, parallel_map
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.low_cutoff import told
from deepchem_xc.planewave.properties.kept_points import KeptPoints
from deepchem_xc.planewave.properties.volume_series import VolumeSeries
from deepchem_xc.planewave.record import DensityRecord

if TYPE_CHECKING:
    from deepchem_xc.planewave.result import SCFResult
    from deepchem_xc.xc import XCFunctional


@dataclass(frozen=True)
class VolumePoint:
    """One point of an energy curve.

    Attributes
    ----------
    scale : float
        Volume or area in units of that of the given atoms.
    size : float
        Volume (Angstrom^3) or area (Angstrom^2).
    energy : float
        Energy extrapolated to zero smearing width, eV.
    free_energy : float
        eV.
    magnetic_moment : float
        mu_B per cell.
    steps : int
        Self-consistency steps.

    Examples
    --------
    >>> VolumePoint(1.0, 16.0, -56.4, -56.5, 0.0, 9).size
    16.0
    """

    scale: float
    size: float
    energy: float
    free_energy: float
    magnetic_moment: float
    steps: int

    @classmethod
    def of(cls, result: SCFResult, series: VolumeSeries, scale: float) -> VolumePoint:
        """Point of a ground state at a volume of a series."""
        plain = result.detach()
        return cls(
            scale=scale,
            size=series.size(scale),
            energy=float(plain.extrapolated_energy) * Hartree,
            free_energy=float(plain.free_energy) * Hartree,
            magnetic_moment=float(plain.magnetic_moment),
            steps=result.nsteps,
        )


class VolumeError(RuntimeError):
    """Some volumes of a curve failed in other processes; `details` holds the tracebacks.

    Examples
    --------
    >>> VolumeError("the volume at scale 0.94 failed", "Traceback ...").details
    'Traceback ...'
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


def points_side_by_side(
    series: VolumeSeries,
    functional: str | XCFunctional,
    keywords: Mapping[str, Any],
    jobs: Jobs,
    callback: Callable[[VolumePoint], None] | None = None,
    kept: KeptPoints | None = None,
) -> dict[float, VolumePoint]:
    """Points of a curve, each in a process of its own, with one thread.

    The middle volume comes first, because initial moments are most likely right there, and all
    others start from it. Numbers are therefore the same from any number of processes; from those of
    volumes that start from each other they differ within the loop's tolerance.

    Parameters
    ----------
    series : VolumeSeries
        The volumes.
    functional : str or XCFunctional
        Its parameters must not require gradients, which do not come back from other processes.
    keywords : mapping
        Those of `scf`, with the k-points and grid of the series.
    jobs : int, str or distributed.Client
        As for `parallel_map`.
    callback : callable, optional
        Called with every finished point.
    kept : KeptPoints, optional
        Points of an earlier run, which are not computed again; finished ones are added.

    Returns
    -------
    dict
        Points by scale.

    Raises
    ------
    VolumeError
        If volumes fail, after all others were handed to `callback`.
    ValueError
        If the functional's parameters require gradients.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.properties.volume_series import volume_series
    >>> from deepchem_xc.planewave.settings import Settings
    >>> settings = {"ecut": 100.0, "kpts": (1, 1, 1)}
    >>> series = volume_series(bulk("Si"), Settings.of(settings))
    >>> keywords = {**settings, "kpts": series.kpoints, "fft_size": series.fft_size}
    >>> found = points_side_by_side(series, "PBE", keywords, jobs=1)
    >>> sorted(found)[0], len(found)
    (0.94, 7)
    """
    _refuse_derivatives(functional)
    by_name = {f"scale {scale:g}": scale for scale in series.scales}
    middle = min(by_name, key=lambda name: abs(math.log(by_name[name])))
    points: dict[float, VolumePoint] = {}
    start: DensityRecord | None = None
    if kept is not None:
        found = {scale: kept.read(scale) for scale in series.scales}
        points = {scale: VolumePoint(**one) for scale, one in found.items() if one is not None}
        start = kept.start()
        if start is None and len(points) < len(by_name):
            # The others would start from nothing, and find other moments.
            points.pop(by_name[middle], None)
        if callback is not None:
            for point in points.values():
                callback(point)
    left = [name for name, scale in by_name.items() if scale not in points]
    if not left:
        return points
    with held(jobs) as workers:
        for names in ([n for n in left if n == middle], [n for n in left if n != middle]):
            calls = {
                name: (
                    *(series, by_name[name], functional),
                    *(None if name == middle else start, dict(keywords), name == middle),
                )
                for name in names
            }
            failures: list[str] = []
            details: list[str] = []
            with closing(parallel_map(_point, calls, jobs=workers)) as outcomes:
                for outcome in outcomes:
                    if outcome.value is None:
                        failures.append(f"{outcome.name}: {outcome.error}")
                        details.append(outcome.details)
                        continue
                    point, density = outcome.value
                    start = density or start
                    points[point.scale] = point
                    if kept is not None:
                        kept.write(point.scale, asdict(point), density)
                    if callback is not None:
                        callback(point)
            if failures:
                where = ""
                if kept is not None:
                    where = f". The others are kept in {kept.folder}; repeat this for the rest"
                raise VolumeError(
                    f"{len(failures)} of {len(by_name)} volumes failed: {'; '.join(failures)}"
                    f"{where}",
                    "\n".join(details),
                )
    return points


def _point(
    series: VolumeSeries,
    scale: float,
    functional: str | XCFunctional,
    start: DensityRecord | None,
    keywords: dict[str, Any],
    keep: bool,
) -> tuple[VolumePoint, DensityRecord | None]:
    """A point and, if the others start from it, its density and orbitals."""
    with torch.no_grad(), told():
        given = keywords if start is None else {**keywords, "start": start}
        result = scf(series.crystal(scale), functional, **given)
        kept = DensityRecord.of(result, results=False) if keep else None
        return VolumePoint.of(result, series, scale), kept


def _refuse_derivatives(functional: str | XCFunctional) -> None:
    if isinstance(functional, str) or not torch.is_grad_enabled():
        return
    if any(parameter.requires_grad for parameter in functional.parameters()):
        raise ValueError(
            f"jobs computes volumes in other processes, from which derivatives with respect to the "
            f"parameters of {functional.name} do not come back: call equation_of_state inside "
            "torch.no_grad(), freeze them with functional.requires_grad_(False), or leave out jobs."
        )
