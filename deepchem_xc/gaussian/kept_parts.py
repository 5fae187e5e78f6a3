"""Grid and interaction of a molecule, kept from one calculation to the next.

Steps of a training change the functional alone: points, their weights, values of basis functions
and integrals stay the same. Values and integrals have limits of their own (`grid`, `coulomb`); here
the points are limited, which a large data set would otherwise keep by the gigabyte.
"""

from __future__ import annotations

from typing import Any

from pyscf.gto import Mole

from deepchem_xc.gaussian.coulomb import Coulomb
from deepchem_xc.gaussian.fitting_error import check_fitting
from deepchem_xc.gaussian.grid import Grid
from deepchem_xc.gaussian.shared_memory import SharedMemory

#: Bytes that points of kept grids may take, of all molecules together.
KEPT_POINTS = 2**28
#: Molecules whose parts are kept at present.
ALL_PARTS = SharedMemory(KEPT_POINTS)


class KeptParts:
    """The last grid and the last interaction that were asked for, of one molecule.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built. It must not be changed: the parts are those of its atoms and basis functions.

    Examples
    --------
    >>> from pyscf import gto
    >>> parts = KeptParts(gto.M(atom="He", basis="sto-3g", verbose=0))
    >>> grid = parts.grid(3, derivatives=True)
    >>> parts.grid(3, derivatives=True) is grid, parts.grid(1, derivatives=True) is grid
    (True, False)
    """

    def __init__(self, mole: Mole) -> None:
        self._mole = mole
        self._grid: tuple[tuple[int, bool], Grid] | None = None
        self._coulomb: Coulomb | None = None

    def grid(self, level: int, derivatives: bool) -> Grid:
        """The grid of a level; parameters and errors as for `Grid`."""
        wanted = level, derivatives
        if self._grid is not None and self._grid[0] == wanted:
            return self._grid[1]
        made = Grid(self._mole, level, derivatives)
        self._grid = wanted, made
        ALL_PARTS.keep(self, made.nbytes)
        return made

    def coulomb(self, fitting: str | None) -> Coulomb:
        """The interaction with or without an auxiliary basis set, as for `Coulomb`.

        Warns once where that set is too small, see `fitting_error`.
        """
        known = self._coulomb
        if known is None or known.fitting != fitting:
            if fitting is not None:
                check_fitting(self._mole, fitting)
            known = self._coulomb = Coulomb(self._mole, fitting)
        return known

    def release(self) -> None:
        """Forget both; results that use them keep theirs."""
        self._grid = self._coulomb = None

    def __getstate__(self) -> dict[str, Any]:
        """State without the parts, which are made again when they are needed."""
        return {**self.__dict__, "_grid": None, "_coulomb": None}
