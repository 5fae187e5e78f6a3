"""Kohn-Sham DFT of molecules on Gaussian basis functions, in PyTorch.

Contract: a molecule, a basis set and a functional in, a `MolecularResult` out, whose tensors are
differentiable with respect to the functional's parameters. Everything is in Hartree atomic units;
ASE's positions are in Angstrom. PySCF provides integrals, grids and values of basis functions; a
functional is known by its ingredients, its energy density and its share of exact exchange alone.
"""

from __future__ import annotations

from deepchem_xc.gaussian.fitting_error import InaccurateFittingWarning
from deepchem_xc.gaussian.ground_state import scf
from deepchem_xc.gaussian.molecule import Molecule
from deepchem_xc.gaussian.molecule_checks import SpinError
from deepchem_xc.gaussian.result import MolecularResult
from deepchem_xc.numerics.errors import SCFConvergenceError

__all__ = [
    "InaccurateFittingWarning",
    "MolecularResult",
    "Molecule",
    "SCFConvergenceError",
    "SpinError",
    "scf",
]
