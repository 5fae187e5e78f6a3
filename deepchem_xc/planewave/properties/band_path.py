"""The axis of a band structure: named points, distances and breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase.dft.kpoints import BandPath

# Distance in reduced coordinates within which a k-point is a named one.
_SAME_POINT = 1e-5
# Ratio to the median step from which a step counts as a jump, if names do not mark jumps.
_LONG_STEP = 3.0


@dataclass(frozen=True)
class PathAxis:
    """Positions of a path's k-points on a line.

    Attributes
    ----------
    distances : ndarray
        (nk,), 1/Angstrom, in ASE's units (2 pi included). The points on both sides of a jump have
        the same distance.
    points : tuple of (int, str)
        Index and name of each named point, in the order of the path. Both sides of a jump are
        listed.
    breaks : tuple of int
        Indices i for which point i + 1 is not connected to point i.

    Examples
    --------
    >>> from ase.build import bulk
    >>> axis = path_axis(bulk("Po", "sc", a=3.3).cell.bandpath("GX,MR", npoints=6))
    >>> axis.points
    ((0, 'G'), (2, 'X'), (3, 'M'), (5, 'R'))
    >>> axis.sections
    (slice(0, 3, None), slice(3, 6, None))
    >>> [label for _, label in axis.ticks]
    ['G', 'X|M', 'R']
    """

    distances: NDArray[np.float64]
    points: tuple[tuple[int, str], ...]
    breaks: tuple[int, ...]

    @property
    def sections(self) -> tuple[slice, ...]:
        """The k-points of each connected part of the path."""
        ends = [index + 1 for index in self.breaks]
        starts = [0, *ends]
        return tuple(slice(a, b) for a, b in zip(starts, [*ends, len(self.distances)]))

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Distance and label of each tick; a jump has both names, such as ``X|M``."""
        ticks: list[tuple[float, str]] = []
        labelled = -1
        for index, name in self.points:
            if ticks and index - 1 == labelled and labelled in self.breaks:
                distance, before = ticks.pop()
                name = before if before == name else f"{before}|{name}"
            ticks.append((float(self.distances[index]), name))
            labelled = index
        return tuple(ticks)


def path_axis(path: BandPath) -> PathAxis:
    """Distances, named points and jumps of a path.

    Names and jumps are those of ``path.path``, in which a comma stands for a jump. If this text
    does not describe the points (it is empty, or names points that are not among them), every
    special point is named, and steps much longer than the others are jumps.

    Parameters
    ----------
    path : ase.dft.kpoints.BandPath
        With its k-points.

    Returns
    -------
    PathAxis

    Examples
    --------
    >>> from ase.build import bulk
    >>> path_axis(bulk("Si").cell.bandpath("LGX", npoints=5)).points
    ((0, 'L'), (1, 'G'), (4, 'X'))
    """
    steps = np.linalg.norm(np.diff(path.cartesian_kpts(), axis=0), axis=1) * 2.0 * np.pi
    named = _described(path)
    if named is None:
        long = _LONG_STEP * np.median(steps) if len(steps) else 0.0
        points, breaks = _special_points(path), np.flatnonzero(steps > long).tolist()
    else:
        points, breaks = named
    steps[breaks] = 0.0
    distances = np.concatenate([np.zeros(min(1, len(path.kpts))), np.cumsum(steps)])
    return PathAxis(distances, tuple(points), tuple(breaks))


def _described(path: BandPath) -> tuple[list[tuple[int, str]], list[int]] | None:
    """Named points and jumps from the path's text; None if it does not match the points."""
    from ase.dft.kpoints import parse_path_string

    points: list[tuple[int, str]] = []
    breaks: list[int] = []
    start = 0
    for names in parse_path_string(path.path):
        for position, name in enumerate(names):
            if name not in path.special_points:
                return None
            near = _is_at(path, path.special_points[name])[start:]
            if not near.any():
                return None
            index = start + int(near.argmax())
            # With points in between, two parts are connected despite the comma.
            if position == 0 and points and index == start:
                breaks.append(index - 1)
            points.append((index, name))
            start = index + 1
    covers = bool(points) and points[0][0] == 0 and points[-1][0] == len(path.kpts) - 1
    return (points, breaks) if covers else None


def _special_points(path: BandPath) -> list[tuple[int, str]]:
    found = {
        int(index): name
        for name, point in path.special_points.items()
        for index in np.flatnonzero(_is_at(path, point))
    }
    return sorted(found.items())


def _is_at(path: BandPath, point: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.linalg.norm(path.kpts - point, axis=1) < _SAME_POINT)
