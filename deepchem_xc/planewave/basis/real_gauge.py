r"""What every gauge of real orbitals does, and the packing of pairs of real rows.

If some symmetry together with complex conjugation maps every k-point to itself, H is a real
symmetric matrix in a suitable basis, and its eigenvectors can be chosen real. Linear algebra then
costs a quarter, and one FFT transforms two orbitals. A gauge is the unitary transformation between
that basis and plane waves:

.. math:: c = U r, \qquad r \text{ real}

Rows of real coefficients keep the length and the padding of the plane waves, and the kinetic
energy stays diagonal with the same values. `inversion_gauge` and `time_reversal_gauge` are the two
cases; a `KohnShamProblem` chooses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

# Largest imaginary part that counts as rounding.
_ROUNDING = 1e-10


class RealGauge(ABC):
    """Makes orbitals real, and complex again.

    Attributes
    ----------
    projectors : Tensor
        Real projectors (nk, n, npw) with the same nonlocal operators, if coupled by `matrix`.
    density_phase : Tensor
        Factors, (nG,), of the coefficients of a density or potential, which move its origin to
        where it is in `to_waves`.
    """

    projectors: Tensor
    density_phase: Tensor

    @abstractmethod
    def matrix(self, coupling: Tensor) -> Tensor:
        """Coupling of the real projectors, (..., n, n), for a coupling (..., nproj, nproj)."""

    @abstractmethod
    def transformed(self, rows: Tensor, ks: slice) -> Tensor:
        """Complex rows of plane waves in this gauge, (nk, n, npw), complex; cotangents as well."""

    @abstractmethod
    def to_complex(self, real: Tensor, ks: slice) -> Tensor:
        """Undo `to_real`: complex orbitals, (nk, nband, npw)."""

    @abstractmethod
    def to_waves(self, real: Tensor, ks: slice) -> Tensor:
        """Pack pairs of real rows for FFTs, (nk, n, npw) -> (nk, (n + 1) // 2, npw), complex.

        With the origin of `density_phase`, the values on the grid are those of the first orbital
        plus i times those of the second one, up to a phase that is the same for both.
        """

    @abstractmethod
    def from_waves(self, waves: Tensor, n: int, ks: slice) -> Tensor:
        """Undo `to_waves` for n rows, (nk, (n + 1) // 2, npw) -> (nk, n, npw)."""

    @abstractmethod
    def to_real_matrix(self, matrix: Tensor, k: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """H or S in some plane waves of one k-point, (n, n), for real orbitals.

        Parameters
        ----------
        matrix, chosen : Tensor
            As `Hamiltonian.dense` returns them.
        k : int
            k-point.

        Returns
        -------
        matrix : Tensor
            Real.
        chosen : Tensor
            Its places in real rows; plane waves without their partners are left out.
        """

    def to_real(self, orbitals: Tensor, ks: slice) -> Tensor:
        """Real orbitals, (nk, nband, npw), with the span of the given ones.

        Rows that are all real in this gauge, or imaginary, stay as they are, without the factor i.
        Otherwise new rows are made, orthonormal; if the given span is not invariant under the
        symmetry, they span the closest invariant one.

        Parameters
        ----------
        orbitals : Tensor
            Complex, (nk, nband, npw).
        ks : slice
            Their k-points.
        """
        rows = self.transformed(orbitals, ks)
        if _has_imaginary_part(rows):
            # A constant factor i, as in functions with odd l about a centre, is left out.
            imaginary = rows.real.abs().amax(-1, keepdim=True) <= _ROUNDING
            rows = torch.where(imaginary, -1j * rows, rows)
        if not _has_imaginary_part(rows):
            return rows.real.contiguous()
        parts = torch.cat([rows.real, rows.imag], dim=1)
        weights, vectors = torch.linalg.eigh(parts @ parts.mT)
        nband = orbitals.shape[1]
        largest = vectors[:, :, -nband:] * weights[:, None, -nband:].rsqrt()
        return largest.mT @ parts


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


def _has_imaginary_part(values: Tensor) -> bool:
    return bool((values.imag.abs() > _ROUNDING).any())
