"""Rows of data sets of densities, their weights, and the loss by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
from deepchem.data import Dataset

from deepchem_xc.densities import DensityLoss


def density_loss(given: Any) -> DensityLoss:
    """A loss, or the one of this kind."""
    return given if isinstance(given, DensityLoss) else DensityLoss(given)


def rows_of(dataset: Any) -> list[Any]:
    """What X of a data set holds, one for each row.

    Raises
    ------
    ValueError
        If it is no data set of DeepChem, is empty, or has several columns.

    Examples
    --------
    >>> rows_of([])
    Traceback (most recent call last):
    ValueError: a data set must be one of deepchem.data, got a list; load_si_allotropes() of ...
    """
    advice = (
        "load_si_allotropes() of molnet loads one, NumpyDataset(X) makes one from an object array "
        "of records"
    )
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"a data set must be one of deepchem.data, got a {type(dataset).__name__}; {advice}."
        )
    rows = np.asarray(dataset.X, dtype=object)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.size == 0:
        raise ValueError(f"the data set is empty; {advice}.")
    if rows.ndim != 1:
        raise ValueError(
            f"X must hold one record or structure in each row, got shape {rows.shape}; {advice}."
        )
    return list(rows)


def weights_of(dataset: Dataset) -> list[float]:
    """Weights of the structures of a data set.

    Raises
    ------
    ValueError
        If they are not one for each structure, negative, NaN, or all zero.
    """
    count = len(rows_of(dataset))
    w = np.asarray(dataset.w, dtype=np.float64)
    # DeepChem gives data sets without y weights of zero.
    if w.size == 0 or (not w.any() and not np.any(dataset.y)):
        return [1.0] * count
    if w.size != count:
        raise ValueError(f"w must be one weight for each structure, got the shape {w.shape}.")
    if not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise ValueError(f"weights must be at least 0, finite, and not all 0, got {w.tolist()}.")
    return [float(one) for one in w.reshape(-1)]
