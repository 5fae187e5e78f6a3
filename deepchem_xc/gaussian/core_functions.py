"""Whether the basis functions of an atom hold the electrons of its core.

Basis sets that were made for a core potential have no functions near the nucleus. With the whole
nucleus they give energies that are wrong by many Hartree, without any other sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pyscf import gto

# Elements without a core.
_LAST_WITHOUT_CORE = 2
# Share of the energy of one electron at the bare nucleus that functions for all electrons hold at
# least. Among PySCF's named basis sets, functions for all electrons hold 0.98 up to krypton, and
# those for core potentials at most 0.83. Beyond krypton these are 0.60 (relativistic contractions)
# and 0.28.
_LIGHTER, _HEAVIER = 0.9, 0.5
_LAST_LIGHTER = 36
# Smallest eigenvalue of the overlap of functions that count as independent.
_INDEPENDENT = 1e-9


def share_at_nucleus(symbol: str, shells: Any) -> float:
    """Lowest level of one electron at the bare nucleus, as a share of the exact -Z^2/2.

    Parameters
    ----------
    symbol : str
        Chemical symbol.
    shells : list
        Basis functions of the atom in PySCF's internal form.

    Examples
    --------
    >>> one_gaussian = [[0, [8.0 / (9.0 * np.pi), 1.0]]]
    >>> print(f"{share_at_nucleus('H', one_gaussian) * 3.0 * np.pi:.6f}")  # 8 / 3 pi
    8.000000
    """
    spherical = [shell for shell in shells if shell[0] == 0]
    if not spherical:
        return 0.0
    atom = gto.M(atom=[[symbol, (0.0, 0.0, 0.0)]], basis={symbol: spherical}, spin=None, verbose=0)
    values, vectors = np.linalg.eigh(atom.intor("int1e_ovlp"))
    kept = values > _INDEPENDENT
    orthonormal = vectors[:, kept] / np.sqrt(values[kept])
    matrix = atom.intor("int1e_kin") + atom.intor("int1e_nuc")
    lowest = np.linalg.eigvalsh(orthonormal.T @ matrix @ orthonormal)[0]
    return float(-2.0 * lowest / gto.charge(symbol) ** 2)


def holds_core(symbol: str, shells: Any) -> bool:
    """Whether basis functions were made for all electrons; elements without a core always do.

    Parameters
    ----------
    symbol, shells
        As for `share_at_nucleus`.

    Examples
    --------
    >>> [holds_core("I", gto.basis.load(name, "I")) for name in ("def2-svp", "ano-rcc")]
    [False, True]
    """
    charge = gto.charge(symbol)
    least = _LIGHTER if charge <= _LAST_LIGHTER else _HEAVIER
    return charge <= _LAST_WITHOUT_CORE or share_at_nucleus(symbol, shells) >= least


def check_core_functions(mole: gto.Mole, named: Any = None) -> None:
    """Refuse functions without a core at whole nuclei, and those with one at replaced cores.

    Functions of the user's own at replaced cores are not refused.

    Parameters
    ----------
    mole : pyscf.gto.Mole
        Built.
    named : collection of str, optional
        Symbols whose functions are a basis set by name.

    Raises
    ------
    ValueError
        If functions and core do not belong together.

    Examples
    --------
    >>> check_core_functions(gto.M(atom="Ne", basis="def2-svp", verbose=0))
    >>> check_core_functions(gto.M(atom="Ne", basis="ccecp-cc-pvdz", verbose=0))
    Traceback (most recent call last):
    ValueError: the basis functions of Ne hold no electrons of its core: ...
    """
    seen = set()
    for i in range(mole.natm):
        label, symbol = mole.atom_symbol(i), mole.elements[i]
        # Labels of atoms ("I1") may have functions and core potentials of their own.
        if label in seen or gto.charge(symbol) <= _LAST_WITHOUT_CORE:
            continue
        seen.add(label)
        is_replaced = mole.atom_nelec_core(i) > 0
        by_pseudopotential = label in mole._pseudo or symbol in mole._pseudo
        if is_replaced and not (by_pseudopotential and symbol in (named or ())):
            continue
        shells = mole._basis[label] if label in mole._basis else mole._basis[symbol]
        holds = holds_core(symbol, shells)
        if holds and is_replaced:
            raise ValueError(
                f"the basis set of {label} was made for all electrons, and a pseudopotential "
                f"replaces {mole.atom_nelec_core(i)} of them: take a basis set that was made for "
                "it, such as 'gth-dzvp', or leave pseudopotentials out."
            )
        if not holds and not is_replaced:
            raise ValueError(
                f"the basis functions of {label} hold no electrons of its core: one electron at "
                f"the bare nucleus would have {100.0 * share_at_nucleus(symbol, shells):.0f} % of "
                "its energy. They were made for a core potential that is not known by their name: "
                "take a basis set whose core potential comes with it, such as 'def2-svp', one for "
                "all electrons, such as 'ano-rcc', or a pyscf.gto.Mole with both basis and ecp."
            )
