"""Plane-wave Kohn-Sham DFT of crystals in PyTorch.

Contract: a structure and settings in, an `SCFResult` out, whose tensors are differentiable with
respect to the functional's parameters, the lattice and the positions. `scf` takes ASE's atoms and
units (eV, Angstrom); everything below it is in Hartree atomic units. A functional is defined by its
ingredients and its energy density alone. Nothing here knows data sets, losses or models.
"""

from __future__ import annotations

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.outcome import NonSelfConsistentResult
from deepchem_xc.planewave.ground_state import scf
from deepchem_xc.planewave.properties.all_electron import all_electron_density
from deepchem_xc.planewave.properties.bands import band_structure
from deepchem_xc.planewave.properties.cube import write_density_cube
from deepchem_xc.planewave.properties.dos import density_of_states
from deepchem_xc.planewave.properties.volume_scan import equation_of_state
from deepchem_xc.planewave.record import DensityRecord, DensitySource
from deepchem_xc.planewave.result import SCFResult
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.kpoints import KPoints, make_kpoints
from deepchem_xc.planewave.without_loop import non_self_consistent

__all__ = [
    "Crystal",
    "DensityRecord",
    "DensitySource",
    "Fields",
    "KPoints",
    "NonSelfConsistentResult",
    "PlaneWaveBasis",
    "SCFConvergenceError",
    "SCFResult",
    "all_electron_density",
    "band_structure",
    "density_of_states",
    "equation_of_state",
    "make_kpoints",
    "non_self_consistent",
    "scf",
    "write_density_cube",
]
