"""DeepChem's searches of hyperparameters: every model begins with the functional as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepchem as dc
import pytest
import torch

from deepchem_xc.data import DFTEntry
from deepchem_xc.models import XCModel
from deepchem_xc.xc import PBE, HybridXC, XCFunctional, get_xc
from tests.models.systems import Enhanced, dataset, quick

MAE = dc.metrics.Metric(dc.metrics.mean_absolute_error)


def energies() -> Any:
    return dataset(DFTEntry.create("energy", -215.0, [quick()]))


def state(functional: torch.nn.Module) -> list[list[float]]:
    return [p.detach().reshape(-1).tolist() for p in functional.parameters()]


def searched(builder: Callable[..., XCModel], folder: Path) -> tuple[Any, Any, Any]:
    found: tuple[Any, Any, Any] = dc.hyper.GridHyperparamOpt(builder).hyperparam_search(
        {"learning_rate": [3e-3, 1e-3]},
        energies(),
        energies(),
        MAE,
        nb_epoch=2,
        use_max=False,
        logdir=str(folder),
    )
    return found


def test_a_grid_trains_a_copy_for_each_point_and_leaves_the_functional(tmp_path: Path) -> None:
    functional = PBE(trainable=True)
    before = state(functional)
    made: list[XCModel] = []

    def shared(**options: Any) -> XCModel:
        made.append(XCModel(functional=functional, **options))
        return made[-1]

    best, hyper, scores = searched(shared, tmp_path / "shared")
    assert state(functional) == before
    _, _, alone = searched(
        lambda **options: XCModel(functional=PBE(trainable=True), **options), tmp_path / "alone"
    )
    assert list(scores.values()) == pytest.approx(list(alone.values()), abs=1e-6)
    assert hyper == {"learning_rate": 3e-3}  # the larger step lowers the error further
    assert best is made[0] and best.functional is not made[1].functional
    # What was saved is the model's own state, readable by another model of the same functional.
    again = XCModel(functional=functional, learning_rate=3e-3, model_dir=best.model_dir)
    again.reload()
    assert state(again.functional) == state(best.functional) != before


def test_a_random_search_works(tmp_path: Path) -> None:
    functional = Enhanced()
    before = state(functional)
    search = dc.hyper.RandomHyperparamOpt(
        lambda **options: XCModel(functional=functional, **options), max_iter=2
    )
    best, hyper, scores = search.hyperparam_search(
        {"learning_rate": [1e-3, 2e-3]},
        energies(),
        energies(),
        MAE,
        nb_epoch=1,
        use_max=False,
        logdir=str(tmp_path),
    )
    assert len(scores) == 2 and hyper["learning_rate"] in (1e-3, 2e-3)
    assert state(functional) == before != state(best.functional)


def test_a_gaussian_process_search_works(tmp_path: Path) -> None:
    pytest.importorskip("pyGPGO")
    functional = PBE(trainable=True)
    before = state(functional)
    search = dc.hyper.GaussianProcessHyperparamOpt(
        lambda **options: XCModel(functional=functional, **options), max_iter=1, search_range=2
    )
    best, _, scores = search.hyperparam_search(
        {"learning_rate": 1e-3},
        energies(),
        energies(),
        MAE,
        nb_epoch=1,
        use_max=False,
        logfile=str(tmp_path / "log.txt"),
        logdir=str(tmp_path),
    )
    assert len(scores) >= 2 and state(functional) == before != state(best.functional)


def test_a_network_beside_a_known_functional_is_copied_too() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    before = state(network)
    models = [XCModel("lda_x", network, batch_size=1, aweight0=0.1) for _ in range(2)]
    models[0].fit(energies(), nb_epoch=1, checkpoint_interval=0)
    assert state(network) == before and network[0].weight.dtype == torch.float32
    assert state(models[1].functional) != state(models[0].functional)
    assert isinstance(models[0].functional, HybridXC)


def test_one_learning_rate_counts_and_another_is_refused() -> None:
    """A search over one that has no effect would find all of its points equal."""
    with pytest.raises(
        ValueError, match=r"would have no effect beside optimizer.*Adam\(learning_r"
    ):
        XCModel(
            functional=PBE(trainable=True),
            learning_rate=0.1,
            optimizer=dc.models.optimizers.Adam(0.01),
        )


def test_a_functional_that_is_set_later_is_trained_itself() -> None:
    functional = PBE(trainable=True)
    model = XCModel(functional=functional, batch_size=1)
    assert model.functional is not functional
    model.functional = functional
    before = state(functional)
    model.fit(energies(), nb_epoch=1, checkpoint_interval=0)
    assert model.functional is functional and state(functional) != before


def test_parameters_of_the_original_are_refused_where_they_would_have_no_effect() -> None:
    functional = Enhanced()
    model = XCModel(functional=functional, batch_size=1)
    with pytest.raises(ValueError, match="trains a copy .* take them from model.functional"):
        model.fit(energies(), variables=list(functional.network.parameters()))
    penalty = XCModel(
        functional=functional,
        batch_size=1,
        regularization_loss=lambda: functional.network[0].weight.square().sum(),
    )
    with pytest.raises(ValueError, match="does not depend on the parameters that are trained"):
        penalty.fit(energies(), nb_epoch=1, checkpoint_interval=0)
    own = model.functional.network[0].weight
    model.regularization_loss = lambda: own.square().sum()
    loss = model.fit(energies(), nb_epoch=1, checkpoint_interval=0)
    plain = XCModel(functional=functional, batch_size=1)
    difference = loss - plain.fit(energies(), nb_epoch=1, checkpoint_interval=0)
    weight = functional.network[0].weight.detach()
    assert difference == pytest.approx(float(weight.square().sum()), rel=1e-6)


def test_a_functional_that_cannot_be_copied_says_so() -> None:
    class Locked(XCFunctional):
        name, family = "locked", 1

        def __init__(self) -> None:
            super().__init__()
            self.c = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
            self.known = get_xc("lda_x")

        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("there is one of it")

        def energy_density(self, variables: Any) -> torch.Tensor:
            return self.c * self.known.energy_density(variables)

    with pytest.raises(
        ValueError, match="Locked cannot be copied .there is one of it.*set model.f"
    ):
        XCModel(functional=Locked())
