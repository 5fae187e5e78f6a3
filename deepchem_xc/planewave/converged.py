"""The last step of a self-consistency loop."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.planewave.occupations import Occupations
from deepchem_xc.planewave.response import GroundState


class Converged(NamedTuple):
    """The loop's last step: tensors without a graph."""

    orbitals: Tensor
    """(nspin, nk, nband, npw)."""
    eigenvalues: Tensor
    """(nspin, nk, nband), Hartree."""
    occupation: Occupations
    """Occupation numbers, Fermi level and entropy."""
    density_g: Tensor
    """Density on the sphere, (nspin, nG), bohr^-3; (2, nspin, nG) with the kinetic one."""
    potential_g: Tensor
    """Kohn-Sham potential the orbitals belong to, shaped as the density, Hartree."""

    def ground_state(self, volume: Tensor) -> GroundState:
        """What the loop determined, without a graph; `volume` in bohr^3."""
        return GroundState(
            self.density_g * volume,
            self.eigenvalues,
            self.occupation.numbers,
            torch.as_tensor(self.occupation.fermi_level, dtype=torch.float64),
            self.occupation.entropy_energy,
            self.orbitals,
        )
