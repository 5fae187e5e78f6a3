"""Action of space-group operations on atoms, forces and stress."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup, species_labels


def atom_permutations(
    crystal: Crystal, symmetry: SymmetryGroup, tolerance: float = 1e-3
) -> np.ndarray:
    """Images of atoms under operations: ``W x_a + w = x_{p[op, a]}`` modulo lattice vectors.

    Parameters
    ----------
    crystal : Crystal
    symmetry : SymmetryGroup
    tolerance : float, optional
        Largest distance in bohr between an image and its atom.

    Returns
    -------
    ndarray
        Shape (nop, natom), int64.

    Raises
    ------
    ValueError
        If an operation is not a symmetry of the crystal.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> permutations = atom_permutations(silicon, find_symmetry(silicon))
    >>> sorted(set(permutations[:, 0].tolist()))
    [0, 1]
    """
    targets, distances = atom_images(crystal, symmetry)
    for operation in np.flatnonzero(distances > tolerance):
        raise ValueError(
            f"operation {operation} (rotation {symmetry.rotations[operation].tolist()}, "
            f"translation {symmetry.translations[operation].tolist()}) does not map the "
            "crystal onto itself; find the symmetry of this crystal with find_symmetry."
        )
    return targets


def atom_images(crystal: Crystal, symmetry: SymmetryGroup) -> tuple[np.ndarray, np.ndarray]:
    """Images of atoms under operations, even if these are not symmetries.

    Parameters
    ----------
    crystal : Crystal
    symmetry : SymmetryGroup

    Returns
    -------
    targets : ndarray
        Nearest atom of the same species and initial moment to each image, (nop, natom), int64.
    distances : ndarray
        Largest distance between an image and that atom, (nop,), bohr; infinite without such atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> bool(atom_images(silicon, find_symmetry(silicon))[1].max() < 1e-6)
    True
    """
    positions = crystal.positions.detach().cpu().numpy()
    lattice = crystal.lattice.detach().cpu().numpy()
    labels = np.array(species_labels(crystal))
    targets = np.empty((len(symmetry), crystal.natom), dtype=np.int64)
    distances = np.empty(len(symmetry))
    for operation in range(len(symmetry)):
        images = positions @ symmetry.rotations[operation].T + symmetry.translations[operation]
        difference = images[:, None] - positions[None]  # (natom, natom, 3)
        difference -= np.rint(difference)
        distance = np.linalg.norm(difference @ lattice, axis=-1)
        distance[labels[:, None] != labels[None]] = np.inf
        targets[operation] = distance.argmin(axis=1)
        distances[operation] = distance.min(axis=1).max()
    return targets, distances


def cartesian_rotations(crystal: Crystal, symmetry: SymmetryGroup) -> Tensor:
    """Orthogonal matrices R (nop, 3, 3) that act on Cartesian columns; the lattice is detached."""
    lattice = crystal.lattice.detach()
    rotations = torch.as_tensor(symmetry.rotations, dtype=lattice.dtype, device=lattice.device)
    return lattice.T @ rotations @ torch.linalg.inv(lattice.T)


def symmetrize_forces(forces: Tensor, crystal: Crystal, symmetry: SymmetryGroup) -> Tensor:
    """Average of forces over a group: ``F_{p(a)} <- mean_ops R F_a``.

    Parameters
    ----------
    forces : Tensor
        Cartesian, shape (natom, 3), Hartree/bohr (any vector field on the atoms).
    crystal : Crystal
    symmetry : SymmetryGroup

    Returns
    -------
    Tensor
        Shape (natom, 3), differentiable with respect to `forces`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> noise = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    >>> bool(symmetrize_forces(noise, silicon, find_symmetry(silicon)).abs().max() < 1e-12)
    True
    """
    if forces.shape != (crystal.natom, 3):
        raise ValueError(f"forces must have shape ({crystal.natom}, 3), got {tuple(forces.shape)}.")
    # Averaging over translations and then over the factor group equals averaging over the group,
    # with far fewer operations in a supercell.
    for part in (symmetry.subset(symmetry.is_pure_translation), symmetry.one_per_rotation()):
        rotations = cartesian_rotations(crystal, part)
        targets = torch.as_tensor(atom_permutations(crystal, part), device=forces.device)
        rotated = torch.einsum("oij,aj->oai", rotations, forces)
        total = torch.zeros_like(forces).index_add(0, targets.reshape(-1), rotated.reshape(-1, 3))
        forces = total / len(part)
    return forces


def symmetrize_stress(stress: Tensor, crystal: Crystal, symmetry: SymmetryGroup) -> Tensor:
    """Average of a Cartesian tensor over a group: ``mean_ops R sigma R^T``.

    Parameters
    ----------
    stress : Tensor
        Shape (3, 3), Hartree/bohr^3 (any second-rank tensor).
    crystal : Crystal
    symmetry : SymmetryGroup

    Returns
    -------
    Tensor
        Shape (3, 3), differentiable with respect to `stress`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> aluminium = Crystal.from_ase(bulk("Al"))
    >>> uniaxial = torch.diag(torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64))
    >>> symmetrize_stress(uniaxial, aluminium, find_symmetry(aluminium)).diagonal().round().tolist()
    [1.0, 1.0, 1.0]
    """
    if stress.shape != (3, 3):
        raise ValueError(f"stress must have shape (3, 3), got {tuple(stress.shape)}.")
    rotations = cartesian_rotations(crystal, symmetry.one_per_rotation())
    return torch.einsum("oij,jk,olk->il", rotations, stress, rotations) / len(rotations)
