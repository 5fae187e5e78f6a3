"""`Result`: the interface of a converged calculation, whichever solver did it.

Objectives, models and fits of energy curves read results only through it. Everything is in
Hartree atomic units and, unless detached, in the graph of the functional's parameters.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Result(Protocol):
    """A converged ground state.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result: Result = scf(bulk("Si"), ecut=80.0)
    >>> result.is_differentiable, result.detach().energy.shape
    (False, torch.Size([]))
    """

    @property
    def is_differentiable(self) -> bool:
        """Whether any input requires gradients."""

    def detach(self) -> Result:
        """The same result without a graph."""

    @property
    def energy(self) -> Tensor:
        """Total energy without the entropy term, 0-d, Hartree."""

    @property
    def free_energy(self) -> Tensor:
        """Total energy with the entropy term, stationary in the ground state, 0-d, Hartree."""

    @property
    def extrapolated_energy(self) -> Tensor:
        """Estimate of the energy at zero smearing width, 0-d, Hartree."""

    @property
    def energies(self) -> dict[str, Tensor]:
        """Energy by term, Hartree."""

    @property
    def eigenvalues(self) -> Tensor:
        """Eigenvalues, bands last, ascending, Hartree."""

    @property
    def occupations(self) -> Tensor:
        """Electrons in each state, shaped as `eigenvalues`."""

    @property
    def band_gap(self) -> Tensor:
        """Smallest difference between empty and filled states, 0-d, Hartree."""

    @property
    def magnetic_moment(self) -> Tensor:
        """Total magnetic moment, 0-d, mu_B."""

    @property
    def density(self) -> Tensor:
        """Density on the solver's grid, spins first, bohr^-3."""

    @property
    def forces(self) -> Tensor:
        """Forces, (natom, 3), Hartree/bohr."""


class PeriodicResult(Result, Protocol):
    """A converged ground state of a crystal."""

    @property
    def stress(self) -> Tensor:
        """Stress dE/dstrain / volume, (3, 3), Hartree/bohr^3; positive under tension."""
