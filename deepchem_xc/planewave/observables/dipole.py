r"""Dipole moments of systems in vacuum: molecules in a box, and slabs along their normal.

In a cell filled with electrons, the dipole moment depends on where the cell begins and is
meaningless. If there is vacuum between the atoms and their periodic images, the cell is cut there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.structure.crystal import Crystal

# Largest change of the dipole (e bohr) when the cut moves by one bohr. In a box at this limit the
# field of periodic images changes the dipole by more. LiH, 8 Angstrom from its images, has 0.03.
_AMBIGUITY = 0.05
# Components of lattice vectors (bohr) that count as zero.
_ZERO = 1e-6


class UndefinedDipoleError(ValueError):
    """Electrons fill the cell in every direction: there is no dipole moment.

    Examples
    --------
    >>> issubclass(UndefinedDipoleError, ValueError)
    True
    """


def dipole_moment(basis: PlaneWaveBasis, charges: Tensor, density: Tensor) -> Tensor:
    r"""Dipole moment of ions and valence electrons.

    .. math:: d = \sum_a Z_a r_a - \int r\, n(r)\, d^3r

    It points from negative to positive charge and depends neither on the origin nor on the position
    of the atoms in the cell: each direction is cut in the middle of the widest gap between atoms.
    The integral is exact on the density sphere.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Density sphere, lattice and positions.
    charges : Tensor
        Valence charges of the atoms, (natom,), elementary charges.
    density : Tensor
        Valence density on the sphere, (nspin, nG), bohr^-3.

    Returns
    -------
    Tensor
        Cartesian, (3,), e bohr, in the graph of density and geometry. Components to which a
        direction filled with electrons contributes are NaN: x and y for a slab in the xy plane.

    Raises
    ------
    UndefinedDipoleError
        If no Cartesian component is defined.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import scf
    >>> molecule = Atoms("LiH", [[0, 0, 0], [0, 0, 1.6]], cell=[7, 7, 8], pbc=True)
    >>> result = scf(molecule, ecut=150.0)
    >>> x, y, z = dipole_moment(result.basis, result.problem.charges, result.density_g)
    >>> bool(z < -1.5)  # from H to Li
    True
    """
    return _dipole(basis.crystal, basis.g_vectors, basis.volume * density.sum(0), charges)


def dipole_of_neutral_charge(crystal: Crystal, g_vectors: Tensor, charge: Tensor) -> Tensor:
    r"""Dipole moment of a neutral charge that contains the nuclei, as with PAW.

    .. math:: d = -\int r\, \tilde\rho(r)\, d^3r

    With compensation charges the smooth charge has all dipoles of the true one: the result is not
    an approximation. See `dipole_moment` for the origin and the cuts.

    Parameters
    ----------
    crystal : Crystal
        Lattice, and the positions between which the cell is cut.
    g_vectors : Tensor
        Integer plane waves, (n, 3).
    charge : Tensor
        Coefficients, (n,), bohr^-3; electrons count positive.

    Returns
    -------
    Tensor
        Cartesian, (3,), e bohr, as `dipole_moment`.

    Raises
    ------
    UndefinedDipoleError
        If no Cartesian component is defined.

    Examples
    --------
    A wave whose electrons are to the right of the middle of a cube, which has an atom there:

    >>> from ase import Atoms
    >>> atom = Atoms("H", [[2, 2, 2]], cell=[4, 4, 4], pbc=True)
    >>> g = torch.tensor([[1, 0, 0], [-1, 0, 0]])
    >>> wave = 1e-3 * torch.tensor([0.5j, -0.5j], dtype=torch.complex128)
    >>> bool(dipole_of_neutral_charge(Crystal.from_ase(atom), g, wave)[0] < 0)
    True
    """
    no_ions = charge.real.new_zeros(crystal.natom)
    return _dipole(crystal, g_vectors, crystal.volume * charge, no_ions)


def _dipole(crystal: Crystal, g_vectors: Tensor, electrons: Tensor, charges: Tensor) -> Tensor:
    """Dipole moment of point charges, (natom,), and of electrons per plane wave, (n,)."""
    lattice = crystal.lattice
    parts: list[Tensor | None] = []
    ambiguities = []
    for axis in range(3):
        g, coefficients = _along(g_vectors, electrons, axis)
        positions = torch.remainder(crystal.positions[:, axis], 1.0)
        cut = _middle_of_gap(positions)
        # Electrons per unit of the reduced coordinate there equal the change of the dipole, in e
        # bohr, when the cut moves by one bohr.
        waves = torch.exp(2j * math.pi * g * cut.detach())
        density_there = abs(float((waves * coefficients.detach()).real.sum()))
        ambiguities.append(density_there)
        if density_there > _AMBIGUITY:
            parts.append(None)
            continue
        ions = (charges * torch.remainder(positions - cut, 1.0)).sum()
        parts.append(ions - _first_moment(g, coefficients, cut))
    unknown = [axis for axis, part in enumerate(parts) if part is None]
    # A component is defined if no filled direction contributes to it.
    reach = lattice.detach()[unknown].abs().sum(0)
    if bool((reach > _ZERO).all()):
        shown = ", ".join(f"{change:.1e}" for change in ambiguities)
        raise UndefinedDipoleError(
            "electrons fill the cell, so that its dipole moment depends on where the cell is cut: "
            "moving the cut by one bohr, in the widest gap along each of the lattice vectors, "
            f"changes it by {shown} e bohr (at most {_AMBIGUITY:g} is accepted), and no Cartesian "
            "component is free of that. Dipoles are defined for molecules in a box and along the "
            "normal of slabs: use more vacuum, and put a slab in the plane of two Cartesian axes."
        )
    known = [x if x is not None else lattice.new_zeros(()) for x in parts]
    total = torch.stack(known) @ lattice
    return torch.where(reach > _ZERO, math.nan, total)


def _along(g_vectors: Tensor, electrons: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Integers g and coefficients of the average over planes with one reduced coordinate fixed."""
    others = [i for i in range(3) if i != axis]
    here = (g_vectors[:, others] == 0).all(1)
    return g_vectors[here, axis].to(torch.float64), electrons[here]


def _middle_of_gap(positions: Tensor) -> Tensor:
    """Middle of the widest gap between reduced coordinates in [0, 1) and their images, 0-d."""
    ordered = positions.sort().values
    following = torch.cat([ordered[1:], ordered[:1] + 1.0])
    widest = int((following - ordered).argmax())
    # In the graph of the positions, so that the place of the cut causes no noise or error.
    return 0.5 * (ordered[widest] + following[widest])


def _first_moment(g: Tensor, coefficients: Tensor, cut: Tensor) -> Tensor:
    """Integral of the reduced distance from the cut, over the electrons of one cell."""
    moving = g != 0
    phase = 2.0 * math.pi * g[moving] * cut
    sawtooth = torch.polar(0.5 / (math.pi * g[moving]), phase - 0.5 * math.pi)
    uniform = 0.5 * coefficients[~moving].real.sum()
    return uniform + (sawtooth * coefficients[moving]).real.sum()
