"""Molecules and atoms that clones are tested on, their densities with a parent, and reactions.

Molecules are those of ASE's g2 set, or of a file of W4-11.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.collections import g2 as g2_set

from deepchem_xc.calculators import to_pyscf
from deepchem_xc.cloning import HELD_OUT, SAMPLED, KeptDensity, free_atoms
from deepchem_xc.cloning.densities import converge, kohn_sham
from deepchem_xc.cloning.molecules import g2_molecule
from deepchem_xc.xc import XCFunctional

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


def w4_11(path: Path) -> dict[str, Atoms]:
    """All species of a file of W4-11, by name.

    Initial magnetic moments add up to the unpaired electrons, as for `parent_densities`.

    Parameters
    ----------
    path : Path
        JSON: ``{"species": {name: {"symbols", "positions" (Angstrom), "charge", "spin"}}}``.

    Raises
    ------
    ValueError
        For ions.
    """
    given: dict[str, dict[str, Any]] = json.loads(path.read_text())["species"]
    found = {}
    for name, one in given.items():
        if one["charge"] != 0:
            raise ValueError(f"{name} in {path} has the charge {one['charge']}: leave ions out.")
        rest = [0.0] * (len(one["symbols"]) - 1)
        found[name] = Atoms(one["symbols"], one["positions"], magmoms=[float(one["spin"]), *rest])
    return found


def formula(atoms: Atoms) -> str:
    """Sum formula."""
    return str(atoms.get_chemical_formula())


def energy_with(functional: XCFunctional, kept: KeptDensity, level: int) -> float:
    """Self-consistent energy with another functional, from a kept state (Hartree).

    Parameters
    ----------
    functional : XCFunctional
        A clone.
    kept : KeptDensity
        State of a molecule with the parent.
    level : int
        Level of the grid of its calculation.

    Raises
    ------
    SCFConvergenceError
        If it does not converge.
    """
    mf = to_pyscf(functional, kohn_sham(kept.atoms, kept.basis, level))
    return converge(mf, kept.name, kept.density_matrix)


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
    sampled = {formula(g2_molecule(name)) for name in SAMPLED}
    every = {name: g2_molecule(name) for name in g2_set.names}
    found = [n for n, one in every.items() if len(one) > 1 and formula(one) not in sampled]
    return sorted(found, key=lambda name: (len(every[name]), name))[: 2 if quick else None]


def atomisation(name: str, atoms: Atoms, errors: Mapping[str, float]) -> float:
    """Energy of the atoms less that of the molecule, in the unit of the energies.

    Parameters
    ----------
    name : str
        The molecule.
    atoms : Atoms
        What it consists of.
    errors : mapping
        Energies, or their errors, by species; atoms by symbol.
    """
    parts = Counter(atoms.get_chemical_symbols())
    return sum(count * errors[symbol] for symbol, count in parts.items()) - errors[name]


def reaction(parts: Mapping[str, int], errors: Mapping[str, float]) -> float:
    """Energy of a reaction, in the unit of the energies."""
    return sum(count * errors[name] for name, count in parts.items())
