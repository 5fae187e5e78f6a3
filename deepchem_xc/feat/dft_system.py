"""One structure of an entry: a crystal or a molecule, with the keywords of its calculation."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms
from ase.units import Bohr, Hartree

from deepchem_xc.feat.crystal_calculation import (
    CrystalCalculation,
    series_calculations,
    single_calculation,
)
from deepchem_xc.feat.files import check_digests, content_digests
from deepchem_xc.feat.moldesc import parsed_moldesc
from deepchem_xc.feat.molecule_calculation import MoleculeCalculation, molecule_calculation
from deepchem_xc.feat.molecules import (
    check_molecule,
    keywords_of_molecule,
    molecule_of,
    number_of_points,
)
from deepchem_xc.feat.named_errors import naming
from deepchem_xc.feat.reduced_cell import check_keywords, reduced_cell
from deepchem_xc.feat.schema import CrystalSpec, MoleculeSpec, validate_entry
from deepchem_xc.gaussian import Molecule
from deepchem_xc.gaussian.grid import STANDARD_LEVEL
from deepchem_xc.occupations.electron_count import check_bands
from deepchem_xc.planewave.inputs import make_basis, make_problem, number_of_bands
from deepchem_xc.planewave.potentials import dataset_digests, load_potentials
from deepchem_xc.planewave.properties.volume_series import VolumeSeries, volume_series
from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
from deepchem_xc.planewave.record import density_source, state_selected_by
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.structure.kpoints import make_kpoints
from deepchem_xc.planewave.structure.packing import check_packing

# Keys that say nothing about how the structure is computed.
_NOT_IDENTITY = ("number", "compressed", "primitive")
_NOT_KEYWORDS = ("structure", *_NOT_IDENTITY)
# Keywords that replace a system's to check a calculation without the cost of its k-points.
_ONE_K_POINT = {"kpts": None, "symmetry": False}


class DFTSystem:
    """A structure, as DeepChem's `DFTSystem`, extended to crystals.

    Parameters
    ----------
    system : mapping
        For a crystal ``structure`` (a mapping, a file's path, a CIF's text, ASE Atoms, a pymatgen
        Structure or its dictionary), keywords of `planewave.scf` (eV), ``primitive`` (compute the
        primitive cell) and ``compressed`` (a crystal under pressure); for a molecule ``moldesc``
        (bohr), ``basis``, ``spin``, ``charge`` and keywords of `gaussian.scf` (Hartree). Both take
        ``number``.
    reduced_from : DFTSystem, optional
        The same structure with other keywords, whose `cells` and `sites` are kept.

    Raises
    ------
    ValueError
        For unknown or missing keys, and values that are not valid; the message names each mistake.

    Attributes
    ----------
    system : dict
        All keys with their values.
    no : int
        Number of times the system occurs in its entry.
    cells : int
        Number of computed cells in the given one: 1 without ``primitive``.
    is_crystal : bool
        Whether it has a structure with a cell.
    files : dict
        ``{path: SHA-256}`` of the pseudopotential files, with absolute paths.

    Examples
    --------
    >>> from deepchem_xc.data import DFTSystem
    >>> silicon = DFTSystem({
    ...     "structure": {"symbols": ["Si", "Si"],
    ...                   "cell": [[0, 2.715, 2.715], [2.715, 0, 2.715], [2.715, 2.715, 0]],
    ...                   "scaled_positions": [[0, 0, 0], [0.25, 0.25, 0.25]]},
    ...     "ecut": 200.0, "kpts": [2, 2, 2]})
    >>> silicon.is_crystal, str(silicon.atoms.symbols), silicon.keywords["ecut"]
    (True, 'Si2', 200.0)
    >>> DFTSystem({"moldesc": "H 0.86625 0 0; F -0.86625 0 0", "basis": "6-31G"}).charge
    0
    """

    def __init__(
        self,
        system: Mapping[str, Any] | CrystalSpec | MoleculeSpec,
        reduced_from: DFTSystem | None = None,
    ) -> None:
        if isinstance(system, Mapping):
            entry = validate_entry({"e_type": "energy", "systems": [dict(system)]}, "the system")
            system = entry.systems[0]
        self.cells, self._sites = 1, None
        if isinstance(system, CrystalSpec) and system.primitive:
            reduced = reduced_cell(system)
            system, self.cells, self._sites = reduced.spec, reduced.cells, reduced.sites
        if reduced_from is not None and reduced_from.cells > 1:
            self.cells, self._sites = reduced_from.cells, reduced_from._sites
            kept = (reduced_from.system.get("kpts"), reduced_from.system.get("fft_size"))
            if isinstance(system, CrystalSpec) and (system.kpts, system.fft_size) != kept:
                check_keywords(system, self.cells)
        self._spec = system
        self.system: dict[str, Any] = system.model_dump(mode="json", exclude_none=True)
        self.no = system.number
        self.files: dict[str, str] = {}
        self._state: str | None = None
        if isinstance(system, CrystalSpec):
            self.files = content_digests(system.pseudopotentials)
            # Once: a record may be large.
            self._state = state_selected_by(
                system.start, self.atoms.get_initial_magnetic_moments(), self.keywords
            )
        if isinstance(system, MoleculeSpec):
            self.moldesc, self.basis = system.moldesc, system.basis
            self.spin, self.charge = system.spin, system.charge

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Data sets of earlier versions hold no digests, and no reduced cells.
        self.__dict__.update({"files": {}, "cells": 1, "_sites": None, "_state": None, **state})

    @property
    def is_crystal(self) -> bool:
        """Whether it is a crystal (or a layer, or an atom in a box) and not a molecule."""
        return isinstance(self._spec, CrystalSpec)

    @property
    def _crystal_spec(self) -> CrystalSpec:
        if isinstance(self._spec, CrystalSpec):
            return self._spec
        raise ValueError(
            f"{self.moldesc!r} is a molecule, which has no volumes and no plane waves: give a "
            "'structure' with 'ecut'"
        )

    @property
    def atoms(self) -> Atoms:
        """The structure, Angstrom; of a molecule without a cell."""
        if isinstance(self._spec, CrystalSpec):
            return self._spec.structure.atoms()
        symbols, positions = parsed_moldesc(self.moldesc)
        return Atoms(symbols, positions * Bohr)

    @property
    def formula(self) -> str:
        """Chemical formula; of an ion with its charge, as in ``"OH-"`` or ``"Mg 2+"``."""
        formula = str(self.atoms.symbols)
        if self.is_crystal or not self.charge:
            return formula
        size = "" if abs(self.charge) == 1 else f" {abs(self.charge)}"
        return f"{formula}{size}{'+' if self.charge > 0 else '-'}"

    @property
    def molecule(self) -> Molecule:
        """Atoms, electrons and basis functions of a molecule."""
        return molecule_of(self.system)

    @property
    def grid_level(self) -> int:
        """PySCF's level of a molecule's grid."""
        return int(self.system.get("grid_level", STANDARD_LEVEL))

    @property
    def npoint(self) -> int:
        """Number of points of a molecule's grid."""
        return number_of_points(self.system)

    @property
    def sites(self) -> tuple[int, ...]:
        """For each atom of the given cell, the index of its equivalent among `atoms`."""
        return tuple(range(len(self.atoms))) if self._sites is None else self._sites

    @property
    def keywords(self) -> dict[str, Any]:
        """Keywords of `planewave.scf` (eV), or of `gaussian.scf` (Hartree)."""
        if not self.is_crystal:
            return keywords_of_molecule(self.system)
        values = self._crystal_spec.model_dump(exclude_none=True)
        return {key: value for key, value in values.items() if key not in _NOT_KEYWORDS}

    def check(self) -> int:
        """Build everything that needs no calculation, to find mistakes before computing anything.

        Returns
        -------
        int
            Number of spin channels of a crystal, or of densities of a molecule.

        Raises
        ------
        ValueError, FileNotFoundError
            The message names the key.
        """
        if not self.is_crystal:
            return check_molecule(self.system)
        spec = self._crystal_spec
        crystal = naming("structure", lambda: Crystal.from_ase(self.atoms))
        naming("structure", lambda: check_packing(self.atoms, bool(spec.compressed)))
        naming(
            "pseudopotentials",
            lambda: load_potentials(spec.pseudopotentials, crystal.species),
        )
        if (start := self.keywords.get("start")) is not None:
            naming("start", lambda: density_source(start))
        if spec.kpts is not None:
            naming("kpts", lambda: make_kpoints(spec.kpts, crystal, symmetry=False))
        if isinstance(spec.pseudopotentials, dict):
            surplus = sorted(set(spec.pseudopotentials) - {*crystal.species, "default"})
            if surplus:
                raise ValueError(f"pseudopotentials: there is no {', '.join(surplus)} in structure")
        return self._check_calculation(crystal)

    def check_files(self) -> None:
        """Raise `ValueError` if a pseudopotential file is missing or has changed."""
        naming("pseudopotentials", lambda: check_digests(self.files))

    def _check_calculation(self, crystal: Crystal) -> int:
        """Check with one k-point that cutoff, grid, bands and spin are consistent."""
        spec = self._crystal_spec
        basis = naming(
            "ecut, ecut_smoothing, fft_size",
            lambda: make_basis(crystal, Settings.of({**self.keywords, **_ONE_K_POINT})),
        )
        with warnings.catch_warnings():
            # The trained functional is not known here.
            warnings.simplefilter("ignore", FunctionalMismatchWarning)
            problem = naming(
                "spinpol, magmoms, occupations",
                lambda: make_problem(
                    basis,
                    "PBE",
                    spec.pseudopotentials,
                    spec.occupations,
                    spec.spinpol,
                    1.0 / Hartree,
                ),
            )
        nbands = number_of_bands(spec.nbands, problem)
        if nbands is not None:
            naming(
                "nbands",
                lambda: check_bands(
                    nbands, problem.nelectrons, problem.nspin, problem.smearing, problem.moment
                ),
            )
        return problem.nspin

    def calculation(self) -> CrystalCalculation | MoleculeCalculation:
        """The calculation of the structure itself."""
        if self.is_crystal:
            return self.crystal_calculation()
        return molecule_calculation(self.molecule, self.keywords, self.identity)

    def crystal_calculation(self) -> CrystalCalculation:
        """The calculation of a crystal; `ValueError` for a molecule."""
        crystal = Crystal.from_ase(self._crystal_spec.structure.atoms())
        return single_calculation(crystal, self.keywords, self.identity, self.files)

    def series(self, scales: Sequence[float], dimension: int | None = None) -> VolumeSeries:
        """The structure at several volumes, or areas."""
        atoms = self._crystal_spec.structure.atoms()
        return volume_series(atoms, Settings.of(self.keywords), scales, dimension)

    def series_calculations(self, series: VolumeSeries) -> list[CrystalCalculation]:
        """The calculations of a series."""
        # The k-points of the series are reduced by the symmetry already.
        words = {k: v for k, v in self.keywords.items() if k != "symmetry"}
        return series_calculations(series, words, self.identity, self.files)

    @property
    def identity(self) -> dict[str, Any]:
        """Identity of its calculations, to which files contribute by content, not by path.

        PAW datasets contribute by content, too, however they are named, and so does the start of a
        calculation with two spin channels.
        """
        # A start changes no result, except which magnetic state is found.
        left_out = (*_NOT_IDENTITY, "start")
        values = {k: value for k, value in self.system.items() if k not in left_out}
        values |= {} if self._state is None else {"start": self._state}
        given = values.get("pseudopotentials")
        if given is not None and self.is_crystal:
            datasets = dataset_digests(given, self.atoms.get_chemical_symbols())
            values |= {"datasets": datasets} if datasets else {}
        if isinstance(given, dict):
            named = {key: self.files.get(name, name) for key, name in given.items()}
            return {**values, "pseudopotentials": named}
        return {**values, "pseudopotentials": self.files.get(str(given), given)}
