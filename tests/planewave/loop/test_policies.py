"""What steers the loop changes its way, not where it ends."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.eigen import states
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.held_moment import HeldMoment
from deepchem_xc.planewave.loop.policies import (
    Effort,
    LocalisedLevels,
    MomentRelease,
    Policies,
    Precision,
)
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem

TIGHT = Convergence(energy=1e-11, density=1e-9)


@pytest.fixture(scope="module")
def aluminium() -> KohnShamProblem:
    return scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2), convergence={"density": 1e-2}).problem


@pytest.mark.parametrize(
    "policies",
    [
        Policies(Effort(fraction=0.3)),
        Policies(Effort(fraction=0.003, expansions=1)),
        Policies(precision=Precision(steps=0)),
        Policies(precision=Precision(residual=1e-4)),
    ],
    ids=str,
)
def test_the_ground_state_does_not_depend_on_a_policy(
    aluminium: KohnShamProblem, policies: Policies
) -> None:
    usual, other = solve(aluminium, TIGHT), solve(aluminium, TIGHT, policies=policies)
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
    solve(aluminium, policies=Policies(precision=Precision(steps=0)))
    assert asked and not any(asked)


def nickel(**keywords: Any) -> SCFResult:
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.6])
    loose = {"density": 1.0, "energy": 1.0, "orbitals": 1.0}
    return scf(atoms, ecut=100.0, convergence=loose, **keywords)


def test_a_moment_is_held_until_the_density_is_near_or_the_steps_are_many() -> None:
    problem = nickel().problem
    moment = HeldMoment(problem, given=False, policy=MomentRelease(error=1e-2, step=3))
    assert moment.value == pytest.approx(0.6)
    assert [moment.release(0.1, step) for step in (1, 2, 3, 4)] == [False, False, True, False]
    assert moment.value is None
    assert HeldMoment(problem, given=True).is_final


@pytest.mark.parametrize(
    ("supplied", "held"), [(0.5, 0.5), (2.0, 2.0), (0.1, 0.6), (0.0, 0.6), (-0.5, 0.6)]
)
def test_a_supplied_density_is_held_at_its_own_moment_unless_it_lost_it(
    supplied: float, held: float
) -> None:
    problem = nickel().problem
    density = problem.starting_fields().density
    total, change = density.sum(0), density[0] - density[1]
    change = change * (supplied / 0.6)
    fields = Fields(torch.stack([total + change, total - change]) / 2.0)
    moment = HeldMoment(problem, given=False, supplied=fields)
    assert moment.value == pytest.approx(held, abs=1e-9) and not moment.is_final
    assert HeldMoment(problem, given=True, supplied=fields).is_final
    few = HeldMoment(problem, given=False, supplied=fields, nbands=9)  # for 18 electrons
    assert few.value == pytest.approx(0.6)
    assert HeldMoment(problem, given=False, supplied=beyond(fields)).value == pytest.approx(18.0)


def beyond(fields: Fields) -> Fields:
    """Fields with the whole density in the first channel, and a little more."""
    up, down = fields.density
    return Fields(torch.stack([1.01 * (up + down), -0.01 * (up + down)]))


def test_a_moment_that_is_fixed_is_never_let_go() -> None:
    problem = nickel(occupations={"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}).problem
    atoms = problem.starting_fields()
    for supplied in (None, atoms, atoms.map(lambda leaf: leaf * leaf.new_tensor([[0.9], [1.1]]))):
        moment = HeldMoment(problem, given=False, supplied=supplied)
        assert moment.is_final and not moment.release(1e-9, 8)
        assert moment.value == pytest.approx(0.6)


def test_a_moment_is_let_go_when_the_policy_says_so() -> None:
    """At first it is held, and the loop cannot end before it is released."""
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.6])
    seen: dict[int, list[float]] = {}
    for step in (1, 4):
        result = scf(
            atoms,
            ecut=100.0,
            convergence={"density": 0.1, "energy": 1.0, "orbitals": 1.0},
            policies=Policies(moment=MomentRelease(error=0.0, step=step)),
        )
        seen[step] = [record["moment"] for record in result.history]
    assert seen[4][:4] == pytest.approx([0.6] * 4, abs=1e-6) and len(seen[4]) > 4
    assert abs(seen[1][1] - 0.6) > 1e-3


def test_an_error_names_the_policy_that_kept_the_loop_from_ending() -> None:
    """Criteria that are met are not the reason, and more steps are no help."""
    lithium = Atoms("Li", cell=[4.0, 4.0, 4.0], pbc=True, magmoms=[1.0])
    never = Policies(moment=MomentRelease(error=0.0, step=1000))
    with pytest.raises(SCFConvergenceError) as held:
        scf(lithium, ecut=100.0, kpts=(2, 1, 1), policies=never, convergence={"maxiter": 30})
    rough = Policies(precision=Precision(residual=0.0, errors=0.0, steps=1000))
    with pytest.raises(SCFConvergenceError) as single:
        scf(bulk("Al"), ecut=100.0, policies=rough, convergence={"maxiter": 30})
    for error in (held.value, single.value):
        assert error.history[-1]["density_error"] < 1e-6
        assert "raise maxiter" not in str(error)
    said = "moment of the start was still held .* In MomentRelease.error=0.0, step=1000., choose a "
    assert re.search(said + r"step below maxiter \(30\), or a larger error", str(held.value))
    said = r"still in single precision.* In Precision\(residual=0.0, errors=0.0, .* choose steps "
    assert re.search(said + r"below maxiter \(30\)", str(single.value))
    assert "moment" not in str(single.value) and "single" not in str(held.value)


def test_rounding_is_the_reason_if_errors_stay_at_that_of_single_precision() -> None:
    rough = Policies(precision=Precision(residual=0.0, errors=0.0, steps=1000))
    tight = {"density": 1e-10, "maxiter": 25}
    with pytest.raises(SCFConvergenceError, match="still in single precision") as caught:
        scf(bulk("Al"), ecut=150.0, policies=rough, convergence=tight)
    assert caught.value.history[-1]["density_error"] > 1e-10


def test_empty_bands_of_a_result_are_as_good_as_asked_for(aluminium: KohnShamProblem) -> None:
    def residual(wanted: float) -> float:
        result = solve(aluminium, nbands=8, policies=Policies(Effort(empty=wanted)))
        h = aluminium.hamiltonian(result.potential)
        left = states.diagonalize(h, result.orbitals, expansions=0)[2]
        return float(left[:, :, :-1].max())

    assert residual(1e-8) < 1.1e-8
    assert residual(1.0) > 1e-7


def test_bands_are_added_until_the_highest_holds_as_little_as_asked_for(
    aluminium: KohnShamProblem,
) -> None:
    few, many = (
        solve(aluminium, policies=Policies(Effort(highest=highest))) for highest in (2.0, 1e-9)
    )
    assert float(many.occupations[:, :, -1].abs().max()) < 1e-9
    assert few.eigenvalues.shape[2] <= many.eigenvalues.shape[2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Effort(fraction=-0.1), "Effort.fraction must be zero or positive, got -0.1; 0.03"),
        (lambda: Effort(expansions=0), "Effort.expansions must be a whole number of at least 1"),
        (lambda: Effort(good="small"), "Effort.good must be a number, got 'small'"),  # type: ignore
        (lambda: Precision(steps=2.5), "Precision.steps must be a whole number"),  # type: ignore
        (lambda: MomentRelease(error=float("nan")), "MomentRelease.error must be zero or positive"),
        (lambda: LocalisedLevels(rounds=-1), "LocalisedLevels.rounds must be a whole number"),
        (lambda: Policies(Precision()), "Policies.effort must be of the class Effort, got Prec"),  # type: ignore
        (
            lambda: scf(bulk("Si"), ecut=60.0, policies={"effort": 1}),  # type: ignore
            "policies = {'effort': 1} must be a Policies object",
        ),
    ],
)
def test_policies_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
