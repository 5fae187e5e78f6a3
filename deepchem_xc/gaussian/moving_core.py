r"""One-electron matrices, while the atoms move with their basis functions.

With velocities u, functions i at atom B and a potential U that belongs to atom C,

.. math:: \dot S_{ij} = -u_B \cdot \langle \nabla i | j \rangle + (i \leftrightarrow j), \quad
    \dot U_{ij} = (u_C - u_B) \cdot \langle \nabla i | U_C | j \rangle + (i \leftrightarrow j),

and the kinetic energy is as the overlap. Each matrix is needed in two forms: its derivative along
velocities, and the derivative of its product with a density matrix with respect to all positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pyscf import df, gto
from pyscf.pbc.gto.pseudo import pp_int
from torch import Tensor

# Integrals with the derivative of the first function, for terms of the local part of GTH
# potentials: the long-ranged one, then those with powers of r.
_LOCAL = (
    "int3c2e_ip1",
    "int3c1e_ip1",
    "int3c1e_ip1_r2_origk",
    "int3c1e_ip1_r4_origk",
    "int3c1e_ip1_r6_origk",
)
# Products of their nonlocal part's projectors, with powers of r, and the functions; the same with
# derivatives of the functions. Those of the overlap are of the projector, which is the opposite.
_PROJECTIONS = ("int1e_ovlp", "int1e_r2_origi", "int1e_r4_origi")
_MOVING = (("int1e_ipovlp", -1.0), ("int1e_r2_origi_ip2", 1.0), ("int1e_r4_origi_ip2", 1.0))


def homes_of(mole: gto.Mole) -> Tensor:
    """Index of the atom of each basis function, (nao,).

    Examples
    --------
    >>> homes_of(gto.M(atom="He 0 0 0; He 0 0 3", basis="6-31g", verbose=0))
    tensor([0, 0, 1, 1])
    """
    first, last = mole.aoslice_by_atom()[:, 2:].T
    return torch.repeat_interleave(torch.from_numpy((last - first).astype(np.int64)))


class MovingCore:
    """Overlap, and kinetic energy with all potentials of the cores.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.

    Examples
    --------
    >>> mole = gto.M(atom="He 0 0 0; He 0 0 3", basis="6-31g", verbose=0)
    >>> moving = MovingCore(mole)
    >>> bool(moving.matrix(torch.ones(2, 3).double()).abs().max() < 1e-12)
    True
    """

    def __init__(self, mole: gto.Mole) -> None:
        self._mole, self._homes = mole, homes_of(mole)

    def overlap(self, velocities: Tensor) -> Tensor:
        """Change of the overlap matrix at velocities (natom, 3), (nao, nao)."""
        return self._along(self._integrals("int1e_ipovlp"), -velocities[self._homes])

    def matrix(self, velocities: Tensor) -> Tensor:
        """Change of the core matrix at velocities (natom, 3), (nao, nao), Hartree."""
        own = velocities[self._homes]
        total = self._along(self._integrals("int1e_ipkin"), -own)
        for atom, part in self._potentials():
            total += self._along(part, velocities[atom] - own)
        return total

    def overlap_gradient(self, matrix: Tensor) -> Tensor:
        """Derivative of ``sum(matrix * overlap)``, (natom, 3), for a symmetric matrix."""
        return self._on_functions(self._integrals("int1e_ipovlp"), matrix)

    def gradient(self, matrix: Tensor) -> Tensor:
        """Derivative of ``sum(matrix * core)``, (natom, 3), for a symmetric matrix."""
        total = self._on_functions(self._integrals("int1e_ipkin"), matrix)
        for atom, part in self._potentials():
            on_functions = self._on_functions(part, matrix)
            total += on_functions
            total[atom] -= on_functions.sum(0)
        return total

    def _along(self, part: Tensor, velocities: Tensor) -> Tensor:
        half = (velocities.T[:, :, None] * part).sum(0)
        return half + half.T

    def _on_functions(self, part: Tensor, matrix: Tensor) -> Tensor:
        each = -2.0 * (part * matrix).sum(2)
        total = each.new_zeros((self._mole.natm, 3))
        return total.index_add_(0, self._homes, each.T)

    def _integrals(self, name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._mole.intor(name, comp=3)))

    def _potentials(self) -> Iterator[tuple[int, Tensor]]:
        """Atoms, and <nabla i | potential of the atom | j>, (3, nao, nao)."""
        if self._mole._pseudo:
            yield from self._pseudopotentials()
            return
        with_core = {int(row[gto.ATOM_OF]) for row in self._mole._ecpbas}
        for atom, charge in enumerate(self._mole.atom_charges()):
            with self._mole.with_rinv_at_nucleus(atom):
                part = -float(charge) * self._integrals("int1e_iprinv")
                if atom in with_core:
                    part += self._integrals("ECPscalar_iprinv")
            yield atom, part

    def _pseudopotentials(self) -> Iterator[tuple[int, Tensor]]:
        """The same for pseudopotentials that replace all cores (and nuclei beside them)."""
        mole = self._mole
        for power, name in enumerate(_LOCAL):
            local = pp_int.fake_cell_vloc(mole, power)
            for shell in range(local.nbas):
                atom = int(local._bas[shell, gto.ATOM_OF])
                slices = (0, mole.nbas, 0, mole.nbas, shell, shell + 1)
                part = df.incore.aux_e2(mole, local, name, comp=3, shls_slice=slices)[..., 0]
                factor = -float(local.atom_charges()[atom]) if power == 0 else 1.0
                yield atom, factor * torch.from_numpy(np.ascontiguousarray(part))
        projectors, couplings = pp_int.fake_cell_vnl(mole)
        if not couplings:
            return
        still = np.stack([gto.intor_cross(name, projectors, mole, comp=1) for name in _PROJECTIONS])
        moving = np.stack(
            [sign * gto.intor_cross(name, projectors, mole, comp=3) for name, sign in _MOVING]
        )
        ends = projectors.ao_loc_nr()
        for shell, coupling in enumerate(couplings):
            powers, own = slice(len(coupling)), slice(ends[shell], ends[shell + 1])
            part = np.einsum(
                "axlp,ab,blq->xpq", moving[powers, :, own], coupling, still[powers, own]
            )
            yield int(projectors._bas[shell, gto.ATOM_OF]), torch.from_numpy(part)
