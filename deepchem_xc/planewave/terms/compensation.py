r"""Compensation charges of PAW spheres and the plane waves that hold them.

The charge :math:`\tilde\rho = \tilde n + \sum_{aL} Q^a_L g^a_L` of smooth density and compensation
charges is neutral and has the multipoles of the true charge outside of the spheres, so that there
is neither an Ewald sum nor an average potential (P. E. Bloechl, Phys. Rev. B 50, 17953 (1994)).
Compensation charges are narrow: they have plane waves beyond the density sphere, in which nothing
but they and the Coulomb kernel exist.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepchem_xc.numerics.harmonics import solid_harmonics
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.paw.shapes import HIGHEST_MULTIPOLE


def compensation_waves(basis: PlaneWaveBasis, potentials: Mapping[str, PAWPotential]) -> Tensor:
    """Integer plane waves of compensation charges, (n, 3); the first nG are the density sphere.

    They are those of the lattice in which the basis was cut, like all its integers.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere.
    potentials : mapping of str to PAWPotential
        One for every species.
    """
    return basis.larger_sphere(max(potentials[s].shape_cutoff for s in basis.crystal.species))


class CompensationCharges:
    """Plane-wave coefficients of unit multipoles around every atom.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Geometry; coefficients are in the graph of its lattice and positions.
    potentials : mapping of str to PAWPotential
        One for every species.
    g_vectors : Tensor
        Plane waves, see `compensation_waves`.

    Attributes
    ----------
    q2 : Tensor
        Their squared lengths, (n,), bohr^-2.
    """

    def __init__(
        self,
        basis: PlaneWaveBasis,
        potentials: Mapping[str, PAWPotential],
        g_vectors: Tensor,
    ) -> None:
        crystal = basis.crystal
        integers = g_vectors.to(torch.float64)
        q = integers @ crystal.reciprocal_lattice
        self.q2 = q.square().sum(-1)
        angular = [solid_harmonics(l, q) for l in range(HIGHEST_MULTIPOLE + 1)]
        self._shapes = {
            species: torch.cat(
                [
                    (-1j) ** l * potentials[species].shape(l, self.q2) * harmonics
                    for l, harmonics in enumerate(angular)
                ]
            )
            / basis.volume
            for species in crystal.species
        }
        angle = -2.0 * torch.pi * crystal.positions @ integers.T
        self._phases = torch.polar(torch.ones_like(angle), angle)
        self._symbols = crystal.symbols

    def charge(self, multipoles: Tensor) -> Tensor:
        """Coefficients of the compensation charge, (n,), bohr^-3.

        Parameters
        ----------
        multipoles : Tensor
            Q_L of every atom, (natom, 9), bohr^l.
        """
        total: Tensor | None = None
        for species, shapes in self._shapes.items():
            atoms = [i for i, symbol in enumerate(self._symbols) if symbol == species]
            around = multipoles[atoms].to(shapes.dtype) @ shapes  # (natom, n)
            part = (around * self._phases[atoms]).sum(0)
            total = part if total is None else total + part
        assert total is not None
        return total
