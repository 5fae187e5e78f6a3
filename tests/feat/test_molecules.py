"""Molecules of systems: text, files of density matrices, points of grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr

from deepchem_xc.data import DFTEntry, DFTSystem
from deepchem_xc.feat.moldesc import moldesc_text, parsed_moldesc
from deepchem_xc.feat.molecule_start import MoleculeStart
from deepchem_xc.feat.molecules import molecule_of
from deepchem_xc.numerics.errors import DamagedFileError

WATER = {"moldesc": moldesc_text(molecule("H2O")), "basis": "sto-3g"}


def test_text_of_atoms_keeps_their_positions_to_the_last_bit() -> None:
    atoms = molecule("C2H6")
    symbols, positions = parsed_moldesc(moldesc_text(atoms))
    assert symbols == atoms.get_chemical_symbols()
    assert np.array_equal(positions, atoms.positions / Bohr)
    found = molecule_of({"moldesc": "H 0.1 0.2 0.3\n\nF 0.7 -1.3 1.9;", "basis": "sto-3g"})
    assert found.positions.tolist() == [[0.1, 0.2, 0.3], [0.7, -1.3, 1.9]]


def test_names_of_ions_tell_their_charge() -> None:
    names = [
        DFTSystem({**WATER, "charge": charge, "spin": abs(charge) % 2}).formula
        for charge in (-2, -1, 0, 1, 2)
    ]
    assert names == ["OH2 2-", "OH2-", "OH2", "OH2+", "OH2 2+"]


@pytest.mark.parametrize("kept", [7, 100, 400])
def test_a_file_of_a_density_matrix_is_whole_or_refused(kept: int, tmp_path: Path) -> None:
    start = MoleculeStart(torch.rand(2, 3, 3, dtype=torch.float64))
    path = tmp_path / "new" / "start.npz"
    start.save(path)
    assert torch.equal(MoleculeStart.load(path).density, start.density)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DamagedFileError, match="not a complete file of a density matrix"):
        MoleculeStart.load(path)
    np.savez(path, format=np.array("something else"), density=np.zeros(1))
    with pytest.raises(DamagedFileError, match="its format is 'something else'"):
        MoleculeStart.load(path)
    with pytest.raises(FileNotFoundError):
        MoleculeStart.load(tmp_path / "none.npz")


def test_a_calculation_is_known_by_its_content() -> None:
    def keys(**more: object) -> list[str]:
        entry = DFTEntry.create("dm", None, [{**WATER, **more}])
        return [one.key for one in entry.calculations]

    assert keys() == keys(number=2) == keys()
    others = [keys(basis="6-31g"), keys(grid_level=2), keys(restricted=False), keys(charge=2)]
    assert len({one[0] for one in (keys(), *others)}) == 5


def test_the_systems_atoms_are_those_of_the_text() -> None:
    atoms = DFTSystem(WATER).atoms
    assert isinstance(atoms, Atoms) and not atoms.pbc.any()
    assert np.abs(atoms.positions - molecule("H2O").positions).max() < 1e-14
