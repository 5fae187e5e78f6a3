"""Molecules and atoms that clones are tested on, their densities with a parent, and reactions.

Species are those of ASE's g2 set, or of a file of W4-11 (`Species.read`). Densities of both are
kept in the folder of data.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.collections import g2
from ase.formula import Formula
from cloning_plan import Clone
from cloning_training import Data

from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning import HELD_OUT, SAMPLED, KeptDensity, free_atoms
from deepchem_xc.cloning.densities import GridDensity, converge, grid_density
from deepchem_xc.cloning.molecules import g2_molecule, unpaired_electrons
from deepchem_xc.store import Store, digest
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.identity import content_digest

#: Kilocalories per mole in a Hartree, CODATA 2018.
KCAL_PER_MOL = 627.5094740631
#: Reactions of molecules that are not sampled, with small partners: number of each product,
#: negative for what reacts. Names are those of the g2 set.
REACTIONS: dict[str, dict[str, int]] = {
    "CO + 2 H2 -> CH3OH": {"CO": -1, "H2": -2, "CH3OH": 1},
    "CO2 + H2 -> CO + H2O": {"CO2": -1, "H2": -1, "CO": 1, "H2O": 1},
    "N2H4 + H2 -> 2 NH3": {"N2H4": -1, "H2": -1, "NH3": 2},
    "N2 + O2 -> 2 NO": {"N2": -1, "O2": -1, "NO": 2},
    "C2H2 + H2 -> C2H4": {"C2H2": -1, "H2": -1, "C2H4": 1},
    "SO2 + 3 H2 -> SH2 + 2 H2O": {"SO2": -1, "H2": -3, "SH2": 1, "H2O": 2},
    "P2 + 3 H2 -> 2 PH3": {"P2": -1, "H2": -3, "PH3": 2},
    "HOCl + H2 -> H2O + HCl": {"HOCl": -1, "H2": -1, "H2O": 1, "HCl": 1},
    "Si2 + 4 H2 -> 2 SiH4": {"Si2": -1, "H2": -4, "SiH4": 2},
    "Li2 + H2 -> 2 LiH": {"Li2": -1, "H2": -1, "LiH": 2},
}
#: The same for `--quick`, where C2H2 and H2 are not sampled.
QUICK_HELD_OUT = ("C2H2",)
QUICK_REACTIONS = {"C2H2 + 3 H2 -> 2 CH4": {"C2H2": -1, "H2": -3, "CH4": 2}}


@dataclass(frozen=True)
class Species:
    """A molecule or an atom.

    Attributes
    ----------
    name : str
        In its set.
    symbols, positions : tuple
        Elements, and positions in Angstrom.
    charge, spin : int
        Charge (e), and number of unpaired electrons.
    """

    name: str
    symbols: tuple[str, ...]
    positions: tuple[tuple[float, ...], ...]
    charge: int = 0
    spin: int = 0

    @classmethod
    def of_g2(cls, name: str) -> Species:
        """One of ASE's g2 set."""
        atoms = g2_molecule(name)
        places = tuple(map(tuple, atoms.positions.tolist()))
        spin = unpaired_electrons(atoms)
        return cls(name, tuple(atoms.get_chemical_symbols()), places, spin=spin)

    @classmethod
    def read(cls, path: Path) -> dict[str, Species]:
        """All of a file of W4-11: ``{"species": {name: {"symbols", "positions", ...}}}``."""
        given: dict[str, dict[str, Any]] = json.loads(path.read_text())["species"]
        return {
            name: cls(
                name,
                tuple(one["symbols"]),
                tuple(map(tuple, one["positions"])),
                one["charge"],
                one["spin"],
            )
            for name, one in given.items()
        }

    @property
    def positions_list(self) -> list[list[float]]:
        """Positions as JSON has them, Angstrom."""
        return [list(place) for place in self.positions]

    @property
    def is_atom(self) -> bool:
        """Whether it is a single atom."""
        return len(self.symbols) == 1

    @property
    def formula(self) -> str:
        """Sum formula."""
        return str(Formula.from_list(list(self.symbols)).format("hill"))

    def mole(self, basis: str) -> Any:
        """PySCF's molecule."""
        from pyscf import gto

        places = list(zip(self.symbols, self.positions, strict=True))
        return gto.M(atom=places, basis=basis, charge=self.charge, spin=self.spin, verbose=0)

    def calculation(self, basis: str, level: int) -> Any:
        """PySCF's Kohn-Sham calculation, with the tolerance of `parent_densities`."""
        from pyscf import dft

        mol = self.mole(basis)
        mf = dft.RKS(mol) if mol.spin == 0 else dft.UKS(mol)
        mf.grids.level = level
        mf.conv_tol = 1e-9
        return mf


