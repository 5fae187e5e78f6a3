"""Self-consistent values of entries and their metrics; some calculations may fail."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset, NumpyDataset
from deepchem.utils.evaluate import Evaluator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._modes import outside_inference_and_autocast
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.models.ahead import Ahead, known_ahead
from deepchem_xc.models.checks import check_solvers
from deepchem_xc.models.dft_xc import DFTXC, EntryError
from deepchem_xc.models.progress_bar import progress_bar
from deepchem_xc.xc.networks import check_weights

_BAR = "predicting"


class SkippedWarning(UserWarning):
    """Entries of a data set failed and were left out of predictions and metrics.

    Examples
    --------
    >>> from deepchem_xc.models import SkippedWarning
    >>> issubclass(SkippedWarning, UserWarning)
    True
    """


class Predictions:
    """Values of entries, computed in evaluation mode and without a graph.

    Parameters
    ----------
    module : DFTXC
        The functional and its ground states.
    entries : sequence of DFTEntry
        Entries to compute.
    skip : bool, optional
        Leave out entries whose calculation fails, with a `SkippedWarning`.
    progress : bool or None, optional
        Whether to show a bar; see `progress_bar`.

    Attributes
    ----------
    skipped : dict
        ``{entry name: reason}``; a second entry with the same name is "name (2)".

    Raises
    ------
    EntryError
        If a calculation fails, unless `skip`.
    RuntimeError
        If all calculations fail, or some do not come back from other processes.
    ValueError
        For a hybrid, and entries of crystals.

    Examples
    --------
    >>> from deepchem_xc.models.ground_states import GroundStates
    >>> from deepchem_xc.xc import PBE
    >>> functional = PBE(trainable=True)
    >>> Predictions(DFTXC(functional, GroundStates(functional)), []).summaries()
    array([], dtype=float64)
    """

    def __init__(
        self,
        module: DFTXC,
        entries: Sequence[DFTEntry],
        skip: bool = False,
        progress: bool | None = False,
    ) -> None:
        self.entries = list(entries)
        self.skipped: dict[str, str] = {}
        self._values: list[Tensor | None] = []
        with evaluation(module):
            check_weights(module.functional)
            check_solvers(module.functional, self.entries)
            ahead = self._ahead(module, progress)
            show = progress if ahead is None else False
            for entry in progress_bar(show, iterable=self.entries, desc=_BAR, unit="entry"):
                try:
                    self._values.append(module.prediction(entry, ahead))
                except EntryError as error:
                    if not skip:
                        raise
                    self._values.append(None)
                    self.skipped[self._unused(entry.name)] = str(error)
        self._report()

    def _ahead(self, module: DFTXC, progress: bool | None) -> Ahead | None:
        """What other processes compute; None without them."""
        if module.ground_states.jobs is None:
            return None
        with (
            module.ground_states.workers(),
            progress_bar(progress, desc=_BAR, unit="calculation") as bar,
        ):
            return known_ahead(module.ground_states, self.entries, bar)

    def _unused(self, name: str) -> str:
        count, unique = 2, name
        while unique in self.skipped:
            unique, count = f"{name} ({count})", count + 1
        return unique

    def _report(self) -> None:
        if not self.skipped:
            return
        first = next(iter(self.skipped.values()))
        if len(self.skipped) == len(self.entries):
            raise RuntimeError(f"all {len(self.entries)} entries failed; the first: {first}")
        warnings.warn(
            f"{len(self.skipped)} of {len(self.entries)} entries failed and are left out "
            f"({', '.join(self.skipped)}); the first: {first}",
            SkippedWarning,
            stacklevel=users_stacklevel(),
        )

    @property
    def there(self) -> list[int]:
        """Indices of the entries that did not fail."""
        return [i for i, value in enumerate(self._values) if value is not None]

    def summaries(self) -> NDArray[np.float64]:
        """One number for each entry (`DFTEntry.summary`), (n,); NaN if it failed."""
        pairs = zip(self.entries, self._values, strict=True)
        numbers = [np.nan if value is None else entry.summary(value) for entry, value in pairs]
        return np.array(numbers, dtype=np.float64)

    def values(self) -> list[NDArray[np.float64]]:
        """Values, each with its label's shape; NaN if it failed."""
        return [
            _missing(entry) if value is None else value.cpu().numpy()
            for entry, value in zip(self.entries, self._values, strict=True)
        ]


@contextlib.contextmanager
def evaluation(module: torch.nn.Module) -> Iterator[None]:
    """Context with all parts of a module in evaluation mode and without graphs.

    Examples
    --------
    >>> layer = torch.nn.Dropout()
    >>> with evaluation(layer):
    ...     print(layer.training)
    False
    >>> layer.training
    True
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with outside_inference_and_autocast(), torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def scores(
    entries: Sequence[DFTEntry],
    labels: NDArray[np.float64],
    weights: ArrayLike,
    predictions: NDArray[np.float64],
    metrics: Any,
    **options: Any,
) -> Any:
    """DeepChem's metrics for the entries that have a prediction.

    Parameters
    ----------
    entries : sequence of DFTEntry
        Entries of the data set.
    labels, weights, predictions : (n,)
        Their numbers; NaN marks a failed prediction or a missing label.
    metrics, **options
        As for `deepchem.utils.evaluate.Evaluator.compute_model_performance`.
    """
    there = np.isfinite(predictions) & np.isfinite(labels)
    if not there.any():
        raise RuntimeError(
            "no entry has both a prediction and a label: there is nothing to compare"
        )
    column = np.empty(int(there.sum()), dtype=object)
    column[:] = [entry for entry, kept in zip(entries, there, strict=True) if kept]
    w = np.asarray(weights, dtype=np.float64).reshape(-1)[there]
    data = NumpyDataset(column, labels[there], w)
    known = _Known(predictions[there])
    return Evaluator(known, data, []).compute_model_performance(metrics, **options)


class _Known:
    """The part of a model that DeepChem's evaluator calls."""

    def __init__(self, predictions: NDArray[np.float64]) -> None:
        self._predictions = predictions

    def predict(self, dataset: Dataset, transformers: Any) -> NDArray[np.float64]:
        return self._predictions


def _missing(entry: DFTEntry) -> NDArray[np.float64]:
    if entry.has_label:
        return np.full(entry.get_true_val().shape, np.nan)
    shape = entry.kind.label_shape(entry)
    return np.full(tuple(1 if size is None else size for size in shape), np.nan)
