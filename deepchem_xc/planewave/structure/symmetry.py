"""Space-group operations and their action on densities, forces and stress.

An operation moves reduced positions as ``x -> W x + w``. A density that is invariant under it
obeys ``rho(W x + w) = rho(x)``; with ``rho(x) = sum_G rho_G exp(2 pi i G . x)`` and integer G

    ``rho_{W^T G} = rho_G exp(2 pi i G . w)``,

so symmetrisation only involves plane waves, and translations need not fit the real-space grid.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.structure.crystal import Crystal

# Resolution of moments (mu_B) in the symmetry search.
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
        """Operations selected by a mask or an index array; the caller must select a group."""
        return SymmetryGroup(self.rotations[keep], self.translations[keep], self.time_reversal)

    @property
    def is_pure_translation(self) -> np.ndarray:
        """Mask (nop,) of operations without rotation: the centring of a non-primitive cell."""
        return (self.rotations == np.eye(3, dtype=np.int64)).all(axis=(1, 2))

    def one_per_rotation(self) -> SymmetryGroup:
        """One operation for each rotation; with the pure translations they generate the group."""
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
        Distance in bohr within which two atoms coincide. Operations with errors above 1e-4 bohr are
        not used: see `kept_symmetry.check_symmetry`.

    Returns
    -------
    SymmetryGroup
        With time reversal.

    Raises
    ------
    ValueError
        For a tolerance that is not positive, or if spglib finds no group.

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
        _species_labels(crystal),
    )
    # spglib returns None or raises, depending on version and environment, and announces the change
    # with a warning at every call.
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


def _species_labels(crystal: Crystal) -> list[int]:
    moments = crystal.magnetic_moments or (0.0,) * crystal.natom
    kinds = [
        (symbol, round(moment / _MOMENT_RESOLUTION))
        for symbol, moment in zip(crystal.symbols, moments, strict=True)
    ]
    order = {kind: number for number, kind in enumerate(sorted(set(kinds)))}
    return [order[kind] + 1 for kind in kinds]


class DensitySymmetrizer:
    """Orthogonal projector of plane-wave coefficients onto those invariant under a group.

    Plane waves fall into orbits ``{W^T G}``. Within an orbit, an invariant density has a single
    free number: ``rho_H = phase_H rho_R`` with R the orbit's representative. The projector is
    ``rho_H -> phase_H mean_K(conj(phase_K) rho_K)``; orbits in which two operations require
    different phases (systematic absences) vanish. The projector costs O(nG) for any number of
    operations and is differentiable; because it is self-adjoint, its backward symmetrises
    cotangents.

    Parameters
    ----------
    symmetry : SymmetryGroup
        The operations; they must form a group.
    g_vectors : Tensor
        Integer plane waves, shape (nG, 3), each once; closed under the rotations, as a sphere
        ``|G| <= 2 Gmax`` is. Results stay on its device.

    Raises
    ------
    ValueError
        If the plane waves are not distinct or not closed (but an orbit or two that a slightly
        distorted lattice cuts at the surface are dropped), or the operations are not a group.

    Examples
    --------
    >>> from ase.build import bulk
    >>> import itertools
    >>> symmetry = find_symmetry(Crystal.from_ase(bulk("Al")))
    >>> g = torch.tensor([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1),
    ...                   (-1, 0, 0), (0, -1, 0), (0, 0, -1), (-1, -1, -1)])
    >>> rho = torch.zeros(9, dtype=torch.complex128)
    >>> rho[1] = 8.0
    >>> DensitySymmetrizer(symmetry, g)(rho).real.tolist()
    [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, symmetry: SymmetryGroup, g_vectors: Tensor) -> None:
        device = g_vectors.device
        self.symmetry = symmetry
        self.is_trivial = len(symmetry) == 1
        orbit, phase = _orbits(symmetry, g_vectors.detach().cpu().numpy())
        self.norbit = int(orbit.max(initial=-1)) + 1
        self._orbit = torch.from_numpy(orbit).to(device)
        self._phase = torch.from_numpy(phase).to(device)
        multiplicity = np.bincount(orbit, minlength=self.norbit)
        self._conjugate_over_size = torch.from_numpy(phase.conj() / multiplicity[orbit]).to(device)

    def __call__(self, density: Tensor) -> Tensor:
        """Project coefficients of shape (..., nG), complex, onto the invariant subspace."""
        if density.shape[-1:] != self._orbit.shape:
            raise ValueError(
                f"the density has {density.shape[-1:]} coefficients, but the symmetrizer was made "
                f"for {len(self._orbit)} plane waves."
            )
        if self.is_trivial:
            return density
        totals = density.new_zeros((*density.shape[:-1], self.norbit))
        totals = totals.index_add(-1, self._orbit, density * self._conjugate_over_size)
        return totals.index_select(-1, self._orbit) * self._phase


