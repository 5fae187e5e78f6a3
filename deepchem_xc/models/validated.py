"""Validation during a training: its loss, the best functional so far, and when to stop."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from deepchem.data import Dataset

from deepchem_xc._caller import users_stacklevel
from deepchem_xc._values import whole_number
from deepchem_xc.feat.calculation import digest
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.losses.objective import LossFunction, Objective
from deepchem_xc.models.checkpoint import best_checkpoint, read_checkpoint, write_best
from deepchem_xc.models.checks import check_entries, check_solvers, check_weighted
from deepchem_xc.models.distributed import Team
from deepchem_xc.models.labels import empty_cells, labels_of
from deepchem_xc.models.options import checked_dataset
from deepchem_xc.models.predictions import Predictions, SkippedWarning
from deepchem_xc.models.progress import Best
from deepchem_xc.models.resumable import ResumableModel
from deepchem_xc.models.step import LabelledBatch
from deepchem_xc.models.tasks import task_entries
from deepchem_xc.models.training_state import check_functional
from deepchem_xc.xc import XCFunctional

logger = logging.getLogger(__name__)


class Schedule(NamedTuple):
    """When to validate, on what, and when to stop."""

    batch: LabelledBatch
    interval: int
    """Epochs between validations."""
    patience: int | None
    """Validations without an improvement after which the training ends."""
    loss: LossFunction | None
    """Instead of the objective's."""
    identity: str
    """Digest of entries, labels, weights and scales: losses of others cannot be compared."""


