"""The keywords of a calculation, each once: type, unit, meaning of None and a description.

Everything that takes keywords is built from these classes: `planewave.settings.Settings`, and with
it `scf`, the calculator and equations of state; systems of data sets; ``solver=`` of trainings; the
command line. The types are those of files (JSON, YAML) and of the command line.
`planewave.settings` defines what Python accepts in addition, and which values are valid. This
module imports nothing heavy, so that the command line's help appears at once.

None is the default of every keyword.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

#: Kinds of potentials in which collections and the benchmark come: PAW with GPAW's datasets, and
#: norm-conserving GTH potentials.
PotentialKind = Literal["paw", "gth"]


def _keyword(
    description: str, *, valid: str = "", unit: str = "", standard: Any = None, otherwise: str = ""
) -> Any:
    """A keyword.

    Parameters
    ----------
    description : str
        What it is, with its unit.
    valid : str, optional
        Values allowed in files, if `description` does not say so.
    unit : str, optional
        Unit of a number.
    standard : optional
        The value that None stands for, if it is always the same.
    otherwise : str, optional
        Meaning of None, if it depends on the calculation.
    """
    more = {"valid": valid, "unit": unit, "standard": standard, "otherwise": otherwise}
    return Field(None, description=description, json_schema_extra=more)


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StructureKeywords(_Group):
    """Keywords that belong to one structure.

    Examples
    --------
    >>> list(StructureKeywords.model_fields)
    ['ecut', 'kpts', 'pseudopotentials', 'fft_size', 'symmetry']
    """

    ecut: float | None = _keyword("plane-wave cutoff, a positive number in eV", unit="eV")
    kpts: dict[str, Any] | list[Any] | None = _keyword(
        "k-points, by their mesh or their density in points per 1/Angstrom",
        valid="a mesh [8, 8, 8], {size: [8, 8, 8], gamma: true} or {density: 5.0}",
        standard=(1, 1, 1),
    )
    pseudopotentials: str | dict[str, str] | None = _keyword(
        "a family, a name, a file, a folder, or one of these for each element", standard="gth-pbe"
    )
    fft_size: tuple[int, int, int] | None = _keyword(
        "points of the real-space grid",
        valid="three numbers, or one for all",
        otherwise="from the cutoff",
    )
    symmetry: bool | dict[str, bool] | None = _keyword(
        "k-points reduced by symmetry",
        valid="true, false or {point_group: false}",
        standard=True,
    )


class EnergyKeywords(_Group):
    """Other keywords that an energy depends on; may be common to all calculations of a data set.

    Examples
    --------
    >>> list(EnergyKeywords.model_fields)
    ['convergence', 'occupations', 'nbands', 'spinpol', 'ecut_smoothing']
    """

    convergence: dict[str, int | float] | None = _keyword(
        "changes and errors, per valence electron, at which the self-consistency loop stops",
        valid="{energy: 1.0e-8, density: 1.0e-8, maxiter: 100}, the energy in eV",
        unit="eV per valence electron",
    )
    occupations: str | dict[str, Any] | None = _keyword(
        "how electrons fill the levels",
        valid="{name: fermi-dirac, width: 0.1}, the width in eV",
        unit="eV",
        standard={"name": "fermi-dirac", "width": 0.1},
    )
    nbands: int | str | None = _keyword(
        "number of bands; -4 or '120%' count from the occupied ones",
        otherwise="enough for the electrons",
    )
    spinpol: bool | None = _keyword(
        "two spin channels", valid="true or false", otherwise="if there are moments"
    )
    ecut_smoothing: float | None = _keyword(
        "width below the cutoff, in eV, within which kinetic energies rise",
        unit="eV",
        standard=0.0,
    )


class LoopKeywords(_Group):
    """Keywords that do not change a result beyond its tolerance.

    Examples
    --------
    >>> list(LoopKeywords.model_fields)
    ['mixing', 'gradient_tolerance']
    """

    mixing: dict[str, Any] | None = _keyword(
        "how densities are mixed", valid="some of {beta: 0.3, history: 8}"
    )
    gradient_tolerance: float | None = _keyword(
        "relative residual of the adjoint equation, below 1"
    )


class StartKeywords(_Group):
    """The density to start from, of one structure or, as a model's, of all of a data set.

    Examples
    --------
    >>> list(StartKeywords.model_fields)
    ['start']
    """

    start: str | None = _keyword(
        "density to start from: the file of a record or of a density model, or the name of a "
        "shipped model",
        otherwise="superposed atoms",
    )


class DeviceKeywords(_Group):
    """The device that computes.

    Examples
    --------
    >>> list(DeviceKeywords.model_fields)
    ['device']
    """

    device: str | None = _keyword(
        "torch device: cpu, cuda, cuda:1, ...", otherwise="where the structure is"
    )


# pydantic lists the fields of the last base first.
class Keywords(DeviceKeywords, StartKeywords, LoopKeywords, EnergyKeywords, StructureKeywords):
    """All keywords of a calculation.

    Examples
    --------
    >>> list(Keywords.model_fields)[:3]
    ['ecut', 'kpts', 'pseudopotentials']
    >>> Keywords(ecut=300.0).nbands is None
    True
    """


def field(name: str) -> FieldInfo:
    """Type, default and description of a keyword.

    Examples
    --------
    >>> field("nbands").description
    "number of bands; -4 or '120%' count from the occupied ones"
    """
    return Keywords.model_fields[name]


def standard(name: str) -> Any:
    """The value that None stands for; None if it depends on the calculation.

    Examples
    --------
    >>> standard("occupations"), standard("nbands")
    ({'name': 'fermi-dirac', 'width': 0.1}, None)
    """
    return copy.deepcopy(_about(name)["standard"])


def by_default(name: str) -> str:
    """Meaning of an omitted keyword in words; empty if `standard` gives its value.

    Examples
    --------
    >>> by_default("nbands"), by_default("symmetry")
    ('enough for the electrons', '')
    """
    return str(_about(name)["otherwise"])


def valid_values(about: FieldInfo) -> str:
    """Values that a file may have at a key, in words.

    Parameters
    ----------
    about : FieldInfo
        Description of the key, which may be a keyword or any other.

    Examples
    --------
    >>> valid_values(field("spinpol")), valid_values(field("ecut"))
    ('true or false', 'plane-wave cutoff, a positive number in eV')
    """
    more = about.json_schema_extra
    said = more.get("valid") if isinstance(more, dict) else None
    return str(said or about.description or "")


def _about(name: str) -> dict[str, Any]:
    more = field(name).json_schema_extra
    assert isinstance(more, dict)
    return more
