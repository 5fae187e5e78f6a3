"""A term that keeps a value of its basis never takes it for another basis."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.terms.base import DensityTerm


@pytest.mark.parametrize("name", ["local", "xc"])
def test_a_moved_crystal_has_its_own_potential(name: str) -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, (1, 1, 1), symmetry=False)
    positions = basis.crystal.positions + torch.tensor([[0.01, 0.0, 0.0], [0.0, 0.02, 0.0]])
    moved = basis.with_geometry(lattice=1.02 * basis.crystal.lattice, positions=positions)
    problem = make_problem(basis)
    fields = problem.starting_fields()
    (kept,) = (term for term in problem.terms if term.name == name)
    assert isinstance(kept, DensityTerm)
    there_and_back = [kept.potential(place, fields)[0].v for place in (basis, moved, basis)]
    (fresh,) = (term for term in make_problem(moved).terms if term.name == name)
    assert isinstance(fresh, DensityTerm)
    assert torch.equal(there_and_back[1], fresh.potential(moved, fields)[0].v)
    assert torch.equal(there_and_back[2], there_and_back[0])
    assert not torch.allclose(there_and_back[1], there_and_back[0])
