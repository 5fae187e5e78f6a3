"""Electrostatic energy of the electrons."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.terms.base import DensityTerm


def coulomb_kernel(basis: PlaneWaveBasis) -> Tensor:
    """4 pi / G^2 on the density sphere, (nG,), with 0 at G = 0 (neutral cell), Hartree bohr^3."""
    q2 = basis.density_q2[1:]  # G = 0 comes first
    return torch.cat([q2.new_zeros(1), 4.0 * math.pi / q2])


def hartree_energy(basis: PlaneWaveBasis, density: Tensor) -> Tensor:
    r"""Hartree energy :math:`2\pi\Omega \sum_{G\ne 0} |\rho_G|^2 / G^2` of a density.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere and volume.
    density : Tensor
        (nspin, nG), bohr^-3.

    Returns
    -------
    Tensor
        0-d, Hartree per cell.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> density = basis.to_sphere(torch.rand(1, *basis.fft_size, dtype=torch.float64))
    >>> potential = basis.to_grid(hartree_potential(basis, density))
    >>> interaction = (basis.to_grid(density)[0] * potential).mean() * basis.volume
    >>> bool(torch.isclose(hartree_energy(basis, density), 0.5 * interaction))
    True
    """
    total = density.sum(0)
    return 0.5 * basis.volume * (coulomb_kernel(basis) * (total * total.conj()).real).sum()


def hartree_potential(basis: PlaneWaveBasis, density: Tensor) -> Tensor:
    """Hartree potential of a density, 4 pi rho_G / G^2, with 0 at G = 0.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere.
    density : Tensor
        (nspin, nG), bohr^-3.

    Returns
    -------
    Tensor
        (nG,), Hartree.

    Examples
    --------
    Poisson's equation:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1))
    >>> density = basis.to_sphere(torch.rand(1, *basis.fft_size, dtype=torch.float64))
    >>> laplacian = -basis.density_q2 * hartree_potential(basis, density)
    >>> bool(torch.allclose(laplacian[1:], -4.0 * torch.pi * density[0, 1:]))
    True
    """
    return coulomb_kernel(basis) * density.sum(0)


class Hartree(DensityTerm):
    """Electrostatic energy of the electrons."""

    name = "hartree"

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """See `hartree_energy`."""
        return hartree_energy(basis, fields.density)

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """See `hartree_potential`."""
        potential = Potential(hartree_potential(basis, fields.density).unsqueeze(0))
        return potential, -0.5 * potential.energy(fields, basis.volume)
