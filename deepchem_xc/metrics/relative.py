"""Relative errors, as of lattice constants and bulk moduli."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["mean_absolute_relative_error"]


def mean_absolute_relative_error(
    y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
) -> float:
    """Mean of ``|y_pred - y_true| / |y_true|`` [%].

    Parameters
    ----------
    y_true, y_pred : array_like
        References and predictions, of one shape, in any unit.
    sample_weight : array_like, optional
        Weights of the mean, of the same shape; values of weight 0, as DeepChem marks labels that
        are missing, are not looked at.

    Returns
    -------
    float
        Not negative.

    Raises
    ------
    ValueError
        For different shapes, no values, NaN, infinity, references that are 0, and weights that
        are negative or all 0.

    Examples
    --------
    >>> from deepchem_xc.metrics import mean_absolute_relative_error
    >>> print(f"{mean_absolute_relative_error([4.05, 5.43], [4.04, 5.46]):.2f} %")
    0.40 %

    As a metric of DeepChem:

    >>> from deepchem.metrics import Metric
    >>> metric = Metric(mean_absolute_relative_error, mode="regression")
    >>> print(f"{metric.compute_metric([[4.05], [5.43]], [[4.04], [5.46]]):.2f} %")
    0.40 %
    """
    true, predicted = _numbers(y_true, "y_true"), _numbers(y_pred, "y_pred")
    if true.shape != predicted.shape:
        raise ValueError(
            f"y_true has the shape {true.shape} and y_pred {predicted.shape}: give one prediction "
            "for each reference"
        )
    weight = np.ones_like(true)
    if sample_weight is not None:
        weight = _numbers(sample_weight, "sample_weight")
        if weight.shape != true.shape:
            raise ValueError(
                f"sample_weight has the shape {weight.shape}; it must be that of y_true, "
                f"{true.shape}"
            )
        if not (np.isfinite(weight).all() and (weight >= 0.0).all()):
            raise ValueError(f"weights must be finite and not negative, got {_some(weight)}")
    counted = weight > 0.0
    true, predicted, weight = true[counted], predicted[counted], weight[counted]
    if true.size == 0:
        raise ValueError("there is no value to compare: y_true is empty, or all weights are 0")
    for name, values in (("y_true", true), ("y_pred", predicted)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} contains NaN or infinity, {_some(values)}: leave these values out, or "
                "give them weight 0"
            )
    if not true.all():
        raise ValueError(
            "a reference is 0, and errors relative to it do not exist: leave it out, give it "
            "weight 0, or use the mean absolute error"
        )
    errors = np.abs(predicted - true) / np.abs(true)
    return float(100.0 * np.average(errors, weights=weight))


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    plain = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array = np.asarray(plain)
        if array.dtype.kind not in "fiuO":
            raise TypeError
        return array.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of real numbers, got {values!r}") from None


def _some(values: NDArray[np.float64]) -> str:
    """The first value that is NaN, infinite or negative."""
    bad = values[~(np.isfinite(values) & (values >= 0.0))]
    return f"such as {bad.flat[0]}"
