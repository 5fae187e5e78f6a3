"""Whether a cutoff is too low for PAW datasets."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from ase.units import Hartree

from deepchem_xc._caller import users_stacklevel
from deepchem_xc.planewave.measured_cutoffs import MeasuredCutoff, measured_cutoffs
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.paw.plane_wave_tail import cutoff_of_tail, kinetic_tail

__all__ = ["LowCutoffWarning", "check_cutoff", "estimated_cutoff", "told"]

# Share of the free atom's kinetic energy beyond the estimated cutoff; from the measured ones.
_SHARE = 3e-3
#: Factor by which estimates differ from measured "fast" cutoffs, as one standard deviation.
SCATTER = 1.3

# Warnings that were given: file and line of the user, and text. Python's own memory does not last:
# every `warnings.catch_warnings`, also those of other libraries, makes it forget.
_given: set[tuple[str, int, str]] = set()
_told: ContextVar[bool] = ContextVar("told", default=False)


class LowCutoffWarning(UserWarning):
    """The cutoff is so low for a PAW dataset that lattice constants are off by 0.5 % or more."""


@contextmanager
def told() -> Iterator[None]:
    """Calculations inside do not warn: their caller has called `check_cutoff` for all of them.

    Examples
    --------
    >>> with told():
    ...     check_cutoff(1.0, {})
    """
    token = _told.set(True)
    try:
        yield
    finally:
        _told.reset(token)


def estimated_cutoff(potential: PAWPotential) -> float:
    """Cutoff of a dataset that was not measured, for errors of 0.5 % (eV).

    Beyond it a free atom's smooth orbitals have 0.3 % of their kinetic energy. Measured cutoffs
    differ from it by a factor of `SCATTER`, in either direction.

    Parameters
    ----------
    potential : PAWPotential
        Any.
    """
    total = float(kinetic_tail(potential.dataset)[1][0])
    return cutoff_of_tail(potential.dataset, _SHARE * total) * Hartree


def check_cutoff(ecut: float, potentials: Mapping[str, PAWPotential]) -> None:
    """Warn of a cutoff below the "fast" protocol's for a dataset, or below its estimate.

    Parameters
    ----------
    ecut : float
        Cutoff of the orbitals, Hartree.
    potentials : mapping of str to PAWPotential
        One for every species.

    Warns
    -----
    LowCutoffWarning
        Once for a line of the user, naming all elements that need more, and the errors to expect.
    """
    if _told.get():
        return
    given = ecut * Hartree
    remarks: list[str] = []
    wanted: list[float] = []
    for symbol, potential in potentials.items():
        row = measured_cutoffs().get(symbol, {}).get(potential.name)
        enough = estimated_cutoff(potential) if row is None else row.ecut.get("fast", 0.0)
        # Cutoffs in Hartree come back in eV with a rounding error.
        if given < enough * (1.0 - 1e-9):
            about = _estimated() if row is None else _measured(row, given)
            remarks.append(f"{enough:.0f} eV for {symbol} ({potential.name}: {about})")
            wanted.append(enough if row is None else row.ecut.get("balanced", enough))
    if not remarks:
        return
    text = (
        f"the cutoff of {given:.0f} eV is low for PAW datasets: lattice constants within 0.5 % "
        f"need {' and '.join(remarks)}. Below it, energies jump between volumes. Give "
        f"ecut={max(wanted):.0f} or more; docs/paw.md has a table."
    )
    frame = sys._getframe(users_stacklevel() - 1)
    place = (frame.f_code.co_filename, frame.f_lineno, text)
    if place not in _given:
        warnings.warn(text, LowCutoffWarning, stacklevel=users_stacklevel())
        # Not reached where warnings are errors.
        _given.add(place)


def _estimated() -> str:
    return f"estimated, to within a factor of {SCATTER:g}"


def _measured(row: MeasuredCutoff, given: float) -> str:
    error = row.largest_error(given)
    if error is None:
        return "at the given one they are off by more than was measured"
    return f"at the given one they are off by up to {100.0 * error:.1f} %"
