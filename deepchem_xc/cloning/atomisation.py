"""Atomisation energies of a functional at kept densities, against reference energies.

At the density of a parent the total energy of another functional is

    E = E(parent) + E_xc - E_xc(parent)

up to second order in the change of the density: no self-consistent calculation is repeated.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from ase.units import Hartree, kcal, mol
from torch import Tensor

from deepchem_xc._values import real_number
from deepchem_xc.cloning.densities import KeptDensity
from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.xc import XCFunctional

__all__ = [
    "ATOMISATION_GRID_LEVEL",
    "ATOM_WEIGHT",
    "KCAL_PER_MOL",
    "AtomisationErrors",
]

#: Level of PySCF's grid on which functional and parent are compared. Where a random network differs
#: from PBE by 1 Hartree, a finer grid changes atomisation energies by 0.05 kcal/mol at most.
ATOMISATION_GRID_LEVEL = 1
#: Weight of the free atoms' changes of energy. Without it, energies of cores drift by 0.8 Hartree
#: in the mean, because they cancel in atomisation energies. With it, atoms that move by 20 mHa cost
#: as much as errors of 0.4 kcal/mol.
ATOM_WEIGHT = 1e-3
#: kcal/mol in a Hartree.
KCAL_PER_MOL = Hartree / (kcal / mol)


class AtomisationErrors:
    """Errors of a functional's atomisation energies at the densities of a parent.

    Parameters
    ----------
    parent : XCFunctional
        The functional that the densities belong to.
    densities : sequence of KeptDensity
        Molecules and their free atoms; the name of an atom is its symbol.
    wanted : mapping of str to float
        Reference atomisation energies by the molecules' names, kcal/mol, without vibrations.
    grid_level : int, optional
        Level of PySCF's grid.
    atom_weight : float, optional
        Weight of the mean squared change of the free atoms' total energies in the residuals, beside
        the mean squared error of the molecules.

    Attributes
    ----------
    names : list of str
        Molecules, in the order of `wanted`.
    atoms : list of str
        Symbols of their free atoms.

    Raises
    ------
    ValueError
        For no reference energies, molecules or atoms without a density, and a negative weight.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import AtomisationErrors, parent_densities
    >>> from deepchem_xc.xc import get_xc
    >>> kept = parent_densities("PBE", ["H2", "H"], tempfile.mkdtemp(), basis="sto-3g")
    >>> errors = AtomisationErrors(get_xc("PBE"), kept, {"H2": 109.5})
    >>> errors.errors(get_xc("PBE")).tolist()
    [30.65]
    """

    def __init__(
        self,
        parent: XCFunctional,
        densities: Sequence[KeptDensity],
        wanted: Mapping[str, float],
        grid_level: int = ATOMISATION_GRID_LEVEL,
        atom_weight: float = ATOM_WEIGHT,
    ) -> None:
        if not wanted:
            raise ValueError(
                "there are no reference energies: give atomisation energies by the molecules' "
                "names, such as {'H2': 109.5} (kcal/mol)."
            )
        if not 0.0 <= real_number(atom_weight, "atom_weight") < math.inf:
            raise ValueError(f"atom_weight must be at least 0, got {atom_weight!r}.")
        by_name = {kept.name: kept for kept in densities}
        self.names = list(wanted)
        parts = {name: _parts(name, by_name) for name in self.names}
        used = [kept for kept in densities if any(kept.name in one for one in parts.values())]
        self._energies = KeptEnergies(parent, used, grid_level)
        self.atoms = [kept.name for kept in used if kept.name not in parts]
        # Atoms less the molecule, (number of molecules, number of densities), and the free atoms.
        differences = [[float(parts[name][kept.name]) for kept in used] for name in self.names]
        free = [[float(symbol == kept.name) for kept in used] for symbol in self.atoms]
        totals = torch.tensor([kept.energy for kept in used], dtype=torch.float64)
        reference = torch.tensor([float(wanted[name]) for name in self.names]).double()
        rows = torch.tensor(differences + free).double() * KCAL_PER_MOL
        number, natoms = len(self.names), len(self.atoms)
        # Errors of the parent, kcal/mol, and changes of the atoms, which are none.
        of_parent = torch.cat([rows[:number] @ totals - reference, torch.zeros(natoms).double()])
        self._rows, self._of_parent = rows, of_parent
        scales = [1.0 / math.sqrt(number)] * number + [math.sqrt(atom_weight / natoms)] * natoms
        self._scales = torch.tensor(scales, dtype=torch.float64)

    def errors(self, functional: XCFunctional) -> Tensor:
        """Errors of atomisation energies, (number of molecules,), kcal/mol, without a graph.

        Parameters
        ----------
        functional : XCFunctional
            Any that needs nothing but densities and their derivatives.
        """
        return self._values(functional)[: len(self.names)]

    def atom_changes(self, functional: XCFunctional) -> Tensor:
        """Total energies of the free atoms less the parent's, (number of atoms,), kcal/mol.

        Parameters
        ----------
        functional : XCFunctional
            As for `errors`.
        """
        return self._values(functional)[len(self.names) :]

    def residuals(self, functional: XCFunctional) -> Tensor:
        """What is squared and summed: errors and changes of atoms, scaled, kcal/mol.

        Parameters
        ----------
        functional : XCFunctional
            As for `errors`.

        Returns
        -------
        Tensor
            (number of molecules + number of atoms,); the sum of its squares is the mean squared
            error, plus `atom_weight` times the mean squared change of the atoms.
        """
        return self._values(functional) * self._scales

    def linearised(self, functional: XCFunctional) -> tuple[Tensor, Tensor]:
        """Residuals, and their derivatives with respect to the functional's trainable weights.

        Parameters
        ----------
        functional : XCFunctional
            Has trainable weights.

        Returns
        -------
        residuals : Tensor
            As of `residuals`.
        jacobian : Tensor
            (number of residuals, number of weights), in the order of `trainable_weights`.
        """
        changes, slopes = self._energies.linearised(functional)
        values, jacobian = self._of_parent + self._rows @ changes, self._rows @ slopes
        return values * self._scales, jacobian * self._scales[:, None]

    def _values(self, functional: XCFunctional) -> Tensor:
        """Errors of molecules, then changes of atoms, kcal/mol."""
        return self._of_parent + self._rows @ self._energies.errors(functional)


def _parts(name: str, densities: Mapping[str, KeptDensity]) -> Counter[str]:
    """How often each density is counted in a molecule's atomisation energy."""
    if name not in densities:
        raise ValueError(
            f"there is no density of {name}, whose atomisation energy is given; "
            "parent_densities(parent, names) makes it."
        )
    parts = Counter(densities[name].atoms.get_chemical_symbols())
    if parts.total() == 1:
        raise ValueError(f"{name} is an atom, and has no atomisation energy: leave it out.")
    missing = sorted(set(parts) - set(densities))
    if missing:
        raise ValueError(
            f"there is no density of the free atoms {', '.join(missing)} of {name}; "
            "parent_densities(parent, free_atoms(names)) makes them."
        )
    parts[name] -= 1
    return parts
