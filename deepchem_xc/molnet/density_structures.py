"""`DensitySet`: structures and settings of a set of densities, as in the package's ``data/``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deepchem_xc._files import data_file
from deepchem_xc.keywords import Keywords
from deepchem_xc.planewave.potentials import dataset_digests
from deepchem_xc.store import digest

#: Names of the sets.
DENSITY_SETS = ("silicon", "mixed", "molecules", "magnets")
PARTS = ("train", "valid", "test")
# The functional of all sets.
FUNCTIONAL = "PBE"


class _StructureFile(BaseModel):
    model_config = ConfigDict(extra="allow")
    part: Literal["train", "valid", "test"]
    kind: str
    origin: str
    symbols: str
    cell: list[list[float]]
    scaled_positions: list[list[float]]
    magmoms: list[float] | None = None


class _SetFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str
    settings: dict[str, Any]
    structures: dict[str, _StructureFile] = Field(min_length=1)
    quick: list[str] = []

    @model_validator(mode="after")
    def _quick_are_there(self) -> _SetFile:
        unknown = [name for name in self.quick if name not in self.structures]
        if unknown:
            raise ValueError(f"quick names structures that are not there: {unknown}")
        return self


@dataclass(frozen=True, eq=False)
class DensityStructure:
    """A structure of a set, and how its density is computed.

    Attributes
    ----------
    name : str
        Its name, unique in the set.
    part : {"train", "valid", "test"}
        The part of the set that it belongs to.
    kind : str
        What it is an example of, such as ``"rattled"`` or ``"ionic"``.
    origin : str
        The prototype, or what it was made from and the seed.
    atoms : ase.Atoms
        The structure, Angstrom, with initial moments (mu_B) if it is magnetic.
    keywords : dict
        Keywords of `planewave.scf` (eV), without the functional.
    """

    name: str
    part: str
    kind: str
    origin: str
    atoms: Atoms
    keywords: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of structure, settings, datasets and functional: the key of a kept density."""
        moments = self.atoms.get_initial_magnetic_moments()
        symbols = self.atoms.get_chemical_symbols()
        potentials = self.keywords.get("pseudopotentials")
        datasets = {} if potentials is None else dataset_digests(potentials, symbols)
        content = {
            **({"datasets": datasets} if datasets else {}),
            "symbols": symbols,
            "cell": self.atoms.cell.tolist(),
            "scaled_positions": self.atoms.get_scaled_positions(wrap=False).round(9).tolist(),
            "magmoms": moments.tolist(),
            "keywords": dict(self.keywords),
            "functional": FUNCTIONAL,
        }
        return digest(content)


@dataclass(frozen=True, eq=False)
class DensitySet:
    """Structures whose densities are a data set.

    Attributes
    ----------
    name : str
        Name of the set.
    description : str
        What it holds.
    structures : dict
        `DensityStructure` objects by name.
    quick : tuple of str
        Names of a small part that takes minutes.

    Examples
    --------
    >>> silicon = DensitySet.read("silicon")
    >>> silicon.structures["lonsdaleite"].part, len(silicon.structures["clathrate I"].atoms)
    ('test', 46)
    >>> sorted({structure.part for structure in silicon.select(quick=True).values()})
    ['test', 'train', 'valid']
    """

    name: str
    description: str
    structures: Mapping[str, DensityStructure]
    quick: tuple[str, ...] = ()

    @classmethod
    def read(cls, name: str, path: str | os.PathLike[str] | None = None) -> DensitySet:
        """Read a set of the package, or one of the same form from a file.

        Parameters
        ----------
        name : {"silicon", "mixed", "molecules", "magnets"}
            Name of the set; with `path`, any name.
        path : path, optional
            JSON file to read instead.

        Raises
        ------
        ValueError
            If the name is unknown, or the file is damaged or not of this form.
        FileNotFoundError
            If there is no such file.
        """
        if path is None:
            if name not in DENSITY_SETS:
                raise ValueError(
                    f"the sets of densities are {', '.join(map(repr, DENSITY_SETS))}, got {name!r}."
                )
            path = data_file(f"density_{name}.json")
        text = Path(path).read_text()
        try:
            content = _SetFile.model_validate(json.loads(text))
            structures = {
                key: _structure(key, given, content.settings)
                for key, given in content.structures.items()
            }
        except (json.JSONDecodeError, ValidationError) as error:
            raise ValueError(
                f"{os.fspath(path)!r} is not a file of structures with description, settings, "
                f"quick and structures: {error}"
            ) from error
        return cls(name, content.description, structures, tuple(content.quick))

    def select(
        self, *, quick: bool = False, parts: tuple[str, ...] = PARTS
    ) -> dict[str, DensityStructure]:
        """Structures of some parts; with `quick`, those of the small part alone."""
        unknown = [part for part in parts if part not in PARTS]
        if unknown or not parts:
            raise ValueError(f"parts must be among {', '.join(PARTS)}, got {parts!r}.")
        return {
            name: structure
            for name, structure in self.structures.items()
            if structure.part in parts and (not quick or name in self.quick)
        }


def _structure(name: str, given: _StructureFile, settings: Mapping[str, Any]) -> DensityStructure:
    atoms = Atoms(
        given.symbols,
        cell=given.cell,
        scaled_positions=given.scaled_positions,
        magmoms=given.magmoms,
        pbc=True,
    )
    keywords = Keywords(**{**settings, **(given.model_extra or {})}).model_dump(exclude_none=True)
    return DensityStructure(name, given.part, given.kind, given.origin, atoms, keywords)
