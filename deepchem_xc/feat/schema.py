"""Valid content of an entry of a data set: keys, types and ranges, checked by pydantic.

Of crystals lengths are in Angstrom, energies in eV, moments in mu_B; of molecules everything is in
Hartree atomic units, as in DeepChem.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from deepchem_xc._files import plain
from deepchem_xc.feat.files import absolute_potential, structure_values
from deepchem_xc.feat.moldesc import moldesc_text, with_declarations
from deepchem_xc.feat.molecule_keywords import MoleculeKeywords
from deepchem_xc.keywords import (
    EnergyKeywords,
    StartKeywords,
    StructureKeywords,
    standard,
    valid_values,
)
from deepchem_xc.keywords import field as keyword
from deepchem_xc.planewave.record.model_files import model_file
from deepchem_xc.planewave.settings import checked_keyword

if TYPE_CHECKING:
    from ase import Atoms

_Row = tuple[float, float, float]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class StructureSpec(_Spec):
    """A crystal's cell and atoms.

    Examples
    --------
    >>> StructureSpec(symbols=["Al"], cell=[(0, 2, 2), (2, 0, 2), (2, 2, 0)],
    ...               scaled_positions=[(0, 0, 0)]).atoms().symbols
    Symbols('Al')
    """

    symbols: list[str] = Field(min_length=1, description="chemical symbols, one for each atom")
    cell: tuple[_Row, _Row, _Row] = Field(description="three lattice vectors as rows, Angstrom")
    scaled_positions: list[_Row] | None = Field(
        None, description="one row of three reduced coordinates for each atom"
    )
    positions: list[_Row] | None = Field(
        None, description="one row of three coordinates in Angstrom for each atom"
    )
    magmoms: list[float] | None = Field(
        None, description="initial magnetic moments in mu_B, one for each atom"
    )
    pbc: bool | tuple[bool, bool, bool] = Field(
        True, description="true, or for a layer [true, true, false]"
    )

    @field_validator("symbols")
    @classmethod
    def _elements(cls, symbols: list[str]) -> list[str]:
        from ase.data import atomic_numbers

        unknown = sorted(set(symbols) - set(atomic_numbers))
        if unknown:
            raise ValueError(f"there is no element {unknown[0]!r}")
        return symbols

    @model_validator(mode="after")
    def _consistent(self) -> StructureSpec:
        if (self.scaled_positions is None) == (self.positions is None):
            raise ValueError("give either scaled_positions or positions")
        for key in ("scaled_positions", "positions", "magmoms"):
            rows = getattr(self, key)
            if rows is not None and len(rows) != len(self.symbols):
                raise ValueError(f"{key} has {len(rows)} rows for {len(self.symbols)} symbols")
        return self

    def atoms(self) -> Atoms:
        """ASE Atoms of this structure."""
        from ase import Atoms

        return Atoms(
            self.symbols,
            cell=self.cell,
            scaled_positions=self.scaled_positions,
            positions=self.positions,
            magmoms=self.magmoms,
            pbc=self.pbc,
        )


class KeywordSpec(_Spec):
    """Some keywords of a calculation in the form of files: plain, valid values."""

    @field_validator("*", mode="after")
    @classmethod
    def _makes_sense(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.field_name is not None:
            checked_keyword(info.field_name, value)
        return value


class CrystalSpec(KeywordSpec, StartKeywords, EnergyKeywords, StructureKeywords):
    """A crystal and the keywords of its calculation, which are those of `planewave.scf`.

    Examples
    --------
    >>> CrystalSpec.model_fields["ecut"].description
    'plane-wave cutoff, a positive number in eV'
    """

    structure: StructureSpec = Field(
        description="symbols, cell and positions, the path of a CIF, POSCAR or extxyz file, the "
        "text of a CIF, ASE Atoms, or a pymatgen Structure or its dictionary"
    )
    ecut: float = Field(description=keyword("ecut").description)
    # The default is written out, because it is part of a calculation's name.
    pseudopotentials: str | dict[str, str] = Field(
        standard("pseudopotentials"), description=keyword("pseudopotentials").description
    )
    number: int = Field(1, ge=1, description="how many times the system occurs, at least 1")
    # None, not False: what is left out does not enter the name of a calculation.
    primitive: bool | None = Field(
        None, description="true to compute the primitive cell; the label stays the given cell's"
    )
    compressed: bool | None = Field(
        None, description="true for a crystal under pressure: its volume may be any"
    )

    @field_validator("structure", mode="before")
    @classmethod
    def _read_structure(cls, value: Any, info: ValidationInfo) -> Any:
        return structure_values(value, _folder(info))

    @field_validator("kpts", "fft_size", mode="before")
    @classmethod
    def _one_for_three(cls, value: Any) -> Any:
        return [value] * 3 if type(value) is int else value

    @field_validator("occupations", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("pseudopotentials", mode="before")
    @classmethod
    def _family(cls, value: Any) -> Any:
        return standard("pseudopotentials") if value is None else value

    @field_validator("start", mode="after")
    @classmethod
    def _find_record(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        path = os.path.abspath((_folder(info) or Path()) / value)
        is_name = not os.path.exists(path) and model_file(value) is not None
        return value if is_name else path

    @field_validator("pseudopotentials", mode="after")
    @classmethod
    def _find_files(cls, value: Any, info: ValidationInfo) -> Any:
        folder = _folder(info)
        if isinstance(value, dict):
            return {key: absolute_potential(name, folder) for key, name in value.items()}
        return absolute_potential(value, folder)


class MoleculeSpec(_Spec, MoleculeKeywords):
    """A molecule, in DeepChem's keys, and keywords of `gaussian.scf`; Hartree atomic units.

    Examples
    --------
    >>> MoleculeSpec(moldesc="H 0.86625 0 0; F -0.86625 0 0", basis="6-311++G(3df,3pd)").number
    1
    """

    moldesc: str = Field(
        min_length=1,
        description="atoms as 'H 0.87 0 0; F -0.87 0 0' in bohr, or, in Angstrom, the path of a "
        "file such as an xyz, or ASE Atoms",
    )
    basis: str | dict[str, str] = Field(
        min_length=1,
        description="name of a Gaussian basis set, or one for each element and a default",
    )
    spin: int = Field(0, ge=0, description="number of unpaired electrons")
    charge: int = Field(0, description="charge in elementary charges")
    number: int = Field(1, ge=1, description="how many times the system occurs, at least 1")

    @model_validator(mode="before")
    @classmethod
    def _declared(cls, values: Any, info: ValidationInfo) -> Any:
        return with_declarations(values, _folder(info)) if isinstance(values, Mapping) else values

    @field_validator("moldesc", mode="before")
    @classmethod
    def _read_atoms(cls, value: Any, info: ValidationInfo) -> Any:
        return moldesc_text(value, _folder(info))


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return "molecule" if "moldesc" in keys and "structure" not in keys else "crystal"


SystemSpec = Annotated[
    Annotated[CrystalSpec, Tag("crystal")] | Annotated[MoleculeSpec, Tag("molecule")],
    Discriminator(_kind),
]


class EntrySpec(_Spec):
    """One entry of a data set.

    Examples
    --------
    >>> silicon = {"structure": {"symbols": ["Al"], "cell": [(0, 2, 2), (2, 0, 2), (2, 2, 0)],
    ...                          "positions": [(0, 0, 0)]}, "ecut": 200}
    >>> EntrySpec(e_type="energy", true_val="-57.1", systems=[silicon]).weight
    1.0
    """

    e_type: str = Field(description="kind of entry")
    true_val: Any = Field(None, description="the reference value: a number, a list or an .npy file")
    systems: list[SystemSpec] = Field(min_length=1, description="a list of systems")
    weight: float = Field(1.0, ge=0, description="a number, at least 0")
    scales: list[Annotated[float, Field(gt=0)]] | None = Field(
        None, min_length=5, description="at least 5 volumes (areas) in units of the structure's"
    )
    dimension: Literal[2, 3] | None = Field(None, description="3 for a crystal, 2 for a layer")
    name: str | None = Field(None, description="a name for messages and tables")


_TAGGED: dict[Any, type[BaseModel]] = {"crystal": CrystalSpec, "molecule": MoleculeSpec}
# Parts of pydantic's locations that are not keys: kinds of systems, members of unions.
_TAGS = (*_TAGGED, "int", "float", "constrained-float", "str", "bool", "list", "dict")


def _is_key(part: Any) -> bool:
    """Whether a part of pydantic's location is a key; types and names of models are not."""
    return not isinstance(part, str) or not (
        part in _TAGS or "[" in part or (part[:1].isupper() and part.endswith("Spec"))
    )


