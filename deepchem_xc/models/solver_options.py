"""Keywords of `planewave.scf` that may be given for all cells of a data set at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from ase.units import Hartree

from deepchem_xc.planewave.inputs import make_convergence, make_occupations
from deepchem_xc.planewave.mixing import Mixing
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from deepchem_xc.planewave.settings import band_count, flag, real_number, torch_device

#: Their names; all others belong to single systems.
SOLVER_OPTIONS = (
    "convergence",
    "mixing",
    "gradient_tolerance",
    "occupations",
    "nbands",
    "spinpol",
    "ecut_smoothing",
    "device",
)
#: Those that say what is computed; the others say how, or where.
ENERGY_OPTIONS = ("convergence", "occupations", "nbands", "spinpol", "ecut_smoothing")


def checked_solver_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that are None, checked before the first calculation.

    Parameters
    ----------
    options : mapping
        Keywords of `planewave.scf`, of `SOLVER_OPTIONS`.

    Raises
    ------
    ValueError
        For other keywords, and values that `scf` would refuse.

    Examples
    --------
    >>> checked_solver_options({"nbands": 8, "mixing": None})
    {'nbands': 8}
    >>> checked_solver_options({"ecut": 300.0})
    Traceback (most recent call last):
    ValueError: solver: ecut cannot be given for all systems at once. Valid: convergence, ...
    """
    unknown = sorted(set(options) - set(SOLVER_OPTIONS))
    if unknown:
        raise ValueError(
            f"solver: {', '.join(unknown)} cannot be given for all systems at once. Valid: "
            f"{', '.join(SOLVER_OPTIONS)}; structure, cutoff, k-points, grid, symmetry and "
            "pseudopotentials belong to the systems."
        )
    try:
        make_convergence(options.get("convergence"))
        Mixing.of(options.get("mixing"))
        make_occupations(options.get("occupations"), 1.0 / Hartree)
        band_count(options.get("nbands"), 1.0)
        torch_device(options.get("device"))
        if options.get("spinpol") is not None:
            flag(options["spinpol"], "spinpol")
        if (width := options.get("ecut_smoothing")) is not None:
            width = real_number(width, "ecut_smoothing", "eV")
            if not 0.0 <= width < math.inf:
                raise ValueError(f"ecut_smoothing must be at least 0 (eV), got {width}.")
        tolerance = options.get("gradient_tolerance")
        tolerance = real_number(
            GRADIENT_TOLERANCE if tolerance is None else tolerance, "gradient_tolerance"
        )
        if not 0.0 < tolerance < 1.0:
            raise ValueError(f"gradient_tolerance must be between 0 and 1, got {tolerance}.")
    except (TypeError, ValueError) as error:
        raise ValueError(f"solver: {error}") from error
    # Copies: what is changed in the caller's dictionaries later was not checked.
    return {key: copy.deepcopy(value) for key, value in options.items() if value is not None}
