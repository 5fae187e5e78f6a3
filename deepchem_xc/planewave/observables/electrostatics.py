"""Electrostatic potential of electrons and ions on the grid."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.other_grids import to_any_grid
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.pseudo import Pseudopotential
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.terms.coulomb import Coulomb
from deepchem_xc.planewave.terms.hartree import hartree_potential
from deepchem_xc.planewave.terms.local import local_potential


def electrostatic_potential(
    basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential], density: Tensor
) -> Tensor:
    r"""Potential energy of an electron in the field of the valence electrons and the ions.

    This is the Hartree potential plus the local pseudopotentials, without exchange and correlation:
    low at atoms, high in vacuum. Its mean over the cell is zero, and eigenvalues and Fermi levels
    are on the same scale, so that a work function is the value in vacuum minus the Fermi level.
    Within the core radii of the pseudopotentials it differs from that of the real atoms. As a
    truncated Fourier sum it ripples at low cutoffs (0.1 eV around helium at 350 eV): an average
    over a region of the vacuum, or over planes, removes the ripples and keeps the level.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, positions and volume.
    pseudos : mapping of str to Pseudopotential
        One for every species.
    density : Tensor
        Valence density on the sphere, (nspin, nG), bohr^-3.

    Returns
    -------
    Tensor
        (n1, n2, n3), Hartree, in the graph of density and geometry.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import scf
    >>> result = scf(bulk("Si"), ecut=100.0, kpts=(2, 2, 2))
    >>> problem = result.problem
    >>> potential = electrostatic_potential(
    ...     result.basis, problem.pseudopotentials, result.density_g)
    >>> bool(abs(potential.mean()) < 1e-12), bool(potential[0, 0, 0] < potential.mean())
    (True, True)
    """
    return basis.to_grid(local_potential(basis, pseudos) + hartree_potential(basis, density))


def potential_around_spheres(basis: PlaneWaveBasis, spheres: Spheres, fields: Fields) -> Tensor:
    r"""Potential energy of an electron in the field of all electrons and nuclei, with PAW.

    .. math:: v(r) = \sum_{G \ne 0} \frac{4\pi}{G^2} \tilde\rho_G e^{iGr}

    with the smooth density, the smooth cores and the compensation charges in :math:`\tilde\rho`
    [1]_. Outside of the spheres it is the true potential, inside of them a smooth continuation. It
    is on the scale of the eigenvalues, and its mean over the cell is zero; the mean over the points
    of the grid differs from that by what the grid cannot resolve. Values at the points are those of
    the full sum over plane waves, up to those at which the narrowest compensation charge ends.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, positions and volume.
    spheres : Spheres
        Datasets, and the places of their matrices.
    fields : Fields
        Smooth density and partial-wave occupations.

    Returns
    -------
    Tensor
        (n1, n2, n3), Hartree, in the graph of fields and geometry.

    References
    ----------
    .. [1] P. E. Bloechl, Phys. Rev. B 50, 17953 (1994).
    """
    charge = Coulomb(basis, spheres).charge(basis, fields)
    potential = 4.0 * math.pi * charge.coefficients[1:] / charge.q2[1:]
    zero = torch.zeros_like(charge.coefficients[:1])
    return to_any_grid(charge.g_vectors, torch.cat([zero, potential]), basis.fft_size)
