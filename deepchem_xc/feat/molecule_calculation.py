"""Calculations of molecules on Gaussian basis functions, with a key for each density."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deepchem_xc.feat.calculation import digest
from deepchem_xc.feat.molecule_keywords import (
    ENERGY_OPTIONS_OF_MOLECULES,
    OPTIONS_OF_MOLECULES,
)
from deepchem_xc.feat.molecule_start import MoleculeStart
from deepchem_xc.gaussian import MolecularResult, Molecule, scf
from deepchem_xc.losses.frozen import FrozenEnergy

if TYPE_CHECKING:
    from deepchem_xc.xc import XCFunctional


@dataclass(frozen=True, eq=False)
class MoleculeCalculation:
    """One molecule and everything that its calculation needs, except for the functional.

    It implements `Calculation`. A molecule has no volumes: its group holds this calculation alone.

    Attributes
    ----------
    key : str
        Name of the calculation, the same in any entry and any run.
    molecule : Molecule
        Atoms, electrons and basis functions.
    keywords : mapping
        Other keywords of `gaussian.scf`, as the plain values of a system.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from deepchem_xc.xc import get_xc
    >>> water = molecule_calculation(Molecule.of(molecule("H2O"), basis="sto-3g"), {}, "water")
    >>> water.scale, len(water.key), water.natom
    (1.0, 24, 3)
    >>> result = water.solve(get_xc("PBE"))
    >>> again = water.solve(get_xc("PBE"), water.start_of(result))
    >>> again.nsteps < result.nsteps
    True
    """

    key: str
    molecule: Molecule
    keywords: Mapping[str, Any] = field(repr=False)

    @property
    def group(self) -> str:
        """The key: no other calculation starts from this one."""
        return self.key

    @property
    def scale(self) -> float:
        """1: a molecule has no volume."""
        return 1.0

    @property
    def natom(self) -> int:
        """Number of atoms."""
        return len(self.molecule.symbols)

    def solve(
        self,
        functional: XCFunctional,
        start: MoleculeStart | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> MolecularResult:
        """Ground state, in the graph of the functional's parameters.

        Parameters
        ----------
        functional : XCFunctional
            The functional.
        start : MoleculeStart, optional
            From an earlier calculation.
        options : mapping, optional
            Keywords for all calculations of a data set, of which only ``molecules`` counts; those
            of this one take precedence, in ``convergence`` key by key.

        Raises
        ------
        SCFConvergenceError
            If it does not converge.
        """
        density = None if start is None else start.density
        return scf(self.molecule, functional, start=density, **self._keywords(options or {}))

    def energy_options(self, options: Mapping[str, Any]) -> str:
        """Digest of the keywords among `ENERGY_OPTIONS_OF_MOLECULES` that `solve` would use.

        Examples
        --------
        >>> from ase import Atoms
        >>> helium = molecule_calculation(Molecule.of(Atoms("He"), basis="sto-3g"), {}, "helium")
        >>> given = {"molecules": {"level_shift": 0.1}, "nbands": 8}
        >>> helium.energy_options(given) == helium.energy_options({})
        True
        >>> helium.energy_options({"molecules": {"convergence": {"energy": 1e-6}}}) == (
        ...     helium.energy_options({}))
        False
        """
        keywords = self._keywords(options)
        given = {name: keywords.get(name) for name in ENERGY_OPTIONS_OF_MOLECULES}
        return digest({name: value for name, value in given.items() if value})

    def _keywords(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords of `gaussian.scf`."""
        common = options.get(OPTIONS_OF_MOLECULES) or {}
        own = self.keywords
        keywords = {**common, **own}
        keywords["convergence"] = {
            **(common.get("convergence") or {}),
            **(own.get("convergence") or {}),
        }
        return keywords

    def start_of(self, result: MolecularResult) -> MoleculeStart:
        """Start for later calculations."""
        return MoleculeStart(result.detach().density_matrix)

    def read_start(self, path: str | os.PathLike[str]) -> MoleculeStart:
        """Read what `MoleculeStart.save` wrote; errors as for `MoleculeStart.load`."""
        return MoleculeStart.load(path)

    def start_from_state(self, state: Mapping[str, Any]) -> MoleculeStart:
        """Inverse of `MoleculeStart.state_dict`."""
        return MoleculeStart.from_state_dict(state)

    def freeze(self, result: MolecularResult) -> FrozenEnergy:
        """Energy of other functionals at the density matrices of a result."""
        return FrozenEnergy.of_molecule(result)


def molecule_calculation(
    molecule: Molecule, keywords: Mapping[str, Any], identity: Any
) -> MoleculeCalculation:
    """Calculation of a molecule.

    Parameters
    ----------
    molecule : Molecule
        Atoms, electrons and basis functions.
    keywords : mapping
        Other keywords of `gaussian.scf`.
    identity : object
        Its identity: anything that JSON can represent.
    """
    return MoleculeCalculation(digest(["molecule", identity]), molecule, keywords)
