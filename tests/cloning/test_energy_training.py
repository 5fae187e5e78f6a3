"""Training on energies: minima of the objective, and a path that moves away from its start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from deepchem_xc.cloning import (
    AtomisationErrors,
    KeptDensity,
    new_student,
    parent_densities,
    train_on_energies,
)
from deepchem_xc.cloning.energies import trainable_weights
from deepchem_xc.xc import get_xc


@pytest.fixture(scope="module")
def energies(kept: list[KeptDensity], folder: Path) -> AtomisationErrors:
    free = parent_densities("PBE", ["H", "C", "O"], folder, basis="6-31g", grid_level=1)
    wanted = {"CH3": 300.0, "H2O": 230.0}
    return AtomisationErrors(get_xc("PBE"), [*kept, *free], wanted, 0)


def test_each_functional_of_the_path_is_a_minimum_of_its_objective(
    energies: AtomisationErrors,
) -> None:
    start = new_student("constrained", get_xc("PBE"), 0)
    first = parameters_to_vector(trainable_weights(start)).detach().clone()
    for one in train_on_energies(start, energies, [1e3, 1e2], tolerance=1e-12, max_steps=300):
        residuals, jacobian = energies.linearised(one.functional)
        assert torch.equal(energies.errors(one.functional), one.errors)
        apart = parameters_to_vector(trainable_weights(one.functional)).detach() - first
        assert float(apart.norm()) == pytest.approx(one.distance, rel=1e-12)
        pull, push = one.stiffness * apart, jacobian.T @ residuals
        # Measured: 1e-6.
        assert float((pull + push).norm()) < 1e-4 * float(pull.norm())


def test_errors_fall_along_the_path_and_the_start_is_not_changed(
    energies: AtomisationErrors,
) -> None:
    start = new_student("constrained", get_xc("PBE"), 0)
    before = parameters_to_vector(trainable_weights(start)).detach().clone()
    path = list(train_on_energies(start, energies, [1e4, 1e2, 1.0, 1e-2]))
    errors = [float(one.errors.square().mean()) for one in path]
    assert errors == sorted(errors, reverse=True)
    assert 0.0 < path[0].distance < 0.1 * path[-1].distance
    assert errors[-1] < 1e-4 * float(energies.errors(start).square().mean())
    # Functionals of the path do not share weights.
    assert torch.equal(parameters_to_vector(trainable_weights(start)), before)
    assert energies.errors(path[0].functional).tolist() == path[0].errors.tolist()


def test_starts_and_stiffnesses_that_lead_nowhere_are_refused(energies: AtomisationErrors) -> None:
    start = new_student("constrained", get_xc("PBE"), 0)
    with pytest.raises(ValueError, match="PBE has no trainable weights"):
        train_on_energies(get_xc("PBE"), energies)
    for stiffnesses in ([], [1.0, 1.0], [1.0, 0.0], [float("nan")]):
        with pytest.raises(ValueError, match="stiffnesses must be positive and fall"):
            train_on_energies(start, energies, stiffnesses)
    with torch.no_grad():
        trainable_weights(start)[0].fill_(float("nan"))
    with pytest.raises(ValueError, match="energies of the start are not finite"):
        next(train_on_energies(start, energies))
