r"""Magnetic moments of atoms by Hirshfeld's partition of the magnetisation.

Atoms share each point of space in proportion to the densities that they would have as free atoms.
The shares add up to one everywhere, so that the moments of the atoms add up to that of the cell,
without a choice of radii. Moments within spheres, as from other programs, are smaller because they
omit the space between the spheres.

References
----------
F. L. Hirshfeld, Theor. Chim. Acta 44, 129 (1977).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.pseudo import Pseudopotential
from deepchem_xc.planewave.structure.atom_symmetry import atom_permutations
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup
from deepchem_xc.planewave.terms.local import structure_factor

# Density (bohr^-3) below which a free atom's is rounding and ringing of its Fourier series; used as
# a lower bound, so that far from all atoms they share equally.
_VACUUM = 1e-7


def hirshfeld_moments(
    basis: PlaneWaveBasis,
    pseudos: Mapping[str, Pseudopotential],
    density: Tensor,
    symmetry: SymmetryGroup | None = None,
) -> Tensor:
    r"""Magnetic moments of the atoms.

    .. math:: m_a = \int \frac{n_a(r)}{\sum_b n_b(r)} [n_\uparrow(r) - n_\downarrow(r)]\, d^3r

    with the valence densities :math:`n_a` of the free pseudo-atoms, periodic images included.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Grid, density sphere and positions.
    pseudos : mapping of str to Pseudopotential
        One for every species.
    density : Tensor
        On the sphere, (nspin, nG), bohr^-3.
    symmetry : SymmetryGroup, optional
        Atoms that it maps onto each other get exactly the same moment.

    Returns
    -------
    Tensor
        (natom,), mu_B, zero without spin polarisation; in the graph of density and geometry. They
        add up to the moment of the cell.

    Examples
    --------
    >>> from ase import Atoms
    >>> from deepchem_xc.planewave import scf
    >>> o2 = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], cell=[5, 5, 6], pbc=True, magmoms=[1, 1])
    >>> result = scf(o2, ecut=300.0)
    >>> problem = result.problem
    >>> moments = hirshfeld_moments(result.basis, problem.pseudopotentials, result.density_g)
    >>> [round(moment, 2) for moment in moments.tolist()]
    [1.0, 1.0]
    """
    natom = basis.crystal.natom
    if len(density) == 1:
        # Zero, but still in the graph.
        return 0.0 * density[0, :1].real.expand(natom)
    magnetisation = basis.to_grid(density[0] - density[1])
    total = torch.zeros_like(magnetisation)
    for atom in range(natom):
        total = total + _free_atom(basis, pseudos, atom)
    shared = magnetisation / total
    # One atom at a time, because all densities together would need natom grids.
    means = [(_free_atom(basis, pseudos, atom) * shared).mean() for atom in range(natom)]
    moments = basis.volume * torch.stack(means)
    if symmetry is None:
        return moments
    images = torch.as_tensor(atom_permutations(basis.crystal, symmetry), device=moments.device)
    # Use the sum of the first equivalent atom for all, because rounding differs among sums.
    first = images.amin(0)
    sums = torch.zeros_like(moments).index_add(0, first, moments)
    counts = torch.zeros_like(moments).index_add(0, first, torch.ones_like(moments))
    return (sums / counts.clamp_min(1.0))[first]


def _free_atom(basis: PlaneWaveBasis, pseudos: Mapping[str, Pseudopotential], atom: int) -> Tensor:
    """Density of one pseudo-atom and its images on the grid, bohr^-3, positive."""
    pseudo = pseudos[basis.crystal.symbols[atom]]
    phases = structure_factor(basis, [atom])
    coefficients = pseudo.atomic_density(basis.density_q2) * phases / basis.volume
    return basis.to_grid(coefficients).clamp_min(_VACUUM)
