"""The exchange-correlation energy inside PAW spheres, of all atoms of a dataset at once.

What the grid lacks of an atom is the energy of its all-electron density in the sphere less that of
its smooth density there. Both are evaluated by the functional that the grid uses, and derivatives
with respect to occupations and parameters are those of this very sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .dataset import PAWDataset
from .sphere_directions import SphereDirections, all_directions
from .sphere_points import SpherePoints

if TYPE_CHECKING:
    from deepchem_xc.xc import SpinParam, ValGrad, XCFunctional

__all__ = ["SphereXC"]

# Points, times spins, whose derivatives are computed together. Until then each takes 0.3 kB (PBE)
# to 1 kB (r2SCAN); with ten times as many, tensors leave the cache, and an atom takes 1.5 to 2
# times as long.
_POINTS_AT_ONCE = 100_000


class SphereXC:
    """Energy that exchange and correlation have in spheres in addition to that on the grid.

    For each atom E_xc[all-electron density] - E_xc[smooth density] - E_xc[reference atom], with the
    integrals of GPAW: plain sums over the dataset's radii and 50 directions, radial derivatives by
    central differences.

    Parameters
    ----------
    dataset : PAWDataset
        Of the atoms.
    functional : XCFunctional
        Any; for meta-GGAs the dataset needs the kinetic energy density of its core.
    directions : SphereDirections, optional
        By default `all_directions`; see `reduced_directions` for atoms on symmetric sites.

    Notes
    -----
    The graph of a potential, for second derivatives, holds 20 MB for an atom of silicon with PBE,
    70 MB for one of nickel with two spins, and 220 MB with r2SCAN, with all directions.

    Examples
    --------
    A partial wave 2 exp(-r), continued smoothly below 1 bohr, of an atom without a core:

    >>> import numpy as np
    >>> from deepchem_xc.planewave.paw import (
    ...     PartialWave, PAWDataset, RadialGrid, ReferenceEnergies
    ... )
    >>> from deepchem_xc.xc import get_xc
    >>> grid = RadialGrid(0.01 * np.arange(150), np.full(150, 0.01))
    >>> true, zero = 2.0 * np.exp(-grid.r), np.zeros(150)
    >>> smooth = np.where(grid.r < 1.0, np.exp(-1.0) * (3.0 - grid.r**2), true)
    >>> dataset = PAWDataset(
    ...     symbol="H", name="H", functional=None, charge=1.0, core=0.0, valence=1.0, grid=grid,
    ...     waves=(PartialWave(0, 1, 1.0, -0.5, 1.0, true, smooth, zero),),
    ...     shape="gauss", shape_radius=0.3, core_density=zero, smooth_core_density=zero,
    ...     core_kinetic_density=None, smooth_core_kinetic_density=None, zero_potential=zero,
    ...     kinetic_differences=np.zeros((1, 1)),
    ...     reference=ReferenceEnergies(kinetic=0.5, xc=-0.3, electrostatic=-1.0, core_kinetic=0.0),
    ... )
    >>> one_electron = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    >>> energy, potential = SphereXC(dataset, get_xc("LDA")).energy_and_potential(one_electron)
    >>> round(float(energy), 4), round(float(potential), 4)
    (0.2683, -0.0415)
    """

    def __init__(
        self,
        dataset: PAWDataset,
        functional: XCFunctional,
        directions: SphereDirections | None = None,
    ) -> None:
        self.dataset, self.functional = dataset, functional
        self.directions = all_directions() if directions is None else directions
        self._points: dict[torch.device, SpherePoints] = {}

    def points(self, device: torch.device) -> SpherePoints:
        """`SpherePoints` on a device, made when they are first needed there."""
        if device not in self._points:
            self._points[device] = SpherePoints(self.dataset, self.directions, device)
        return self._points[device]

    def energy(self, occupations: Tensor) -> Tensor:
        """Energy of each atom in the graph of occupations and functional, (natom,), Hartree.

        Parameters
        ----------
        occupations : Tensor
            Partial-wave occupations, (natom, nspin, nstate, nstate), real; of their antisymmetric
            part nothing depends. One spin: of all electrons; two: up and down.

        Raises
        ------
        ValueError
            If the shape does not fit the dataset, or the functional needs a kinetic energy density
            that the dataset's core does not have.
        FunctionalValueError
            If an energy, or a first or second derivative when it is computed, is NaN or infinite;
            the message names functional, element and density.
        """
        from deepchem_xc.xc import FunctionalValueError, integrated_energies

        self._check(occupations)
        if occupations.requires_grad:
            occupations = self._watched(occupations)
        information = self.information(occupations)
        volumes = self.points(occupations.device).volumes
        try:
            energies = integrated_energies(self.functional, information, volumes)
        except FunctionalValueError as error:
            raise self._located(error) from None
        return energies - self.dataset.reference.xc

    def energy_and_potential(self, occupations: Tensor) -> tuple[Tensor, Tensor]:
        """Energies, and their derivatives with respect to the occupations, without graphs.

        Parameters
        ----------
        occupations : Tensor
            As for `energy`.

        Returns
        -------
        energies : Tensor
            (natom,), Hartree.
        potential : Tensor
            (natom, nspin, nstate, nstate), symmetric, Hartree.

        Raises
        ------
        ValueError, FunctionalValueError
            As `energy`.
        """
        self._check(occupations)
        points = occupations.shape[1] * self.points(occupations.device).volumes.numel()
        energies, potentials = [], []
        for piece in occupations.detach().split(max(1, _POINTS_AT_ONCE // points)):
            with torch.enable_grad():
                leaf = piece.clone().requires_grad_()
                energy = self.energy(leaf)
                (potential,) = torch.autograd.grad(energy.sum(), leaf)
            energies.append(energy.detach())
            potentials.append(potential)
        return torch.cat(energies), torch.cat(potentials)

    def _check(self, occupations: Tensor) -> None:
        nstate = self.dataset.nstate
        shape = tuple(occupations.shape)
        if len(shape) != 4 or shape[1] not in (1, 2) or shape[2:] != (nstate, nstate):
            raise ValueError(
                f"occupations have the shape {shape}; those of atoms with {self.dataset!r} must be "
                f"(natom, 1 or 2 spins, {nstate}, {nstate})"
            )

    def information(self, occupations: Tensor) -> ValGrad | SpinParam:
        """What the functional needs of the atoms' densities, for each spin.

        Parameters
        ----------
        occupations : Tensor
            As for `energy`.

        Returns
        -------
        ValGrad or SpinParam
            Values (natom, nv, 2 nr), gradients (natom, nv, 3, 2 nr); see `SpherePoints`.
        """
        from deepchem_xc.xc import Ingredients, SpinParam, ValGrad

        needed = self.functional.ingredients
        density = self.points(occupations.device).density(
            occupations,
            gradient=Ingredients.GRADIENT in needed,
            tau=Ingredients.TAU in needed,
        )
        nspin = occupations.shape[1]
        fields = [(None,) * nspin if x is None else x.unbind(1) for x in density]
        channels = [
            ValGrad(value=value, grad=gradient, kin=tau) for value, gradient, tau in zip(*fields)
        ]
        return channels[0] if len(channels) == 1 else SpinParam(u=channels[0], d=channels[1])

    def _watched(self, occupations: Tensor) -> Tensor:
        """The same occupations; derivatives that pass through them must be finite."""
        from deepchem_xc.xc import FunctionalValueError, check_finite

        given = occupations.detach()

        def check(derivative: Tensor) -> None:
            if not bool(torch.isfinite(derivative).all()):
                with torch.no_grad():
                    information = self.information(given)
                try:
                    check_finite(self.functional, information, derivative, order=2)
                except FunctionalValueError as error:
                    raise self._located(error) from None

        watched = occupations.view_as(occupations)
        watched.register_hook(check)
        return watched

    def _located(self, error: Exception) -> Exception:
        """The same error with the place where it happened."""
        return type(error)(f"in the PAW sphere of {self.dataset.symbol}: {error}")
