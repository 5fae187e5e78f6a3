r"""Dipole moment of what has vacuum around it: molecules in a box, and slabs along their normal.

In a cell that electrons fill, the dipole moment depends on where the cell begins, and has no
meaning. Where there is vacuum between the atoms and their periodic images, the cell is cut there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

# Largest change of the dipole when the cut moves by one bohr, e bohr. The field of the periodic
# images in such a box changes the dipole by more: LiH, 8 Angstrom from its images, has 0.03.
_AMBIGUITY = 0.05
# Components of lattice vectors below this are none, bohr.
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

    It points from negative to positive charge and does not depend on the origin, nor on how the
    atoms lie with respect to the cell: each direction is cut in the middle of the widest gap
    between atoms. The integral is exact on the density sphere.

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
        Cartesian, (3,), e bohr, in the graph of density and geometry. Components that a direction
        filled with electrons contributes to are NaN: of a slab in the xy plane those along x
        and y.

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
    electrons = basis.volume * density.sum(0)
    lattice = basis.crystal.lattice
    parts: list[Tensor | None] = []
    ambiguities = []
    for axis in range(3):
        g, coefficients = _along(basis, electrons, axis)
        positions = torch.remainder(basis.crystal.positions[:, axis], 1.0)
        cut = _middle_of_gap(positions)
        # Electrons of one unit of the reduced coordinate there: so much does the dipole change, in
        # e bohr, when the cut moves by one bohr.
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
            "normal of slabs: use more vacuum, and lay a slab in the plane of two Cartesian axes."
        )
    known = [x if x is not None else lattice.new_zeros(()) for x in parts]
    total = torch.stack(known) @ lattice
    return torch.where(reach > _ZERO, math.nan, total)


def _along(basis: PlaneWaveBasis, electrons: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Integers g and coefficients of the average over planes of constant reduced coordinate."""
    others = [i for i in range(3) if i != axis]
    here = (basis.g_vectors[:, others] == 0).all(1)
    return basis.g_vectors[here, axis].to(torch.float64), electrons[here]


def _middle_of_gap(positions: Tensor) -> Tensor:
    """Middle of the widest gap between reduced coordinates in [0, 1) and their images, 0-d."""
    ordered = positions.sort().values
    following = torch.cat([ordered[1:], ordered[:1] + 1.0])
    widest = int((following - ordered).argmax())
    # In the graph of the positions: where the cut lies is then no source of noise or error.
    return 0.5 * (ordered[widest] + following[widest])


def _first_moment(g: Tensor, coefficients: Tensor, cut: Tensor) -> Tensor:
    """Integral of the reduced distance from the cut, over the electrons of one cell."""
    moving = g != 0
    phase = 2.0 * math.pi * g[moving] * cut
    sawtooth = torch.polar(0.5 / (math.pi * g[moving]), phase - 0.5 * math.pi)
    uniform = 0.5 * coefficients[~moving].real.sum()
    return uniform + (sawtooth * coefficients[moving]).real.sum()
