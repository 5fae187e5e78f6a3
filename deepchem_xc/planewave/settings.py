"""`Settings`: the keywords of a calculation, checked, in the units of ASE (eV, Angstrom).

`deepchem_xc.keywords` lists the keywords; this module says which values are valid. Each value is
checked once, wherever it comes from: `scf`, the calculator, equations of state and commands build
`Settings`; systems of data sets and ``solver=`` use `checked_keyword`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ase.units import Hartree
from pydantic import (
    ConfigDict,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from deepchem_xc.keywords import Keywords
from deepchem_xc.planewave.basis.cutoff import check_cutoff
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.mixing import Mixing
from deepchem_xc.planewave.other_keywords import explain_unknown
from deepchem_xc.planewave.record.sources import check_source
from deepchem_xc.planewave.result import GRADIENT_TOLERANCE
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from deepchem_xc.planewave.values import (
    band_count,
    flag,
    grid_size,
    make_occupations,
    real_number,
    symmetry_choice,
    torch_device,
)

# Smallest relative residual of the adjoint equation that rounding allows.
_SMALLEST_TOLERANCE = 1e-12


class Settings(Keywords):
    """Keywords of a calculation, with valid values.

    Numbers, flags, grid, device and mixing are converted; other values stay as given, because
    their meaning depends on the crystal, or on whether energies are in eV or Hartree.

    Raises
    ------
    pydantic.ValidationError
        For values that are not valid; `of` says so in plain words.

    Examples
    --------
    >>> settings = Settings.of({"ecut": 300, "fft_size": 24, "nbands": None})
    >>> settings.ecut, settings.fft_size, settings.nbands
    (300.0, (24, 24, 24), None)
    >>> Settings.of({"ekut": 300})
    Traceback (most recent call last):
    TypeError: unknown keyword(s) ekut of scf (ekut: did you mean ecut?); the valid ones are ecut...
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _makes_sense(
        cls, value: Any, by_type: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        assert info.field_name is not None
        if value is None:
            return None
        return checked_keyword(info.field_name, value, otherwise=by_type)

    @classmethod
    def of(
        cls, given: Mapping[str, Any], caller: str = "scf", others: Collection[str] = ()
    ) -> Settings:
        """Settings from keywords.

        Parameters
        ----------
        given : mapping
            Keywords; None is the default of each.
        caller : str, optional
            Name of the function that takes them, for messages.
        others : collection of str, optional
            Further keywords of the caller, for messages.

        Raises
        ------
        TypeError
            For unknown keywords; the message lists similar ones and all valid ones.
        ValueError
            For values that are not valid; the message says what is.
        """
        unknown = [name for name in given if name not in cls.model_fields]
        if unknown:
            raise TypeError(explain_unknown(unknown, [*others, *cls.model_fields], caller))
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise ValueError("\n".join(map(_in_plain_words, error.errors()))) from None


def checked_keyword(name: str, value: Any, otherwise: Callable[[Any], Any] | None = None) -> Any:
    """Check the value of a keyword, and convert it if it needs nothing else.

    Parameters
    ----------
    name : str
        Keyword; values of other names pass.
    value : object
        Given value, not None.
    otherwise : callable, optional
        Check of keywords that have none here.

    Raises
    ------
    ValueError
        For a value that is not valid; the message says what is.

    Examples
    --------
    >>> checked_keyword("spinpol", 1)
    True
    >>> checked_keyword("nbands", "many")
    Traceback (most recent call last):
    ValueError: nbands = 'many' is not a number of bands: give a positive integer, ...
    """
    check = _CHECKS.get(name, otherwise)
    return value if check is None else check(value)


def _in_plain_words(mistake: Any) -> str:
    if mistake["type"] == "value_error":
        return str(mistake["ctx"]["error"])
    return f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}, got {mistake['input']!r}."


def _cutoff(value: Any) -> float:
    ecut = real_number(value, "ecut", "eV")
    check_cutoff(ecut / Hartree)
    return ecut


def _smoothing(value: Any) -> float:
    width = real_number(value, "ecut_smoothing", "eV")
    if not 0.0 <= width < math.inf:
        raise ValueError(
            f"ecut_smoothing must be at least 0 (eV) and below the cutoff, got {width:g}; a tenth "
            "of the cutoff is usual."
        )
    return width


def _occupations(value: Any) -> Any:
    make_occupations(value, 1.0 / Hartree)
    return value


def _convergence(value: Any) -> Any:
    Convergence.of(value, 1.0 / Hartree)
    return value


def _bands(value: Any) -> Any:
    band_count(value, 1.0)
    return value


def _symmetry(value: Any) -> Any:
    if not isinstance(value, SymmetryGroup):
        symmetry_choice(value)
    return value


def _gradient_tolerance(value: Any) -> float:
    tolerance = real_number(value, "gradient_tolerance")
    if not _SMALLEST_TOLERANCE <= tolerance < 1.0:
        raise ValueError(
            f"gradient_tolerance = {tolerance} cannot be met: give a relative residual between "
            f"{_SMALLEST_TOLERANCE:g}, which rounding allows, and 1; {GRADIENT_TOLERANCE:g} is the "
            "default."
        )
    return tolerance


def _as_given(value: Any) -> Any:
    """Validity depends on the crystal: `make_kpoints` and `load_potentials` check it."""
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "ecut": _cutoff,
    "kpts": _as_given,
    "pseudopotentials": _as_given,
    "fft_size": grid_size,
    "symmetry": _symmetry,
    "convergence": _convergence,
    "occupations": _occupations,
    "nbands": _bands,
    "spinpol": lambda value: flag(value, "spinpol"),
    "ecut_smoothing": _smoothing,
    "mixing": Mixing.of,
    "gradient_tolerance": _gradient_tolerance,
    "device": torch_device,
    "start": check_source,
}
