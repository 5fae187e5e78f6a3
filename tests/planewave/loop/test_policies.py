"""What steers the loop changes its way, not where it ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.eigen import states
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.policies import Effort, HeldMoment, Precision
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem

TIGHT = Convergence(energy=1e-11, density=1e-9)


@pytest.fixture(scope="module")
def aluminium() -> KohnShamProblem:
    return scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2), convergence={"density": 1e-2}).problem


@pytest.mark.parametrize(
    "policy",
    [
        {"effort": Effort(fraction=0.3)},
        {"effort": Effort(fraction=0.003)},
        {"precision": Precision(steps=0)},
        {"precision": Precision(residual=1e-4)},
    ],
    ids=str,
)
def test_the_ground_state_does_not_depend_on_a_policy(
    aluminium: KohnShamProblem, policy: dict[str, Any]
) -> None:
    usual, other = solve(aluminium, TIGHT), solve(aluminium, TIGHT, **policy)
    assert abs(float(usual.free_energy - other.free_energy)) < 1e-10
    torch.testing.assert_close(usual.density_g, other.density_g, rtol=0, atol=1e-9)


def test_no_steps_in_single_precision_means_none(
    aluminium: KohnShamProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    original = states.diagonalize

    def watched(*arguments: Any, **keywords: Any) -> Any:
        asked.append(keywords.get("single", False) or True in arguments[4:])
        return original(*arguments, **keywords)

    monkeypatch.setattr(states, "diagonalize", watched)
    solve(aluminium)
    assert any(asked)
    asked.clear()
    solve(aluminium, precision=Precision(steps=0))
    assert asked and not any(asked)


def nickel(**keywords: Any) -> SCFResult:
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.6])
    loose = {"density": 1.0, "energy": 1.0, "orbitals": 1.0}
    return scf(atoms, ecut=100.0, convergence=loose, **keywords)


def test_a_moment_is_held_until_the_density_is_near_or_the_steps_are_many() -> None:
    problem = nickel().problem
    moment = HeldMoment(problem, given=False, release_error=1e-2, release_step=3)
    assert moment.value == pytest.approx(0.6)
    assert [moment.release(0.1, step) for step in (1, 2, 3, 4)] == [False, False, True, False]
    assert moment.value is None
    assert HeldMoment(problem, given=True).is_final


def test_a_moment_that_is_fixed_is_never_let_go() -> None:
    problem = nickel(occupations={"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}).problem
    moment = HeldMoment(problem, given=False)
    assert moment.is_final and not moment.release(1e-9, 8)
    assert moment.value == pytest.approx(0.6)
