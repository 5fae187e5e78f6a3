"""Levenberg-Marquardt: its equations against automatic differentiation, its steps, its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset
from torch.func import functional_call, jacfwd

from deepchem_xc.cloning import (
    FunctionalCloning,
    KeptDensity,
    KeptEnergies,
    LevenbergMarquardt,
    clone_dataset,
    new_student,
)
from deepchem_xc.cloning.factors import FactorPoints
from deepchem_xc.cloning.least_squares import DampedLeastSquares, NormalEquations
from deepchem_xc.cloning.loss import CloneLoss
from deepchem_xc.cloning.residuals import normal_equations
from deepchem_xc.cloning.samples import densinfo_of
from deepchem_xc.xc import ConstrainedGGA, get_xc


@pytest.fixture(scope="module")
def dataset(kept: list[KeptDensity]) -> NumpyDataset:
    return clone_dataset(kept, 100, grid_level=1)


class Scaled(ConstrainedGGA):
    """A student with a weight that belongs to no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones((), dtype=torch.float64))


class Shared(ConstrainedGGA):
    """A student whose layers see the points twice."""

    def exchange_factor(self, variables: object) -> torch.Tensor:
        return 0.5 * (super().exchange_factor(variables) + super().exchange_factor(variables))


@pytest.mark.parametrize("kind", ["constrained", "unconstrained"])
@pytest.mark.parametrize("parent", ["PBE", "r2SCAN"])
def test_the_normal_equations_are_those_of_the_losss_derivatives(
    kind: str, parent: str, dataset: NumpyDataset, kept: list[KeptDensity]
) -> None:
    functional = get_xc(parent)
    student = new_student(kind, functional, 3)
    points = FactorPoints(functional, student, densinfo_of(dataset.X[::20]))
    energies = KeptEnergies(functional, kept)
    loss = CloneLoss(student, points, energies, energy_weight=0.01)
    equations = normal_equations(loss)
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in student.parameters()])
    torch.testing.assert_close(2.0 * equations.gradient, gradient, rtol=1e-9, atol=1e-14)

    # The residuals of the factors alone, differentiated forward.
    alone = normal_equations(CloneLoss(student, points)).matrix
    weights = {name: p.detach() for name, p in student.named_parameters()}

    class Factors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student = student

        def forward(self) -> torch.Tensor:
            return points.factors(self.student).flatten()

    module = Factors()
    parts = jacfwd(
        lambda given: functional_call(
            module, {f"student.{name}": p for name, p in given.items()}, ()
        )
    )(weights)
    rows = torch.cat([part.flatten(1) for part in parts.values()], dim=1)
    torch.testing.assert_close(alone, rows.T @ rows / len(rows), rtol=1e-9, atol=1e-14)


def test_a_linear_problem_is_solved_in_a_few_steps_and_then_left_alone() -> None:
    """The damping falls to a fifth at a time: the error after six steps is below 1e-9 of it."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    wanted = torch.randn(30, generator=generator, dtype=torch.float64)
    x = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    search = DampedLeastSquares([x], 1e-3)

    def equations() -> NormalEquations:
        return NormalEquations(rows.T @ rows, rows.T @ (rows @ x.detach() - wanted))

    def loss() -> float:
        return float((rows @ x.detach() - wanted).square().sum())

    found = [search.search(equations, loss) for _ in range(40)]
    best = torch.linalg.lstsq(rows, wanted[:, None]).solution[:, 0]
    torch.testing.assert_close(x.detach(), best, rtol=1e-9, atol=1e-9)
    assert found[0] and not found[-1]
    kept = x.detach().clone()
    assert not search.search(equations, loss)
    assert torch.equal(x.detach(), kept)


def test_thirty_steps_reduce_the_loss_more_than_a_thousandfold(dataset: NumpyDataset) -> None:
    """Measured: 1.2e-1 falls to 2.6e-6 with the constrained, 5.2e-2 to 2.3e-8 with the other."""
    for kind in ("constrained", "unconstrained"):
        start = FunctionalCloning("PBE", kind, steps=100)
        start.fit(dataset, checkpoint_interval=0)
        model = FunctionalCloning(
            "PBE", start.functional, steps=30, optimizer=LevenbergMarquardt(), log_frequency=1
        )
        model.fit(dataset, checkpoint_interval=0)
        losses = [sum(record.losses.values()) for record in model.history]
        assert all(b <= a for a, b in zip(losses, losses[1:], strict=False))
        assert losses[-1] < 1e-3 * losses[0]


def test_a_search_that_is_resumed_has_the_weights_of_one_without_interruption(
    dataset: NumpyDataset, tmp_path: Path
) -> None:
    def model(**options: str) -> FunctionalCloning:
        return FunctionalCloning("PBE", steps=6, optimizer=LevenbergMarquardt(), **options)

    whole = model()
    whole.fit(dataset, checkpoint_interval=0)
    first = model(model_dir=str(tmp_path))
    first.fit(dataset, 3, checkpoint_interval=3)
    second = model(model_dir=str(tmp_path))
    second.fit(dataset, restore=True)
    for one, other in zip(
        whole.functional.parameters(), second.functional.parameters(), strict=True
    ):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def test_students_with_other_weights_are_refused(dataset: NumpyDataset) -> None:
    with pytest.raises(ValueError, match=r"linear layers; scale are not"):
        FunctionalCloning("PBE", Scaled(), optimizer=LevenbergMarquardt())
    model = FunctionalCloning("PBE", Shared(start="random"), optimizer=LevenbergMarquardt())
    with pytest.raises(ValueError, match="see each point once"):
        model.fit(dataset, 1, checkpoint_interval=0)


def test_points_that_no_weight_changes_leave_the_weights_alone() -> None:
    """In the uniform gas a constrained student is exact, whatever its weights."""
    uniform = np.zeros((10, 2, 5))
    uniform[:, :, 0] = np.linspace(0.1, 1.0, 10)[:, None]
    model = FunctionalCloning("PBE", steps=2, optimizer=LevenbergMarquardt())
    before = torch.nn.utils.parameters_to_vector(model.functional.parameters()).detach().clone()
    model.fit(NumpyDataset(uniform), checkpoint_interval=0)
    after = torch.nn.utils.parameters_to_vector(model.functional.parameters()).detach()
    assert torch.equal(before, after)


def test_damping_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="damping must be positive"):
        LevenbergMarquardt(damping=0.0)


def test_a_step_without_residuals_is_refused() -> None:
    search = DampedLeastSquares([torch.nn.Parameter(torch.zeros(1))], 1e-3)
    with pytest.raises(TypeError, match="FunctionalCloning alone"):
        search.step()
