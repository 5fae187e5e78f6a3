"""Integrals over irreducible points are those over the whole grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.planewave import scf
from deepchem_xc.planewave.structure.grid_orbits import irreducible_points
from deepchem_xc.planewave.structure.symmetry import SymmetryGroup

SPIRAL = Atoms("Si3", cell=[3.0, 3.4, 5.1], scaled_positions=np.eye(3) / 4, pbc=True)


@pytest.mark.parametrize(
    ("atoms", "size"),
    [
        (bulk("Al"), (12, 12, 12)),
        (bulk("Si"), (16, 16, 16)),
        (bulk("Si"), (18, 18, 18)),  # diamond's quarter is not on this grid
        (bulk("Mg"), (12, 12, 18)),
        (bulk("Al", cubic=True), (18, 18, 18)),  # with pure translations
        (SPIRAL, (12, 12, 20)),
    ],
    ids=lambda value: str(value.symbols) if isinstance(value, Atoms) else str(value),
)
def test_density_integrals_need_irreducible_points_only(
    atoms: Atoms, size: tuple[int, int, int]
) -> None:
    result = scf(atoms, "PBE", ecut=60.0, fft_size=size, convergence={"density": 1e-2})
    index, count = irreducible_points(result.kpoints.symmetry, size)
    assert int(count.sum()) == np.prod(size)
    density = result.density_g
    for values in (result.basis.to_grid(density[0]), result.basis.gradient(density[0]).norm(dim=0)):
        flat = values.flatten()
        assert float((count * flat[index] ** 2).sum()) == pytest.approx(
            float((flat**2).sum()), rel=1e-10
        )


def test_without_symmetry_all_points_are_kept() -> None:
    index, count = irreducible_points(SymmetryGroup.trivial(), (2, 3, 4))
    assert index.tolist() == list(range(24)) and bool((count == 1).all())


def test_a_group_of_aluminium_keeps_a_48th_of_a_fine_grid() -> None:
    result = scf(bulk("Al"), "PBE", ecut=60.0, convergence={"density": 1e-2})
    index, _ = irreducible_points(result.kpoints.symmetry, (36, 36, 36))
    assert len(index) < 36**3 / 35
    assert torch.equal(index, index.unique())
