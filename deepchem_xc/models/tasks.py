"""Which entry each number of y and w belongs to: one column of entries, or one for each task."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.models.labels import entries_of

Floats = NDArray[np.float64]


class TaskEntries(NamedTuple):
    """Entries of a data set, row by row, with its y and w."""

    entries: list[DFTEntry]
    y: NDArray[Any]
    """As in the data set; (n,), (n, 1) or (n, ntasks)."""
    weights: Floats
    """One for each entry, (number of entries,)."""
    shape: tuple[int, ...]
    """Shape of one number for each entry: (n,), (n, 1) or (n, ntasks), that of y."""


def task_entries(x: Any, y: Any, w: Any = None) -> TaskEntries:
    """Entries of X, with the y and w that belong to them.

    X is (n,) or (n, 1) with one number for each entry in y, or (n, ntasks) with y of that shape.
    DeepChem's `TaskSplitter` takes columns of y and leaves X as it is: the columns of X are then
    found by the entries' own labels.

    Parameters
    ----------
    x, y : array_like
        Those of a data set; y may be None.
    w : array_like, optional
        (n,), (n, 1) or (n, ntasks); ones by default. One column counts for all tasks.

    Raises
    ------
    ValueError
        If their shapes do not fit, and if the tasks of y cannot be found in X.

    Examples
    --------
    >>> crystal = {"structure": {"symbols": ["Al"], "cell": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
    ...            "scaled_positions": [[0, 0, 0]]}, "ecut": 150.0}
    >>> row = [DFTEntry.create("energy", -57.0, [crystal]),
    ...        DFTEntry.create("lattice_constant", 4.04, [crystal])]
    >>> task_entries([row], [[4.04]]).entries
    [DFTEntry(lattice_constant, Al)]
    """
    array = np.empty(np.shape(x), dtype=object)
    array[...] = x
    if array.ndim > 2:
        raise ValueError(f"X must be (n,), (n, 1) or (n, ntasks), got {array.shape}.")
    wide = array.ndim == 2 and array.shape[1] > 1
    labels = np.zeros((len(array), 1)) if y is None else np.asarray(y)
    if wide:
        entries_of(array)
        if y is None or _is_absent(labels, w):
            labels = np.zeros(array.shape)
        elif labels.shape != array.shape:
            array = _columns_of(array, labels, w)
        shape = labels.shape
    else:
        # Transformers may have given y more columns than there are tasks.
        shape = (len(array),) if labels.ndim == 1 else (len(array), 1)
    entries = entries_of(array)
    return TaskEntries(entries, labels, _weights(w, shape), shape)


def _weights(w: Any, shape: tuple[int, ...]) -> Floats:
    """Weights as one row; a single column is repeated for every task."""
    size = int(np.prod(shape))
    if w is None:
        return np.ones(size)
    given = np.asarray(w, dtype=np.float64)
    if given.size == shape[0] != size:
        given = np.broadcast_to(given.reshape(-1, 1), shape)
    return given.reshape(-1)


def _is_absent(y: NDArray[Any], w: Any) -> bool:
    """Whether DeepChem put zeros in the place of y and w that were not given."""
    return y.ndim == 2 and y.shape[1] == 1 and w is not None and not (y.any() or np.any(w))


def _columns_of(x: NDArray[Any], y: NDArray[Any], w: Any) -> NDArray[Any]:
    """Columns of X whose entries have y as their own labels."""
    ntasks = x.shape[1]
    if y.ndim == 2 and y.shape[0] == len(x) and 0 < y.shape[1] < ntasks:
        own = np.array([[entry.label_summary for entry in row] for row in x], dtype=np.float64)
        width = y.shape[1]
        counts = _weights(w, y.shape).reshape(y.shape) > 0
        same = [
            start
            for start in range(ntasks - width + 1)
            if np.allclose(own[:, start : start + width][counts], y[counts], rtol=1e-6)
        ]
        if len(same) == 1 and counts.any():
            return x[:, same[0] : same[0] + width]
    raise ValueError(
        f"X holds {ntasks} entries in a row, one for each task, and y has shape {y.shape} instead "
        f"of {x.shape}. DeepChem's TaskSplitter takes columns of y and leaves X as it is: this "
        "works where the entries' own labels tell which columns these are. Otherwise make the data "
        "sets yourself: NumpyDataset(X[:, tasks], y[:, tasks], w[:, tasks])."
    )
