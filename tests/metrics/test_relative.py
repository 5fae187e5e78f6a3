"""Mean absolute relative errors, by themselves and in DeepChem's Metric."""

from __future__ import annotations

from typing import Any

import deepchem as dc
import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_percentage_error

from deepchem_xc.metrics import mean_absolute_relative_error

METRIC = dc.metrics.Metric(mean_absolute_relative_error, mode="regression")


def _pairs(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.uniform(3.0, 6.0, shape) * rng.choice([-1.0, 1.0], shape)
    return true, true + rng.normal(size=shape)


@pytest.mark.parametrize("shape", [(5,), (4, 1), (3, 2)])
def test_it_is_scikit_learns_in_per_cent(shape: tuple[int, ...]) -> None:
    true, predicted = _pairs(*shape)
    wanted = 100.0 * mean_absolute_percentage_error(true.ravel(), predicted.ravel())
    assert mean_absolute_relative_error(true, predicted) == pytest.approx(wanted, rel=1e-14)


def test_weights_are_those_of_a_mean() -> None:
    true, predicted = _pairs(5)
    weight = np.array([1.0, 0.0, 2.0, 0.5, 3.0])
    wanted = 100.0 * mean_absolute_percentage_error(true, predicted, sample_weight=weight)
    found = mean_absolute_relative_error(true, predicted, weight)
    assert found == pytest.approx(wanted, rel=1e-14)


def test_it_works_in_metrics_of_deepchem() -> None:
    true, predicted = _pairs(6, 2)
    tasks = [mean_absolute_relative_error(true[:, i], predicted[:, i]) for i in (0, 1)]
    mean, each = METRIC.compute_metric(true, predicted, per_task_metrics=True)
    assert each == pytest.approx(tasks) and mean == pytest.approx(np.mean(tasks))
    # The label of weight 0 is missing: DeepChem writes 0 or NaN for it.
    true[2, 0], true[3, 0], weight = 0.0, np.nan, np.ones((6, 2))
    weight[2:4, 0] = 0.0
    rest = [0, 1, 4, 5]
    wanted = mean_absolute_relative_error(true[rest, 0], predicted[rest, 0])
    _, each = METRIC.compute_metric(
        true, predicted, weight, per_task_metrics=True, use_sample_weights=True
    )
    assert each == pytest.approx([wanted, tasks[1]])


def test_it_evaluates_models_of_deepchem() -> None:
    x = np.linspace(1.0, 2.0, 12)[:, None]
    dataset = dc.data.NumpyDataset(x, 2.0 * x)
    network = torch.nn.Linear(1, 1)
    with torch.no_grad():
        network.weight.fill_(2.2)
        network.bias.zero_()
    model = dc.models.TorchModel(network, dc.models.losses.L2Loss())
    found = model.evaluate(dataset, [METRIC])["mean_absolute_relative_error"]
    assert found == pytest.approx(10.0, rel=1e-5)


def test_tensors_are_taken_with_their_graph() -> None:
    predicted = torch.tensor([4.04, 5.46], requires_grad=True)
    assert mean_absolute_relative_error(torch.tensor([4.05, 5.43]), predicted) > 0.0


@pytest.mark.parametrize(
    ("true", "predicted", "weight", "message"),
    [
        ([4.0, 5.0], [4.0], None, r"shape \(2,\) and y_pred \(1,\)"),
        ([4.0, 5.0], [[4.0], [5.0]], None, r"\(2,\) and y_pred \(2, 1\)"),
        ([], [], None, "no value to compare"),
        ([4.0], [4.0], [0.0], "no value to compare"),
        ([4.0, np.nan], [4.0, 5.0], None, "y_true contains NaN.*such as nan"),
        ([4.0, 5.0], [np.inf, 5.0], None, "y_pred contains NaN.*such as inf"),
        ([4.0, 0.0], [4.0, 5.0], None, "reference is 0"),
        ([4.0, 5.0], [4.0, 5.0], [1.0, -2.0], "not negative, got such as -2"),
        ([4.0, 5.0], [4.0, 5.0], [1.0, np.nan], "finite and not negative"),
        ([4.0, 5.0], [4.0, 5.0], [1.0], r"sample_weight has the shape \(1,\)"),
        (["4", "5"], [4.0, 5.0], None, "y_true must be an array of real numbers"),
        ([4.0], [4.0 + 1.0j], None, "y_pred must be an array of real numbers"),
        ([4.0, None], [4.0, 5.0], None, "y_true"),
    ],
)
def test_bad_input_is_refused(true: Any, predicted: Any, weight: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_absolute_relative_error(true, predicted, weight)
