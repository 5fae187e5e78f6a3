"""Keywords of `gaussian.scf` in the form of files: plain, valid values in Hartree atomic units."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deepchem_xc.gaussian.convergence import Convergence
from deepchem_xc.occupations.by_name import make_smearing


class MoleculeOptions(BaseModel):
    """Keywords that may be common to all molecules of a data set, as ``solver: {molecules: ...}``.

    Examples
    --------
    >>> MoleculeOptions(level_shift="0.2").level_shift
    0.2
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    # None, not a default: what is left out does not enter the name of a calculation.
    convergence: dict[str, int | float] | None = Field(
        None, description="some of {energy: 1.0e-9, commutator: 1.0e-7, maxiter: 100}, Hartree"
    )
    occupations: dict[str, Any] | None = Field(
        None, description="{name: fermi-dirac, width: 0.005}, the width in Hartree"
    )
    level_shift: float | None = Field(None, ge=0, le=10, description="Hartree, from 0 to 10")
    damping: float | None = Field(None, ge=0, le=0.99, description="a number from 0 to 0.99")
    gradient_tolerance: float | None = Field(
        None, gt=0, le=1, description="relative residual of the adjoint equation, at most 1"
    )

    @field_validator("occupations", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("occupations", mode="after")
    @classmethod
    def _smearing(cls, value: Any) -> Any:
        make_smearing(value)
        return value

    @field_validator("convergence", mode="after")
    @classmethod
    def _criteria(cls, value: Any) -> Any:
        Convergence.of(value)
        return value


class MoleculeKeywords(MoleculeOptions):
    """All keywords of one molecule, except for atoms, basis set, charge and spin.

    Examples
    --------
    >>> list(MoleculeKeywords.model_fields)[-4:]
    ['restricted', 'pseudopotentials', 'grid_level', 'density_fitting']
    """

    restricted: bool | Literal["open"] | None = Field(
        None,
        description="true, false (a set of orbitals for each spin) or open (one set, open shells)",
    )
    pseudopotentials: str | dict[str, str] | None = Field(
        None,
        description="a name that PySCF knows, such as gth-pbe, or one for each element, with a "
        "basis set made for them",
    )
    grid_level: int | None = Field(
        None, ge=0, le=9, description="level of PySCF's integration grid, 0 to 9; 3 by default"
    )
    density_fitting: str | None = Field(
        None, min_length=1, description="auxiliary basis set, such as def2-universal-jkfit"
    )


#: Those of `MoleculeOptions` that say what is computed; the others say how.
ENERGY_OPTIONS_OF_MOLECULES = ("convergence", "occupations")
#: Key of `MoleculeOptions` among the options of a data set.
OPTIONS_OF_MOLECULES = "molecules"
