"""Plane-wave Kohn-Sham DFT of crystals in PyTorch."""

from __future__ import annotations

from deepchem_xc.planewave.bands import band_structure
from deepchem_xc.planewave.basis import PlaneWaveBasis
from deepchem_xc.planewave.crystal import Crystal
from deepchem_xc.planewave.cube import write_density_cube
from deepchem_xc.planewave.dos import density_of_states
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.scf import SCFConvergenceError
from deepchem_xc.planewave.volume_scan import equation_of_state

__all__ = [
    "Crystal",
    "KPoints",
    "PlaneWaveBasis",
    "SCFConvergenceError",
    "SCFResult",
    "band_structure",
    "density_of_states",
    "equation_of_state",
    "make_kpoints",
    "scf",
    "write_density_cube",
]
