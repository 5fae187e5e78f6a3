"""Primitive cells: the same crystal, unrotated, with its moments; never smaller than that."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk, fcc111, graphene, nanotube

from deepchem_xc.planewave import Crystal, make_kpoints
from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning
from deepchem_xc.planewave.structure.primitive import primitive_cell

CELLS = {
    "fcc": bulk("Al", cubic=True),
    "bcc": bulk("Fe", "bcc", a=2.87, cubic=True),
    "diamond": bulk("Si", cubic=True),
    "rocksalt": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "hexagonal": bulk("Mg", orthorhombic=True),
    "supercell": bulk("GaAs", "zincblende", a=5.65) * (3, 1, 2),
    "tetragonal": bulk("In", "bct", a=3.25, c=4.95) * (1, 2, 1),
    "skewed": Atoms("Cu", cell=[[3.6, 0, 0], [7.2, 3.6, 0], [0, 10.8, 3.6]], pbc=True),
}
for cell in CELLS.values():
    cell.set_initial_magnetic_moments(np.zeros(len(cell)))


@pytest.mark.parametrize("name", CELLS)
def test_it_is_the_same_crystal_in_spglibs_size(name: str) -> None:
    given = CELLS[name]
    primitive, sites = primitive_cell(given)
    spg = (given.cell[:].tolist(), given.get_scaled_positions().tolist(), given.numbers.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert len(primitive) == len(spglib.find_primitive(spg)[2])
    assert primitive.get_volume() / len(primitive) == pytest.approx(
        given.get_volume() / len(given), rel=1e-10
    )
    assert np.linalg.det(primitive.cell) > 0
    # The given vectors, and all atoms, are where the primitive lattice has them: nothing rotates.
    for vectors in (given.cell[:], given.positions - primitive.positions[sites]):
        counted = np.linalg.solve(primitive.cell[:].T, vectors.T)
        assert counted == pytest.approx(np.rint(counted), abs=1e-6)
    assert (given.numbers == primitive.numbers[sites]).all()


@pytest.mark.parametrize("name", ["fcc", "bcc", "diamond", "hexagonal"])
def test_meshes_keep_all_of_the_symmetry(name: str) -> None:
    """Divisions from a density would break it if equivalent vectors had different lengths."""
    crystal = Crystal.from_ase(primitive_cell(CELLS[name])[0])
    kpoints = make_kpoints({"density": 3.0, "gamma": True}, crystal)
    order = {"fcc": 48, "bcc": 48, "diamond": 48, "hexagonal": 24}[name]
    assert len(kpoints.symmetry) == order


def test_a_primitive_cell_stays_as_it_is() -> None:
    given = bulk("Si")
    primitive, sites = primitive_cell(given)
    assert (primitive.cell[:] == given.cell[:]).all() and sites.tolist() == [0, 1]


def test_antiferromagnets_keep_their_cell_and_ferromagnets_their_moments() -> None:
    iron = bulk("Fe", "bcc", a=2.87, cubic=True)
    iron.set_initial_magnetic_moments([2.2, -2.2])
    primitive, sites = primitive_cell(iron)
    assert primitive.get_initial_magnetic_moments().tolist() == [2.2, -2.2]
    iron.set_initial_magnetic_moments([2.2, 2.2])
    primitive, sites = primitive_cell(iron)
    assert primitive.get_initial_magnetic_moments().tolist() == [2.2] and sites.tolist() == [0, 0]
    layers = bulk("Fe", "bcc", a=2.87, cubic=True) * (1, 1, 2)
    layers.set_initial_magnetic_moments([1.0, 1.0, -1.0, -1.0])
    assert len(primitive_cell(layers)[0]) == 4


def test_directions_of_vacuum_are_kept() -> None:
    with pytest.warns(NonPeriodicWarning):
        layer, sites = primitive_cell(graphene(size=(2, 3, 1), vacuum=5.0))
    assert layer.cell.cellpar() == pytest.approx([2.46, 2.46, 10.0, 90, 90, 120])
    assert layer.pbc.tolist() == [True, True, False] and len(sites) == 12
    with pytest.warns(NonPeriodicWarning):
        slab, _ = primitive_cell(fcc111("Al", (2, 2, 3), vacuum=6.0))
    assert len(slab) == 3
    tube = nanotube(3, 0, length=2, vacuum=4.0)
    with pytest.warns(NonPeriodicWarning):
        short, _ = primitive_cell(tube)
    assert len(short) == len(tube) // 2
    assert short.cell[2, 2] == pytest.approx(tube.cell[2, 2] / 2)


def test_two_equal_slabs_in_one_box_are_not_joined() -> None:
    pair = Atoms("Al2", positions=[[0, 0, 0], [0, 0, 10.0]], cell=[3, 3, 20.0], pbc=(1, 1, 0))
    with pytest.warns(NonPeriodicWarning):
        assert len(primitive_cell(pair)[0]) == 2
    pair.pbc = True
    assert len(primitive_cell(pair)[0]) == 1


def test_rounded_positions_of_files_are_recognised_and_displaced_atoms_are_not() -> None:
    rounded = bulk("Mg") * (2, 2, 1)
    rounded.set_scaled_positions(rounded.get_scaled_positions().round(4))
    assert len(primitive_cell(rounded)[0]) == 2
    moved = bulk("Al", cubic=True)
    moved.positions[1, 0] += 0.01
    assert len(primitive_cell(moved)[0]) == 4
