"""Keywords that may be given for all calculations of a data set at once.

They are those of `planewave.scf`, for crystals, in eV; molecules have their own, of `gaussian.scf`
and in Hartree, under the key ``molecules``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from deepchem_xc.feat.molecule_keywords import OPTIONS_OF_MOLECULES, MoleculeOptions
from deepchem_xc.feat.schema import KeywordSpec, describe_mistakes
from deepchem_xc.keywords import DeviceKeywords, EnergyKeywords, LoopKeywords, StartKeywords
from deepchem_xc.planewave.settings import Settings


class SolverSpec(KeywordSpec, StartKeywords, LoopKeywords, EnergyKeywords):
    """Keywords of all calculations in the form of files; those of a system take precedence.

    Examples
    --------
    >>> SolverSpec(gradient_tolerance="1e-5").gradient_tolerance
    1e-05
    """

    molecules: MoleculeOptions | None = Field(
        None, description="keywords of molecules: convergence, occupations, level_shift and so on"
    )


#: Those that say what is computed; the others say how, or where.
ENERGY_OPTIONS = tuple(EnergyKeywords.model_fields)
#: Names of the options; all other keywords belong to single systems.
SOLVER_OPTIONS = (
    *ENERGY_OPTIONS,
    *LoopKeywords.model_fields,
    *StartKeywords.model_fields,
    *DeviceKeywords.model_fields,
    OPTIONS_OF_MOLECULES,
)


def checked_solver_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that are None, checked before the first calculation.

    Parameters
    ----------
    options : mapping
        Those of `SOLVER_OPTIONS`: keywords of `planewave.scf`, and ``molecules``, a mapping of
        those of `MoleculeOptions`.

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
    of_molecules = options.get(OPTIONS_OF_MOLECULES)
    if of_molecules is not None:
        options = {**options, OPTIONS_OF_MOLECULES: _checked_molecules(of_molecules)}
    try:
        Settings.of({k: value for k, value in options.items() if k != OPTIONS_OF_MOLECULES})
    except (TypeError, ValueError) as error:
        raise ValueError(f"solver: {error}") from error
    # Copies: what is changed in the caller's dictionaries later was not checked. A source of
    # densities may be large.
    return {
        key: value if key == "start" else copy.deepcopy(value)
        for key, value in options.items()
        if value is not None
    }


def _checked_molecules(given: Any) -> dict[str, Any]:
    where = f"solver: {OPTIONS_OF_MOLECULES}"
    try:
        found = MoleculeOptions.model_validate(given)
    except ValidationError as error:
        raise ValueError(describe_mistakes(error, where, MoleculeOptions)) from None
    return found.model_dump(exclude_none=True)
