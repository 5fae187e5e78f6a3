"""Real orbitals at k-points that time reversal maps to themselves, in any crystal.

At Gamma, and wherever 2k is a reciprocal lattice vector, the complex conjugate of a state is a
state at the same k-point: orbitals can be chosen real in space. Large cells are computed at Gamma
alone, and defects or thermal displacements leave them no inversion centre.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deepchem_xc.planewave.basis.fft_boxes import box_index
from deepchem_xc.planewave.basis.plane_waves import PlaneWaveBasis
from deepchem_xc.planewave.basis.real_gauge import RealGauge, pack, unpack

# Largest distance of 2k from whole numbers that counts as rounding.
_ROUNDING = 1e-10


def is_reversible(basis: PlaneWaveBasis) -> bool:
    """Whether time reversal maps every k-point of a basis to itself, up to a reciprocal vector.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from deepchem_xc.planewave import Crystal, PlaneWaveBasis
    >>> basis = PlaneWaveBasis(Crystal.from_ase(bulk("GaAs", "zincblende", a=5.65)), 4.0, (1, 1, 1))
    >>> is_reversible(basis), is_reversible(basis.with_kpoints([[0.5, 0.0, 0.1]]))
    (True, False)
    """
    doubled = 2.0 * basis.k_coordinates
    return bool((doubled - doubled.round()).abs().max() < _ROUNDING)


class TimeReversalGauge(RealGauge):
    r"""Makes orbitals real that are real functions of space, and complex again.

    With -(k+G) in the list as well, each pair of plane waves holds two real coefficients, at the
    place of the first and of the second one:

    .. math:: c_{\pm(k+G)} = (a \pm ib) / \sqrt 2

    A plane wave that is its own partner, k+G = 0, has one.

    Parameters
    ----------
    basis : PlaneWaveBasis
        Plane waves at k-points with `is_reversible`.
    projectors : Tensor
        Projectors, (nk, nproj, npw), of functions that are real in space: those with odd l have
        their factor (-i)^l.

    Attributes
    ----------
    projectors : Tensor
        Real projectors, (nk, nproj, npw).
    density_phase : Tensor
        Ones, (nG,): the origin stays.

    Raises
    ------
    ValueError
        If time reversal maps a k-point to another one.
    """

    def __init__(self, basis: PlaneWaveBasis, projectors: Tensor) -> None:
        if not is_reversible(basis):
            raise ValueError(
                f"time reversal maps some of the k-points {basis.k_coordinates.tolist()} to others:"
                " orbitals are real at points with whole or half coordinates only."
            )
        partner = _partners(basis)
        self._partner = torch.as_tensor(partner, device=basis.device)
        own = torch.arange(basis.npw, device=basis.device).expand_as(self._partner)
        first, second = own < self._partner, own > self._partner
        # c = U r: c_G = own_G r_G + other_G r_partner.
        one = torch.ones(own.shape, dtype=torch.complex128, device=basis.device)
        root = one * 0.5**0.5
        self._own = torch.where(first, root, torch.where(second, -1j * root, one))
        self._other = torch.where(first, 1j * root, torch.where(second, root, 0.0 * one))
        self._places = {one.dtype: (self._own, self._other)}
        self.density_phase = torch.ones(
            len(basis.g_vectors), dtype=torch.complex128, device=basis.device
        )
        self.projectors = self.transformed(projectors, slice(0, basis.nk)).real.contiguous()

    def matrix(self, coupling: Tensor) -> Tensor:
        """The coupling itself: there are as many real projectors as complex ones."""
        return coupling

    def transformed(self, rows: Tensor, ks: slice) -> Tensor:
        """Complex rows (nk, n, npw) of plane waves as coefficients a and b, complex."""
        own, other = self._factors(rows.dtype)
        swapped = other.gather(1, self._partner).conj()
        return self._combined(rows, own[ks].conj(), swapped[ks], ks)

    def to_complex(self, real: Tensor, ks: slice) -> Tensor:
        """Undo `to_real`: complex orbitals, (nk, nband, npw)."""
        own, other = self._factors(real.dtype)
        return self._combined(real, own[ks], other[ks], ks)

    def to_waves(self, real: Tensor, ks: slice) -> Tensor:
        """Pack pairs of real rows for FFTs, (nk, n, npw) -> (nk, (n + 1) // 2, npw), complex."""
        return self.to_complex(pack(real), ks)

    def from_waves(self, waves: Tensor, n: int, ks: slice) -> Tensor:
        """Undo `to_waves` for n rows, (nk, (n + 1) // 2, npw) -> (nk, n, npw)."""
        return unpack(self.transformed(waves, ks), n)

    def to_real_matrix(self, matrix: Tensor, k: int, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """H or S in some plane waves of one k-point, (n, n), real, and places of whole pairs."""
        place = torch.full_like(self._partner[k], -1)
        place[chosen] = torch.arange(len(chosen), device=chosen.device)
        whole = place[self._partner[k, chosen]] >= 0
        matrix, chosen = matrix[whole][:, whole], chosen[whole]
        place[chosen] = torch.arange(len(chosen), device=chosen.device)
        # U in these plane waves; H acts on columns, as U does.
        unitary = torch.diag(self._own[k, chosen])
        row = torch.arange(len(chosen), device=chosen.device)
        unitary[row, place[self._partner[k, chosen]]] += self._other[k, chosen]
        return (unitary.mH @ matrix @ unitary).real, chosen

    def _combined(self, rows: Tensor, own: Tensor, other: Tensor, ks: slice) -> Tensor:
        nk, n, npw = rows.shape
        partners = rows.gather(2, self._partner[ks].unsqueeze(1).expand(nk, n, npw))
        return (rows * own.unsqueeze(1)).addcmul_(partners, other.unsqueeze(1))

    def _factors(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Factors of U for rows of a precision."""
        dtype = dtype.to_complex()
        if dtype not in self._places:
            self._places[dtype] = (self._own.to(dtype), self._other.to(dtype))
        return self._places[dtype]


def _partners(basis: PlaneWaveBasis) -> np.ndarray:
    """Place of the plane wave -(k+G) for every k+G, (nk, npw); padding is its own partner."""
    size = basis.orbital_fft_size
    doubled = np.rint(2.0 * basis.k_coordinates.cpu().numpy()).astype(np.int64)
    lists = basis.orbital_g_vectors.cpu().numpy()
    partner = np.tile(np.arange(basis.npw), (basis.nk, 1))
    place = np.empty(basis.orbital_ngrid, dtype=np.int64)
    for k, count in enumerate(basis.npw_per_k):
        g = lists[k, :count]
        place[box_index(g, size)] = np.arange(count)
        partner[k, :count] = place[box_index(-g - doubled[k], size)]
    return partner
