"""What space-group operations make of densities.

A density that does not change under ``x -> W x + w`` obeys ``rho(W x + w) = rho(x)``; with
``rho(x) = sum_G rho_G exp(2 pi i G . x)`` and integer G

    ``rho_{W^T G} = rho_G exp(2 pi i G . w)``,

so everything happens among plane waves, and translations need not fit the real-space grid.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.structure.symmetry import SymmetryGroup


class DensitySymmetrizer:
    """Orthogonal projector of plane-wave coefficients onto those invariant under a group.

    Plane waves fall into orbits ``{W^T G}``. Within one, an invariant density has a single free
    number: ``rho_H = phase_H rho_R`` with R the orbit's representative. The projector is
    ``rho_H -> phase_H mean_K(conj(phase_K) rho_K)``; orbits in which two operations demand
    different phases (systematic absences) vanish. Applying it costs O(nG), whatever the number of
    operations, and is differentiable; being self-adjoint, its backward symmetrises cotangents.

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
        When the plane waves are not distinct or not closed (an orbit or two cut at the surface by
        a slightly distorted lattice are dropped instead), or the operations no group.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal
    >>> from deepchem_xc.planewave.structure.symmetry import find_symmetry
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
                f"the density has {density.shape[-1:]} coefficients, the symmetrizer was made for "
                f"{len(self._orbit)} plane waves."
            )
        if self.is_trivial:
            return density
        totals = density.new_zeros((*density.shape[:-1], self.norbit))
        totals = totals.index_add(-1, self._orbit, density * self._conjugate_over_size)
        return totals.index_select(-1, self._orbit) * self._phase


def _orbits(symmetry: SymmetryGroup, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orbit number (nG,) and phase relative to the representative (nG,), zero where absent."""
    if g.ndim != 2 or g.shape[1] != 3:
        raise ValueError(f"g_vectors must have shape (nG, 3), got {g.shape}.")
    g = g.astype(np.float64)  # integers far below 2^53: exact, and products go through BLAS
    factor_group = symmetry.one_per_rotation()
    rotations, translations = factor_group.rotations, factor_group.translations

    # One integer per plane wave, linear in G: key(W^T G) = G . (W radix), with room for every
    # rotated vector so that different vectors never share a key.
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
    # surface of the sphere; these are dropped. More means that something else was passed.
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
    # The sum of a character over the stabiliser is its order or zero, so one half decides
    # safely, however rough the translations of slightly distorted atoms are.
    present = np.abs(stabiliser_sum) > 0.5 * stabilisers
    phase *= complete & present & ~_absent_by_centring(symmetry, g)
    return orbit, phase


def _absent_by_centring(symmetry: SymmetryGroup, g: np.ndarray) -> np.ndarray:
    """Plane waves that a pure translation of a non-primitive cell forbids, shape (nG,)."""
    pure = symmetry.translations[symmetry.is_pure_translation]
    phases = g @ pure.T
    # G.t is a multiple of 1/len(pure): anything nearer to an integer than half of that is one.
    return (np.abs(phases - np.rint(phases)) > 0.5 / len(pure)).any(axis=1)
