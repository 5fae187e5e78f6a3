"""The gradient of the loss is that of finite differences of self-consistent calculations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import XCModel
from deepchem_xc.xc import PBE
from tests.crystals import TIGHT, TIGHTER
from tests.differences import assert_derivative, differences
from tests.models.systems import SCALES, Enhanced, aluminium, dataset, silicon


def atom(symbol: str, **more: Any) -> dict[str, Any]:
    """One atom in a box."""
    structure = {
        "symbols": [symbol],
        "cell": np.diag([4.0, 4.0, 4.0]).tolist(),
        "scaled_positions": [[0, 0, 0]],
    }
    smeared = {"name": "gaussian", "width": 0.2}
    return {
        "structure": structure,
        "ecut": 100.0,
        "occupations": smeared,
        "convergence": TIGHT,
        **more,
    }


def iron() -> dict[str, Any]:
    """A magnet whose moment is no integer."""
    structure = {
        "symbols": ["Fe"],
        "cell": [[-1.43, 1.43, 1.43], [1.43, -1.43, 1.43], [1.43, 1.43, -1.43]],
        "scaled_positions": [[0, 0, 0]],
        "magmoms": [2.3],
    }
    return {
        "structure": structure,
        "ecut": 350.0,
        "kpts": {"size": [2, 2, 2], "gamma": True},
        "occupations": {"name": "fermi-dirac", "width": 0.3},
        "pseudopotentials": {"Fe": "GTH-PBE-q8"},
        "convergence": TIGHTER,
    }


ENTRIES: dict[str, Any] = {
    "energy": (-214.0, [silicon()], {}),
    "eos": (
        [0.5, 0.1, 0.0, 0.1, 0.4],
        [silicon(ecut=120.0, ecut_smoothing=40.0)],
        {"scales": SCALES},
    ),
    "lattice_constant": (5.4, [silicon(ecut=120.0, ecut_smoothing=40.0)], {"scales": SCALES}),
    "bulk_modulus": (90.0, [silicon(ecut=120.0, ecut_smoothing=40.0)], {"scales": SCALES}),
    "cohesive_energy": (
        4.6,
        [
            silicon(ecut=100.0),
            atom("Si", number=2, occupations={"name": "fixed"}, spinpol=False),
        ],
        {},
    ),
    "forces": (np.zeros((2, 3)), [silicon(displaced=True, convergence=TIGHTER)], {}),
    "stress": (np.zeros((3, 3)), [silicon(convergence=TIGHTER)], {}),
    "density": (np.full((1, 16, 16, 16), 0.2), [silicon(fft_size=[16, 16, 16])], {}),
    "band_gap": (1.1, [silicon()], {}),
    "magnetic_moment": (2.2, [iron()], {}),
}


def loss_of(entry: DFTEntry, functional: Any, **options: Any) -> torch.Tensor:
    """Loss of one entry with everything computed anew."""
    model = XCModel(functional=functional, scf_interval=1, **options)
    model.functional = functional  # the object itself, whose gradients are asked for
    return model.objective(
        [entry], [model.model.training_value(entry, 0)], [entry.get_true_val()], [1.0]
    )


def loss_along(
    entry: DFTEntry, functional: Any, parameter: torch.Tensor, direction: Any = 1.0
) -> Callable[[float], float]:
    """The loss as a function of a parameter's step along a direction."""
    start = parameter.detach().clone()

    def loss(step: float) -> float:
        with torch.no_grad():
            parameter.copy_(start + step * direction)
        value = float(loss_of(entry, functional).detach())
        with torch.no_grad():
            parameter.copy_(start)
        return value

    return loss


# The modulus is the slope of the curve whose minimum is the lattice constant.
SLOW = {"bulk_modulus"}


@pytest.mark.parametrize(
    "e_type",
    [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in ENTRIES],
)
def test_gradient_of_every_entry_type(e_type: str) -> None:
    label, systems, more = ENTRIES[e_type]
    entry = DFTEntry.create(e_type, label, systems, **more)
    functional = PBE(trainable=True)
    parameter = functional.terms[0].mu
    loss_of(entry, functional).backward()
    assert abs(parameter.grad) > 1e-3  # else nothing is compared
    assert_derivative(parameter.grad, loss_along(entry, functional, parameter), 4e-3, rel=1e-5)


def test_gradient_of_a_network() -> None:
    entry = DFTEntry.create(
        "eos", [0.06, 0.015, 0, 0.01, 0.04], [aluminium(ecut=120.0)], scales=SCALES
    )
    torch.manual_seed(1)
    functional = Enhanced()
    loss_of(entry, functional).backward()
    weight = functional.network[2].weight
    gradient = weight.grad.clone()
    loss = loss_along(entry, functional, weight, gradient / gradient.norm())
    assert_derivative(gradient.norm(), loss, 4e-3, rel=1e-5)


@pytest.mark.slow
def test_entropy_of_aluminium_changes_the_gradient_little() -> None:
    entry = DFTEntry.create("lattice_constant", 4.10, [aluminium()], scales=SCALES)
    gradients = []
    for options in ({"entropy_response": False}, {}):  # exact by default
        functional = PBE(trainable=True)
        loss_of(entry, functional, **options).backward()
        gradients.append(float(functional.terms[0].mu.grad))
    cheap, full = gradients
    assert_derivative(full, loss_along(entry, functional, functional.terms[0].mu), 4e-3, rel=1e-5)
    print(f"relative difference {(cheap - full) / full:.2e}")
    assert cheap == pytest.approx(full, rel=2e-2)


def test_fit_moves_parameters_against_the_finite_difference_gradient() -> None:
    entry = DFTEntry.create("energy", -215.0, [silicon()])
    functional = PBE(trainable=True)
    slope = differences(loss_along(entry, functional, functional.terms[0].mu), 1e-3).value
    model = XCModel(functional=functional, learning_rate=5e-3)
    parameter = model.functional.terms[0].mu
    before = parameter.item()
    losses: list[float] = []
    for _ in range(4):
        model.fit(dataset(entry), nb_epoch=1, checkpoint_interval=0, all_losses=losses)
    assert losses == sorted(losses, reverse=True)
    assert (parameter.item() - before) * slope < 0
