"""Space groups against spglib's tables and crystallography."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk, make_supercell

from deepchem_xc.planewave.structure.atom_symmetry import (
    atom_permutations,
    cartesian_rotations,
)
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup, find_symmetry
from tests.planewave.structure.symmetric_crystals import (
    crystal_of,
    every_crystal,
    quartz,
)


@pytest.mark.parametrize(
    ("atoms", "number_of_operations"),
    [
        (bulk("Al"), 48),  # Fm-3m
        (bulk("Fe"), 48),  # Im-3m
        (bulk("Si"), 48),  # Fd-3m
        (bulk("GaAs", "zincblende", a=5.65), 24),  # F-43m
        (bulk("Mg"), 24),  # P6_3/mmc
        (bulk("ZnO", "wurtzite", a=3.25, c=5.2), 12),  # P6_3mc
        (quartz(), 6),  # P3_2 21
        (bulk("Al", cubic=True), 4 * 48),  # four centring translations
        (make_supercell(bulk("Al"), np.diag([2, 2, 2])), 8 * 48),
    ],
)
def test_order_of_the_group_is_that_of_the_international_tables(atoms, number_of_operations):
    assert len(find_symmetry(crystal_of(atoms))) == number_of_operations


@every_crystal
def test_operations_form_a_group_of_isometries(atoms):
    crystal = crystal_of(atoms)
    symmetry = find_symmetry(crystal)
    rotations = cartesian_rotations(crystal, symmetry)
    products = rotations @ rotations.transpose(1, 2)
    torch.testing.assert_close(
        products, torch.eye(3).double().expand_as(products), atol=1e-9, rtol=0
    )

    generator = np.random.default_rng(0)
    for i, j in generator.integers(len(symmetry), size=(60, 2)):
        rotation = symmetry.rotations[i] @ symmetry.rotations[j]
        translation = symmetry.rotations[i] @ symmetry.translations[j] + symmetry.translations[i]
        difference = symmetry.translations - translation
        same = np.abs(difference - np.rint(difference)).max(axis=1) < 1e-7
        assert (same & (symmetry.rotations == rotation).all(axis=(1, 2))).sum() == 1


@every_crystal
def test_operations_permute_the_atoms(atoms):
    crystal = crystal_of(atoms)
    symmetry = find_symmetry(crystal)
    permutations = atom_permutations(crystal, symmetry)
    assert (np.sort(permutations, axis=1) == np.arange(crystal.natom)).all()
    symbols = np.array(crystal.symbols)
    assert (symbols[permutations] == symbols).all()


def test_antiferromagnet_loses_the_operations_that_exchange_its_sublattices():
    iron = bulk("Fe", cubic=True)
    for moments, order in (([2.2, 2.2], 96), ([2.2, -2.2], 48)):
        iron.set_initial_magnetic_moments(moments)
        crystal = crystal_of(iron)
        symmetry = find_symmetry(crystal)
        assert len(symmetry) == order
        exchanging = (atom_permutations(crystal, symmetry)[:, 0] == 1).any()
        assert exchanging == (order == 96)


def test_displaced_diamond_keeps_its_off_grid_inversion_centre():
    silicon = bulk("Si")
    silicon.positions[0] += [0.03, 0.07, 0.11]
    symmetry = find_symmetry(crystal_of(silicon))
    assert symmetry.rotations.tolist()[1:] == [(-np.eye(3, dtype=int)).tolist()]


def test_impossible_symmetry_is_refused():
    with pytest.raises(ValueError, match="tolerance must be positive"):
        find_symmetry(crystal_of(bulk("Al")), tolerance=0.0)
    with pytest.raises(ValueError, match="spglib finds no space group.*symmetry=False"):
        find_symmetry(crystal_of(bulk("Si")), tolerance=20.0)
    with pytest.raises(ValueError, match="does not map the crystal onto itself"):
        atom_permutations(crystal_of(bulk("GaAs", "zincblende", a=5.65)),
                          find_symmetry(crystal_of(bulk("Si"))))  # fmt: skip
    with pytest.raises(ValueError, match="integer matrices"):
        SymmetryGroup(np.full((1, 3, 3), 0.5), np.zeros((1, 3)))


def test_operations_of_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"rotations must have shape"):
        SymmetryGroup(np.eye(3), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"translations must have shape \(1, 3\)"):
        SymmetryGroup(np.eye(3)[None], np.zeros(3))