class ValidatedModel(ResumableModel):
    """A model that is validated while it is trained, the base of `TrainingLoop`.

    Attributes
    ----------
    objective : Objective
        The loss, of validation too.
    """

    objective: Objective

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._team = Team()
        super().__init__(*arguments, **keywords)

    def validation_loss(self, dataset: Dataset) -> float:
        """Mean loss of a data set at self-consistent values, as `fit` computes it for `validation`.

        Parameters
        ----------
        dataset : Dataset
            X holds entries, y their labels, w their weights.

        Returns
        -------
        float
            Without entries whose calculation fails, which `skipped` then names.

        Raises
        ------
        ValueError
            As `fit`.
        EntryError
            If a calculation fails, unless ``on_failure="skip"``.
        RuntimeError
            If all calculations fail.
        """
        predictions, batch = self._predicted(self._schedule(dataset, 1, None, None).batch)
        self.skipped = predictions.skipped
        return self._mean_loss(batch, predictions, None)

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best validation so far, counted from 0; None without one."""
        best = self._progress.best
        return best.epoch if best is not None and math.isfinite(best.loss) else None

    def best_functional(self) -> XCFunctional:
        """Copy of the functional with the weights of the best validation so far.

        Raises
        ------
        ValueError
            If there was no validation, or its file is damaged or of another functional.
        """
        path = best_checkpoint(Path(self.model_dir))
        state = read_checkpoint(path, self.device)
        check_functional(self.model, state, str(path))
        found = copy.deepcopy(self.functional)
        weights = state["model_state_dict"].items()
        found.load_state_dict({name.removeprefix("functional."): w for name, w in weights})
        return found

    def _schedule(
        self, dataset: Any, interval: Any, patience: Any, loss: LossFunction | None
    ) -> Schedule:
        """Validation on a data set, checked."""
        checked_dataset(dataset)
        entries, y, w, _ = task_entries(dataset.X, dataset.y, dataset.w)
        weights = w.tolist()
        check_entries(entries, weights)
        check_solvers(self.functional, entries)
        check_weighted(entries, weights, self.objective.type_weights)
        every = LabelledBatch(entries, labels_of(entries, y, self.transformers, weights), weights)
        counts = np.array(weights) * _factors(entries, self.objective) > 0
        batch = every.part(np.flatnonzero(~empty_cells(*every) & counts).tolist())
        labels = [label.tolist() for label in batch.labels]
        scales = [self.objective.scales[entry.entry_type] for entry in batch.entries]
        factors = _factors(batch.entries, self.objective).tolist()
        identities = [entry.identity for entry in batch.entries]
        identity = digest([identities, labels, batch.weights, scales, factors])
        return Schedule(
            batch,
            whole_number(interval, "validation_interval"),
            None if patience is None else whole_number(patience, "patience"),
            loss,
            identity,
        )

    def _begin_validation(self, schedule: Schedule, restored: bool) -> bool:
        """Prepare the state for a fit; whether a restored training has stopped already."""
        best = self._progress.best
        if best is None or best.identity != schedule.identity:
            self._progress.best = None
        elif not restored:
            best.waited = 0
        return self._is_over(schedule)

    def _validate(self, schedule: Schedule) -> bool:
        """Validate, if it is time to; whether the training should stop.

        Of several processes the first one computes, and all decide by its numbers.
        """
        progress = self._progress
        if progress.epoch % schedule.interval:
            return False
        record = progress.history[-1]
        self._team.share_densities(self.ground_states)  # the best functional's file holds all
        record.validation_loss, record.validation_errors, nskipped = self._team.once(
            "validation", lambda: self._judged(schedule)
        )
        found = Best(schedule.identity, record.validation_loss, nskipped, record.epoch)
        if math.isfinite(found.loss) and found.is_better_than(progress.best):
            progress.best = found
            if self._team.leads:
                state = {**self.training_state().state_dict(), "ground_states": {}}
                write_best(state, Path(self.model_dir))
        elif progress.best is None:
            progress.best = Best(schedule.identity, math.inf, nskipped, record.epoch, waited=1)
        else:
            progress.best.waited += 1
        over = self._is_over(schedule)
        if over and progress.best is not None and self._team.leads:
            logger.info("stopped after epoch %d: %s", record.epoch, asdict(progress.best))
        return over

    def _judged(self, schedule: Schedule) -> tuple[float, dict[str, float], int]:
        """Loss, errors of each type, and number of entries that failed."""
        try:
            predictions, batch = self._predicted(schedule.batch)
        except RuntimeError as error:
            if self.on_failure == "raise":
                raise
            warnings.warn(f"no errors: {error}", SkippedWarning, stacklevel=users_stacklevel())
            return math.inf, {}, len(schedule.batch.entries)
        loss = self._mean_loss(batch, predictions, schedule.loss)
        return loss, _errors(batch, predictions), len(predictions.skipped)

    def _is_over(self, schedule: Schedule) -> bool:
        best = self._progress.best
        return (
            schedule.patience is not None
            and best is not None
            and (best.waited >= schedule.patience)
        )

    def _predicted(self, batch: LabelledBatch) -> tuple[Predictions, LabelledBatch]:
        """Predictions, and the part of a batch that has one."""
        skip = self.on_failure == "skip"
        predictions = Predictions(self.model, batch.entries, skip, progress=self.progress)
        return predictions, batch.part(predictions.there)

    def _mean_loss(
        self, batch: LabelledBatch, predictions: Predictions, loss: LossFunction | None
    ) -> float:
        values = predictions.values()
        found = [torch.as_tensor(values[i]) for i in predictions.there]
        return float(self.objective(batch.entries, found, batch.labels, batch.weights, loss))


def _factors(entries: Sequence[DFTEntry], objective: Objective) -> np.ndarray:
    return np.array([objective.type_weights[entry.entry_type] for entry in entries])


def _errors(batch: LabelledBatch, predictions: Predictions) -> dict[str, float]:
    """Mean absolute error of each type, by its name and unit; of arrays, the mean deviation."""
    deviations: dict[str, list[float]] = {}
    values = predictions.values()
    for entry, label, i in zip(batch.entries, batch.labels, predictions.there, strict=True):
        error = float(np.sqrt(np.mean(np.square(values[i] - label))))
        deviations.setdefault(f"{entry.entry_type} ({entry.unit})", []).append(error)
    return {name: sum(found) / len(found) for name, found in sorted(deviations.items())}
