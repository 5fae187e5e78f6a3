"""Energies that PAW spheres add to terms of the smooth fields: kinetic, zero potential, XC."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.paw import OnSiteTables, PAWPotential
from deepchem_xc.planewave.paw.sphere_directions import reduced_directions
from deepchem_xc.planewave.paw.sphere_xc import SphereXC
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.terms.base import DensityTerm
from deepchem_xc.planewave.terms.differentiated import derivative_of
from deepchem_xc.planewave.terms.kept import KeptForBasis
from deepchem_xc.planewave.terms.local import superpose_atoms
from deepchem_xc.planewave.terms.superposed import core_density

if TYPE_CHECKING:
    from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional


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
        return zero_potential(basis, self._spheres), core_density(basis, self._spheres.potentials)

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

    Only one atom of each set of equivalent ones is computed, in the directions that the symmetry of
    its site leaves. Fields must have the symmetry that reduced the k-points; derivatives have it
    once they are symmetrised.

    Parameters
    ----------
    functional : XCFunctional
        The functional of the grid.
    spheres : Spheres
        Datasets, and the places of their matrices.
    """

    name = "xc"

    def __init__(self, functional: XCFunctional, spheres: Spheres) -> None:
        self._spheres, self._functional = spheres, functional

    @cached_property
    def _groups(self) -> list[_Group]:
        """Sites with the same dataset and directions, which are computed together."""
        groups: dict[tuple[str, bytes], _Group] = {}
        for site in self._spheres.sites:
            chosen = reduced_directions(site.operations)
            key = site.species, chosen.vectors.round(9).tobytes()
            if key not in groups:
                dataset = self._spheres.potentials[site.species].dataset
                xc = SphereXC(dataset, self._functional, chosen)
                groups[key] = _Group(site.species, xc, [], [])
            groups[key].places.append(site.place)
            groups[key].counts.append(float(site.count))
        return list(groups.values())

    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """Energy, 0-d, Hartree per cell, in the graph of occupations and functional."""
        assert fields.spheres is not None
        matrices = self._spheres.matrices(fields.spheres)
        energies = []
        for group in self._groups:
            own = matrices[group.species][:, group.places].transpose(0, 1)
            energy = group.xc.energy(own)
            energies.append((energy * energy.new_tensor(group.counts)).sum())
        return torch.stack(energies).sum()

    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative of the energy, and the energy minus the product with the fields."""
        assert fields.spheres is not None
        matrices = self._spheres.matrices(fields.spheres)
        derivatives = {species: torch.zeros_like(own) for species, own in matrices.items()}
        energies = []
        for group in self._groups:
            own = matrices[group.species][:, group.places].transpose(0, 1)
            energy, derivative = group.xc.energy_and_potential(own)
            counts = energy.new_tensor(group.counts)
            energies.append((energy * counts).sum())
            weighted = derivative.transpose(0, 1) * counts.view(-1, 1, 1)
            derivatives[group.species][:, group.places] = weighted
        potential = self._spheres.symmetrize(self._spheres.flat(derivatives))
        found = Potential(torch.zeros_like(fields.density), spheres=potential)
        return found, torch.stack(energies).sum() - found.energy(fields.detach(), basis.volume)

    def points(self, fields: Fields) -> list[tuple[ValGrad | SpinParam, Tensor]]:
        """What the functional sees inside of the spheres, and the volumes of these points.

        Parameters
        ----------
        fields : Fields
            As for `energy`.

        Returns
        -------
        list of tuple
            For each set of sites values (nsite, nv, 2 nr), gradients (nsite, nv, 3, 2 nr), and
            volumes (nsite, nv, 2 nr), bohr^3, which contain the number of equivalent atoms and are
            negative for smooth densities. The energy of all points is `energy` up to a constant.
        """
        assert fields.spheres is not None
        matrices = self._spheres.matrices(fields.spheres)
        found = []
        for group in self._groups:
            own = matrices[group.species][:, group.places].transpose(0, 1)
            counts = own.new_tensor(group.counts).view(-1, 1, 1)
            found.append((group.xc.information(own), counts * group.xc.points(own.device).volumes))
        return found


class _Group(NamedTuple):
    """Sites whose energies are computed together."""

    species: str
    xc: SphereXC
    places: list[int]  # positions among the atoms of the species
    counts: list[float]  # equivalent atoms of each
