"""The last step of a self-consistency loop."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.occupations.occupy import Occupations
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.response.independent import GroundState


class Converged(NamedTuple):
    """The loop's last step: tensors without a graph."""

    orbitals: Tensor
    """(nspin, nk, nband, npw)."""
    eigenvalues: Tensor
    """(nspin, nk, nband), Hartree."""
    occupation: Occupations
    """Occupations, Fermi level and entropy."""
    fields: Fields
    """Density, for meta-GGAs with the kinetic energy density."""
    potential: Potential
    """Kohn-Sham potential whose eigenstates the orbitals are."""

    def ground_state(self, volume: Tensor) -> GroundState:
        """All results of the loop, without a graph; `volume` in bohr^3."""
        return GroundState(
            self.fields.to_electrons(volume),
            self.eigenvalues,
            self.occupation.occupations,
            torch.as_tensor(self.occupation.fermi_level, dtype=torch.float64),
            self.occupation.entropy_energy,
            self.orbitals,
            self.orbitals,
        )
