"""Pairs of neighbours against ASE's, wherever the atoms are."""

from __future__ import annotations

import numpy as np
import torch
from ase.neighborlist import primitive_neighbor_list

from deepchem_xc.densities import find_neighbours
from tests.densities.shared import LATTICE, crystal

CUTOFF = 9.0  # more than the cell


def _sorted(vectors: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    table = np.column_stack([*indices, np.round(vectors, 6)])
    return table[np.lexsort(table.T)]


def test_pairs_are_those_of_ase_also_for_atoms_outside_the_cell() -> None:
    of = crystal()
    of = of.with_geometry(positions=of.positions + torch.tensor([[0, 0, 0], [3, -2, 0], [0, 0, 7]]))
    pairs = find_neighbours(of, CUTOFF)
    i, j, vectors = primitive_neighbor_list(
        "ijD", [True] * 3, LATTICE.numpy(), (of.positions @ LATTICE).numpy(), CUTOFF
    )
    found = _sorted(pairs.vectors(of).numpy(), pairs.receivers.numpy(), pairs.senders.numpy())
    np.testing.assert_allclose(found, _sorted(vectors, i, j), atol=2e-6)
    assert len(i) > 90


def test_points_see_all_atoms_within_the_cutoff_and_no_other() -> None:
    of = crystal()
    points = torch.tensor([[0.5, 0.1, 1.7], [-0.98, 1.97, 0.05]], dtype=torch.float64)
    pairs = find_neighbours(of, CUTOFF, points)
    range_ = torch.arange(-4, 5, dtype=torch.float64)
    shifts = torch.cartesian_prod(range_, range_, range_)
    images = (of.positions[None] + shifts[:, None]).flatten(0, 1) @ LATTICE
    for i, point in enumerate(points @ LATTICE):
        distances = torch.linalg.vector_norm(images - point, dim=-1)
        expected = torch.sort(distances[distances < CUTOFF]).values
        vectors = pairs.vectors(of, points)[pairs.receivers == i]
        found = torch.sort(torch.linalg.vector_norm(vectors, dim=-1)).values
        torch.testing.assert_close(found, expected)
