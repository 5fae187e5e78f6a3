"""The number of bands at the start."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.eigen.first_orbitals import starting_orbitals, whole_multiplets
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.loop.policies import Effort, Policies

LEVELS = torch.tensor([[[0.0, 0.2, 0.201, 0.202, 0.5, 0.501]]])


@pytest.mark.parametrize(("least", "number"), [(1, 1), (2, 4), (3, 4), (4, 4), (5, 5)])
def test_a_multiplet_is_kept_whole_where_its_end_is_seen(least: int, number: int) -> None:
    assert whole_multiplets(LEVELS, least) == number


def test_a_gap_counts_only_at_all_k_points_and_spins() -> None:
    other = torch.tensor([[[0.0, 0.2, 0.21, 0.35, 0.351, 0.9]]])
    assert whole_multiplets(torch.cat([LEVELS, other], dim=1), 2) == 2
    assert whole_multiplets(torch.cat([LEVELS, other], dim=0), 2) == 2
    assert whole_multiplets(other, 2) == 3


def test_orbitals_of_more_bands_begin_with_those_of_fewer() -> None:
    """The six lowest empty levels of silicon's cubic cell are not cut."""
    crystal = Crystal.from_ase(bulk("Si", cubic=True))
    problem = make_problem(PlaneWaveBasis(crystal, 5.0, (1, 1, 1), symmetry=False))
    hamiltonian = problem.hamiltonian(problem.effective_potential(problem.starting_fields())[0])
    pseudos, number = problem.pseudopotentials, problem.default_nbands()
    start = starting_orbitals(hamiltonian, pseudos, number, number + number // 10)
    assert (number, start.shape[2]) == (20, 22)
    unit = torch.eye(22, dtype=start.dtype)
    torch.testing.assert_close(start[0, 0] @ start[0, 0].mH, unit, rtol=0, atol=1e-12)
    assert starting_orbitals(hamiltonian, pseudos, number).shape[2] == number


def test_whole_multiplets_save_a_step_and_leave_the_energy() -> None:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.01, seed=0)
    basis = PlaneWaveBasis(Crystal.from_ase(atoms), 12.0, (1, 1, 1), symmetry=False)

    def ground_state(**keywords: Any) -> SCFResult:
        goal = {"energy": 1e-6, "density": 3e-5}
        return scf(basis, occupations={"name": "fixed"}, convergence=goal, **keywords)

    whole, cut = (ground_state(policies=Policies(Effort(multiplets=part))) for part in (0.1, 0.0))
    assert (whole.eigenvalues.shape[2], cut.eigenvalues.shape[2]) == (22, 20)
    assert whole.nsteps < cut.nsteps
    assert abs(float(whole.free_energy - cut.free_energy)) < 1e-7
    assert ground_state(nbands=20).eigenvalues.shape[2] == 20
