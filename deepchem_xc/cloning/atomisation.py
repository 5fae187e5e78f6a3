"""Atomisation energies of a functional at kept densities, against reference energies.

At the density of a parent the total energy of another functional is

    E = E(parent) + E_xc - E_xc(parent)

up to second order in the change of the density: no self-consistent calculation is repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from ase.units import Hartree, kcal, mol
from torch import Tensor

from deepchem_xc.cloning.densities import KeptDensity
from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.xc import XCFunctional

__all__ = ["ATOMISATION_GRID_LEVEL", "KCAL_PER_MOL", "AtomisationErrors", "trainable_weights"]

#: Level of PySCF's grid on which functional and parent are compared. Where a random network differs
#: from PBE by 1 Hartree, a finer grid changes atomisation energies by 0.05 kcal/mol at most.
ATOMISATION_GRID_LEVEL = 1
#: kcal/mol in a Hartree.
KCAL_PER_MOL = Hartree / (kcal / mol)


def trainable_weights(functional: XCFunctional) -> list[Tensor]:
    """Parameters of a functional that have gradients.

    Examples
    --------
    >>> from deepchem_xc.xc import get_xc
    >>> trainable_weights(get_xc("PBE"))
    []
    """
    return [weight for weight in functional.parameters() if weight.requires_grad]


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

    Attributes
    ----------
    names : list of str
        Molecules, in the order of `wanted`.

    Raises
    ------
    ValueError
        For no reference energies, and molecules or atoms without a density.

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
    ) -> None:
        if not wanted:
            raise ValueError(
                "there are no reference energies: give atomisation energies by the molecules' "
                "names, such as {'H2': 109.5} (kcal/mol)."
            )
        by_name = {kept.name: kept for kept in densities}
        self.names = list(wanted)
        parts = {name: _parts(name, by_name) for name in self.names}
        used = [kept for kept in densities if any(kept.name in one for one in parts.values())]
        self._energies = KeptEnergies(parent, used, grid_level)
        # (number of molecules, number of densities): atoms less the molecule.
        self._differences = torch.tensor(
            [[float(parts[name][kept.name]) for kept in used] for name in self.names]
        ).double()
        totals = torch.tensor([kept.energy for kept in used], dtype=torch.float64)
        reference = torch.tensor([float(wanted[name]) for name in self.names]).double()
        # Errors of the parent itself, kcal/mol.
        self._of_parent = self._differences @ totals * KCAL_PER_MOL - reference

    def errors(self, functional: XCFunctional) -> Tensor:
        """Errors of atomisation energies, (number of molecules,), kcal/mol, without a graph.

        Parameters
        ----------
        functional : XCFunctional
            Any that needs nothing but densities and their derivatives.
        """
        return self._of_changes(self._energies.errors(functional))

    def linearised(self, functional: XCFunctional) -> tuple[Tensor, Tensor]:
        """Errors, and their derivatives with respect to the functional's trainable weights.

        Parameters
        ----------
        functional : XCFunctional
            Has trainable weights.

        Returns
        -------
        errors : Tensor
            (number of molecules,), kcal/mol.
        jacobian : Tensor
            (number of molecules, number of weights), in the order of `trainable_weights`.
        """
        weights = trainable_weights(functional)
        changes, rows = [], []
        for change in self._energies.errors_in_graph(functional):
            slopes = torch.autograd.grad(change, weights, materialize_grads=True)
            changes.append(change.detach())
            rows.append(torch.cat([slope.reshape(-1) for slope in slopes]))
        jacobian = self._differences @ torch.stack(rows) * KCAL_PER_MOL
        return self._of_changes(torch.stack(changes)), jacobian

    def _of_changes(self, changes: Tensor) -> Tensor:
        """Errors (kcal/mol) where exchange-correlation energies change (Hartree)."""
        return self._of_parent + self._differences @ changes * KCAL_PER_MOL


def _parts(name: str, densities: Mapping[str, KeptDensity]) -> Counter[str]:
    """How often each density is counted in a molecule's atomisation energy."""
    if name not in densities:
        raise ValueError(
            f"there is no density of {name}, whose atomisation energy is given; "
            "parent_densities(parent, names) makes it."
        )
    parts = Counter(densities[name].atoms.get_chemical_symbols())
    missing = sorted(set(parts) - set(densities))
    if missing:
        raise ValueError(
            f"there is no density of the free atoms {', '.join(missing)} of {name}; "
            "parent_densities(parent, free_atoms(names)) makes them."
        )
    parts[name] -= 1
    return parts