@dataclass(frozen=True, eq=False)
class SpeciesDensity(KeptDensity):
    """The parent's state of a species of any set.

    Attributes
    ----------
    species : Species
        Its geometry.
    grid_level : int
        Level of the grid of its calculation.
    """

    species: Species
    grid_level: int

    @property
    def polarized(self) -> bool:
        """Whether it has unpaired electrons."""
        return self.species.spin > 0

    def on_grid(self, level: int | None = None) -> GridDensity:
        """Density, gradient and kinetic energy density on PySCF's grid, by default its own."""
        level = self.grid_level if level is None else level
        return grid_density(self.species.mole(self.basis), self.density_matrix, level)

    def energy_with(self, functional: XCFunctional) -> float:
        """Self-consistent energy with another functional, from this state (Hartree).

        Raises
        ------
        SCFConvergenceError
            If it does not converge.
        """
        mf = to_pyscf(functional, self.species.calculation(self.basis, self.grid_level))
        return converge(mf, self.name, self.density_matrix)


def g2_densities(clone: Clone, names: Iterable[str], data: Data) -> dict[str, SpeciesDensity]:
    """States of molecules of the g2 set with the parent of a clone, kept by `parent_densities`."""
    level = clone.settings.grid_level
    return {
        kept.name: SpeciesDensity(
            kept.name,
            kept.basis,
            kept.density_matrix,
            kept.energy,
            Species.of_g2(kept.name),
            level,
        )
        for kept in data.densities(clone, names)
    }


def density_of(species: Species, clone: Clone, data: Data, folder: Path) -> SpeciesDensity:
    """State of one species with the parent of a clone; computed if it is not kept.

    Parameters
    ----------
    species : Species
        Of any set.
    clone : Clone
        Its parent, basis and grid count.
    data : Data
        For the parent.
    folder : Path
        Where states are kept, one folder a parent.

    Raises
    ------
    SCFConvergenceError
        If it does not converge.
    """
    made, parent = clone.settings, data.parent(clone)
    identity = content_digest(parent)
    request = digest([identity, made.basis, made.grid_level, asdict(species)])
    store = Store(folder / f"species_{clone.parent}_{identity[:12]}")
    key = f"{species.name}_{request[:12]}"
    record = store.read(key, request=request)
    if record is None:
        mf = to_pyscf(parent, species.calculation(made.basis, made.grid_level))
        energy, matrix = converge(mf, species.name), np.asarray(mf.make_rdm1())
        pair = np.stack([matrix / 2.0] * 2) if matrix.ndim == 2 else matrix
        record = {"request": request, "energy": energy, "density_matrix": pair.tolist()}
        store.write(key, record)
    matrix = np.array(record["density_matrix"], dtype=np.float64)
    return SpeciesDensity(
        species.name, made.basis, matrix, float(record["energy"]), species, made.grid_level
    )


def held_out(quick: bool) -> tuple[str, ...]:
    """Molecules whose atomisation energies count: none is sampled."""
    return QUICK_HELD_OUT if quick else HELD_OUT


def reactions(quick: bool) -> Mapping[str, Mapping[str, int]]:
    """Reactions whose energies count."""
    return QUICK_REACTIONS if quick else REACTIONS


def tested(quick: bool) -> list[str]:
    """Atoms, molecules and what reacts with them, each once."""
    molecules = dict.fromkeys(
        [*held_out(quick), *(n for r in reactions(quick).values() for n in r)]
    )
    return [*free_atoms(tuple(molecules)), *molecules]


def rest_of_g2(quick: bool) -> list[str]:
    """Molecules of the g2 set whose sum formula no sampled molecule has, the smallest first."""
    sampled = {Species.of_g2(name).formula for name in SAMPLED}
    found = [Species.of_g2(name) for name in g2.names]
    found = [one for one in found if not one.is_atom and one.formula not in sampled]
    found.sort(key=lambda one: (len(one.symbols), one.name))
    return [one.name for one in found][: 2 if quick else None]


def atomisation(name: str, symbols: Iterable[str], errors: Mapping[str, float]) -> float:
    """Energy of the atoms less that of the molecule, in the unit of the energies.

    Parameters
    ----------
    name : str
        The molecule.
    symbols : iterable of str
        Its atoms.
    errors : mapping
        Energies, or their errors, by species; atoms by symbol.
    """
    parts = Counter(symbols)
    return sum(count * errors[symbol] for symbol, count in parts.items()) - errors[name]


def reaction(parts: Mapping[str, int], errors: Mapping[str, float]) -> float:
    """Energy of a reaction, in the unit of the energies."""
    return sum(count * errors[name] for name, count in parts.items())
