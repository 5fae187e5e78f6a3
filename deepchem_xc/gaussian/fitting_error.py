"""How well an auxiliary basis set fits the Coulomb energy of free atoms.

PySCF takes any basis set as an auxiliary one. Those that are made for orbitals, or for correlation
energies (``"def2-svp-ri"``), lack the steep functions that products of core orbitals need.
"""

from __future__ import annotations

import contextlib
import io
import warnings

import numpy as np
import scipy.linalg
from pyscf import df, gto, scf

from deepchem_xc._caller import users_stacklevel

# Hartree in the Coulomb energy of one atom. Sets made for Coulomb energies are off by 1e-6 to 4e-4
# with the orbitals that they were made for (H to Kr, I, Au), orbital basis sets by 0.03 to 1.5
# from oxygen on.
_LARGEST = 1e-3
# Directions of the auxiliary functions that are left out, relative to the largest overlap.
_DEPENDENT = 1e-10


class InaccurateFittingWarning(UserWarning):
    """An auxiliary basis set is too small for Coulomb energies.

    Examples
    --------
    >>> issubclass(InaccurateFittingWarning, UserWarning)
    True
    """


def fitting_errors(mole: gto.Mole, auxiliary: str) -> dict[str, float]:
    r"""Error of the fitted Coulomb energy of the free atoms of a molecule.

    With the density n of an atom in PySCF's minimal basis, and its fit m,

    .. math:: \tfrac12 (n|n) - \tfrac12 (m|m) = \tfrac12 (n - m | n - m) \ge 0,

    because the fit leaves no overlap of n - m with the auxiliary functions [1]_. The density is
    spherical, so that s functions alone are tried.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    auxiliary : str
        Auxiliary basis set, by PySCF's name, that exists for all elements.

    Returns
    -------
    dict
        Hartree, by the symbol of the atom in the molecule.

    References
    ----------
    .. [1] B. I. Dunlap, J. W. D. Connolly, J. R. Sabin, J. Chem. Phys. 71, 3396 (1979).

    Examples
    --------
    >>> mole = gto.M(atom="O", basis="def2-svp", spin=2, verbose=0)
    >>> f'{fitting_errors(mole, "def2-universal-jkfit")["O"]:.0e}'
    '1e-05'
    >>> f'{fitting_errors(mole, "def2-svp")["O"]:.1f}'
    '0.8'
    """
    found: dict[str, float] = {}
    for atom in range(mole.natm):
        symbol = mole.atom_symbol(atom)
        if symbol not in found:
            found[symbol] = _error(_free_atom(mole, atom), auxiliary)
    return found


def _free_atom(mole: gto.Mole, atom: int) -> gto.Mole:
    """One atom with its functions and core potential; PySCF's words for them are by symbol."""
    return gto.M(
        atom=[(mole.atom_symbol(atom), (0.0, 0.0, 0.0))],
        basis=mole._basis,
        ecp=mole._ecp,
        pseudo=mole._pseudo,
        cart=mole.cart,
        spin=int(mole.atom_charge(atom)) % 2,
        verbose=0,
    )


def _error(atom: gto.Mole, auxiliary: str) -> float:
    density = scf.hf.init_guess_by_minao(atom)
    exact = 0.5 * np.einsum("ij,ji", scf.hf.get_jk(atom, density, with_k=False)[0], density)
    with contextlib.redirect_stdout(io.StringIO()):  # PySCF prints calls of its own
        functions = df.addons.make_auxmol(atom, auxiliary)
    overlap = np.einsum("ijp,ij->p", df.incore.aux_e2(atom, functions, "int3c2e"), density)
    fit = scipy.linalg.lstsq(functions.intor("int2c2e"), overlap, cond=_DEPENDENT)[0]
    return float(exact - 0.5 * overlap @ fit)


def check_fitting(mole: gto.Mole, auxiliary: str) -> None:
    """Warn where `fitting_errors` are above 1e-3 Hartree.

    Parameters
    ----------
    mole, auxiliary
        As for `fitting_errors`.

    Examples
    --------
    >>> check_fitting(gto.M(atom="He", basis="sto-3g", verbose=0), "def2-universal-jkfit")
    """
    large = {k: v for k, v in fitting_errors(mole, auxiliary).items() if v > _LARGEST}
    if large:
        errors = ", ".join(f"{symbol} {error:.2g}" for symbol, error in sorted(large.items()))
        warnings.warn(
            f"density_fitting = {auxiliary!r} fits the Coulomb energies of free atoms badly, by "
            f"Hartree: {errors}. Energies of molecules will be off, too; sets that are made for "
            "them, such as 'def2-universal-jkfit', are better than 0.0005.",
            InaccurateFittingWarning,
            stacklevel=users_stacklevel(),
        )
