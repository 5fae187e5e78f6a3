"""Space-group operations, ``x -> W x + w`` on reduced positions, and their search.

What they make of densities is in `density_symmetry`, of atoms, forces and stress in
`atom_symmetry`.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from deepchem_xc.planewave.structure.crystal import Crystal

# Moments (mu_B) that differ by less are the same to the symmetry search.
_MOMENT_RESOLUTION = 1e-3


@dataclass(frozen=True, eq=False)
class SymmetryGroup:
    """Operations ``x -> W x + w`` on reduced positions, the identity among them.

    Parameters
    ----------
    rotations : ndarray
        The matrices W, shape (nop, 3, 3), int64.
    translations : ndarray
        The vectors w, shape (nop, 3), reduced.
    time_reversal : bool
        Whether k and -k are equivalent (true without magnetic field and spin-orbit coupling, for
        each spin channel).

    Examples
    --------
    >>> len(SymmetryGroup.trivial())
    1
    """

    rotations: np.ndarray
    translations: np.ndarray
    time_reversal: bool = True

    def __post_init__(self) -> None:
        rotations = np.asarray(self.rotations)
        translations = np.asarray(self.translations, dtype=np.float64)
        if rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or len(rotations) == 0:
            raise ValueError(f"rotations must have shape (nop, 3, 3), got {rotations.shape}.")
        if translations.shape != (len(rotations), 3):
            raise ValueError(
                f"translations must have shape ({len(rotations)}, 3), got {translations.shape}."
            )
        if np.any(rotations != np.rint(rotations)):
            raise ValueError("rotations in reduced coordinates must be integer matrices.")
        object.__setattr__(self, "rotations", rotations.astype(np.int64))
        object.__setattr__(self, "translations", translations)

    def __len__(self) -> int:
        return len(self.rotations)

    @classmethod
    def trivial(cls, time_reversal: bool = False) -> SymmetryGroup:
        """The identity alone, by default without time reversal: no reduction of k-points."""
        return cls(np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), time_reversal)

    def subset(self, keep: np.ndarray) -> SymmetryGroup:
        """The operations selected by a boolean mask or an index array; the caller keeps a group."""
        return SymmetryGroup(self.rotations[keep], self.translations[keep], self.time_reversal)

    @property
    def is_pure_translation(self) -> np.ndarray:
        """Mask (nop,) of operations without rotation: the centring of a non-primitive cell."""
        return (self.rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2))

    def one_per_rotation(self) -> SymmetryGroup:
        """One operation for each rotation. With the pure translations they make the group."""
        return self.subset(np.unique(self.rotations, axis=0, return_index=True)[1])

    @property
    def point_group(self) -> np.ndarray:
        """The different rotations, shape (n, 3, 3); fewer than operations in a supercell."""
        return np.unique(self.rotations, axis=0)


def find_symmetry(crystal: Crystal, tolerance: float = 1e-5) -> SymmetryGroup:
    """Space group of a crystal, from spglib.

    Atoms of one element with different initial moments are different species, so an operation
    that exchanges the sublattices of an antiferromagnet is not found. In a supercell the pure
    translations are among the operations.

    Parameters
    ----------
    crystal : Crystal
        The crystal; its geometry is detached.
    tolerance : float, optional
        Distance in bohr within which two atoms coincide. Operations that miss by more than 1e-4
        bohr are not used: see `kept_symmetry.check_symmetry`.

    Returns
    -------
    SymmetryGroup
        With time reversal.

    Raises
    ------
    ValueError
        For a tolerance that is not positive, or when spglib finds no group.

    References
    ----------
    A. Togo, K. Shinohara, I. Tanaka, Sci. Technol. Adv. Mater., Meth. 4, 2384822 (2024).

    Examples
    --------
    >>> from ase.build import bulk
    >>> len(find_symmetry(Crystal.from_ase(bulk("Si")))), len(find_symmetry(
    ...     Crystal.from_ase(bulk("Al", cubic=True))))
    (48, 192)
    """
    import spglib

    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"the symmetry tolerance must be positive (bohr), got {tolerance}.")
    cell = (
        crystal.lattice.detach().cpu().numpy().tolist(),
        crystal.positions.detach().cpu().numpy().tolist(),
        species_labels(crystal),
    )
    # spglib returns None or raises, by its version and environment, and announces the change
    # in a warning at every call.
    reason: object = "no operations found"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry(cell, symprec=tolerance)
        except getattr(spglib, "SpglibError", RuntimeError) as error:
            found, reason = None, error
    if found is None:
        raise ValueError(
            f"spglib finds no space group at a tolerance of {tolerance} bohr ({reason}). Change "
            "the tolerance, or switch symmetry off with symmetry=False."
        )
    return SymmetryGroup(found["rotations"], found["translations"], time_reversal=True)


def species_labels(crystal: Crystal) -> list[int]:
    """One number an atom, equal for atoms that an operation may exchange.

    These are atoms of one element with the same initial moment.
    """
    moments = crystal.magnetic_moments or (0.0,) * crystal.natom
    kinds = [
        (symbol, round(moment / _MOMENT_RESOLUTION))
        for symbol, moment in zip(crystal.symbols, moments, strict=True)
    ]
    order = {kind: number for number, kind in enumerate(sorted(set(kinds)))}
    return [order[kind] + 1 for kind in kinds]