def validate_entry(values: Any, where: str, folder: Path | None = None) -> EntrySpec:
    """Entry from a mapping, or an error that names the entry, the key and what is valid.

    Parameters
    ----------
    values : mapping
        As read from YAML.
    where : str
        Name of the entry in messages.
    folder : Path, optional
        Folder to which relative paths refer; the working directory by default.

    Raises
    ------
    ValueError
        One line for each mistake.

    Examples
    --------
    >>> validate_entry({"e_type": "eos", "system": []}, "entry 1")
    Traceback (most recent call last):
    ValueError: entry 1 is not valid:
      systems: missing; give a list of systems
      system: unknown key, did you mean 'systems'? Valid: e_type, true_val, systems, weight, ...
    """
    if not isinstance(values, dict):
        raise ValueError(
            f"{where} is not valid: it must be a mapping with e_type, true_val and systems, got "
            f"{type(values).__name__} {values!r}."
        )
    values = {key: x if key == "true_val" else plain(x) for key, x in values.items()}
    try:
        return EntrySpec.model_validate(values, context={"folder": folder})
    except ValidationError as error:
        raise ValueError(describe_mistakes(error, where, EntrySpec)) from None


def describe_mistakes(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Text of an error: one line for each mistake, with its key and what is valid.

    Parameters
    ----------
    error : ValidationError
        From pydantic.
    where : str
        Name of the validated object in the text.
    model : type of BaseModel
        Model of the validated object; descriptions of its fields say what is valid.
    """
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        line = _describe(detail, model)
        # pydantic reports one error per member of a union: keep the first.
        lines.setdefault(line.split(":")[0], line)
    return f"{where} is not valid:\n  " + "\n  ".join(lines.values())


def _inner(model: type[BaseModel], key: Any) -> type[BaseModel]:
    """Model at a key or a tag of another model; that model itself if there is none."""
    if key in _TAGGED:
        return _TAGGED[key]
    for member in _members(model):
        if member.__name__ == key:
            return member
    kind = model.model_fields[key].annotation if key in model.model_fields else None
    inner = [one for one in (kind, *get_args(kind)) if _is_model(one)]
    # Of several, pydantic's location says which.
    return inner[0] if len(inner) == 1 else model


def _members(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Models among the types that the fields of a model may have."""
    found: list[type[BaseModel]] = []
    for info in model.model_fields.values():
        found += [member for member in get_args(info.annotation) if _is_model(member)]
    return found


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _describe(error: Any, model: type[BaseModel]) -> str:
    """One line for one mistake."""
    place = [part for part in error["loc"] if _is_key(part)]
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    models = [model]
    for part in error["loc"][:-1]:
        model = _inner(model, part)
        models.append(model)
    if error["type"] == "extra_forbidden":
        keys = [info.alias or name for name, info in model.model_fields.items()]
        near = difflib.get_close_matches(str(place[-1]), keys, n=1)
        hint = f", did you mean {near[0]!r}?" if near else "."
        return f"{path}: unknown key{hint} Valid: {', '.join(keys)}"
    named = [part for part in place if isinstance(part, str)]
    fields = {info.alias or name: info for m in models for name, info in m.model_fields.items()}
    valid = valid_values(fields[named[-1]]) if named and named[-1] in fields else ""
    if error["type"] == "missing":
        return f"{path}: missing" + (f"; give {valid}" if valid else "")
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not message.endswith("..."):  # which stands for the rest of a name
        message = message.removesuffix(".")
    given = "" if isinstance(error["input"], (dict, list)) else f", got {error['input']!r}"
    return f"{path}: {message}{given}" + (f"; give {valid}" if valid else "")


def _folder(info: ValidationInfo) -> Path | None:
    """Folder to which relative paths refer."""
    folder: Path | None = (info.context or {}).get("folder")
    return folder
