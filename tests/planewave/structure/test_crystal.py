"""Structures: conversions to and from ASE and pymatgen, geometry, and bad input."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, graphene

from deepchem_xc.planewave.structure.crystal import Crystal, NonPeriodicWarning
from tests.differences import assert_exact_derivatives

CUBE = 8.0 * torch.eye(3, dtype=torch.float64)
TRICLINIC = torch.tensor([[6.0, 0.3, -0.2], [-1.1, 7.0, 0.4], [0.5, -0.6, 5.5]]).double()


def one_atom(lattice=CUBE, **keywords):
    return Crystal(lattice, ("H",), torch.zeros(1, 3), **keywords)


def test_bohr_is_that_of_codata_2014():
    silicon = Crystal.from_ase(bulk("Si", a=5.43))
    # CODATA 2014 recommends 0.52917721067(12); ASE derives it from the other constants.
    assert float(silicon.lattice.max()) == pytest.approx(5.43 / 2 / 0.52917721067, rel=1e-9)


def test_volume_and_reciprocal_lattice_satisfy_their_definitions():
    crystal = one_atom(TRICLINIC)
    assert float(crystal.volume) == pytest.approx(np.linalg.det(TRICLINIC.numpy()), rel=1e-14)
    product = crystal.lattice @ crystal.reciprocal_lattice.T
    torch.testing.assert_close(product, 2 * math.pi * torch.eye(3).double(), atol=1e-13, rtol=0)


def test_volume_and_reciprocal_lattice_have_exact_derivatives():
    crystal = one_atom()
    for name in ("volume", "reciprocal_lattice"):
        function = lambda x, name=name: getattr(crystal.with_geometry(x), name)  # noqa: E731
        assert_exact_derivatives(function, TRICLINIC, orders=(1, 2))


def test_ase_round_trip_keeps_structure_moments_and_periodicity():
    atoms = bulk("NiO", "rocksalt", a=4.17)
    atoms.positions += [0.1, -7.0, 3.0]  # outside the cell: positions are not wrapped
    atoms.set_initial_magnetic_moments([2.0, -0.5])
    back = Crystal.from_ase(atoms).to_ase()
    np.testing.assert_allclose(back.cell[:], atoms.cell[:], atol=1e-13)
    np.testing.assert_allclose(back.positions, atoms.positions, atol=1e-13)
    assert back.get_chemical_symbols() == ["Ni", "O"]
    assert back.get_initial_magnetic_moments().tolist() == [2.0, -0.5]
    assert back.pbc.all()


def test_zero_moments_count_as_none():
    assert Crystal.from_ase(bulk("Fe")).magnetic_moments == (2.3,)
    assert Crystal.from_ase(bulk("Al")).magnetic_moments is None


def test_pymatgen_structure_equals_the_same_atoms_from_ase():
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = bulk("NiO", "rocksalt", a=4.17)
    atoms.set_initial_magnetic_moments([2.0, 0.0])
    structure = AseAtomsAdaptor.get_structure(atoms)
    structure.add_oxidation_state_by_element({"Ni": 2, "O": -2})
    ours, theirs = Crystal.from_pymatgen(structure), Crystal.from_ase(atoms)
    torch.testing.assert_close(ours.lattice, theirs.lattice)
    torch.testing.assert_close(ours.positions, theirs.positions)
    assert (ours.symbols, ours.magnetic_moments) == (theirs.symbols, (2.0, 0.0))


def test_disordered_structure_is_refused():
    from pymatgen.core import Lattice, Structure

    alloy = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    with pytest.raises(ValueError, match="partially occupied"):
        Crystal.from_pymatgen(alloy)


def test_cif_file_is_read(tmp_path):
    bulk("MgO", "rocksalt", a=4.21, cubic=True).write(tmp_path / "mgo.cif")
    crystal = Crystal.read(tmp_path / "mgo.cif")
    assert (crystal.natom, crystal.species) == (8, ("Mg", "O"))


def test_crystals_can_be_sent_to_other_processes():
    import pickle

    crystal = Crystal.from_ase(bulk("NiO", "rocksalt", a=4.17))
    copy = pickle.loads(pickle.dumps(crystal))
    torch.testing.assert_close(copy.lattice, crystal.lattice, atol=0, rtol=0)
    assert copy.symbols == crystal.symbols


def test_gradients_flow_through_geometry():
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    crystal = one_atom(TRICLINIC)
    deformed = crystal.with_geometry(lattice=crystal.lattice @ (torch.eye(3) + strain))
    (slope,) = torch.autograd.grad(deformed.volume, strain)
    torch.testing.assert_close(slope, crystal.volume * torch.eye(3).double())
    assert deformed.symbols == crystal.symbols


def test_molecule_is_a_box_with_a_notice():
    water = Atoms("OH2", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)])
    water.center(vacuum=3.0)
    with pytest.warns(NonPeriodicWarning, match="periodic images"):
        crystal = Crystal.from_ase(water)
    assert crystal.pbc == (False, False, False)


def test_pymatgen_slab_is_a_box_with_a_notice():
    from pymatgen.core import Lattice, Structure

    lattice = Lattice.cubic(8.0, pbc=(True, True, False))
    with pytest.warns(NonPeriodicWarning) as notices:
        crystal = Crystal.from_pymatgen(Structure(lattice, ["Ar"], [[0, 0, 0]]))
    assert crystal.pbc == (True, True, False)
    assert notices[0].filename == __file__  # points at the caller


def test_fully_periodic_atoms_give_no_notice():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Crystal.from_ase(bulk("Cu"))


@pytest.mark.parametrize(
    "atoms", [Atoms("H2", [(0, 0, 0), (0, 0, 0.74)]), fcc111("Al", (1, 1, 2)), graphene()]
)
def test_missing_vacuum_is_refused_with_advice(atoms):
    with pytest.raises(ValueError, match=r"atoms\.center\(vacuum="):
        Crystal.from_ase(atoms)


def test_empty_cell_is_refused():
    with pytest.raises(ValueError, match="no atoms"):
        Crystal.from_ase(Atoms(cell=[5, 5, 5], pbc=True))
    with pytest.raises(ValueError, match="no atoms"):
        Crystal(CUBE, (), torch.zeros(0, 3))


@pytest.mark.parametrize("symbol", ["X", "Xx", "si", ""])
def test_unknown_element_is_named(symbol):
    with pytest.raises(ValueError, match=f"unknown element.*{symbol!r}"):
        Crystal(CUBE, ("Si", symbol), torch.tensor([[0.0, 0, 0], [0.5, 0.5, 0.5]]))


def test_left_handed_cell_is_refused_and_the_advice_works():
    atoms = bulk("Si")
    atoms.set_cell(atoms.cell[[1, 0, 2]])
    with pytest.raises(ValueError, match="left-handed"):
        Crystal.from_ase(atoms)
    atoms.set_cell(atoms.cell[[1, 0, 2]])  # what the message says
    assert float(Crystal.from_ase(atoms).volume) > 0


@pytest.mark.parametrize(
    "lattice",
    [
        [[1.0, 0, 0], [0, 1, 0], [1, 1, 0]],
        [[5.0, 0, 0], [0, 5, 0], [0, 0, 0]],
        [[5.0, 0, 0], [5, 1e-7, 0], [0, 0, 5]],
    ],
)
def test_singular_cell_is_refused(lattice):
    with pytest.raises(ValueError, match="singular"):
        one_atom(torch.tensor(lattice))
    with pytest.raises(ValueError, match="singular"):
        Crystal.from_ase(Atoms("H", cell=lattice, pbc=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match=r"atoms \[1\] contain NaN"):
        Crystal(CUBE, ("H", "H"), torch.tensor([[0.0, 0, 0], [0, bad, 0]]))
    with pytest.raises(ValueError, match="lattice contains NaN"):
        one_atom(torch.tensor([[bad, 0, 0], [0, 1, 0], [0, 0, 1]]))
    with pytest.raises(ValueError, match="NaN"):
        one_atom(magnetic_moments=(bad,))
    atoms = bulk("Al")
    atoms.positions[0, 0] = bad
    with pytest.raises(ValueError, match="NaN"):
        Crystal.from_ase(atoms)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"lattice must have shape \(3, 3\).*\(2, 3\)"):
        one_atom(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"positions must have shape \(2, 3\).*\(1, 3\)"):
        Crystal(CUBE, ("H", "H"), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="one symbol per atom"):
        Crystal(CUBE, "Si", torch.zeros(2, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pbc must hold three booleans"):
        one_atom(pbc=(True, False))
    with pytest.raises(ValueError, match="Non-collinear"):
        one_atom(magnetic_moments=((0, 0, 1.0),))


@pytest.mark.parametrize(
    ("positions", "lattice"),
    [
        ([[0.2, 0.2, 0.2], [0.2, 0.2, 0.2]], CUBE),  # duplicated
        ([[0.0, 0, 0], [0.999, 1.0, 0]], CUBE),  # across the faces of the cell
        ([[0.0, 0, 0], [3.0, -2.0, 5.0]], CUBE),  # whole lattice vectors apart
        # far apart in reduced coordinates of a skewed cell, close in space
        ([[0.0, 0, 0], [0.5, 0.495, 0]], torch.tensor([[8.0, 0, 0], [-8, 0.5, 0], [0, 0, 8]])),
    ],
)
def test_overlapping_atoms_are_refused(positions, lattice):
    with pytest.raises(ValueError, match="atoms overlap: H0 and"):
        Crystal(lattice, ("H", "H"), torch.tensor(positions))


def test_lengths_in_nanometres_are_caught():
    with pytest.raises(ValueError, match="its own periodic image.*units"):
        Crystal.from_ase(bulk("Cu", a=0.361))


def test_half_the_shortest_bond_is_still_accepted():
    atoms = Atoms("H2", [(0, 0, 0), (0, 0, 0.37)], cell=[5, 5, 5], pbc=True)
    assert Crystal.from_ase(atoms).natom == 2
