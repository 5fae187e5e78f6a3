"""Predictions beside their labels: entry by entry, and as mean absolute errors by type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class ComparedEntry:
    """One entry's label and prediction.

    Attributes
    ----------
    name, e_type, unit : str
        Of the entry.
    label, prediction : float
        In that unit. Of an array the label is 0 and the prediction the root mean square deviation;
        NaN if the entry's calculation failed.

    Examples
    --------
    >>> ComparedEntry("Al", "lattice_constant", "Angstrom", 4.05, 4.04).e_type
    'lattice_constant'
    """

    name: str
    e_type: str
    unit: str
    label: float
    prediction: float


def mean_errors(entries: Sequence[ComparedEntry]) -> dict[str, tuple[float, str, int]]:
    """Mean absolute error, unit and number of entries for each type, without those that failed.

    Examples
    --------
    >>> mean_errors([ComparedEntry("Si", "band_gap", "eV", 1.0, 0.5)])
    {'band_gap': (0.5, 'eV', 1)}
    """
    deviations: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    for entry in entries:
        if isfinite(entry.prediction):
            deviation = abs(entry.prediction - entry.label)
            deviations.setdefault(entry.e_type, []).append(deviation)
            units[entry.e_type] = entry.unit
    return {
        name: (sum(values) / len(values), units[name], len(values))
        for name, values in sorted(deviations.items())
    }
