"""Real orbitals in crystals with an inversion centre.

With the origin on an inversion centre, H at every k-point is a real symmetric matrix in plane
waves: inversion and complex conjugation together map k to itself. Its eigenvectors can be chosen
real. Linear algebra then costs a quarter, and one FFT carries two orbitals, as its real and
imaginary part.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis

# Imaginary parts up to here are rounding.
_ROUNDING = 1e-10


def inversion_centre(basis: PlaneWaveBasis) -> Tensor | None:
    """Centre of inversion in reduced coordinates, (3,); None where the basis uses no inversion."""
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
        Plane waves, with the inversion among the symmetry of its k-points.
    centre : Tensor
        Inversion centre x0, reduced, (3,).
    projectors : Tensor
        Projectors, (nk, nproj, npw).
    coupling : Tensor
        Their coupling, (nproj, nproj), Hartree.

    Attributes
    ----------
    projectors, coupling : Tensor
        Real projectors (nk, n, npw) with the same nonlocal operator, and their coupling (n, n).
    density_phase : Tensor
        exp(iG.x0), (nG,): multiplied with a density's or potential's coefficients it moves the
        origin to the centre.
    """

    def __init__(
        self, basis: PlaneWaveBasis, centre: Tensor, projectors: Tensor, coupling: Tensor
    ) -> None:
        reduced = basis.orbital_g_vectors.to(torch.float64) + basis.k_coordinates[:, None, :]
        self._phase = _turn(reduced @ centre)  # (nk, npw)
        self.density_phase = _turn(basis.g_vectors.to(torch.float64) @ centre)
        centred = projectors * self._phase.unsqueeze(1)
        self.projectors, self.coupling = centred.real.contiguous(), coupling
        if _has_imaginary_part(centred):
            # B D B^+ of an atom and its image are complex conjugates: of each, the real part.
            self.projectors = torch.cat([centred.real, centred.imag], dim=1)
            self.coupling = torch.block_diag(coupling, coupling)

    def to_real(self, orbitals: Tensor, ks: slice) -> Tensor:
        """Real orthonormal orbitals, (nk, nband, npw), with the span of the given ones.

        Where inversion maps that span onto another one, the closest that it does not.
        """
        centred = self.centre(orbitals, ks)
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
        """H in some plane waves of one k-point, (n, n), Hartree, as it acts on real orbitals.

        `matrix` and `chosen` are as `Hamiltonian.dense` returns them; the result is real.
        """
        phase = self._phase[k, chosen]
        return (phase[:, None] * matrix * phase.conj()).real


def pack(real: Tensor) -> Tensor:
    """Two real rows as one complex row of their precision, (nk, n, npw) -> (nk, (n + 1) // 2, npw).

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
