r"""Rotations of orbitals with integer occupations: gradient and Hessian of the energy.

Orbitals rotate as :math:`C e^{\kappa}` with an antisymmetric :math:`\kappa` for each set, and their
density matrices change by :math:`[\kappa, n]`. With the Kohn-Sham matrices F in these orbitals,

.. math:: G = 2 \sum_\sigma [F_\sigma, n_\sigma], \quad
    H \kappa = \sum_\sigma [F_\sigma, \delta_\sigma] + [[F_\sigma, \kappa], n_\sigma]
    + 2 [K \delta, n_\sigma], \quad \delta_\sigma = [\kappa, n_\sigma],

where K is the kernel, and inner products count each pair of orbitals once. The same formulas serve
one set for both spins, a set for each spin, and open shells with one set.

References
----------
T. Helgaker, P. Jorgensen, J. Olsen, Molecular Electronic-Structure Theory (2000), section 10.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Smallest curvature of a pair of orbitals that the preconditioner divides by, Hartree.
_LEAST_CURVATURE = 0.1
# Squared norm of a rotation below which it counts as none.
_NO_ROTATION = 1e-2


def pair_product(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of rotations, in which each pair of orbitals counts once."""
    return 0.5 * (left * right).sum()


class Projection:
    """Rotations without their part along some of them.

    Parameters
    ----------
    directions : Tensor
        The rotations that are left out, (ndirection, nset, norbital, norbital); zero ones, which
        change no orbital space, leave out nothing.
    """

    def __init__(self, directions: Tensor) -> None:
        self._directions = directions
        overlaps = 0.5 * torch.einsum("asij,bsij->ab", directions, directions)
        self._inverse = torch.linalg.pinv(overlaps, atol=_NO_ROTATION, rtol=0.0, hermitian=True)

    def __call__(self, kappa: Tensor) -> Tensor:
        """The part of a rotation, (nset, norbital, norbital), orthogonal to the directions."""
        products = 0.5 * torch.einsum("asij,sij->a", self._directions, kappa)
        return kappa - torch.einsum("a,asij->sij", self._inverse @ products, self._directions)


class Rotations:
    """Energy as a function of rotations of orbitals, to second order.

    Parameters
    ----------
    orbitals : Tensor
        (nset, nao, norbital), one set or one for each spin.
    filling : Tensor
        Integer occupations, (nspin, norbital).
    fock : Tensor
        Kohn-Sham matrices of their density, (nspin, nao, nao), Hartree.
    kernel : callable
        From a symmetric change of the density matrices to that of the Kohn-Sham matrices, both
        (nspin, nao, nao).

    Examples
    --------
    Two orbitals in a potential that mixes them, without an interaction:

    >>> fock = torch.tensor([[[-1.0, 0.1], [0.1, 0.0]]]).double()
    >>> filling = torch.tensor([[2.0, 0.0]]).double()
    >>> unit = torch.eye(2).double()[None]
    >>> rotations = Rotations(unit, filling, fock, torch.zeros_like)
    >>> rotations.gradient[0, 1, 0].item(), rotations.product(rotations.gradient)[0, 1, 0].item()
    (0.4, 1.6)
    """

    def __init__(
        self,
        orbitals: Tensor,
        filling: Tensor,
        fock: Tensor,
        kernel: Callable[[Tensor], Tensor],
    ) -> None:
        self._orbitals, self._filling, self._kernel = orbitals, filling, kernel
        self._fock = orbitals.mT @ fock @ orbitals

    @property
    def gradient(self) -> Tensor:
        """Derivative of the energy with respect to rotations, (nset, norbital, norbital)."""
        return self.of_matrices(self._fock)

    @property
    def curvature(self) -> Tensor:
        """Approximate diagonal of the Hessian, bounded below, Hartree, for preconditioning."""
        levels, n = self._fock.diagonal(dim1=-2, dim2=-1), self._filling
        apart = levels[:, :, None] - levels[:, None, :]
        exact = -2.0 * (n[:, :, None] - n[:, None, :]) * apart
        if len(self._orbitals) < len(exact):
            exact = exact.sum(0, keepdim=True)
        return exact.abs().clamp_min(_LEAST_CURVATURE)

    def density_change(self, kappa: Tensor) -> Tensor:
        """First-order change of the density matrices in the orbitals, (nspin, norb, norb)."""
        return kappa * (self._filling[:, None, :] - self._filling[:, :, None])

    def in_basis(self, matrices: Tensor) -> Tensor:
        """Density matrices among orbitals as those of basis functions."""
        return self._orbitals @ matrices @ self._orbitals.mT

    def of_matrices(self, matrices: Tensor) -> Tensor:
        """Derivative of <matrices, density matrices> with respect to rotations.

        `matrices` are symmetric, among orbitals, (nspin, norbital, norbital).
        """
        return self._sets(2.0 * matrices * (self._filling[:, None, :] - self._filling[:, :, None]))

    def product(self, kappa: Tensor) -> Tensor:
        """Hessian times a rotation."""
        delta, fock = self.density_change(kappa), self._fock
        turned = fock @ kappa - kappa @ fock
        n = self._filling
        result = fock @ delta - delta @ fock
        result = result + turned * n[:, None, :] - n[:, :, None] * turned
        response = self._orbitals.mT @ self._kernel(self.in_basis(delta)) @ self._orbitals
        return self._sets(result) + self.of_matrices(response)

    def turned(self, kappa: Tensor) -> Tensor:
        """The rotated orbitals, (nset, nao, norbital)."""
        return self._orbitals @ torch.linalg.matrix_exp(kappa)

    @property
    def mixing(self) -> Tensor:
        """Pairs of orbitals whose rotation changes a density matrix, (nset, norb, norb)."""
        pairs = self._filling[:, :, None] != self._filling[:, None, :]
        return pairs if len(self._orbitals) == len(pairs) else pairs.any(0, keepdim=True)

    def _sets(self, matrices: Tensor) -> Tensor:
        """Spins with the same orbitals rotate together; pairs of equal filling do not rotate."""
        if len(self._orbitals) < len(matrices):
            matrices = matrices.sum(0, keepdim=True)
        # Conjugate gradients from small gradients magnify what rounding leaves of symmetry.
        return torch.where(self.mixing, 0.5 * (matrices - matrices.mT), 0.0)
