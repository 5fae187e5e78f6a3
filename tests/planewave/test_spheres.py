"""The places of partial-wave occupations, and how symmetry acts on them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.numerics.harmonics import solid_harmonics
from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.sphere_distances import OverlappingSpheresWarning
from deepchem_xc.planewave.spheres import Spheres, _rotation
from deepchem_xc.planewave.structure.atom_symmetry import cartesian_rotations

pytest.importorskip("gpaw_data")


def spheres_of(atoms: object, symmetry: bool = True) -> Spheres:
    basis = PlaneWaveBasis(
        Crystal.from_ase(atoms), 5.0, {"size": (2, 2, 2), "gamma": True}, symmetry=symmetry
    )
    found = make_problem(basis, "PBE", "paw-pbe").spheres
    assert found is not None
    return found


def random(spheres: Spheres, nspin: int = 2) -> torch.Tensor:
    return torch.randn(nspin, spheres.size, dtype=torch.float64)


def test_flat_arrays_and_matrices_are_each_others_inverse() -> None:
    spheres = spheres_of(bulk("MgO", "rocksalt", a=4.2))
    flat = random(spheres)
    assert torch.equal(spheres.flat(spheres.matrices(flat)), flat)
    full = spheres.block_diagonal(flat)
    for spin in range(2):
        blocks = [spheres.matrices(flat)[s][spin, 0] for s in ("Mg", "O")]
        assert torch.equal(full[spin], torch.block_diag(*blocks))


def test_the_average_over_the_symmetry_is_a_projection() -> None:
    spheres = spheres_of(bulk("Si"))
    once = spheres.symmetrize(random(spheres))
    assert torch.allclose(spheres.symmetrize(once), once, atol=1e-13)
    other = random(spheres)
    left = (spheres.symmetrize(other) * once).sum()
    # It is an orthogonal projection, so that it symmetrises derivatives, too.
    assert torch.allclose(left, (other * once).sum(), atol=1e-10)


def test_a_sphere_of_silicon_has_the_symmetry_of_the_tetrahedron() -> None:
    """s, p and d do not mix, except the three p with d_yz, d_zx, d_xy."""
    spheres = spheres_of(bulk("Si"))
    matrix = spheres.matrices(spheres.symmetrize(random(spheres, 1)))["Si"][0, 0]
    states = spheres.potentials["Si"].dataset.states
    l = np.array([spheres.potentials["Si"].angular_momenta[channel] for channel, _ in states])
    s, p, d = (np.flatnonzero(l == value) for value in range(3))
    assert float(matrix[np.ix_(s, p)].abs().max()) < 1e-12
    assert float(matrix[np.ix_(s, d)].abs().max()) < 1e-12
    mixed = matrix[np.ix_(p[:3], d)].abs()
    assert int((mixed > 1e-6).sum()) == 3
    assert torch.allclose(matrix, matrix.T)


def test_rotations_of_states_are_those_of_harmonics() -> None:
    spheres = spheres_of(bulk("Si"))
    turns = cartesian_rotations(spheres._crystal, spheres._symmetry)
    v = torch.randn(7, 3, dtype=torch.float64)
    for turn in turns[::7]:
        matrix = _rotation((2, 0, 1), turn)
        before, after = (
            torch.cat([solid_harmonics(l, x) for l in (2, 0, 1)]) for x in (v, v @ turn.T)
        )
        assert torch.allclose(matrix @ before, after, atol=1e-12)


def test_occupations_of_projections_are_sums_over_states() -> None:
    spheres = spheres_of(bulk("MgO", "rocksalt", a=4.2), symmetry=False)
    projections = torch.randn(3, 4, spheres.nstate, dtype=torch.complex128)
    weights = torch.randn(2, 3, 4, dtype=torch.float64)
    found = spheres.block_diagonal(spheres.of_projections(projections, weights))
    wanted = torch.einsum(
        "skn,kni,knj->sij", weights.to(projections), projections.conj(), projections
    )
    mask = spheres.block_diagonal(torch.ones(spheres.size, dtype=torch.float64))
    assert torch.allclose(found, wanted.real * mask, atol=1e-12)


def test_one_atom_stands_for_all_equivalent_ones() -> None:
    sites = spheres_of(bulk("Si")).sites
    assert [(site.species, site.count, len(site.operations)) for site in sites] == [("Si", 2, 24)]
    alone = spheres_of(bulk("Si"), symmetry=False).sites
    assert [(site.count, len(site.operations)) for site in alone] == [(1, 1), (1, 1)]


def test_spheres_that_overlap_are_named_with_their_distance() -> None:
    """Hydrogen molecules are no such case; compressed silicon is."""
    molecule = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]], cell=[5.0] * 3, pbc=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", OverlappingSpheresWarning)
        spheres_of(molecule)
    with pytest.warns(OverlappingSpheresWarning, match=r"Si0 and Si1 overlap: they are 1\.51"):
        spheres_of(bulk("Si", a=3.5))
