"""Whether a crystal has the symmetry operations that are used for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.structure.atom_symmetry import atom_images, cartesian_rotations
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup

# Distance in bohr within which a crystal has an operation: above what spglib lets pass, and so
# small that forces err by no more than 1e-4 Ha/bohr.
_KEPT = 1e-4
# Moments of atoms are the same if they differ by less than this, mu_B, or by less than this part of
# the largest.
_SAME_MOMENT, _SAME_MOMENT_PART = 0.02, 0.05


def kept_operations(
    crystal: Crystal, symmetry: SymmetryGroup, tolerance: float = _KEPT
) -> np.ndarray:
    """Which operations a crystal has.

    Parameters
    ----------
    crystal : Crystal
    symmetry : SymmetryGroup
    tolerance : float, optional
        Largest distance in bohr between an image and the atom it falls on, and by which a rotation
        may miss the length of the shortest lattice vector.

    Returns
    -------
    ndarray
        Mask, (nop,).

    Examples
    --------
    Of silicon's 48 operations 12 are left when it is stretched along [111]:

    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> stretch = torch.eye(3, dtype=torch.float64) + 0.01
    >>> stretched = silicon.with_geometry(lattice=silicon.lattice @ stretch)
    >>> int(kept_operations(stretched, find_symmetry(silicon)).sum())
    12
    """
    rotations = cartesian_rotations(crystal, symmetry).cpu().numpy()
    stretch = np.abs(rotations.transpose(0, 2, 1) @ rotations - np.eye(3)).max(axis=(1, 2))
    shortest = float(torch.linalg.vector_norm(crystal.lattice.detach(), dim=1).min())
    _, distances = atom_images(crystal, symmetry)
    kept: np.ndarray = (stretch * shortest < tolerance) & (distances < tolerance)
    return kept


def check_symmetry(crystal: Crystal, symmetry: SymmetryGroup) -> None:
    """Raise ValueError unless a crystal has all operations of a group.

    A density that is averaged over others is that of no crystal, and no energy shows it.

    Parameters
    ----------
    crystal : Crystal
    symmetry : SymmetryGroup

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> check_symmetry(Crystal.from_ase(bulk("Al", a=4.1)), find_symmetry(
    ...     Crystal.from_ase(bulk("Al", a=4.0))))
    """
    if len(symmetry) == 1:
        return
    # These generate the group, and are far fewer in a supercell.
    for part in (symmetry.subset(symmetry.is_pure_translation), symmetry.one_per_rotation()):
        lost = np.flatnonzero(~kept_operations(crystal, part))
        if len(lost) > 0:
            raise ValueError(
                f"the k-points were reduced by {len(symmetry)} symmetry operations that this "
                "crystal does not all have, such as the rotation "
                f"{part.rotations[lost[0]].tolist()} with the translation "
                f"{part.translations[lost[0]].round(6).tolist()}: the atoms, their initial moments "
                "or the cell are others, and a density averaged over such operations is wrong. "
                "Make the k-points or the basis for this crystal, or without symmetry "
                "(symmetry=False)."
            )


def operations_that_keep(moments: Tensor, crystal: Crystal, symmetry: SymmetryGroup) -> np.ndarray:
    """Which operations map atoms onto atoms with the same moment.

    Parameters
    ----------
    moments : Tensor
        (natom,), mu_B. Moments that are about the same count as the same: a small difference is
        the noise of a calculation without symmetry.
    crystal : Crystal
        The atoms.
    symmetry : SymmetryGroup
        Operations that this crystal has.

    Returns
    -------
    ndarray
        Mask, (nop,), of operations that form a group.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
    >>> iron = Crystal.from_ase(bulk("Fe", cubic=True))
    >>> group = find_symmetry(iron)
    >>> antiferromagnet = torch.tensor([2.2, -2.2])
    >>> len(group), int(operations_that_keep(antiferromagnet, iron, group).sum())
    (96, 48)
    """
    values = moments.detach().cpu().numpy()
    order = np.argsort(values)
    resolution = max(_SAME_MOMENT, _SAME_MOMENT_PART * float(np.abs(values).max()))
    labels = np.empty(len(values))
    labels[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > resolution)])
    if labels.max() == 0:
        return np.ones(len(symmetry), dtype=bool)
    labelled = replace(crystal, magnetic_moments=tuple(labels.tolist()))
    return kept_operations(labelled, symmetry)
