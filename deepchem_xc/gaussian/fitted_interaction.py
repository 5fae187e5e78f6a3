r"""Fitted Coulomb and exchange matrices, while atoms move with both kinds of basis functions.

With auxiliary functions P, their metric :math:`V_{PQ} = (P|Q)` and

.. math:: c = V^{-1} (P|kl) D_{kl}, \quad B_{P,io} = (P|ik) C_{ko}, \quad \tilde B = V^{-1} B, \quad
    D = C\, n\, C^T,

the matrices are :math:`J_{ij} = (ij|P)\, c_P` and
:math:`K_{ij} = \sum_o B_{P,io}\, n_o\, \tilde B_{P,jo}`. A change of the integrals at fixed D
changes them by

.. math:: \dot J = (ij|P)^{\cdot} c + (ij|P)\, \dot c, \quad
    \dot c = V^{-1} (\dot{(P|kl)} D_{kl} - \dot V c), \quad
    \dot K = \dot B n \tilde B^T + \tilde B n \dot B^T - \tilde B n \dot V \tilde B^T.

By translational invariance the integrals' change is
:math:`(V_P - V_i) \cdot (\nabla i\, k | P) + (V_P - V_k) \cdot (i\, \nabla k | P)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pyscf import df
from pyscf.gto import Mole
from torch import Tensor

from deepchem_xc.gaussian.coulomb import Interaction
from deepchem_xc.gaussian.moving_core import homes_of

# Bytes of the integrals that are computed together.
_PIECE = 2**27


def fitted_change(
    mole: Mole,
    fitting: str,
    density: Tensor,
    velocities: Tensor,
    exchange: Sequence[Interaction],
) -> tuple[Tensor, list[Tensor]]:
    """Change of J, (nao, nao), and of each K, (n, nao, nao), at fixed density matrices, Hartree.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    fitting : str
        Auxiliary basis set.
    density : Tensor
        (n, nao, nao), symmetric; J is of their sum.
    velocities : Tensor
        (natom, 3), bohr per unit of time.
    exchange : sequence of Interaction
        Operators of the exchange that is wanted.

    Raises
    ------
    ValueError
        If the auxiliary functions are linearly dependent in one of the interactions.

    Examples
    --------
    >>> from pyscf import gto
    >>> mole = gto.M(atom="He 0 0 0; He 0 0 3", basis="6-31g", verbose=0)
    >>> density, velocities = torch.eye(4).double()[None], torch.ones(2, 3).double()
    >>> coulomb, _ = fitted_change(mole, "def2-universal-jkfit", density, velocities, [])
    >>> bool(coulomb.abs().max() < 1e-10)
    True
    """
    auxiliary = df.addons.make_auxmol(mole, fitting)
    coulomb = _Fitted(mole, auxiliary, velocities, 0.0).coulomb(density.sum(0))
    found = []
    for one in exchange:
        fitted = _Fitted(mole, auxiliary, velocities, one.omega)
        found.append(torch.stack([fitted.exchange(matrix) for matrix in density]))
    return coulomb, found


class _Fitted:
    """Integrals of one interaction, in pieces of auxiliary functions."""

    def __init__(self, mole: Mole, auxiliary: Mole, velocities: Tensor, omega: float) -> None:
        self._mole, self._auxiliary, self._omega = mole, auxiliary, omega or None
        self._velocities, self._homes = velocities, homes_of(mole)
        self._fixed = velocities[homes_of(auxiliary)]  # of auxiliary functions, (naux, 3)
        with auxiliary.with_range_coulomb(self._omega):
            metric = torch.from_numpy(auxiliary.intor("int2c2e"))
            slopes = torch.from_numpy(auxiliary.intor("int2c2e_ip1", comp=3))
        self._factor, failed = torch.linalg.cholesky_ex(metric)
        if int(failed):
            raise ValueError(
                "auxiliary functions of the density fitting are linearly dependent in the "
                f"interaction erf({omega:g} r)/r: use density_fitting=None where forces are "
                "differentiated with respect to parameters."
            )
        moving = self._fixed - self._fixed[:, None]
        self._change = (moving.permute(2, 0, 1) * slopes).sum(0)

    def coulomb(self, matrix: Tensor) -> Tensor:
        """Change of J of a density matrix, (nao, nao)."""
        right = torch.cat([(part * matrix).sum((1, 2)) for _, part in self._integrals()])
        coefficients = self._solved(right[:, None])[:, 0]
        parts = list(self._pieces_of_change(matrix, coefficients))
        result = sum(part for part, _ in parts)
        moved = torch.cat([right for _, right in parts]) - self._change @ coefficients
        solved = self._solved(moved[:, None])[:, 0]
        for functions, part in self._integrals():
            result = result + torch.tensordot(solved[functions], part, dims=1)
        return result

    def _pieces_of_change(
        self, matrix: Tensor, coefficients: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for functions, part in self._changes():
            yield (
                torch.tensordot(coefficients[functions], part, dims=1),
                (part * matrix).sum((1, 2)),
            )

    def exchange(self, matrix: Tensor) -> Tensor:
        """Change of K of a density matrix, (nao, nao)."""
        filling, orbitals = torch.linalg.eigh(matrix)
        some = filling.abs() > 1e-14 * filling.abs().max()
        filling, orbitals = filling[some], orbitals[:, some]
        products = torch.cat([part @ orbitals for _, part in self._integrals()])
        flat = self._solved(products.flatten(1))
        solved = flat.view_as(products)
        half = torch.zeros_like(matrix)
        for functions, part in self._changes():
            moved = part @ orbitals
            half += torch.einsum("pio,pjo->ij", moved * filling, solved[functions])
        stiff = (self._change @ flat).view_as(products)
        stretched = torch.einsum("pio,pjo->ij", stiff * filling, solved)
        return half + half.T - stretched

    def _solved(self, right: Tensor) -> Tensor:
        return torch.cholesky_solve(right, self._factor)

    def _integrals(self) -> Iterator[tuple[slice, Tensor]]:
        """Auxiliary functions P, and (P|ij), (n, nao, nao)."""
        for functions, shells in self._pieces():
            yield functions, self._computed("int3c2e", shells, 1)[0]

    def _changes(self) -> Iterator[tuple[slice, Tensor]]:
        """The same, and the change of (P|ij)."""
        own = self._velocities[self._homes]
        for functions, shells in self._pieces():
            slopes = self._computed("int3c2e_ip1", shells, 3)
            moving = self._fixed[functions][:, None] - own
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
