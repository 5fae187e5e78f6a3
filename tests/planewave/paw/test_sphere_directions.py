"""Directions of PAW spheres, and those that a site symmetry leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepchem_xc.numerics.harmonics import harmonics
from deepchem_xc.planewave.paw.sphere_directions import (
    SphereDirections,
    all_directions,
    reduced_directions,
)
from tests.planewave.paw.spheres import cubic_operations


def turned(angle: float) -> np.ndarray:
    """Rotation about z."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def group(*generators: np.ndarray) -> np.ndarray:
    found = [np.eye(3)]
    for element in found:
        for generator in generators:
            new = generator @ element
            if min(np.abs(new - x).max() for x in found) > 1e-9:
                found.append(new)
    return np.array(found)


def test_products_of_two_densities_are_integrated_exactly():
    """Harmonics up to l = 4 are orthonormal in sums over the 50 directions."""
    full = all_directions()
    values = harmonics(4, torch.from_numpy(full.vectors)).numpy()
    overlap = 4.0 * np.pi * (values * full.weights) @ values.T
    np.testing.assert_allclose(overlap, np.eye(25), atol=1e-13)


def test_a_cube_leaves_four_directions_of_sets_of_6_12_8_and_24():
    reduced = reduced_directions(cubic_operations())
    zeros = np.sort((np.abs(reduced.vectors) < 1e-9).sum(axis=1))
    assert zeros.tolist() == [0, 0, 1, 2]
    full = all_directions()
    for vector, weight in zip(reduced.vectors, reduced.weights):
        images = np.unique(np.round(cubic_operations() @ vector, 9), axis=0)
        own = full.weights[np.argmax(full.vectors @ vector)]
        assert weight == pytest.approx(len(images) * own, abs=1e-14)


def test_a_site_without_symmetry_keeps_all_directions():
    reduced = reduced_directions(np.eye(3)[None])
    np.testing.assert_array_equal(reduced.vectors, all_directions().vectors)


def test_only_operations_that_map_the_directions_onto_themselves_are_used():
    """Of a hexagon's 24 operations these are the 8 of a brick."""
    hexagon = group(turned(np.pi / 3.0), np.diag([1.0, -1.0, 1.0]), np.diag([1.0, 1.0, -1.0]))
    brick = group(*(np.diag(1.0 - 2.0 * axis) for axis in np.eye(3)))
    assert (len(hexagon), len(brick)) == (24, 8)
    reduced, expected = reduced_directions(hexagon), reduced_directions(brick)
    np.testing.assert_array_equal(reduced.vectors, expected.vectors)
    np.testing.assert_array_equal(reduced.weights, expected.weights)


def test_operations_of_a_slightly_distorted_lattice_are_accepted_but_not_used():
    """A symmetry search has a tolerance; only exact operations reduce the directions."""
    strain = np.eye(3) + np.diag([1e-5, -1e-5, 0.0])
    distorted = strain @ cubic_operations() @ np.linalg.inv(strain)
    reduced = reduced_directions(distorted)
    brick = reduced_directions(group(*(np.diag(1.0 - 2.0 * axis) for axis in np.eye(3))))
    assert len(reduced) == len(brick) == 10


def test_an_operation_that_is_missing_is_reported():
    with pytest.raises(ValueError, match="the 2 operations are not a group"):
        reduced_directions(np.array([np.eye(3), turned(np.pi / 2.0)]))


def test_operations_of_lattice_coordinates_are_refused():
    shear = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(ValueError, match="orthogonal matrices of Cartesian vectors"):
        reduced_directions(np.array([np.eye(3), shear]))


@pytest.mark.parametrize(
    ("vectors", "weights", "message"),
    [
        (np.eye(3), np.full(2, 0.5), r"must be \(nv, 3\) and \(nv,\)"),
        (np.eye(3), np.full(3, 0.5), "must sum to 1, not 1.5"),
    ],
)
def test_a_quadrature_must_be_one(vectors, weights, message):
    with pytest.raises(ValueError, match=message):
        SphereDirections(vectors, weights)
