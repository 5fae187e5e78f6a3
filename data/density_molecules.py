"""Molecules for the set of densities: closed shells of the G2 set, in boxes.

Left out are open shells, fluorine, and sodium and magnesium: their potentials need far more than
the cutoff. Those of H, C, N and O are not converged there either; see data/README.md.
"""

from __future__ import annotations

import numpy as np
from ase.build import molecule
from ase.collections import g2
from density_members import Member

#: Settings of all calculations: the Gamma point alone.
SETTINGS = {
    "pseudopotentials": "gth-pbe",
    "ecut": 800.0,
    "kpts": {"size": [1, 1, 1], "gamma": True},
    "occupations": {"name": "fermi-dirac", "width": 0.1},
}
#: A small part to try.
QUICK = ("H2", "CH4", "H2O")
#: Distance from the atoms to the faces of the box, Angstrom.
VACUUM = 3.0
WITHOUT = frozenset(("F", "Na", "Mg"))
FRACTIONS = {"valid": 0.12, "test": 0.2}
_SEED = 0


def members() -> dict[str, Member]:
    """All members by name, split at random; isomers are in the same part."""
    found = {}
    for name in g2.names:
        atoms = molecule(name)
        closed = not atoms.get_initial_magnetic_moments().any() and atoms.numbers.sum() % 2 == 0
        if closed and len(atoms) > 1 and not WITHOUT & set(atoms.get_chemical_symbols()):
            atoms.center(vacuum=VACUUM)
            atoms.pbc = True
            found[name] = atoms
    formulas = sorted({atoms.symbols.get_chemical_formula() for atoms in found.values()})
    order = [formulas[i] for i in np.random.default_rng(_SEED).permutation(len(formulas))]
    nvalid, ntest = (round(FRACTIONS[part] * len(order)) for part in ("valid", "test"))
    parts = dict.fromkeys(order, "train")
    parts |= dict.fromkeys(order[:nvalid], "valid")
    parts |= dict.fromkeys(order[nvalid : nvalid + ntest], "test")
    return {
        name: Member(
            atoms, parts[atoms.symbols.get_chemical_formula()], "molecule", "ase.collections.g2", {}
        )
        for name, atoms in found.items()
    }
