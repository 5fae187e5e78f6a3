"""Keywords of `planewave.scf` that may be given for all calculations of a data set at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from deepchem_xc.feat.schema import KeywordSpec
from deepchem_xc.keywords import DeviceKeywords, EnergyKeywords, LoopKeywords
from deepchem_xc.planewave.settings import Settings


class SolverSpec(KeywordSpec, LoopKeywords, EnergyKeywords):
    """Keywords of all calculations in the form of files; those of a system take precedence.

    Examples
    --------
    >>> SolverSpec(gradient_tolerance="1e-5").gradient_tolerance
    1e-05
    """


#: Those that say what is computed; the others say how, or where.
ENERGY_OPTIONS = tuple(EnergyKeywords.model_fields)
#: Names of the options; all other keywords belong to single systems.
SOLVER_OPTIONS = (*ENERGY_OPTIONS, *LoopKeywords.model_fields, *DeviceKeywords.model_fields)


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
        Settings.of(options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"solver: {error}") from error
    # Copies: what is changed in the caller's dictionaries later was not checked. A source of
    # densities may be large.
    return {
        key: value if key == "start" else copy.deepcopy(value)
        for key, value in options.items()
        if value is not None
    }
