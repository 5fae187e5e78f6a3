"""Predictions, metrics and errors by type of a model for data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from deepchem.data import Dataset, NumpyDataset
from deepchem.models.torch_models.torch_model import TorchModel
from deepchem.trans import Transformer
from numpy.typing import NDArray

from deepchem_xc.models.checks import check_entries
from deepchem_xc.models.compared import ComparedEntry, mean_errors
from deepchem_xc.models.labels import empty_cells, labels_of, summaries_of
from deepchem_xc.models.options import checked_dataset, checked_transformers
from deepchem_xc.models.predictions import Predictions, scores
from deepchem_xc.models.tasks import TaskEntries, task_entries

Batch = tuple[list[Any], list[Any], list[Any]]


class EvaluatedModel(TorchModel):
    """Predictions and metrics of a DeepChem model of a functional, the base of `ResumableModel`.

    Attributes
    ----------
    on_failure : str
        ``"raise"`` or ``"skip"``.
    transformers : list of Transformer
        Transformers that were applied to y of the data sets.
    skipped : dict
        ``{entry name: reason}`` of the last prediction or evaluation.
    progress : bool or None
        Whether a bar is shown; see `progress_bar`.
    """

    on_failure: str
    transformers: list[Transformer]
    skipped: dict[str, str]
    progress: bool | None

    def evaluate(
        self,
        dataset: Dataset,
        metrics: Any,
        transformers: Sequence[Transformer] = (),
        per_task_metrics: bool = False,
        use_sample_weights: bool = False,
        n_classes: int = 2,
    ) -> Any:
        """Metrics of self-consistent values; parameters are those of DeepChem's `Model.evaluate`.

        Parameters
        ----------
        dataset : Dataset
            X holds entries, y their labels.
        metrics : Metric, function or list
            Applied in the labels' units to entries that do not fail; the others are in `skipped`.
        transformers : sequence of Transformer, optional
            Transformers applied to y, to be undone; the model's by default.
        per_task_metrics, use_sample_weights, n_classes : optional
            As in DeepChem.

        Raises
        ------
        ValueError
            For entries without a label, y on another scale than the entries' own labels, and
            weights that are negative, NaN or not one for each entry.
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all calculations fail.
        """
        rows = _rows(dataset)
        expected = self._expected(rows, transformers)
        return scores(
            rows.entries,
            expected,
            rows.weights,
            self._compared(rows.entries, expected),
            metrics,
            per_task_metrics=per_task_metrics,
            use_sample_weights=use_sample_weights,
            n_classes=n_classes,
        )

    def evaluate_by_type(
        self,
        dataset: Dataset,
        metrics: Any,
        transformers: Sequence[Transformer] = (),
        use_sample_weights: bool = False,
    ) -> dict[str, dict[str, float]]:
        """Metrics of self-consistent values for each type of entry, whose unit they share.

        Parameters and errors are those of `evaluate`.

        Returns
        -------
        dict
            ``{type: {name of the metric: value}}``, of the types with an entry that has a label
            and did not fail. Values are in the type's unit, or its square, as the metric has it.
        """
        rows = _rows(dataset)
        expected = self._expected(rows, transformers)
        found = self._compared(rows.entries, expected)
        types = np.array([entry.entry_type for entry in rows.entries])
        there = np.isfinite(found) & np.isfinite(expected)
        return {
            str(name): scores(
                [entry for entry in rows.entries if entry.entry_type == name],
                expected[types == name],
                rows.weights[types == name],
                found[types == name],
                metrics,
                use_sample_weights=use_sample_weights,
            )
            for name in np.unique(types[there])
        }

    def evaluate_generator(
        self,
        generator: Iterable[Batch],
        metrics: Any,
        transformers: Sequence[Transformer] = (),
        per_task_metrics: bool = False,
    ) -> Any:
        """`evaluate` for batches ``([entries], [y], [weights])``."""
        batches = [
            (np.asarray(x[0], dtype=object), y[0], w[0] if len(w) else np.ones(np.shape(y[0])))
            for x, y, w in generator
        ]
        if not batches:
            raise ValueError("the generator has no batches: there is nothing to evaluate.")
        data = NumpyDataset(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))
        return self.evaluate(data, metrics, transformers, per_task_metrics)

    def predict(self, dataset: Dataset, *arguments: Any, **keywords: Any) -> Any:
        """One self-consistent number for each entry; parameters are those of `TorchModel`.

        Returns
        -------
        ndarray
            With the shape of the data set's labels: (n, 1); (n,) if y has this shape, as in data
            sets of 0.1.0; (n, ntasks) if X holds an entry for each task. NaN for skipped entries.

        Raises
        ------
        ValueError
            If it is not a data set of entries.
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all calculations fail.
        """
        return super().predict(checked_dataset(dataset), *arguments, **keywords)

    def predict_values(self, dataset: Dataset) -> list[np.ndarray]:
        """Self-consistent values of the entries, each with its label's shape and unit.

        Parameters
        ----------
        dataset : Dataset
            X holds entries; labels are not needed.

        Returns
        -------
        list of ndarray
            One for each entry, row by row; NaN for skipped entries.

        Raises
        ------
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all calculations fail.
        """
        return self._compute(_rows(dataset).entries).values()

    def errors_by_type(
        self, dataset: Dataset, transformers: Sequence[Transformer] = ()
    ) -> dict[str, tuple[float, str, int]]:
        """Mean absolute error of self-consistent values for each type.

        Parameters
        ----------
        dataset : Dataset
            X holds entries, y their labels.
        transformers : sequence of Transformer, optional
            Transformers applied to y; the model's by default.

        Returns
        -------
        dict
            ``{type: (error, unit, number of entries)}``; for arrays, the mean of their root mean
            square deviations. Skipped entries are left out.

        Raises
        ------
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all calculations fail.
        ValueError
            As `evaluate`.
        """
        return mean_errors(self.compare(dataset, transformers))

    def compare(
        self, dataset: Dataset, transformers: Sequence[Transformer] = ()
    ) -> list[ComparedEntry]:
        """Label and self-consistent prediction of each entry, in the entry's unit.

        Parameters
        ----------
        dataset, transformers
            As for `errors_by_type`.

        Returns
        -------
        list of ComparedEntry
            In the data set's order; without entries that have no label.

        Raises
        ------
        EntryError, RuntimeError, ValueError
            As `errors_by_type`.
        """
        rows = _rows(dataset)
        expected = self._expected(rows, transformers)
        summaries = self._compared(rows.entries, expected)
        return [
            ComparedEntry(entry.name, entry.entry_type, entry.unit, float(label), float(found))
            for entry, label, found in zip(rows.entries, expected, summaries, strict=True)
            if np.isfinite(label)
        ]

    def _compared(
        self, entries: Sequence[Any], expected: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Predictions, (n,), of entries with a label; NaN for the others, which take no time."""
        found = np.full(len(entries), np.nan)
        there = np.flatnonzero(np.isfinite(expected))
        found[there] = self._compute([entries[i] for i in there.tolist()]).summaries()
        return found

    def _expected(
        self, rows: TaskEntries, transformers: Sequence[Transformer]
    ) -> NDArray[np.float64]:
        """Reference values of predictions, (n,); NaN for entries without weight and label."""
        entries, y, weights, _ = rows
        made_by = checked_transformers(transformers) or self.transformers
        check_entries(entries, weights.tolist())
        free = weights == 0
        if not any(entry.has_label for entry in entries) and free.all() and not y.any():
            raise ValueError(
                "the data set holds no labels to compare with: y and w are 0, as DeepChem's "
                "NumpyDataset(X) sets them. Give y, or entries with true_val."
            )
        labels = labels_of(entries, y, made_by, ~free)
        expected = summaries_of(entries, labels)
        expected[empty_cells(entries, labels, weights)] = np.nan
        return expected

    def _predict(
        self,
        generator: Iterable[Batch],
        transformers: Sequence[Transformer],
        uncertainty: bool,
        other_output_types: Any,
    ) -> Any:
        """One number for each entry.

        Transformers apply to y: values of the model are already in the labels' units.
        """
        if uncertainty or other_output_types:
            return super()._predict(generator, transformers, uncertainty, other_output_types)
        self._ensure_built()
        batches = [
            task_entries(x[0], y[0] if len(y) else None, w[0] if len(w) else None)
            for x, y, w in generator
        ]
        entries = [entry for batch in batches for entry in batch.entries]
        shape = batches[0].shape if batches else (0, 1)
        return self._compute(entries).summaries().reshape(-1, *shape[1:])

    def compute_saliency(self, X: Any) -> NoReturn:
        """Refuse saliency: the inputs of this model are calculations, not numbers."""
        raise ValueError(
            "saliency is the derivative with respect to inputs, and those of this model are "
            "calculations. For derivatives with respect to positions and cell take forces and "
            "stress of planewave.scf(...), for those with respect to weights backward() of any of "
            "its results."
        )

    def _compute(self, entries: list[Any]) -> Predictions:
        predictions = Predictions(
            self.model, entries, self.on_failure == "skip", progress=self.progress
        )
        self.skipped = predictions.skipped
        return predictions

    def default_generator(
        self,
        dataset: Dataset,
        epochs: int = 1,
        mode: str = "fit",
        deterministic: bool = True,
        pad_batches: bool = True,
    ) -> Iterator[Batch]:
        """Batches of a data set in its order; no batch is padded by repeating entries."""
        return super().default_generator(dataset, epochs, mode, deterministic, pad_batches=False)

    def _prepare_batch(self, batch: Any) -> tuple[Any, Any, Any]:
        """Entries as a list; labels and weights stay float64."""
        inputs, labels, weights = batch
        tensors = [
            [torch.as_tensor(np.asarray(x, dtype=np.float64)).reshape(-1) for x in arrays or []]
            for arrays in (labels, weights)
        ]
        # TorchModel unpacks a list of one input.
        return [inputs[0]], tensors[0], tensors[1]


def _rows(dataset: Dataset) -> TaskEntries:
    checked_dataset(dataset)
    return task_entries(dataset.X, dataset.y, dataset.w)
