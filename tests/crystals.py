"""Lattices, small crystals, occupations and tolerances that tests share.

Lattices are rows in bohr. Atoms are ASE's, in Angstrom.
"""

from __future__ import annotations

from typing import Any

import torch
from ase import Atoms
from torch import Tensor

from deepchem_xc.planewave import Crystal

# Tolerances of a loop: energy per electron, in the unit of the call, and density per electron.
TIGHT = {"energy": 1e-11, "density": 1e-9}
# For differences of what has an error of first order in the density's.
TIGHTER = {"energy": 1e-12, "density": 1e-11}

FIXED = {"name": "fixed"}
# Of width 0.01 Hartree: for calculations in atomic units.
SMEARED = {"name": "fermi-dirac", "width": 0.01}


def doubles(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# A strain that leaves no symmetry and no component that vanishes.
SHEAR = doubles([[1.01, 0.02, -0.015], [0.02, 0.985, 0.01], [-0.015, 0.01, 1.02]])
# A cell for two or three atoms without any symmetry.
TRICLINIC = doubles([[6.1, 0.3, -0.4], [0.9, 6.8, 0.5], [-0.6, 1.1, 7.3]])


def cubic(a: float) -> Tensor:
    return a * torch.eye(3, dtype=torch.float64)


def fcc(a: float) -> Tensor:
    return 0.5 * a * doubles([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])


def bcc(a: float) -> Tensor:
    return 0.5 * a * doubles([[-1.0, 1, 1], [1, -1, 1], [1, 1, -1]])


def gallium_nitride() -> Crystal:
    """A pair in a triclinic cell: two species, projectors up to d, moments, no symmetry."""
    positions = doubles([[0.02, -0.03, 0.05], [0.31, 0.27, 0.24]])
    return Crystal(TRICLINIC, ("Ga", "N"), positions, magnetic_moments=(0.5, 0.7))


def hydrogen(side: float = 4.0, moment: float = 1.0) -> Atoms:
    """A hydrogen atom in a cube."""
    return Atoms("H", cell=[side] * 3, pbc=True, magmoms=[moment])


def helium(side: float = 3.0) -> Atoms:
    """A helium atom in a cube."""
    return Atoms("He", cell=[side] * 3, pbc=True)


def hydrogen_chain(moments: list[float] | None = None) -> Atoms:
    """A chain of hydrogen atoms along z, two in a cell."""
    places = [[0, 0, 0], [0, 0, 0.5]]
    cell = [4.0, 4.2, 6.0]
    return Atoms("H2", cell=cell, scaled_positions=places, pbc=True, magmoms=moments)
