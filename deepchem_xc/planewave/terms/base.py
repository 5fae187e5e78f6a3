"""What a term of the energy is: a name, an energy, and a potential if it is of the density."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields, Potential


class IonTerm(ABC):
    """An energy of the ions alone."""

    name: str

    @abstractmethod
    def energy(self, basis: PlaneWaveBasis) -> Tensor:
        """0-d, Hartree per cell, in the graph of the basis's geometry."""


class DensityTerm(ABC):
    """An energy that the density determines, and for meta-GGAs the kinetic energy density."""

    name: str

    @abstractmethod
    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """0-d, Hartree per cell, in the graph of density, geometry and the functional.

        Parameters
        ----------
        basis : PlaneWaveBasis
            May be a strained copy of the one the term was made for.
        fields : Fields
            Density, with the kinetic energy density where a meta-GGA needs it.
        """

    @abstractmethod
    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative by the fields, and the energy less what the potential makes of the fields.

        Parameters
        ----------
        basis, fields
            As for `energy`.

        Returns
        -------
        potential : Potential
            Hartree; `v` may be (1, nG) where it acts on the density of all channels alike.
        correction : Tensor
            E - `potential.energy(fields, volume)`, 0-d, Hartree per cell.
        """


class OrbitalTerm(ABC):
    """An energy of the orbitals, bilinear in each."""

    name: str

    def chunks(self, basis: PlaneWaveBasis) -> list[slice]:
        """k-points that are summed at a time, so that memory is bounded."""
        return [slice(0, basis.nk)]

    @abstractmethod
    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, ks: slice
    ) -> Tensor:
        """0-d, Hartree per cell, in the graph of orbitals, occupations and geometry.

        Parameters
        ----------
        basis : PlaneWaveBasis
            Plane waves.
        orbitals : Tensor
            (nspin, nk, nband, npw), of all k-points.
        weighted_occupations : Tensor
            Electrons in each state times the k-point's weight, (nspin, nk, nband).
        ks : slice
            k-points to sum over, one of `chunks`.
        """


#: One of the three.
Term = IonTerm | DensityTerm | OrbitalTerm
