"""Interface of an energy term: a name, an energy, and a potential if it depends on the density."""

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
        """Energy, 0-d, Hartree per cell, in the graph of the basis's geometry."""


class DensityTerm(ABC):
    """An energy that the density determines, and for meta-GGAs the kinetic energy density."""

    name: str

    @abstractmethod
    def energy(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor:
        """Energy, 0-d, Hartree per cell, in the graph of density, geometry and the functional.

        Parameters
        ----------
        basis : PlaneWaveBasis
            May be a strained copy of the one the term was made for.
        fields : Fields
            Density, with the kinetic energy density if a meta-GGA needs it.
        """

    def energy_beside(self, basis: PlaneWaveBasis, fields: Fields, step: Fields) -> Tensor:
        """Energy of fields plus a step of zero.

        The derivative with respect to the step is the potential, and that of this derivative with
        respect to the fields is the potential's derivative, which is not always the second one of
        the energy: see `ExchangeCorrelation`.

        Parameters
        ----------
        basis, fields
            As for `energy`.
        step : Fields
            Zero, of the shape of `fields`.
        """
        return self.energy(basis, fields + step)

    def left_out(self, basis: PlaneWaveBasis, fields: Fields) -> Tensor | None:
        """Part of the density on the grid that the energy ignores and the potential acts on.

        Returns
        -------
        Tensor or None
            (nspin, nr), bohr^-3, zero at other points; None if there is none.
        """
        return None

    def energy_of_left_out(self, basis: PlaneWaveBasis, fields: Fields, left_out: Tensor) -> Tensor:
        """Potential times the density that the energy ignores, 0-d, Hartree per cell.

        In the graph of `fields`, through the potential, of `left_out`, geometry and functional.

        Parameters
        ----------
        basis, fields
            As for `energy`.
        left_out : Tensor
            (nspin, nr), bohr^-3.
        """
        raise NotImplementedError(f"the energy {self.name} ignores nothing of a density")

    @abstractmethod
    def potential(self, basis: PlaneWaveBasis, fields: Fields) -> tuple[Potential, Tensor]:
        """Derivative with respect to the fields, and the energy minus potential times fields.

        Parameters
        ----------
        basis, fields
            As for `energy`.

        Returns
        -------
        potential : Potential
            Hartree; `v` may be (1, nG) if it is the same for all channels.
        correction : Tensor
            E - `potential.energy(fields, volume)`, 0-d, Hartree per cell.
        """


class OrbitalTerm(ABC):
    """An energy of the orbitals, quadratic in each."""

    name: str

    def chunks(self, basis: PlaneWaveBasis) -> list[slice]:
        """k-points to sum at a time, which bounds the memory."""
        return [slice(0, basis.nk)]

    @abstractmethod
    def energy(
        self, basis: PlaneWaveBasis, orbitals: Tensor, weighted_occupations: Tensor, ks: slice
    ) -> Tensor:
        """Energy, 0-d, Hartree per cell, in the graph of orbitals, occupations and geometry.

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


#: Any of the three kinds.
Term = IonTerm | DensityTerm | OrbitalTerm
