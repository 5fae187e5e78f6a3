"""Real orbitals in crystals with an inversion centre.

With the origin on an inversion centre, H at every k-point is a real symmetric matrix in plane
waves: inversion and complex conjugation together map k to itself. Its eigenvectors can be chosen
real. Linear algebra then costs a quarter, and one FFT transforms two orbitals, as real and
imaginary parts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

# Largest imaginary part that counts as rounding.
_ROUNDING = 1e-10


def inversion_centre(basis: PlaneWaveBasis) -> Tensor | None:
    """Centre of inversion in reduced coordinates, (3,); None if the basis uses no inversion."""
    symmetry = basis.kpoints.symmetry
    inverts = (symmetry.rotations == -np.eye(3, dtype=np.int64)).all(axis=(1, 2))
    if not inverts.any():
        return None
    centre = 0.5 * symmetry.translations[inverts.argmax()]
    return torch.as_tensor(centre, dtype=torch.float64, device=basis.device)


class RealGauge:
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

    def to_real(self, orbitals: Tensor, ks: slice) -> Tensor:
        """Real orbitals, (nk, nband, npw), with the span of the given ones.

        Rows that are all real about the centre, or imaginary, stay as they are, without the factor
        i. Otherwise new rows are made, orthonormal; if the given span is not invariant under
        inversion, they span the closest invariant one.
        """
        centred = self.centre(orbitals, ks)
        if _has_imaginary_part(centred):
            # A constant factor i, as in functions with odd l about the centre, is left out.
            imaginary = centred.real.abs().amax(-1, keepdim=True) <= _ROUNDING
            centred = torch.where(imaginary, -1j * centred, centred)
        if not _has_imaginary_part(centred):
            return centred.real.contiguous()
        parts = torch.cat([centred.real, centred.imag], dim=1)
        weights, vectors = torch.linalg.eigh(parts @ parts.mT)
        nband = orbitals.shape[1]
        largest = vectors[:, :, -nband:] * weights[:, None, -nband:].rsqrt()
        return largest.mT @ parts

    def centre(self, rows: Tensor, ks: slice) -> Tensor:
        """Complex rows (nk, n, npw) with the origin moved to the inversion centre."""
        return rows * self._phase[ks].unsqueeze(1)

    def to_complex(self, real: Tensor, ks: slice) -> Tensor:
        """Undo `to_real`: complex orbitals, (nk, nband, npw)."""
        return real * self._phase[ks].conj().unsqueeze(1)

    def to_real_matrix(self, matrix: Tensor, k: int, chosen: Tensor) -> Tensor:
        """H or S in some plane waves of one k-point, (n, n), for real orbitals.

        `matrix` and `chosen` are as `Hamiltonian.dense` returns them; the result is real.
        """
        phase = self._phase[k, chosen]
        return (phase[:, None] * matrix * phase.conj()).real


def pack(real: Tensor) -> Tensor:
    """Pack pairs of real rows into complex rows, (nk, n, npw) -> (nk, (n + 1) // 2, npw).

    Examples
    --------
    >>> rows = torch.rand(1, 3, 4, dtype=torch.float64)
    >>> bool((unpack(pack(rows), 3) == rows).all())
    True
    """
    nk, n, npw = real.shape
    half = (n + 1) // 2
    packed = torch.zeros((nk, half, npw), dtype=real.dtype.to_complex(), device=real.device)
    parts = torch.view_as_real(packed)
    parts[..., 0] = real[:, :half]
    parts[:, : n - half, :, 1] = real[:, half:]
    return packed


def unpack(packed: Tensor, n: int) -> Tensor:
    """Undo `pack` for n rows, (nk, (n + 1) // 2, npw) -> (nk, n, npw)."""
    return torch.cat([packed.real, packed.imag], dim=1)[:, :n]


def _turn(angle: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(angle), 2.0 * torch.pi * angle)


def _has_imaginary_part(values: Tensor) -> bool:
    return bool((values.imag.abs() > _ROUNDING).any())
