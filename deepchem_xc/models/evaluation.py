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
from deepchem_xc.models.labels import entries_of, labels_of, summaries_of
from deepchem_xc.models.options import checked_dataset, checked_transformers
from deepchem_xc.models.predictions import Predictions, scores

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
    """

    on_failure: str
    transformers: list[Transformer]
    skipped: dict[str, str]

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
        entries = entries_of(checked_dataset(dataset).X)
        expected = self._expected(dataset, entries, transformers)
        return scores(
            entries,
            expected,
            dataset.w,
            self.predict(dataset),
            metrics,
            per_task_metrics=per_task_metrics,
            use_sample_weights=use_sample_weights,
            n_classes=n_classes,
        )

    def evaluate_generator(
        self,
        generator: Iterable[Batch],
        metrics: Any,
        transformers: Sequence[Transformer] = (),
        per_task_metrics: bool = False,
    ) -> Any:
        """`evaluate` for batches ``([entries], [y], [weights])``."""
        x: list[Any] = []
        y: list[Any] = []
        w: list[Any] = []
        for inputs, labels, weights in generator:
            x += entries_of(inputs[0])
            y += np.asarray(labels[0]).reshape(-1).tolist()
            given = weights[0] if len(weights) else np.ones(np.size(inputs[0]))
            w += np.asarray(given).reshape(-1).tolist()
        column = np.empty(len(x), dtype=object)
        column[:] = x
        data = NumpyDataset(column, np.array(y), np.array(w))
        return self.evaluate(data, metrics, transformers, per_task_metrics)

    def predict(self, dataset: Dataset, *arguments: Any, **keywords: Any) -> Any:
        """One self-consistent number for each entry, (n,); parameters are those of `TorchModel`.

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
            NaN for skipped entries.

        Raises
        ------
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all calculations fail.
        """
        return self._compute(entries_of(checked_dataset(dataset).X)).values()

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
        entries = entries_of(checked_dataset(dataset).X)
        expected = self._expected(dataset, entries, transformers)
        deviations: dict[str, list[float]] = {}
        units: dict[str, str] = {}
        summaries = self._compute(entries).summaries()
        for entry, label, found in zip(entries, expected, summaries, strict=True):
            if np.isfinite(found) and np.isfinite(label):
                deviations.setdefault(entry.entry_type, []).append(abs(float(found - label)))
                units[entry.entry_type] = entry.unit
        return {
            name: (sum(values) / len(values), units[name], len(values))
            for name, values in sorted(deviations.items())
        }

    def _expected(
        self, dataset: Dataset, entries: Sequence[Any], transformers: Sequence[Transformer]
    ) -> NDArray[np.float64]:
        """Reference values of predictions, (n,); NaN for entries without weight and label."""
        made_by = checked_transformers(transformers) or self.transformers
        weights = np.asarray(dataset.w, dtype=np.float64).reshape(-1)
        check_entries(entries, weights.tolist())
        free = weights == 0
        unlabelled = np.array([not entry.has_label for entry in entries], dtype=bool)
        y = np.asarray(dataset.y)
        if unlabelled.all() and free.all() and not y.any():
            raise ValueError(
                "the data set holds no labels to compare with: y and w are 0, as DeepChem's "
                "NumpyDataset(X) sets them. Give y, or entries with true_val."
            )
        expected = summaries_of(entries, labels_of(entries, y, made_by, ~free))
        missing = ~np.isfinite(y.astype(np.float64).reshape(len(entries), -1)).all(1)
        expected[free & unlabelled & missing] = np.nan
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
        entries = [entry for inputs, _, _ in generator for entry in entries_of(inputs[0])]
        return self._compute(entries).summaries()

    def compute_saliency(self, X: Any) -> NoReturn:
        """Refuse saliency: the inputs of this model are calculations, not numbers."""
        raise ValueError(
            "saliency is the derivative with respect to inputs, and those of this model are "
            "calculations. For derivatives with respect to positions and cell take forces and "
            "stress of planewave.scf(...), for those with respect to weights backward() of any of "
            "its results."
        )

    def _compute(self, entries: list[Any]) -> Predictions:
        predictions = Predictions(self.model, entries, skip=self.on_failure == "skip")
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
