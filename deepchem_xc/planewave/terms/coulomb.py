"""Electrostatic energy of a crystal of PAW spheres: smooth charge and corrections inside."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.terms.base import DensityTerm
from deepchem_xc.planewave.terms.compensation import CompensationCharges, compensation_waves
from deepchem_xc.planewave.terms.differentiated import derivative_of
from deepchem_xc.planewave.terms.kept import KeptForBasis
from deepchem_xc.planewave.terms.superposed import core_density


class SmoothCharge(NamedTuple):
    """Smooth charge of electrons and nuclei; electrons count positive."""

    g_vectors: Tensor  # (n, 3), integers; the first nG are the density sphere
    q2: Tensor  # their squared lengths, (n,), bohr^-2
    coefficients: Tensor  # (n,), complex, bohr^-3


class Coulomb(DensityTerm):
    """Electrostatic energy of electrons and nuclei (P. E. Bloechl, Phys. Rev. B 50, 17953 (1994)).

    Parameters
    ----------
    basis : PlaneWaveBasis
        The basis whose integers are used; the energies may be those of strained copies.
    spheres : Spheres
        Datasets, and the places of their matrices.
    """

    name = "coulomb"

    def __init__(self, basis: PlaneWaveBasis, spheres: Spheres) -> None:
        self._spheres = spheres
        self._waves = compensation_waves(basis, spheres.potentials)
        self._kept = KeptForBasis(self._geometry)

    def _geometry(self, basis: PlaneWaveBasis) -> tuple[CompensationCharges, Tensor]:
        charges = CompensationCharges(basis, self._spheres.potentials, self._waves)
        return charges, core_density(basis, self._spheres.potentials)

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """Energy, 0-d, Hartree per cell."""
        return self._energy(basis, fields, *self._geometry(basis))

    def _energy(
        self, basis: PlaneWaveBasis, fields: Fields, charges: CompensationCharges, core: Tensor
    ) -> Tensor:
        assert fields.spheres is not None
        charge = self._charge(fields, charges, core)
        # The charge is neutral: G = 0, which comes first, is left out.
        squares = torch.view_as_real(charge[1:]).square().sum(-1)
        energy = 2.0 * math.pi * basis.volume * (squares / charges.q2[1:]).sum()
        return energy + self._inside(fields.spheres.sum(0))

    def charge(self, basis: PlaneWaveBasis, fields: Fields) -> SmoothCharge:
        """Neutral charge with the true one's potential and multipoles outside of the spheres.

        Parameters
        ----------
        basis : PlaneWaveBasis
            May be a strained copy of the one the term was made for.
        fields : Fields
            Density and partial-wave occupations.

        Returns
        -------
        SmoothCharge
            In the graph of fields and geometry.
        """
        charges, core = self._geometry(basis)
        return SmoothCharge(self._waves, charges.q2, self._charge(fields, charges, core))

    def _charge(self, fields: Fields, charges: CompensationCharges, core: Tensor) -> Tensor:
        """Smooth density, smooth core and compensation charges, (n,), bohr^-3."""
        assert fields.spheres is not None
        smooth = fields.density.sum(0) + core
        charge = charges.charge(self._multipoles(fields.spheres.sum(0)))
        return charge + torch.nn.functional.pad(smooth, (0, len(charge) - len(smooth)))

    def _multipoles(self, total: Tensor) -> Tensor:
        """Q_L of every atom, (natom, 9), from the occupations summed over spin, (n,)."""
        found = total.new_zeros((sum(map(len, self._spheres.atoms.values())), 9))
        for species, matrices in self._spheres.matrices(total).items():
            tables = self._spheres.potentials[species].tables
            moments = torch.einsum("aij,Lij->aL", matrices, tables.multipoles.to(total.device))
            moments = moments + tables.fixed_multipole * torch.eye(1, 9).to(moments)
            found = found.index_copy(
                0, torch.tensor(self._spheres.atoms[species], device=total.device), moments
            )
        return found

    def _inside(self, total: Tensor) -> Tensor:
        """Corrections inside of the spheres, 0-d, Hartree."""
        energies = []
        for species, matrices in self._spheres.matrices(total).items():
            tables = self._spheres.potentials[species].tables
            linear = tables.coulomb_linear.to(total.device).flatten()
            quadratic = tables.coulomb_quadratic.to(total.device).flatten(2).flatten(0, 1)
            rows = matrices.flatten(1)  # (natom, nstate^2)
            energies.append((rows @ linear).sum() + ((rows @ quadratic) * rows).sum())
            energies[-1] = energies[-1] + len(rows) * tables.coulomb_constant
        return torch.stack(energies).sum()

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative of the energy, and the energy minus the product with the fields."""
        geometry = self._kept.of(basis)
        return derivative_of(
            lambda given: self._energy(basis, given, *geometry), fields, basis.volume
        )
