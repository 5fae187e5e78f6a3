"""`Molecule`: atoms, electrons and Gaussian basis functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr
from pyscf import gto

from deepchem_xc.gaussian.basis_sets import (
    basis_by_element,
    core_potentials,
    named_elements,
    pseudopotentials_by_element,
)
from deepchem_xc.gaussian.core_functions import check_core_functions
from deepchem_xc.gaussian.kept_parts import KeptParts
from deepchem_xc.gaussian.molecule_checks import (
    check_atoms,
    check_charge,
    check_declared_charge,
    check_declared_moments,
    check_independence,
    check_spin,
)


@dataclass(frozen=True, eq=False)
class Molecule:
    """Atoms, number of electrons and basis functions of a calculation; see `Molecule.of`.

    Attributes
    ----------
    mole : pyscf.gto.Mole
        Built. It belongs to this object and must not be changed.

    Examples
    --------
    >>> from ase.build import molecule
    >>> water = Molecule.of(molecule("H2O"), basis="def2-svp")
    >>> water, water.nelectrons
    (Molecule(H2O, charge=0, spin=0, norbital=24), (5, 5))
    """

    mole: gto.Mole = field(repr=False)

    def __repr__(self) -> str:
        formula = Atoms(self.symbols).get_chemical_formula()
        return (
            f"Molecule({formula}, charge={self.charge}, spin={self.spin}, norbital={self.norbital})"
        )

    @classmethod
    def of(
        cls,
        structure: Any,
        *,
        basis: Any = None,
        charge: int | None = None,
        spin: int | None = None,
        pseudopotentials: str | Mapping[str, str] | None = None,
    ) -> Molecule:
        """Molecule of a structure.

        Parameters
        ----------
        structure : ase.Atoms, pyscf.gto.Mole or Molecule
            A Mole or a Molecule has basis, charge and spin of its own: none may be given then.
        basis : str or mapping
            PySCF's name of a basis set, or a mapping from symbols to names (or to basis sets in
            PySCF's form), in which ``"default"`` stands for all other elements. The effective core
            potential that belongs to a named basis set comes with it.
        charge : int, optional
            Total charge, e; 0 by default.
        spin : int, optional
            Number of unpaired electrons, N_up - N_down, as in PySCF; 0 by default, unless the
            atoms' initial magnetic moments add up to another number: then it must be given.
        pseudopotentials : str or mapping, optional
            PySCF's name of pseudopotentials that replace all cores, ``"gth-pbe"``, for a basis set
            that was made for them (``"gth-dzvp"``); or one name for each element.

        Raises
        ------
        TypeError
            For another kind of structure.
        ValueError
            For a crystal, a basis set that lacks an element, or whose core potential is not known,
            another charge than ``atoms.info["charge"]``, charges and spins that are impossible,
            atoms that overlap, positions that are not finite, basis functions that are linearly
            dependent.

        Examples
        --------
        >>> from ase.build import molecule
        >>> Molecule.of(molecule("O2"), basis="def2-svp", spin=2).nelectrons
        (9, 7)
        >>> Molecule.of(molecule("O2"), basis="def2-svp", spin=1)
        Traceback (most recent call last):
        deepchem_xc.gaussian.molecule_checks.SpinError: 16 electrons cannot have 1 unpaired ...
        """
        given = {
            "basis": basis,
            "charge": charge,
            "spin": spin,
            "pseudopotentials": pseudopotentials,
        }
        if isinstance(structure, (Molecule, gto.Mole)):
            doubled = [name for name, value in given.items() if value is not None]
            if doubled:
                raise ValueError(
                    f"the {type(structure).__name__} has its own {', '.join(doubled)}: leave the "
                    "keyword out, or give ASE's atoms."
                )
            return structure if isinstance(structure, Molecule) else cls(_copied(structure))
        if hasattr(structure, "lattice_vectors"):
            raise ValueError(
                "the structure is a pyscf.pbc.gto.Cell, a crystal, and Gaussian bases here are "
                "those of molecules: use deepchem_xc.planewave.scf."
            )
        if not isinstance(structure, Atoms):
            raise TypeError(
                "a molecule is made of ase.Atoms (ase.io.read(path), ase.build.molecule('H2O')), a "
                f"pyscf.gto.Mole or a Molecule, not {type(structure).__name__}."
            )
        if structure.pbc.any():
            raise ValueError(
                f"{structure.get_chemical_formula()} repeats periodically (pbc = "
                f"{structure.pbc.tolist()}), and Gaussian bases here are those of molecules: use "
                "deepchem_xc.planewave.scf for crystals, or atoms.set_pbc(False)."
            )
        check_declared_charge(structure.info, charge or 0)
        symbols, positions = structure.get_chemical_symbols(), structure.positions / Bohr
        made = cls.at(
            symbols,
            positions,
            basis=basis,
            charge=charge or 0,
            spin=spin or 0,
            pseudopotentials=pseudopotentials,
        )
        if spin is None:
            check_declared_moments(structure.get_initial_magnetic_moments())
        return made

    @classmethod
    def at(
        cls,
        symbols: Sequence[str],
        positions: np.ndarray,
        *,
        basis: Any = None,
        charge: int = 0,
        spin: int = 0,
        pseudopotentials: str | Mapping[str, str] | None = None,
    ) -> Molecule:
        """Molecule of atoms at positions in bohr, which are not converted, and so not rounded.

        Parameters
        ----------
        symbols : sequence of str
            Chemical symbols.
        positions : ndarray
            (natom, 3), bohr.
        basis, charge, spin, pseudopotentials
            As for `of`; errors, too.

        Examples
        --------
        >>> Molecule.at(["H", "F"], [[0.86625, 0, 0], [-0.86625, 0, 0]], basis="6-31g").norbital
        11
        """
        found = list(symbols), np.asarray(positions, dtype=np.float64)
        return cls(_built(*found, basis, charge, spin, pseudopotentials))

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols."""
        return tuple(self.mole.elements)

    @property
    def positions(self) -> np.ndarray:
        """Positions of the nuclei, (natom, 3), bohr."""
        positions: np.ndarray = self.mole.atom_coords()
        return positions

    @property
    def charge(self) -> int:
        """Total charge, e."""
        return int(self.mole.charge)

    @property
    def spin(self) -> int:
        """Number of unpaired electrons, N_up - N_down."""
        return int(self.mole.spin)

    @property
    def nelectrons(self) -> tuple[int, int]:
        """Electrons of spin up and down, without those of cores that potentials replace."""
        up, down = self.mole.nelec
        return int(up), int(down)

    @property
    def norbital(self) -> int:
        """Number of basis functions."""
        return int(self.mole.nao)

    @cached_property
    def overlap(self) -> np.ndarray:
        """Overlap of the basis functions, (nao, nao)."""
        overlap: np.ndarray = self.mole.intor_symmetric("int1e_ovlp")
        return overlap

    @cached_property
    def parts(self) -> KeptParts:
        """Its grid and interaction, which all its calculations share."""
        return KeptParts(self.mole)


