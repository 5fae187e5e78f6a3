r"""Projectors and the matrices that couple them: the nonlocal parts of H and of the overlap S.

.. math:: H_{nl} = \sum_{ij} |p_i\rangle D_{ij} \langle p_j|, \qquad
    S = 1 + \sum_{ij} |p_i\rangle O_{ij} \langle p_j|

Norm-conserving potentials have S = 1 and one coupling D. In the projector augmented-wave method
[1]_ the states solve H c = e S c, and D depends on the spin and on the density.

References
----------
.. [1] P. E. Bloechl, Phys. Rev. B 50, 17953 (1994).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from deepchem_xc.planewave.basis.real_gauge import RealGauge


class _Operands(NamedTuple):
    """Projectors and matrices for orbitals of one dtype."""

    projectors: Tensor  # (nk, n, npw)
    conjugates: Tensor  # (nk, npw, n)
    coupling: Tensor  # (n, n) or (nspin, n, n)
    overlap: Tensor | None  # (n, n)


class CoupledProjectors:
    """Apply the nonlocal parts of H and S to batches of orbitals, in the orbitals' precision.

    H and S share one projection of the orbitals: `project` first, then `add_coupling` and
    `add_overlap`.

    Parameters
    ----------
    projectors : Tensor
        Projectors, (nk, nproj, npw).
    coupling : Tensor
        Their coupling D in H, real and symmetric, (nproj, nproj), or (nspin, nproj, nproj) if it
        differs between the spins; Hartree.
    overlap : Tensor, optional
        Their coupling O in S, real and symmetric, (nproj, nproj); None where S = 1.
    gauge : RealGauge, optional
        Gauge of real orbitals, made for the same projectors.

    Attributes
    ----------
    projectors, coupling, overlap
        As given.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    One projector, which is a plane wave, with D = 2 Ha and O = 3:

    >>> wave = torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.complex128)
    >>> two, three = (torch.full((1, 1), x, dtype=torch.float64) for x in (2.0, 3.0))
    >>> coupled = CoupledProjectors(wave, two, three)
    >>> rows = torch.tensor([[[5.0, 7.0, 0.0]]], dtype=torch.complex128)
    >>> projections = coupled.project(rows, range(1))
    >>> coupled.add_coupling(torch.zeros_like(rows), projections, 0, range(1)).real.tolist()
    [[[10.0, 0.0, 0.0]]]
    >>> coupled.add_overlap(rows, projections, range(1)).real.tolist()
    [[[20.0, 7.0, 0.0]]]
    """

    def __init__(
        self,
        projectors: Tensor,
        coupling: Tensor,
        overlap: Tensor | None = None,
        gauge: RealGauge | None = None,
    ) -> None:
        square = (projectors.shape[1],) * 2
        if coupling.shape[-2:] != square or coupling.ndim not in (2, 3):
            raise ValueError(
                f"the coupling of {square[0]} projectors has shape {tuple(coupling.shape)}: give "
                f"{square}, or one such matrix for each spin, (nspin, {square[0]}, {square[0]})."
            )
        if overlap is not None and overlap.shape != square:
            raise ValueError(
                f"the overlap matrix of {square[0]} projectors has shape {tuple(overlap.shape)}: "
                f"give {square}, or None for orbitals that are orthonormal by themselves."
            )
        self.projectors, self.coupling, self.overlap = projectors, coupling, overlap
        self._gauge = gauge
        self._cast: dict[torch.dtype, _Operands] = {}

    def project(self, orbitals: Tensor, ks: range) -> Tensor:
        """Projections <p|c> of orbitals (nk, nband, npw) at the k-points `ks`.

        Returns
        -------
        Tensor
            (nk, nband, n), without unit; n is nproj, but may differ for real orbitals.

        Raises
        ------
        ValueError
            For real orbitals without a `gauge`.
        """
        return orbitals @ self._operands(orbitals.dtype).conjugates[ks.start : ks.stop]

    def add_coupling(self, rows: Tensor, projections: Tensor, spin: int, ks: range) -> Tensor:
        """Add the nonlocal part of H (Ha), from `project`, to rows (nk, nband, npw) in place."""
        operands = self._operands(rows.dtype)
        matrix = _of_spin(operands.coupling, spin)
        if matrix.numel():
            projectors = operands.projectors[ks.start : ks.stop]
            torch.baddbmm(rows, projections @ matrix, projectors, out=rows)
        return rows

    def add_overlap(self, rows: Tensor, projections: Tensor, ks: range) -> Tensor:
        """Rows (nk, nband, npw) plus the nonlocal part of S, from `project`; rows where S = 1."""
        operands = self._operands(rows.dtype)
        if operands.overlap is None:
            return rows
        projectors = operands.projectors[ks.start : ks.stop]
        return torch.baddbmm(rows, projections @ operands.overlap, projectors)

    def dense_coupling(self, spin: int, k: int, chosen: Tensor) -> Tensor:
        """Nonlocal part of H between some plane waves of one k-point, (count, count), Hartree."""
        return self._dense(_of_spin(self.coupling, spin), k, chosen)

    def dense_overlap(self, k: int, chosen: Tensor) -> Tensor:
        """S between some plane waves of one k-point, (count, count), without unit."""
        unit = torch.eye(len(chosen), dtype=self.projectors.dtype, device=self.projectors.device)
        return unit if self.overlap is None else unit + self._dense(self.overlap, k, chosen)

    def _dense(self, matrix: Tensor, k: int, chosen: Tensor) -> Tensor:
        projectors = self.projectors[k][:, chosen]
        # Rows are bands' plane waves: M_{GG'} acts on c_{G'} from the right in `project`'s layout.
        return projectors.T @ matrix.to(projectors.dtype) @ projectors.conj()

    def _operands(self, dtype: torch.dtype) -> _Operands:
        if dtype not in self._cast:
            coupling, overlap = self.coupling, self.overlap
            if dtype.is_complex:
                projectors = self.projectors.to(dtype)
                conjugates = projectors.conj().transpose(-1, -2).resolve_conj()
            elif self._gauge is None:
                raise ValueError("real orbitals need a Hamiltonian with a gauge")
            else:
                projectors = self._gauge.projectors.to(dtype)
                conjugates = projectors.mT
                coupling = self._gauge.matrix(coupling)
                overlap = None if overlap is None else self._gauge.matrix(overlap)
            overlap = None if overlap is None else overlap.to(dtype)
            self._cast[dtype] = _Operands(projectors, conjugates, coupling.to(dtype), overlap)
        return self._cast[dtype]


def _of_spin(coupling: Tensor, spin: int) -> Tensor:
    """The coupling of one spin, (n, n)."""
    return coupling[spin] if coupling.ndim == 3 else coupling
