"""Small molecules and crystals for PySCF, and functionals that PySCF does not have."""

from __future__ import annotations

from typing import Any

import torch
from pyscf import gto

from deepchem_xc.xc import ConstrainedGGA, ConstrainedMetaGGA, XCFunctional

# Functionals of this package, and the names of the same ones in PySCF.
SAME = {"LDA": "lda,pw", "PBE": "pbe", "r2SCAN": "r2scan"}


def learned(kind: type[XCFunctional] = ConstrainedGGA) -> XCFunctional:
    """Neural functional with random weights, far from any named one."""
    torch.manual_seed(7)
    functional = kind()
    with torch.no_grad():
        for weight in functional.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return functional


def learned_meta_gga() -> XCFunctional:
    return learned(ConstrainedMetaGGA)


def hydrogen_fluoride(distance: float = 0.93) -> Any:
    atoms = f"H 0.1 0.05 0; F 0.1 0.05 {distance}"
    return gto.M(atom=atoms, basis="6-31g", verbose=0)


def amidogen() -> Any:
    """NH2: one unpaired electron, in an orbital that no other one is degenerate with."""
    atoms = "N 0 0 0.14; H 0 0.80 -0.49; H 0 -0.80 -0.49"
    return gto.M(atom=atoms, basis="6-31g", spin=1, verbose=0)


def fast(mf: Any) -> Any:
    """Small grids and a converged density."""
    for grids in (mf.grids, mf.nlcgrids):
        grids.atom_grid = (30, 50)
        grids.prune = None
    mf.conv_tol, mf.conv_tol_grad = 1e-12, 1e-6
    return mf
