"""Real orbitals in crystals with an inversion centre, at any k-points.

With the origin on an inversion centre, H at every k-point is a real symmetric matrix in plane
waves: inversion and complex conjugation together map k to itself.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.basis.real_gauge import RealGauge, pack, unpack

# Largest projector that counts as rounding.
_ROUNDING = 1e-10


def inversion_centre(basis: PlaneWaveBasis) -> Tensor | None:
    """Centre of inversion in reduced coordinates, (3,); None if the basis uses no inversion."""
    symmetry = basis.kpoints.symmetry
    inverts = (symmetry.rotations == -np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    if not inverts.any():
        return None
    centre = 0.5 * symmetry.translations[inverts.argmax()]
    return torch.as_tensor(centre, dtype=torch.float64, device=basis.device)


class InversionGauge(RealGauge):
    r"""Makes orbitals real about an inversion centre, and complex again.

    .. math:: c_G = e^{-i(k+G)x_0} r_G, \qquad r_G \text{ real}

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves; the symmetry of its k-points must contain the inversion.
    centre : Tensor
        Inversion centre x0, reduced, (3,).
    projectors : Tensor
        Projectors, (nk, nproj, npw), of functions that are real in space: those with odd l have
        their factor (-i)^l.

    Attributes
    ----------
    projectors : Tensor
        Real projectors (nk, n, npw) with the same nonlocal operators, if coupled by `matrix`.
    density_phase : Tensor
        exp(iG.x0), (nG,): multiplying the coefficients of a density or potential by it moves the
        origin to the centre.
    """

    def __init__(self, basis: PlaneWaveBasis, centre: Tensor, projectors: Tensor) -> None:
        reduced = basis.orbital_g_vectors.to(torch.float64) + basis.k_coordinates[:, None, :]
        self._phase = _turn(reduced @ centre)  # (nk, npw)
        self.density_phase = _turn(basis.g_vectors.to(torch.float64) @ centre)
        centred = projectors * self._phase.unsqueeze(1)
        # The image of an atom with B D B^+ has the complex conjugate of that: keep the real part of
        # each, Re B D Re B^T + Im B D Im B^T. Of an atom on the centre, which is its own image, one
        # of both vanishes: even l is real, odd l imaginary, and D does not couple them.
        parts = torch.cat([centred.real, centred.imag], dim=1)
        self._kept = (parts.abs().amax((0, 2)) > _ROUNDING).nonzero().squeeze(1)
        self.projectors = parts[:, self._kept].contiguous()

    def matrix(self, coupling: Tensor) -> Tensor:
        """Coupling of the real projectors, (..., n, n), for a coupling (..., nproj, nproj).

        The coupling must have the inversion's symmetry: of an atom and its image, elements between
        even and odd l are equal up to the sign; of an atom on the centre they are zero.
        """
        n = coupling.shape[-1]
        both = coupling.new_zeros((*coupling.shape[:-2], 2 * n, 2 * n))
        both[..., :n, :n] = coupling
        both[..., n:, n:] = coupling
        return both[..., self._kept[:, None], self._kept]

    def transformed(self, rows: Tensor, ks: slice) -> Tensor:
        """Complex rows (nk, n, npw) with the origin moved to the inversion centre."""
        return rows * self._phase[ks].unsqueeze(1)

    def to_complex(self, real: Tensor, ks: slice) -> Tensor:
        """Undo `to_real`: complex orbitals, (nk, nband, npw)."""
        return real * self._phase[ks].conj().unsqueeze(1)

    def to_waves(self, real: Tensor, ks: slice) -> Tensor:
        """Pack pairs of real rows for FFTs, (nk, n, npw) -> (nk, (n + 1) // 2, npw), complex.

        Both orbitals are Hermitian about the origin, in the centre: on the grid they are complex,
        and their cross terms in a square are odd under inversion.
        """
        return pack(real)

    def from_waves(self, waves: Tensor, n: int, ks: slice) -> Tensor:
        """Undo `to_waves` for n rows, (nk, (n + 1) // 2, npw) -> (nk, n, npw)."""
        return unpack(waves, n)

    def to_real_matrix(self, matrix: Tensor, k: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """H or S in some plane waves of one k-point, (n, n), real, and the same places."""
        phase = self._phase[k, chosen]
        return (phase[:, None] * matrix * phase.conj()).real, chosen


def _turn(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), 2.0 * torch.pi * angle)
