"""The training loop: batches, steps taken completely or not at all, the position in the run."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from deepchem.data import Dataset
from deepchem.models.losses import Loss

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.losses.objective import LossFunction, elementwise
from deepchem_xc.models.checks import (
    check_entries,
    check_solvers,
    check_trainable,
    check_weighted,
    warn_of_idle_jobs,
)
from deepchem_xc.models.dft_xc import EntryError
from deepchem_xc.models.evaluation import Batch
from deepchem_xc.models.failures import EXPECTED_FAILURES
from deepchem_xc.models.labels import empty_cells, labels_of, warn_of_other_size
from deepchem_xc.models.options import (
    checked_callbacks,
    checked_checkpoints,
    checked_dataset,
)
from deepchem_xc.models.progress_bar import training_bar
from deepchem_xc.models.side_by_side import JobsError
from deepchem_xc.models.step import LabelledBatch, Step, needs_closure
from deepchem_xc.models.tasks import task_entries
from deepchem_xc.models.training_log import Stopwatch
from deepchem_xc.models.validated import Schedule, ValidatedModel
from deepchem_xc.parallel import ClusterError
from deepchem_xc.xc.networks import check_weights

logger = logging.getLogger(__name__)


class TrainingLoop(ValidatedModel):
    """A DeepChem model whose training can be interrupted anywhere, the base of `XCModel`.

    Attributes
    ----------
    seed : int
        Seed of the order of entries.
    max_gradient_norm : float or None
        Norm to which gradients are limited.
    """

    seed: int
    max_gradient_norm: float | None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        # Whether this fit has warned of labels in other units.
        self._said = False
        self._whole_batches_may_fail = False
        super().__init__(*arguments, **keywords)

    def fit_generator(
        self,
        generator: Iterable[Batch],
        max_checkpoints_to_keep: int = 5,
        checkpoint_interval: int = 1000,
        restore: bool = False,
        variables: Any = None,
        loss: Loss | LossFunction | None = None,
        callbacks: Callable[..., Any] | list[Callable[..., Any]] | None = None,
        all_losses: list[float] | None = None,
    ) -> float:
        """Train on batches ``([entries], [y], [weights])``; every batch counts as an epoch.

        Parameters, results and errors are those of `fit`, except that with ``on_failure="skip"``
        a batch may fail as a whole: `RuntimeError` is raised if all of them do. If all weights are
        zero, this is noticed only at the end and raises `ValueError`.
        """
        first = len(self.history)
        seen: list[LabelledBatch] = []
        self._whole_batches_may_fail = True
        try:
            mean = self._train(
                self._watched(generator, seen),
                max_checkpoints_to_keep,
                checkpoint_interval,
                restore,
                variables,
                loss,
                callbacks,
                all_losses,
            )
        finally:
            self._whole_batches_may_fail = False
        done = self.history[first:]
        reasons = [reason for record in done for reason in record.skipped.values()]
        if reasons and not any(record.counts for record in done):
            raise RuntimeError(f"all {len(done)} batches failed; the first: {reasons[0]}")
        for batch in seen:
            check_weighted(batch.entries, batch.weights, self.objective.type_weights)
        return mean

    def _train(
        self,
        batches: Iterable[LabelledBatch],
        max_checkpoints_to_keep: int,
        checkpoint_interval: int,
        restore: bool,
        variables: Any,
        loss: Loss | LossFunction | None,
        callbacks: Callable[..., Any] | list[Callable[..., Any]] | None,
        all_losses: list[float] | None,
        validation: Schedule | None = None,
        steps: int | None = None,
    ) -> float:
        if isinstance(variables, torch.Tensor):
            variables = [variables]
        variables = variables if variables is None or isinstance(variables, str) else [*variables]
        keep, interval = checked_checkpoints(max_checkpoints_to_keep, checkpoint_interval)
        hooks = checked_callbacks(callbacks)
        check_trainable(self.functional, variables)
        chosen = None if loss is None else elementwise(loss)
        self._active = self._optimizer(variables)
        if self.max_gradient_norm is not None and needs_closure(self._active[0]):
            raise ValueError(
                f"max_gradient_norm has no place in {type(self._active[0]).__name__}, whose line "
                "search limits its steps itself and needs the true gradient: leave it out."
            )
        team = self._team
        team.join()
        if team.size > 1 and self.ground_states.jobs is not None:
            raise ValueError(
                f"jobs={self.ground_states.jobs!r} has no place in a training that torchrun shares "
                "between processes: leave it out, or start the training without torchrun."
            )
        if restore:
            team.restore(self)
        team.same_weights(self.functional)
        over = validation is not None and self._begin_validation(validation, restore)
        # A checkpoint, and a callback of any process, needs the densities of all.
        called = team.any(bool(hooks))
        check_weights(self.functional)
        self.model.train()
        recent: list[float] = []
        mean = math.nan
        self._said = False
        watch = Stopwatch()
        self.ground_states.begin_steps()
        try:
            show = self.progress if team.leads else False
            with (
                self.ground_states.workers(),
                training_bar(show, steps, self.ground_states) as bar,
            ):
                for batch in () if over else batches:
                    # Callbacks may have frozen or replaced parameters.
                    check_trainable(self.functional, variables)
                    self._active = optimizer, schedule = self._optimizer(variables)
                    self._refresh(batch, keep if interval > 0 else 0)
                    value = self._step(optimizer, batch, chosen)
                    if value is not None:
                        if schedule is not None:
                            schedule.step()
                        check_weights(self.functional)
                        recent.append(value)
                    self.ground_states.end_batch()
                    self._global_step += 1
                    ended = self._advance(watch)
                    if ended and validation is not None:
                        with self.ground_states.between_steps():
                            over = self._validate(validation)
                        watch.lap()  # validation is no part of the next epoch
                    if ended and team.leads:
                        logger.info(self.history[-1].line())
                    bar.update()
                    if self._global_step % self.log_frequency == 0 and recent:
                        mean = self._log(recent, all_losses)
                        recent = []
                    due = interval > 0 and self._global_step % interval == 0
                    if due or called:
                        team.share_densities(self.ground_states)
                        with self.ground_states.between_steps():
                            if due:
                                self.save_checkpoint(keep)
                            for hook in hooks:
                                hook(self, self._global_step)
                    if over:
                        break
            team.share_densities(self.ground_states)
        finally:
            # However it ended: graphs that backward() has used cannot be used again.
            self.ground_states.end_steps()
        if recent:
            mean = self._log(recent, all_losses)
        if interval > 0:
            self.save_checkpoint(keep)
        team.exchange("end", None)  # the first process has written all files
        return mean

    def _watched(
        self, generator: Iterable[Batch], seen: list[LabelledBatch]
    ) -> Iterator[LabelledBatch]:
        """Labelled batches; `seen` keeps the last one as long as all weights are zero."""
        weighted = False
        for batch in generator:
            labelled = self._labelled(batch)
            factors = self.objective.type_weights
            pairs = zip(labelled.entries, labelled.weights, strict=True)
            weighted = weighted or any(w * factors[entry.entry_type] for entry, w in pairs)
            seen[:] = [] if weighted else [labelled]
            yield labelled

    def _labelled(self, batch: Batch) -> LabelledBatch:
        """Labelled batch from one of DeepChem's, without the empty cells of a table."""
        inputs, labels, weights = _parts(batch)
        if not len(labels):
            raise ValueError("a batch is ([entries], [y], [weights]); y is missing.")
        entries, y, weight, _ = task_entries(
            inputs[0], labels[0], weights[0] if len(weights) else None
        )
        w = weight.tolist()
        check_entries(entries, w)
        check_solvers(self.functional, entries)
        labelled = LabelledBatch(entries, labels_of(entries, y, self.transformers, w), w)
        return labelled.part(np.flatnonzero(~empty_cells(*labelled)).tolist())

    def _epochs(
        self, dataset: Dataset, nb_epoch: int, deterministic: bool
    ) -> Iterator[LabelledBatch]:
        """Batches from the model's position, which is read when the first one is requested."""
        dataset = checked_dataset(dataset)
        every = self._labelled(([dataset.X], [dataset.y], [dataset.w]))
        check_weighted(every.entries, every.weights, self.objective.type_weights)
        entries = every.entries
        warn_of_idle_jobs(self.ground_states, entries)
        progress = self._progress
        last = progress.epoch + nb_epoch
        nbatches = math.ceil(len(entries) / self.batch_size)
        if progress.batch > 0 and nbatches != progress.nbatches:
            raise ValueError(
                f"the training stopped after {progress.batch} of {progress.nbatches} batches of an "
                f"epoch and cannot continue with {nbatches}: give the same data set and batch_size."
            )
        while progress.epoch < last:
            order = np.arange(len(entries))
            if not deterministic:
                order = np.random.default_rng((self.seed, progress.epoch)).permutation(len(entries))
            progress.nbatches = nbatches
            piece = order[progress.batch * self.batch_size :][: self.batch_size]
            yield every.part(piece)

    def _refresh(self, batch: LabelledBatch, keep: int) -> None:
        """Calculate in other processes what the batch needs, if the model has `jobs`."""
        try:
            self.ground_states.refresh(batch.entries, self._progress.epoch)
        except (JobsError, ClusterError):
            # A training that is restored goes on from what has come back.
            with self.ground_states.between_steps():
                self.save_checkpoint(keep)
            raise

    def _step(
        self, optimizer: Any, batch: LabelledBatch, loss: LossFunction | None
    ) -> float | None:
        """Take a step; returns the loss before it, or None if it was not taken."""
        epoch = self._progress.epoch
        good, values = [], []
        numbers: list[Any] = [*batch.labels, batch.weights]
        found = self._team.values(self.model, batch.entries, epoch, numbers)
        for i, value in enumerate(found):
            if isinstance(value, EntryError):
                self._skip([batch.entries[i]], value)
            else:
                values.append(value)
                good.append(i)
        if not good:
            return None
        used = batch.part(good)
        if not self._said and self._team.leads:
            counts = [i for i, weight in enumerate(used.weights) if weight > 0]
            part = used.part(counts)
            known = [values[i].detach().cpu().numpy() for i in counts]
            self._said = warn_of_other_size(part.entries, part.labels, known)
        try:
            step = Step(
                self.model,
                optimizer,
                self.objective,
                self.regularization_loss,
                loss,
                self._team,
                self.max_gradient_norm,
            )
            total = step.take(used, values, epoch)
        except EXPECTED_FAILURES as error:
            # It is unknown which entry caused this, so none of them is used.
            self._skip(used.entries, EntryError(used.entries, error, epoch))
            return None
        except EntryError as error:
            self._skip(used.entries, error)
            return None
        record = self._progress.record
        record.gradient_norm = max(step.gradient_norm or 0.0, record.gradient_norm or 0.0)
        with torch.no_grad():
            for i, value in enumerate(values):
                one = used.part([i])
                single = self.objective(one.entries, [value], one.labels, one.weights, loss)
                record.add(one.entries[0].entry_type, float(single))
        return float(total)

    def _skip(self, entries: list[DFTEntry], error: EntryError) -> None:
        if self.on_failure == "raise":
            self._progress.begin_epoch()
            raise error
        for entry in entries:
            self._progress.record.skip(entry.name, str(error))

    def _advance(self, watch: Stopwatch) -> bool:
        """Advance the position by one batch; whether an epoch has ended."""
        progress = self._progress
        report, record = self._team.merged(self.ground_states.report), progress.record
        record.seconds += watch.lap()
        record.calculations += report.calculations
        if report.largest is not None:
            record.frozen_error = max(report.largest, record.frozen_error or 0.0)
        self.ground_states.report = type(report)()
        progress.batch += 1
        if progress.batch < progress.nbatches:
            return False
        if record.skipped and not record.counts and not self._whole_batches_may_fail:
            reason = next(iter(record.skipped.values()))
            progress.begin_epoch()
            raise RuntimeError(f"all entries of epoch {progress.epoch} failed; the first: {reason}")
        progress.end_epoch()
        return True

    def _log(self, losses: list[float], all_losses: list[float] | None) -> float:
        mean = sum(losses) / len(losses)
        if all_losses is not None:
            all_losses.append(mean)
        if not self._team.leads:
            return mean
        logger.info("step %d: mean loss %g", self._global_step, mean)
        if self.tensorboard:
            self._log_scalar_to_tensorboard("loss", mean, self._global_step)
        if self.wandb_logger is not None:
            self.wandb_logger.log_data({"train/loss": mean}, step=self._global_step)
        return mean


def _parts(batch: Any) -> tuple[Any, Any, Any]:
    """Entries, y and weights of a batch, each in a list."""
    given = isinstance(batch, (tuple, list)) and len(batch) == 3
    if not given or not all(isinstance(part, (list, tuple)) for part in batch):
        raise ValueError(
            "a batch is ([entries], [y], [weights]), as from model.default_generator(dataset); "
            f"got {[type(part).__name__ for part in batch] if given else batch!r}."
        )
    inputs, labels, weights = batch
    return inputs, labels, weights
