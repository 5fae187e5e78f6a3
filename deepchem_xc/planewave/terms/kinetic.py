"""Kinetic energy of the orbitals."""

from __future__ import annotations

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.terms.base import OrbitalTerm


def kinetic_energy(basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor) -> Tensor:
    """Kinetic energy sum_nk f_nk sum_G |k+G|^2/2 |c_G|^2.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves.
    orbitals : Tensor
        Coefficients, (nspin, nk, nband, npw).
    weighted_occupations : Tensor
        Electrons in each state times the k-point's weight, (nspin, nk, nband).

    Returns
    -------
    Tensor
        0-d, Hartree per cell.

    Examples
    --------
    Two electrons in one plane wave, |G|^2 / 2 each:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> wave = torch.eye(basis.npw, dtype=torch.complex128)[None, None, 5:6]
    >>> energy = kinetic_energy(basis, wave, torch.full((1, 1, 1), 2.0, dtype=torch.float64))
    >>> bool(torch.isclose(energy, basis.orbital_q[0, 5].square().sum()))
    True
    """
    weight = orbitals.abs().square_() if not orbitals.requires_grad else orbitals.abs().square()
    per_plane_wave = torch.einsum("skb,skbg->kg", weighted_occupations, weight)
    return (per_plane_wave * basis.kinetic).sum()


class Kinetic(OrbitalTerm):
    """Kinetic energy of the orbitals."""

    name = "kinetic"

    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, ks: slice
    ) -> Tensor:
        """See `kinetic_energy`."""
        return kinetic_energy(basis, orbitals, weighted_occupations)  # all k-points are one chunk
