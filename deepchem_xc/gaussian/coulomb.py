"""Coulomb and exchange matrices of density matrices, from PySCF's integrals.

Integrals are kept in memory, with their eightfold symmetry, as long as they fit into
`INTEGRAL_MEMORY`; larger molecules have them computed again at each call (PySCF's direct method),
or use density fitting. Fitted integrals are kept likewise; where they do not fit, Coulomb matrices
have them computed again at each call, and PySCF keeps those of exchange, which would take too long.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from pyscf import df, lib, scf
from pyscf.gto import Mole
from torch import Tensor

from deepchem_xc.gaussian.shared_memory import SharedMemory

#: Bytes that kept integrals of one kind may take, and those of all molecules together.
INTEGRAL_MEMORY = 2 * 2**30
#: Integrals that are kept at present.
ALL_INTEGRALS = SharedMemory(INTEGRAL_MEMORY)


class Interaction(NamedTuple):
    """An operator between electrons: all of 1/r, or its long-ranged part.

    Attributes
    ----------
    omega : float
        For ``erf(omega r) / r``, 1/bohr; 0 for 1/r.
    """

    omega: float = 0.0


class Coulomb:
    """Coulomb and exchange matrices for the basis functions of one molecule.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    fitting : str or None
        Auxiliary basis set of density fitting, by PySCF's name; None for exact integrals.
    memory : int, optional
        Bytes that kept integrals of one kind may take.

    Attributes
    ----------
    mole : pyscf.gto.Mole
        The molecule.
    fitting : str or None
        Auxiliary basis set.

    Examples
    --------
    >>> from pyscf import gto
    >>> helium = gto.M(atom="He", basis="sto-3g", verbose=0)
    >>> density = torch.full((1, 1, 1), 2.0, dtype=torch.float64)
    >>> coulomb, exchange = Coulomb(helium).matrices(density, [Interaction()])
    >>> coulomb.item(), exchange[0].item()
    (2.1115, 2.1115)
    """

    def __init__(self, mole: Mole, fitting: str | None = None, memory: int = INTEGRAL_MEMORY):
        self.mole, self._memory = mole, memory
        self.fitting = fitting
        self._fitted = None if fitting is None else df.DF(mole, auxbasis=fitting)
        # Ranges (omega) whose fitted integrals exist.
        self._fitted_ranges: set[float] = set()
        self._kept: dict[float, np.ndarray] = {}
        self._direct = scf.hf.SCF(mole)
        # Integrals are kept here, where their memory is bounded.
        self._direct.max_memory = 0

    def matrices(
        self, density: Tensor, exchange: list[Interaction] | tuple[Interaction, ...] = ()
    ) -> tuple[Tensor, list[Tensor]]:
        """J of the sum of the density matrices, and K of each of them.

        Parameters
        ----------
        density : Tensor
            (n, nao, nao), symmetric.
        exchange : sequence of Interaction
            Operators of the exchange that is wanted.

        Returns
        -------
        (Tensor, list of Tensor)
            J, (nao, nao), ``sum_kl (ij|kl) D_kl``; for each interaction K, (n, nao, nao),
            ``sum_kl (ik|jl) D_kl``. Hartree.
        """
        matrices = density.detach().cpu().numpy()
        full = [one for one in exchange if one.omega == 0.0]
        # One pass gives J and K together where the operator is the same.
        coulomb, of_full = self._pass(matrices if full else matrices.sum(0), 0.0, True, bool(full))
        found = []
        for one in exchange:
            k = of_full if one.omega == 0.0 else self._pass(matrices, one.omega, False, True)[1]
            found.append(torch.from_numpy(np.ascontiguousarray(k)).to(density))
        total = coulomb.sum(0) if coulomb.ndim == 3 else coulomb
        return torch.from_numpy(np.ascontiguousarray(total)).to(density), found

    def _pass(self, matrices: np.ndarray, omega: float, with_j: bool, with_k: bool) -> Any:
        keywords = {"hermi": 1, "with_j": with_j, "with_k": with_k}
        if self._fitted is not None:
            # PySCF gives another range an object of its own.
            fitted = self._fitted.range_coulomb(omega) if omega else nullcontext(self._fitted)
            with fitted as one:
                self._make_fitted(one, omega, with_k)
                return one.get_jk(matrices, **keywords)
        integrals = self._integrals(omega)
        if integrals is None:
            return self._direct.get_jk(self.mole, matrices, omega=omega or None, **keywords)
        return scf.hf.dot_eri_dm(integrals, matrices, **keywords)

    def _make_fitted(self, fitted: Any, omega: float, with_k: bool) -> None:
        """Compute the fitted integrals of a range, unless only J needs them and they do not fit."""
        # PySCF subtracts what the process holds, which includes what other molecules keep.
        fitted.max_memory = self.mole.max_memory + lib.current_memory()[0]
        if omega in self._fitted_ranges:
            return
        size = fitted_size(self.mole, df.addons.make_auxmol(self.mole, self.fitting))
        if size <= self._memory or with_k:
            fitted.build()
            self._fitted_ranges.add(omega)
            ALL_INTEGRALS.keep(self, size * len(self._fitted_ranges))

    def _integrals(self, omega: float) -> np.ndarray | None:
        """(ij|kl) with eightfold symmetry; None if they would take too much memory."""
        found = self._kept.get(omega)
        if found is None:
            pairs = self.mole.nao * (self.mole.nao + 1) // 2
            if 8 * pairs * (pairs + 1) // 2 > self._memory:
                return None
            with self.mole.with_range_coulomb(omega or None):
                found = self.mole.intor("int2e", aosym="s8")
            self._kept[omega] = found
            ALL_INTEGRALS.keep(self, sum(kept.nbytes for kept in self._kept.values()))
        return found

    def release(self) -> None:
        """Forget kept integrals; the next call computes them again."""
        self._kept, self._fitted_ranges = {}, set()
        if self._fitted is not None:
            self._fitted.reset()

    def __getstate__(self) -> dict[str, Any]:
        """State without integrals, which are computed again when they are needed."""
        return {**self.__dict__, "_kept": {}, "_fitted_ranges": set()}


def fitted_size(mole: Mole, auxiliary: Mole) -> int:
    """Bytes of fitted integrals of one range.

    Parameters
    ----------
    mole, auxiliary : pyscf.gto.Mole
        Molecule, and the same atoms with auxiliary functions.

    Examples
    --------
    >>> from pyscf import gto
    >>> water = gto.M(atom="O 0 0 0; H 0 0 1; H 0 1 0", basis="def2-svp", verbose=0)
    >>> fitted_size(water, df.addons.make_auxmol(water, "def2-universal-jkfit"))
    271200
    """
    return 8 * int(auxiliary.nao) * int(mole.nao) * (int(mole.nao) + 1) // 2
