"""Electrostatic energy of the electrons among themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.planewave.basis import PlaneWaveBasis


def coulomb_kernel(basis: PlaneWaveBasis) -> Tensor:
    """4 pi / G^2 on the density sphere, (nG,), with 0 at G = 0 (neutral cell), Hartree bohr^3."""
    q2 = basis.density_q2[1:]  # G = 0 comes first
    return torch.cat([q2.new_zeros(1), 4.0 * math.pi / q2])


def hartree_energy(basis: PlaneWaveBasis, density: Tensor) -> Tensor:
    """Hartree energy of a density (nspin, nG), a 0-d tensor in Hartree per cell."""
    total = density.sum(0)
    return 0.5 * basis.volume * (coulomb_kernel(basis) * (total * total.conj()).real).sum()


def hartree_potential(basis: PlaneWaveBasis, density: Tensor) -> Tensor:
    """Hartree potential of a density (nspin, nG), as (nG,) coefficients in Hartree."""
    return coulomb_kernel(basis) * density.sum(0)
