"""What a term of the energy is: a name, an energy, and a potential if it is of the density."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis


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
    def energy(self, basis: PlaneWaveBasis, fields: Tensor) -> Tensor:
        """0-d, Hartree per cell, in the graph of density, geometry and the functional.

        Parameters
        ----------
        basis : PlaneWaveBasis
            May be a strained copy of the one the term was made for.
        fields : Tensor
            Density (nspin, nG), bohr^-3; (2, nspin, nG) with the kinetic energy density, Hartree
            bohr^-3.
        """

    @abstractmethod
    def potential(self, basis: PlaneWaveBasis, fields: Tensor) -> tuple[Tensor, Tensor]:
        """Derivative by the density, and the energy less what the potential makes of the density.

        Parameters
        ----------
        basis, fields
            As for `energy`.

        Returns
        -------
        potential : Tensor
            Shaped as `fields`, or (nG,) for one that acts on the density of all channels, Hartree.
        correction : Tensor
            E - integral of potential times density, 0-d, Hartree per cell.
        """


class OrbitalTerm(ABC):
    """An energy of the orbitals, bilinear in each."""

    name: str

    def chunks(self, basis: PlaneWaveBasis) -> list[slice]:
        """k-points that are summed at a time, so that memory is bounded."""
        return [slice(0, basis.nk)]

    @abstractmethod
    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted: Tensor, ks: slice
    ) -> Tensor:
        """0-d, Hartree per cell, in the graph of orbitals, occupations and geometry.

        Parameters
        ----------
        basis : PlaneWaveBasis
            Plane waves.
        orbitals : Tensor
            (nspin, nk, nband, npw), of all k-points.
        weighted : Tensor
            Electrons in each state times the k-point's weight, (nspin, nk, nband).
        ks : slice
            k-points to sum over, one of `chunks`.
        """


#: One of the three.
Term = IonTerm | DensityTerm | OrbitalTerm
