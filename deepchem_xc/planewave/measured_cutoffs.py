"""Cutoffs that were measured for potentials, from the table that data/protocols.py writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from deepchem_xc._files import data_file

__all__ = ["MeasuredCutoff", "measured_cutoffs", "rows_of"]


@dataclass(frozen=True)
class MeasuredCutoff:
    """Cutoffs of a potential, and the errors of lattice constants that they follow from.

    Attributes
    ----------
    ecut : mapping
        Cutoff in eV by protocol; those for which the series was too short are left out.
    errors : tuple of (float, float or None)
        Cutoffs (eV), ascending, and relative errors of the lattice constant with them; None where
        the energies had no minimum.

    Examples
    --------
    >>> row = MeasuredCutoff({"fast": 300.0}, ((200.0, None), (250.0, 0.02), (300.0, -0.004)))
    >>> row.largest_error(270.0), row.largest_error(240.0), row.largest_error(100.0)
    (0.02, None, None)
    """

    ecut: Mapping[str, float]
    errors: tuple[tuple[float, float | None], ...]

    def largest_error(self, ecut: float) -> float | None:
        """Largest relative error from the next lower measured cutoff on.

        None where a curve had no minimum, and below the lowest measured cutoff.
        """
        if not self.errors or ecut < self.errors[0][0]:
            return None
        below = max(cutoff for cutoff, _ in self.errors if cutoff <= ecut)
        found = [error for cutoff, error in self.errors if cutoff >= below]
        known = [abs(error) for error in found if error is not None]
        return max(known) if len(known) == len(found) else None


def rows_of(
    elements: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, MeasuredCutoff]]:
    """Rows of the file's "elements" by element and name of the potential.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        If the content is of another kind.
    """
    return {
        element: {
            name: MeasuredCutoff(
                {key: float(value) for key, value in row["ecut"].items() if value is not None},
                tuple((float(cutoff), error) for cutoff, error in row["errors"]),
            )
            for name, row in rows.items()
        }
        for element, rows in elements.items()
    }


@cache
def measured_cutoffs() -> dict[str, dict[str, MeasuredCutoff]]:
    """The package's table: rows by element and name of the potential.

    Raises
    ------
    FileNotFoundError
        If the package was installed without its data.

    Examples
    --------
    >>> sorted(measured_cutoffs()["Si"]["GTH-PBE-q4"].ecut)
    ['balanced', 'fast', 'precise']
    """
    return rows_of(json.loads(data_file("protocols.json").read_text())["elements"])