def _built(
    symbols: list[str],
    positions: np.ndarray,
    basis: Any,
    charge: Any,
    spin: Any,
    pseudopotentials: Any,
) -> gto.Mole:
    check_atoms(symbols, positions)
    mole = gto.Mole()
    mole.atom = [[symbol, tuple(position)] for symbol, position in zip(symbols, positions)]
    mole.unit, mole.verbose, mole.symmetry = "Bohr", 0, False
    mole.basis = basis_by_element(basis, symbols)
    if pseudopotentials is None:
        mole.ecp = core_potentials(basis, symbols)
    else:
        mole.pseudo = pseudopotentials_by_element(pseudopotentials, symbols)
    mole.charge = check_charge(charge)
    mole.spin = None  # any parity, until the electrons are counted
    mole.build(dump_input=False, parse_arg=False)
    check_core_functions(mole, named_elements(basis, symbols))
    mole.spin = check_spin(spin, mole.tot_electrons(), mole.nao)
    check_independence(mole.intor_symmetric("int1e_ovlp"))
    return mole


def _copied(given: gto.Mole) -> gto.Mole:
    """A Mole of the same content, checked as one that is made of atoms."""
    if not given._built:
        raise ValueError("the Mole is not built: call its build() first.")
    mole = given.copy()
    mole.verbose, mole.symmetry = 0, False
    check_atoms([symbol for symbol in mole.elements], mole.atom_coords())
    if not mole._pseudo:
        _check_core_potentials(mole)
    check_core_functions(mole, named_elements(mole.basis, mole.elements))
    check_spin(mole.spin, mole.tot_electrons(), mole.nao)
    check_independence(mole.intor_symmetric("int1e_ovlp"))
    return mole


def _check_core_potentials(mole: gto.Mole) -> None:
    """Refuse a basis set whose core potential is missing: its functions hold no core electrons."""
    missing = [
        symbol
        for symbol in core_potentials(mole.basis, set(mole.elements) - set(mole._ecp))
        if symbol not in mole._ecp
    ]
    if missing:
        raise ValueError(
            f"the basis set of {', '.join(missing)} was made for an effective core potential, and "
            "the Mole has none: set mol.ecp to the name of the basis set before mol.build()."
        )
