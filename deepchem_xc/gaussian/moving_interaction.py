r"""Coulomb and exchange matrices, while the atoms move with their basis functions.

At velocities u a function i of atom B changes integrals by
:math:`-u_B \cdot (\nabla i\, j | kl)`. In a symmetric result two of the four functions give the
same as the other two: one kind of integral, ``(nabla i, j | kl)``, serves all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pyscf import scf
from pyscf.grad import rhf as pyscf_gradients
from pyscf.gto import Mole
from torch import Tensor

from deepchem_xc.gaussian.coulomb import Interaction
from deepchem_xc.gaussian.fitted_interaction import FittedInteraction
from deepchem_xc.gaussian.moving_core import homes_of


class MovingInteraction:
    """Derivatives of Coulomb and exchange energies and matrices of fixed density matrices.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    fitting : str or None
        Auxiliary basis set of density fitting, which moves with the atoms; None for exact
        integrals.

    Examples
    --------
    >>> from pyscf import gto
    >>> mole = gto.M(atom="He 0 0 0; He 0 0 3", basis="6-31g", verbose=0)
    >>> density = torch.eye(4, dtype=torch.float64)[None]
    >>> gradient = MovingInteraction(mole, None).gradient(density, {Interaction(): 0.25})
    >>> bool(gradient[0, 2] > 0.0), bool(gradient.sum(0).abs().max() < 1e-12)
    (True, True)
    """

    def __init__(self, mole: Mole, fitting: str | None) -> None:
        self._mole, self._homes = mole, homes_of(mole)
        self._fitted = None if fitting is None else FittedInteraction(mole, fitting)

    def gradient(self, density: Tensor, exchange: Mapping[Interaction, float]) -> Tensor:
        """Derivative of ``<D|J|D> / 2`` less exchange, with respect to positions, (natom, 3).

        Parameters
        ----------
        density : Tensor
            Density matrices, (n, nao, nao), symmetric; J is of their sum.
        exchange : mapping of Interaction to float
            Factors of ``<D|K|D> / 2``, summed over the density matrices.
        """
        if self._fitted is not None:
            return self._fitted.gradient(density, exchange)
        matrices = density.numpy()
        full = exchange.get(Interaction(), 0.0)
        if full:  # one pass gives J and K together
            coulomb, of_full = pyscf_gradients.get_jk(self._mole, matrices)
            gradient = self._on_atoms(coulomb.sum(0), matrices.sum(0))
            gradient -= full * self._on_atoms(of_full, matrices)
        else:
            total = matrices.sum(0)
            gradient = self._on_atoms(pyscf_gradients.get_j(self._mole, total), total)
        for one, factor in exchange.items():
            if one.omega:
                with self._mole.with_range_coulomb(one.omega):
                    moving = pyscf_gradients.get_k(self._mole, matrices)
                gradient -= factor * self._on_atoms(moving, matrices)
        return gradient

    def _on_atoms(self, moving: np.ndarray, matrices: np.ndarray) -> Tensor:
        """From matrices whose first function moves, (n, 3, nao, nao), to atoms."""
        size = self._mole.nao
        each = 2.0 * np.einsum(
            "nxij,nij->ix", moving.reshape(-1, 3, size, size), matrices.reshape(-1, size, size)
        )
        total = torch.zeros((self._mole.natm, 3), dtype=torch.float64)
        return total.index_add_(0, self._homes, torch.from_numpy(each))

    def matrices(
        self, density: Tensor, velocities: Tensor, exchange: Sequence[Interaction]
    ) -> tuple[Tensor, list[Tensor]]:
        """Change of J and of each K at fixed density matrices, as ``Coulomb.matrices``.

        Parameters
        ----------
        density : Tensor
            (n, nao, nao), symmetric.
        velocities : Tensor
            (natom, 3), bohr per unit of time.
        exchange : sequence of Interaction
            Operators of the exchange that is wanted.
        """
        if self._fitted is not None:
            return self._fitted.matrices(density, velocities, exchange)
        full = [one for one in exchange if one.omega == 0.0]
        coulomb, of_full = self._pass(density, velocities, Interaction(), True, bool(full))
        found = []
        for one in exchange:
            ranged = one.omega != 0.0
            found.append(
                self._pass(density, velocities, one, False, True)[1] if ranged else of_full
            )
        return coulomb, found

    def _pass(
        self,
        density: Tensor,
        velocities: Tensor,
        interaction: Interaction,
        with_j: bool,
        with_k: bool,
    ) -> tuple[Tensor, Tensor]:
        """J of the sum and K of each density matrix; empty where not wanted."""
        own = velocities[self._homes].T.numpy()  # (3, nao)
        wanted, scripts = [], []
        if with_j:
            total = density.sum(0).numpy()
            # Functions of the other pair move, one component of the integrals for each axis.
            wanted += [total, *(total * axis for axis in own)]
            scripts += ["ijkl,lk->ij"] + ["ijkl,ji->kl"] * 3
        for matrix in density.numpy() if with_k else ():
            wanted += [matrix, *(matrix * axis for axis in own)]
            scripts += ["ijkl,jk->il"] + ["ijkl,li->kj"] * 3
        with self._mole.with_range_coulomb(interaction.omega or None):
            found = scf.jk.get_jk(
                self._mole, wanted, scripts, intor="int2e_ip1", aosym="s2kl", comp=3
            )
        changes = []
        for first in range(0, len(found), 4):
            moving, *others = found[first : first + 4]
            other = sum(part[axis] for axis, part in enumerate(others))
            half = -np.einsum("xi,xij->ij", own, moving) - other
            changes.append(half + half.T)
        coulomb = changes.pop(0) if with_j else np.empty(0)
        kept = np.stack(changes) if with_k else np.empty(0)
        return torch.from_numpy(coulomb), torch.from_numpy(kept)
