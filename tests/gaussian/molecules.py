"""Molecules of ASE's g2 set, and the same calculations by PySCF."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.build import molecule
from ase.data import atomic_numbers
from pyscf import dft

from deepchem_xc.gaussian import MolecularResult, scf

# Unpaired electrons of those that have any.
SPINS = {"O2": 2, "CH3": 1, "NH2": 1, "NO2": 1, "CN": 1, "OH": 1}
CLOSED = ["H2O", "NH3", "CH4", "HF", "N2", "CO", "CO2", "C2H2", "C2H4", "HCN", "H2CO", "SO2"]
CLOSED += ["SH2", "SiH4"]
# Functionals here and in PySCF.
FUNCTIONALS = {
    "lda_x+lda_c_vwn": "svwn",
    "PBE": "pbe",
    "r2SCAN": "r2scan",
    "B3LYP": "b3lyp",
    "PBE0": "pbe0",
}
# Tight, so that what differs are the codes.
CONVERGENCE = {"energy": 1e-10, "commutator": 1e-9}


def ours(name: str, functional: Any, **keywords: Any) -> MolecularResult:
    """A calculation here, in def2-SVP unless another basis set is given."""
    given: dict[str, Any] = {"basis": "def2-svp", "convergence": CONVERGENCE, "grid_level": 1}
    given["spin"] = SPINS.get(name, 0)
    return scf(molecule(name), functional, **{**given, **keywords})


def theirs(result: MolecularResult, xc: str, same_start: bool = False) -> Any:
    """The calculation of a result by PySCF: same molecule, basis functions, grid level and kind.

    From atoms, or from the result's density, whose orientation it then keeps.
    """
    kind = {"restricted": dft.RKS, "unrestricted": dft.UKS, "open": dft.ROKS}[result.problem.kind]
    mf = kind(result.molecule.mole, xc=xc)
    mf.verbose, mf.grids.level, mf.max_cycle = 0, result.problem.grid.level, 100
    mf.conv_tol, mf.conv_tol_grad = 1e-11, 1e-8
    mf.kernel(result.density_matrix.squeeze(0).numpy() if same_start else None)
    assert mf.converged
    return mf


def distance(one: Any, other: Any) -> float:
    """Largest difference of two arrays."""
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


def levels_of(mf: Any, result: MolecularResult) -> np.ndarray:
    """PySCF's orbital energies, shaped as those here."""
    return np.sort(np.asarray(mf.mo_energy).reshape(result.eigenvalues.shape))


def dipole_of(mf: Any) -> np.ndarray:
    """PySCF's dipole moment, e bohr."""
    moment: np.ndarray = mf.dip_moment(unit="AU", verbose=0)
    return moment


def forces_of(mf: Any) -> np.ndarray:
    """PySCF's forces on the moving grid, Hartree/bohr."""
    gradients, mole = mf.nuc_grad_method(), mf.mol
    grids, radii = mf.grids.copy(), mf.grids.atomic_radii.copy()
    # PySCF 2.14 looks up the radii of this grid by the charges that pseudopotentials leave, and
    # moves points that are not those of its energy: give it the radii of the elements there.
    for symbol, charge in zip(mole.elements, mole.atom_charges(), strict=True):
        radii[charge] = mf.grids.atomic_radii[atomic_numbers[symbol]]
    grids.atomic_radii = radii
    gradients.grids, gradients.grid_response, gradients.verbose = grids, True, 0
    forces: np.ndarray = -gradients.kernel()
    return forces
