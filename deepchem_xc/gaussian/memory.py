"""Memory that a calculation needs at least, and its refusal where there is less.

What may grow without limit is counted: matrices, the grid, values of basis functions and integrals
that are kept, or computed in batches. A calculation that needs more than the machine has would end
in an error of the system, or not at all, after hours.
"""

from __future__ import annotations

from pathlib import Path

from pyscf import df
from pyscf.dft import gen_grid
from pyscf.gto import Mole

from deepchem_xc.gaussian.coulomb import ALL_INTEGRALS, INTEGRAL_MEMORY, fitted_size
from deepchem_xc.gaussian.grid import ALL_VALUES, KEPT_VALUES

# Matrices (nao, nao) of each density matrix that exist at the same time: densities, potentials and
# errors of the steps that are extrapolated, orbitals, and those of the step itself.
_MATRICES = 32
# Points whose basis functions are evaluated together.
_BATCH = 256 * gen_grid.BLKSIZE
# Levels of PySCF's grids.
_LEVELS = len(gen_grid.ANG_ORDER)
_REAL = 8
_GIB = 2**30


def needed_memory(
    mole: Mole, level: int, nrow: int, nspin: int, fitting: str | None = None
) -> dict[str, float]:
    """Bytes that a calculation takes at least, by what takes them.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    level : int
        PySCF's level of the grid.
    nrow : int
        Rows of a density that the functional reads: 1, 4 or 5.
    nspin : int
        Density matrices.
    fitting : str, optional
        Auxiliary basis set of density fitting; exact integrals by default.

    Examples
    --------
    >>> from pyscf import gto
    >>> needed = needed_memory(gto.M(atom="He", basis="def2-svp", verbose=0), 3, 4, 1)
    >>> sorted(needed), needed["matrices"]
    (['basis functions', 'grid', 'integrals', 'matrices'], 6400.0)
    """
    nao, components = mole.nao, 1 if nrow == 1 else 4
    points = _number_of_points(mole, level)
    values = _REAL * components * nao * points
    if values > KEPT_VALUES:
        values = 2 * _REAL * components * nao * min(points, _BATCH)
    pairs = nao * (nao + 1) // 2
    if fitting is None:
        integrals = _REAL * pairs * (pairs + 1) // 2
    else:
        integrals = fitted_size(mole, df.addons.make_auxmol(mole, fitting))
    return {
        "matrices": float(_MATRICES * _REAL * nspin * nao**2),
        "grid": float(_REAL * points * (4 + 2 * nspin * nrow)),
        "basis functions": float(values),
        # Larger ones are computed in each step, or kept in a file.
        "integrals": float(integrals if integrals <= INTEGRAL_MEMORY else 0),
    }


def check_memory(
    mole: Mole,
    level: int,
    nrow: int,
    nspin: int,
    fitting: str | None = None,
    available: float | None = None,
) -> None:
    """Raise `ValueError` if a calculation needs more memory than there is.

    Parameters
    ----------
    mole, level, nrow, nspin, fitting
        As for `needed_memory`.
    available : float, optional
        Bytes; by default what the system says, without which nothing is refused, with what other
        molecules keep and release when it is needed.

    Examples
    --------
    >>> from pyscf import gto
    >>> check_memory(gto.M(atom="He", basis="def2-svp", verbose=0), 3, 4, 1, available=1e4)
    Traceback (most recent call last):
    ValueError: the calculation needs at least ... GiB of memory ...
    """
    free = available_memory() if available is None else available
    if free is None or level >= _LEVELS:  # the grid refuses such a level
        return
    if available is None:
        free += ALL_VALUES.used + ALL_INTEGRALS.used
    needed = needed_memory(mole, level, nrow, nspin, fitting)
    total = sum(needed.values())
    if total > free:
        parts = ", ".join(f"{name} {size / _GIB:.3g}" for name, size in needed.items())
        raise ValueError(
            f"the calculation needs at least {total / _GIB:.3g} GiB of memory ({parts}; "
            f"{mole.nao} basis functions), and {free / _GIB:.3g} GiB are available: take a smaller "
            "basis set, a lower grid_level, or a machine with more memory."
        )


def available_memory() -> float | None:
    """Bytes that are available to new programs, as Linux counts them; None on other systems."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024.0 * float(value.split()[0])
    return None


def _number_of_points(mole: Mole, level: int) -> int:
    """Points of all atoms; PySCF adds a few for alignment."""
    made = gen_grid.Grids(mole)
    grids = made.gen_atomic_grids(mole, level=level)
    return sum(len(grids[mole.atom_symbol(i)][1]) for i in range(mole.natm))
