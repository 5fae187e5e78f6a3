r"""Fitted Coulomb and exchange, while atoms move with both kinds of basis functions.

With auxiliary functions P, their metric :math:`V_{PQ} = (P|Q)`, its inverse M, and

.. math:: R_P = (P|kl) D_{kl}, \quad B_{P,io} = (P|ik) C_{ko}, \quad D = C\, n\, C^T,

the matrices are :math:`J_{ij} = (ij|P) M_{PQ} R_Q` and
:math:`K_{ij} = \sum_o n_o B_{P,io} M_{PQ} B_{Q,jo}`. By translational invariance atoms with
velocities u change integrals by

.. math:: \dot{(P|ik)} = (u_P - u_i) \cdot (P|\nabla i, k) + (u_P - u_k) \cdot (P|i, \nabla k),
    \quad \dot V_{PQ} = (u_Q - u_P) \cdot (\nabla P | Q), \quad \dot M = -M \dot V M.

In a long-ranged interaction many auxiliary functions are linearly dependent. Combinations of them
that hardly interact change no energy, but rounding makes noise of them, and they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from pyscf import df
from pyscf.gto import Mole
from torch import Tensor

from deepchem_xc.gaussian.coulomb import Interaction
from deepchem_xc.gaussian.moving_core import homes_of

# Bytes of the integrals that are computed together.
_PIECE = 2**27
# Eigenvalues of the metric below this are left out, Hartree. Derivatives with respect to positions
# agree best with differences of energies between 1e-6 and 1e-8: to 1e-8 of them.
_LEAST = 1e-7
# Smallest eigenvalue of a density matrix, relative to the largest, that counts.
_EMPTY = 1e-14


class FittedInteraction:
    """Derivatives of fitted Coulomb and exchange energies and matrices, as `MovingInteraction`.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    fitting : str
        Auxiliary basis set.

    Examples
    --------
    >>> from pyscf import gto
    >>> mole = gto.M(atom="He 0 0 0; He 0 0 3", basis="6-31g", verbose=0)
    >>> fitted = FittedInteraction(mole, "def2-universal-jkfit")
    >>> gradient = fitted.gradient(torch.eye(4).double()[None], {Interaction(): 0.25})
    >>> bool(gradient[0, 2] > 0.0), bool(gradient.sum(0).abs().max() < 1e-10)
    (True, True)
    """

    def __init__(self, mole: Mole, fitting: str) -> None:
        self._mole, self._auxiliary = mole, df.addons.make_auxmol(mole, fitting)

    def gradient(self, density: Tensor, exchange: Mapping[Interaction, float]) -> Tensor:
        """As ``MovingInteraction.gradient``."""
        full = exchange.get(Interaction(), 0.0)
        gradient = self._integrals(Interaction()).gradient(density.sum(0), density, full)
        for one, factor in exchange.items():
            if one.omega:
                gradient += self._integrals(one).gradient(None, density, factor)
        return gradient

    def matrices(
        self, density: Tensor, velocities: Tensor, exchange: Sequence[Interaction]
    ) -> tuple[Tensor, list[Tensor]]:
        """As ``MovingInteraction.matrices``."""
        coulomb = self._integrals(Interaction()).coulomb_change(density.sum(0), velocities)
        found = []
        for one in exchange:
            integrals = self._integrals(one)
            changes = [integrals.exchange_change(matrix, velocities) for matrix in density]
            found.append(torch.stack(changes))
        return coulomb, found

    def _integrals(self, interaction: Interaction) -> _Integrals:
        return _Integrals(self._mole, self._auxiliary, interaction.omega or None)


class _Metric:
    """The metric of auxiliary functions, without those combinations that hardly interact."""

    def __init__(self, matrix: Tensor) -> None:
        values, vectors = torch.linalg.eigh(matrix)
        kept = values > _LEAST
        self._inverse: Tensor | None = None
        if bool(kept.all()):
            self._factor = torch.linalg.cholesky(matrix)
        else:
            self._inverse = vectors[:, kept] / values[kept] @ vectors[:, kept].T

    def solved(self, right: Tensor) -> Tensor:
        """The inverse times coefficients, (naux, ...)."""
        flat = right.reshape(len(right), -1)
        if self._inverse is not None:
            return (self._inverse @ flat).view_as(right)
        return torch.cholesky_solve(flat, self._factor).view_as(right)


class _Integrals:
    """Integrals of one interaction, in pieces of auxiliary functions."""

    def __init__(self, mole: Mole, auxiliary: Mole, omega: float | None) -> None:
        self._mole, self._auxiliary, self._omega = mole, auxiliary, omega
        self._homes, self._fitting_homes = homes_of(mole), homes_of(auxiliary)
        with auxiliary.with_range_coulomb(omega):
            self._metric = _Metric(torch.from_numpy(auxiliary.intor("int2c2e")))
            self._slopes = torch.from_numpy(auxiliary.intor("int2c2e_ip1", comp=3))

    def gradient(self, total: Tensor | None, density: Tensor, factor: float) -> Tensor:
        """Derivative of ``<total|J|total> / 2 - factor <D|K|D> / 2``, (natom, 3)."""
        orbitals = [_occupied(matrix) for matrix in density] if factor else []
        found: list[list[Tensor]] = []
        for _, part in self._parts():
            pairs = [(c.T @ part @ c).flatten(1) for _, c in orbitals]
            direct = [] if total is None else [(part * total).sum((1, 2))[:, None]]
            found.append([*direct, *pairs])
        products = [torch.cat(parts) for parts in zip(*found, strict=True)]
        direct = [] if total is None else [torch.ones(1, dtype=density.dtype)]
        weights = [*direct, *(-factor * torch.outer(n, n).flatten() for n, _ in orbitals)]
        solved = [self._metric.solved(r) for r in products]
        of_metric = -sum(s * w @ s.T for s, w in zip(solved, weights, strict=True))

        gradient = density.new_zeros((self._mole.natm, 3))
        for functions, slopes in self._moving_parts():
            rest = [s[functions] * w for s, w in zip(solved, weights, strict=True)]
            weight = 0.0 if total is None else rest.pop(0)[:, :, None] * total
            for (_, c), one in zip(orbitals, rest, strict=True):
                weight = weight + c @ one.view(-1, c.shape[1], c.shape[1]) @ c.T
            each = 2.0 * (slopes * weight).sum(-1)  # (3, n, nao)
            gradient.index_add_(0, self._homes, -each.sum(1).T)
            gradient.index_add_(0, self._fitting_homes[functions], each.sum(2).T)
        each = 0.5 * self._slopes * of_metric
        gradient.index_add_(0, self._fitting_homes, (each.sum(1) - each.sum(2)).T)
        return gradient

    def coulomb_change(self, matrix: Tensor, velocities: Tensor) -> Tensor:
        """Change of J of a density matrix, (nao, nao)."""
        right = torch.cat([(part * matrix).sum((1, 2)) for _, part in self._parts()])
        coefficients = self._metric.solved(right)
        result, moved = torch.zeros_like(matrix), torch.empty_like(right)
        for functions, part in self._changes(velocities):
            result += torch.tensordot(coefficients[functions], part, dims=1)
            moved[functions] = (part * matrix).sum((1, 2))
        moving = self._metric.solved(moved - self._metric_change(velocities) @ coefficients)
        for functions, part in self._parts():
            result += torch.tensordot(moving[functions], part, dims=1)
        return result

    def exchange_change(self, matrix: Tensor, velocities: Tensor) -> Tensor:
        """Change of K of a density matrix, (nao, nao)."""
        filling, orbitals = _occupied(matrix)
        products = torch.cat([part @ orbitals for _, part in self._parts()])
        solved = self._metric.solved(products)
        half = torch.zeros_like(matrix)
        for functions, part in self._changes(velocities):
            half += torch.einsum("pio,pjo->ij", part @ orbitals * filling, solved[functions])
        stiffer = (self._metric_change(velocities) @ solved.flatten(1)).view_as(products)
        return half + half.T - torch.einsum("pio,pjo->ij", stiffer * filling, solved)

    def _metric_change(self, velocities: Tensor) -> Tensor:
        own = velocities[self._fitting_homes]
        moving = (own - own[:, None]).permute(2, 0, 1)
        return (moving * self._slopes).sum(0)

    def _parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Auxiliary functions P, and (P|ij), (n, nao, nao)."""
        for functions, shells in self._pieces():
            yield functions, self._computed("int3c2e", shells, 1)[0]

    def _moving_parts(self) -> Iterator[tuple[slice, Tensor]]:
        """The same with (P|nabla i, j), (3, n, nao, nao)."""
        for functions, shells in self._pieces():
            yield functions, self._computed("int3c2e_ip1", shells, 3)

    def _changes(self, velocities: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The same with the change of (P|ij), (n, nao, nao)."""
        own, fixed = velocities[self._homes], velocities[self._fitting_homes]
        for functions, slopes in self._moving_parts():
            moving = fixed[functions][:, None] - own
            half = (moving.permute(2, 0, 1)[..., None] * slopes).sum(0)
            yield functions, half + half.mT

    def _computed(self, name: str, shells: tuple[int, int], components: int) -> Tensor:
        slices = (0, self._mole.nbas, 0, self._mole.nbas, *shells)
        # The range is that of the first molecule, whose settings the pair of both takes over.
        with self._mole.with_range_coulomb(self._omega):
            found = df.incore.aux_e2(
                self._mole, self._auxiliary, name, comp=components, shls_slice=slices
            )
        size = self._mole.nao
        parts = np.ascontiguousarray(found.reshape(components, size, size, -1))
        return torch.from_numpy(parts).permute(0, 3, 1, 2)

    def _pieces(self) -> Iterator[tuple[slice, tuple[int, int]]]:
        """Auxiliary functions and their shells."""
        ends = self._auxiliary.ao_loc_nr()
        most = max(1, _PIECE // (24 * self._mole.nao**2))
        first = 0
        while first < self._auxiliary.nbas:
            last = int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
            last = max(last, first + 1)
            yield slice(int(ends[first]), int(ends[last])), (first, last)
            first = last


def _occupied(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues of a density matrix that are not zero, and their vectors."""
    filling, orbitals = torch.linalg.eigh(matrix)
    size = filling.abs()
    some = size > _EMPTY * size.max()
    return filling[some], orbitals[:, some]
