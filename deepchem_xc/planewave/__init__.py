"""Plane-wave Kohn-Sham DFT of crystals in PyTorch."""

from __future__ import annotations

from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.scf import SCFConvergenceError

__all__ = [
    "Crystal",
    "KPoints",
    "PlaneWaveBasis",
    "SCFConvergenceError",
    "SCFResult",
    "make_kpoints",
    "scf",
]