def _orbits(symmetry: SymmetryGroup, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orbit index (nG,), and phase relative to the representative (nG,), zero if absent."""
    if g.ndim != 2 or g.shape[1] != 3:
        raise ValueError(f"g_vectors must have shape (nG, 3), got {g.shape}.")
    g = g.astype(np.float64)  # integers far below 2^53: exact, and products go through BLAS
    factor_group = symmetry.one_per_rotation()
    rotations, translations = factor_group.rotations, factor_group.translations

    # One integer per plane wave, linear in G: key(W^T G) = G . (W radix); the radix is large enough
    # for every rotated vector, so that different vectors never share a key.
    reach = np.abs(g).max(initial=0) * np.abs(rotations).sum(axis=1).max()
    radix = (2 * reach + 1) ** np.array([2.0, 1.0, 0.0])
    keys = g @ radix
    rotated_radix = rotations @ radix  # (nrot, 3)
    if len(np.unique(keys)) < len(keys):
        raise ValueError("g_vectors must be distinct.")

    # The representative of an orbit is its member with the smallest key.
    best = np.full(len(g), np.inf)
    best_operation = np.zeros(len(g), dtype=np.int64)
    stabilisers = np.zeros(len(g), dtype=np.int64)
    stabiliser_sum = np.zeros(len(g), dtype=np.complex128)
    for operation, (vector, translation) in enumerate(
        zip(rotated_radix, translations, strict=True)
    ):
        image = g @ vector
        better = image < best
        best[better] = image[better]
        best_operation[better] = operation
        fixed = np.flatnonzero(image == keys)
        stabilisers[fixed] += 1
        stabiliser_sum[fixed] += np.exp(2j * math.pi * (g[fixed] @ translation))

    labels, orbit = np.unique(best, return_inverse=True)
    complete = np.bincount(orbit)[orbit] * stabilisers == len(rotations)
    # A lattice that has the symmetry only to spglib's tolerance may cut an orbit or two at the
    # surface of the sphere; these are dropped. More of them mean wrong arguments.
    broken = len(np.unique(orbit[~complete]))
    if broken > max(2, len(labels) // 1000):
        raise ValueError(
            f"internal error: {broken} of {len(labels)} orbits of plane waves are incomplete, for "
            f"example that of {g[np.flatnonzero(~complete)[0]].astype(int).tolist()}. Pass the "
            "whole sphere |G| <= 2 Gmax of the lattice that the operations belong to, and "
            "operations that form a group."
        )

    # rho_R = rho_G exp(2 pi i G.w), so the phase of G relative to R is the conjugate.
    phase = np.exp(-2j * math.pi * np.einsum("gi,gi->g", g, translations[best_operation]))
    # The sum of a character over the stabiliser is its order or zero, so a threshold of one half is
    # safe even for the inaccurate translations of slightly distorted atoms.
    present = np.abs(stabiliser_sum) > 0.5 * stabilisers
    phase *= complete & present & ~_absent_by_centring(symmetry, g)
    return orbit, phase


def _absent_by_centring(symmetry: SymmetryGroup, g: np.ndarray) -> np.ndarray:
    """Plane waves that a pure translation of a non-primitive cell forbids, shape (nG,)."""
    pure = symmetry.translations[symmetry.is_pure_translation]
    phases = g @ pure.T
    # G.t is a multiple of 1/len(pure): closer to an integer than half of that means an integer.
    return (np.abs(phases - np.rint(phases)) > 0.5 / len(pure)).any(axis=1)


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
    >>> silicon = Crystal.from_ase(bulk("Si"))
    >>> bool(atom_images(silicon, find_symmetry(silicon))[1].max() < 1e-6)
    True
    """
    positions = crystal.positions.detach().cpu().numpy()
    lattice = crystal.lattice.detach().cpu().numpy()
    labels = np.array(_species_labels(crystal))
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
    >>> aluminium = Crystal.from_ase(bulk("Al"))
    >>> uniaxial = torch.diag(torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64))
    >>> symmetrize_stress(uniaxial, aluminium, find_symmetry(aluminium)).diagonal().round().tolist()
    [1.0, 1.0, 1.0]
    """
    if stress.shape != (3, 3):
        raise ValueError(f"stress must have shape (3, 3), got {tuple(stress.shape)}.")
    rotations = cartesian_rotations(crystal, symmetry.one_per_rotation())
    return torch.einsum("oij,jk,olk->il", rotations, stress, rotations) / len(rotations)
