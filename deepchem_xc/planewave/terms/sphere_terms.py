"""Energies that PAW spheres add to terms of the smooth fields: kinetic, zero potential, XC."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.paw import OnSiteTables, PAWPotential
from deepchem_xc.planewave.paw.sphere_xc import SphereXC
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.terms.base import DensityTerm
from deepchem_xc.planewave.terms.differentiated import derivative_of
from deepchem_xc.planewave.terms.kept import KeptForBasis
from deepchem_xc.planewave.terms.local import superpose_atoms
from deepchem_xc.planewave.terms.superposed import smooth_core

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional


def _linear_energy(
    spheres: Spheres,
    occupations: Tensor,
    coefficients: Callable[[OnSiteTables], tuple[float, Tensor]],
) -> Tensor:
    """Energy that is linear in the occupations summed over spin, (n,), 0-d, Hartree.

    `coefficients` selects an atom's constant and its matrix.
    """
    energies = []
    for species, matrices in spheres.matrices(occupations).items():
        constant, linear = coefficients(spheres.potentials[species].tables)
        energies.append((matrices * linear.to(matrices.device)).sum() + len(matrices) * constant)
    return torch.stack(energies).sum()


class SphereKinetic(DensityTerm):
    """Kinetic energy of all-electron less that of smooth partial waves, and of the core.

    Parameters
    ----------
    spheres : Spheres
        Datasets, and the places of their matrices.
    """

    name = "kinetic"

    def __init__(self, spheres: Spheres) -> None:
        self._spheres = spheres

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """Energy, 0-d, Hartree per cell."""
        assert fields.spheres is not None
        return _linear_energy(
            self._spheres, fields.spheres.sum(0), lambda t: (t.kinetic_constant, t.kinetic)
        )

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative of the energy, and the energy minus the product with the fields."""
        return derivative_of(partial(self.energy, basis), fields, basis.volume)


def zero_potential(basis: PlaneWaveBasis, spheres: Spheres) -> Tensor:
    """Sum of the datasets' local potentials, (nG,), Hartree."""

    def form_factor(potential: PAWPotential, q2: Tensor) -> Tensor:
        return potential.zero_potential(q2)

    return superpose_atoms(basis, spheres.potentials, form_factor)


class ZeroPotential(DensityTerm):
    """Energy of the smooth density in the local potentials, less that inside of the spheres.

    Parameters
    ----------
    spheres : Spheres
        Datasets, and the places of their matrices.
    """

    name = "zero"

    def __init__(self, spheres: Spheres) -> None:
        self._spheres = spheres
        self._kept = KeptForBasis(self._geometry)

    def _geometry(self, basis: PlaneWaveBasis) -> tuple[Tensor, Tensor]:
        return zero_potential(basis, self._spheres), smooth_core(basis, self._spheres)

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """Energy, 0-d, Hartree per cell."""
        return self._energy(basis, fields, *self._geometry(basis))

    def _energy(
        self, basis: PlaneWaveBasis, fields: Fields, potential: Tensor, core: Tensor
    ) -> Tensor:
        assert fields.spheres is not None
        smooth = fields.density.sum(0) + core
        outside = basis.volume * (potential.conj() * smooth).real.sum()
        return outside + _linear_energy(
            self._spheres, fields.spheres.sum(0), lambda t: (t.zero_constant, t.zero_linear)
        )

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative of the energy, and the energy minus the product with the fields."""
        geometry = self._kept.of(basis)
        return derivative_of(
            lambda given: self._energy(basis, given, *geometry), fields, basis.volume
        )


class SphereExchangeCorrelation(DensityTerm):
    """Exchange and correlation inside of the spheres: all-electron less smooth.

    Parameters
    ----------
    functional : XCFunctional
        The functional of the grid.
    spheres : Spheres
        Datasets, and the places of their matrices.
    """

    name = "xc"

    def __init__(self, functional: XCFunctional, spheres: Spheres) -> None:
        self._spheres = spheres
        self._xc = {
            species: SphereXC(potential.dataset, functional)
            for species, potential in spheres.potentials.items()
            if species in spheres.atoms
        }

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """Energy, 0-d, Hartree per cell, in the graph of occupations and functional."""
        assert fields.spheres is not None
        energies = [
            self._xc[species].energy(matrices.transpose(0, 1)).sum()
            for species, matrices in self._spheres.matrices(fields.spheres).items()
        ]
        return torch.stack(energies).sum()

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative of the energy, and the energy minus the product with the fields."""
        assert fields.spheres is not None
        energies, matrices = [], {}
        for species, occupations in self._spheres.matrices(fields.spheres).items():
            energy, potential = self._xc[species].energy_and_potential(occupations.transpose(0, 1))
            energies.append(energy.sum())
            matrices[species] = potential.transpose(0, 1)
        found = Potential(torch.zeros_like(fields.density), spheres=self._spheres.flat(matrices))
        return found, torch.stack(energies).sum() - found.energy(fields.detach(), basis.volume)
