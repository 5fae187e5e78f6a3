"""The loop of training: batches, steps that are whole or not taken, the position in the run."""

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
from deepchem_xc.losses.objective import LossFunction, Objective, elementwise
from deepchem_xc.models.checks import check_entries, check_trainable, check_weighted
from deepchem_xc.models.dft_xc import EXPECTED_FAILURES, EntryError
from deepchem_xc.models.evaluation import Batch, EvaluatedModel
from deepchem_xc.models.functional import make_functional
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.models.labels import entries_of, labels_of, warn_of_other_size
from deepchem_xc.models.options import (
    checked_callbacks,
    checked_checkpoints,
    checked_dataset,
)
from deepchem_xc.models.step import LabelledBatch, Step
from deepchem_xc.models.training_log import EpochRecord, Stopwatch
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.networks import check_weights

logger = logging.getLogger(__name__)


class TrainingLoop(EvaluatedModel):
    """A DeepChem model whose training can be interrupted anywhere, the base of `XCModel`.

    Attributes
    ----------
    objective : Objective
        The loss.
    seed : int
        Of the order of entries.
    history : list of EpochRecord
        Epochs done.
    """

    objective: Objective
    seed: int
    history: list[EpochRecord]
    # Of TorchModel.
    _pytorch_optimizer: Any
    _lr_schedule: Any

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.history = []
        self._record = EpochRecord(0)
        self._epoch, self._batch, self._nbatches = 0, 0, 1
        self._active: tuple[Any, Any] | None = None
        # Whether this fit has warned of labels of another size.
        self._said = False
        self._whole_batches_may_fail = False
        # Parameters that the optimiser was made of.
        self._optimised: list[torch.nn.Parameter] | None = None
        super().__init__(*arguments, **keywords)

    @property
    def functional(self) -> XCFunctional:
        """What is trained; another one may be set, whose first step is self-consistent."""
        return self.model.functional

    @functional.setter
    def functional(self, functional: XCFunctional) -> None:
        made = make_functional(functional, None, None)
        self.model.functional = made.to(self.device)

    @property
    def states(self) -> GroundStates:
        """Ground states that are kept."""
        return self.model.states

    @property
    def epoch(self) -> int:
        """Epochs done since the model was made, those before a checkpoint included."""
        return self._epoch

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
        a batch may fail as a whole: `RuntimeError` is raised if all of them do. That no batch has
        any weight shows at the end only; `ValueError` is raised then.
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
        if done and not any(record.counts for record in done):
            reason = next(iter(done[0].skipped.values()))
            raise RuntimeError(f"all {len(done)} batches failed; the first: {reason}")
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
    ) -> float:
        if isinstance(variables, torch.Tensor):
            variables = [variables]
        variables = variables if variables is None or isinstance(variables, str) else [*variables]
        keep, interval = checked_checkpoints(max_checkpoints_to_keep, checkpoint_interval)
        hooks = checked_callbacks(callbacks)
        check_trainable(self.functional, variables)
        chosen = None if loss is None else elementwise(loss)
        self._active = self._optimizer(variables)
        if restore:
            self.restore()
        check_weights(self.functional)
        self.model.train()
        recent: list[float] = []
        mean = math.nan
        self._said = False
        watch = Stopwatch()
        self.states.begin_steps()
        try:
            for batch in batches:
                # Callbacks may have frozen or replaced parameters.
                check_trainable(self.functional, variables)
                self._active = optimizer, schedule = self._optimizer(variables)
                value = self._step(optimizer, batch, chosen)
                if value is not None:
                    if schedule is not None:
                        schedule.step()
                    check_weights(self.functional)
                    recent.append(value)
                self.states.end_batch()
                self._global_step += 1
                self._advance(watch)
                if self._global_step % self.log_frequency == 0 and recent:
                    mean = self._log(recent, all_losses)
                    recent = []
                due = interval > 0 and self._global_step % interval == 0
                if due or hooks:
                    with self.states.between_steps():
                        if due:
                            self.save_checkpoint(keep)
                        for hook in hooks:
                            hook(self, self._global_step)
        finally:
            # Whatever ended it: a graph whose derivative was asked for cannot be used again.
            self.states.end_steps()
        if recent:
            mean = self._log(recent, all_losses)
        if interval > 0:
            self.save_checkpoint(keep)
        return mean

    def _watched(
        self, generator: Iterable[Batch], seen: list[LabelledBatch]
    ) -> Iterator[LabelledBatch]:
        """Labelled batches; `seen` keeps the last one as long as none has any weight."""
        weighted = False
        for batch in generator:
            labelled = self._labelled(batch)
            factors = self.objective.type_weights
            pairs = zip(labelled.entries, labelled.weights, strict=True)
            weighted = weighted or any(w * factors[entry.entry_type] for entry, w in pairs)
            seen[:] = [] if weighted else [labelled]
            yield labelled

    def _labelled(self, batch: Batch) -> LabelledBatch:
        """A batch as DeepChem hands it over."""
        inputs, labels, weights = _parts(batch)
        entries = entries_of(inputs[0])
        w = np.ones(len(entries)).tolist()
        if len(weights):
            w = np.asarray(weights[0], dtype=np.float64).reshape(-1).tolist()
        check_entries(entries, w)
        if not len(labels):
            raise ValueError("a batch is ([entries], [y], [weights]); y is missing.")
        return LabelledBatch(entries, labels_of(entries, labels[0], self.transformers, w), w)

    def _epochs(
        self, dataset: Dataset, nb_epoch: int, deterministic: bool
    ) -> Iterator[LabelledBatch]:
        """Batches from where the model stands; it is read when the first one is asked for."""
        dataset = checked_dataset(dataset)
        every = self._labelled(([dataset.X], [dataset.y], [dataset.w]))
        check_weighted(every.entries, every.weights, self.objective.type_weights)
        entries = every.entries
        last = self._epoch + nb_epoch
        nbatches = math.ceil(len(entries) / self.batch_size)
        if self._batch > 0 and nbatches != self._nbatches:
            raise ValueError(
                f"the training stopped after {self._batch} of {self._nbatches} batches of an epoch "
                f"and cannot go on with {nbatches}: give the same data set and batch_size."
            )
        while self._epoch < last:
            order = np.arange(len(entries))
            if not deterministic:
                order = np.random.default_rng((self.seed, self._epoch)).permutation(len(entries))
            self._nbatches = nbatches
            piece = order[self._batch * self.batch_size :][: self.batch_size]
            yield every.part(piece)

    def _step(
        self, optimizer: Any, batch: LabelledBatch, loss: LossFunction | None
    ) -> float | None:
        """Take a step; the loss before it, or None if none was taken."""
        good, values = [], []
        for i, entry in enumerate(batch.entries):
            try:
                values.append(self.model.training_value(entry, self._epoch))
                good.append(i)
            except EntryError as error:
                self._skip([entry], error)
        if not good:
            return None
        used = batch.part(good)
        if not self._said:
            counts = [i for i, weight in enumerate(used.weights) if weight > 0]
            part = used.part(counts)
            numbers = [values[i].detach().cpu().numpy() for i in counts]
            self._said = warn_of_other_size(part.entries, part.labels, numbers)
        try:
            total = Step(self, optimizer, used, loss).take(values)
        except EXPECTED_FAILURES as error:
            # Which entry it was cannot be told apart any more: none of them is used.
            self._skip(used.entries, EntryError(used.entries, error, self._epoch))
            return None
        except EntryError as error:
            self._skip(used.entries, error)
            return None
        with torch.no_grad():
            for i, value in enumerate(values):
                one = used.part([i])
                single = self.objective(one.entries, [value], one.labels, one.weights, loss)
                self._record.add(one.entries[0].entry_type, float(single))
        return float(total)

    def _skip(self, entries: list[DFTEntry], error: EntryError) -> None:
        if self.on_failure == "raise":
            self._begin_epoch()
            raise error
        for entry in entries:
            self._record.skip(entry.name, str(error))

    def _begin_epoch(self) -> None:
        self._batch, self._nbatches = 0, 1
        self._record = EpochRecord(self._epoch)

    def _advance(self, watch: Stopwatch) -> None:
        """Move the position on by one batch."""
        report, record = self.states.report, self._record
        record.seconds += watch.lap()
        record.calculations += report.calculations
        if report.largest is not None:
            record.frozen_error = max(report.largest, record.frozen_error or 0.0)
        self.states.report = type(report)()
        self._batch += 1
        if self._batch < self._nbatches:
            return
        if record.skipped and not record.counts and not self._whole_batches_may_fail:
            reason = next(iter(record.skipped.values()))
            self._begin_epoch()
            raise RuntimeError(f"all entries of epoch {self._epoch} failed; the first: {reason}")
        self.history.append(record)
        self._epoch += 1
        self._begin_epoch()

    def _log(self, losses: list[float], all_losses: list[float] | None) -> float:
        mean = sum(losses) / len(losses)
        if all_losses is not None:
            all_losses.append(mean)
        logger.info("step %d: mean loss %g", self._global_step, mean)
        if self.tensorboard:
            self._log_scalar_to_tensorboard("loss", mean, self._global_step)
        if self.wandb_logger is not None:
            self.wandb_logger.log_data({"train/loss": mean}, step=self._global_step)
        return mean

    def _optimizer(self, variables: Any) -> tuple[Any, Any]:
        """Optimiser and schedule of all parameters, or of some; kept from fit to fit."""
        self._ensure_built()
        if variables is None:
            return self._pytorch_optimizer, self._lr_schedule
        key = tuple(variables)
        if key not in self._optimizer_for_vars:
            optimizer = self.optimizer._create_pytorch_optimizer(list(key))
            rate = self.optimizer.learning_rate
            schedule = (
                rate._create_pytorch_schedule(optimizer)
                if hasattr(rate, "_create_pytorch_schedule")
                else None
            )
            self._optimizer_for_vars[key] = (optimizer, schedule)
        found: tuple[Any, Any] = self._optimizer_for_vars[key]
        return found

    def _ensure_built(self) -> None:
        """The optimiser is one of the parameters that the functional has now."""
        super()._ensure_built()
        before, now = self._optimised, list(self.model.parameters())
        self._optimised = now
        same = before is None or [id(p) for p in before] == [id(p) for p in now]
        if not same:
            self._renew_optimizer()

    def _renew_optimizer(self) -> None:
        """After layers or parameters were replaced; what stayed keeps its state."""
        old, schedule = self._pytorch_optimizer, self._lr_schedule
        new = self.optimizer._create_pytorch_optimizer(self.model.parameters())
        groups = new.param_groups
        here = {id(parameter) for group in groups for parameter in group["params"]}
        new.state.update({p: state for p, state in old.state.items() if id(p) in here})
        if schedule is not None:
            self._lr_schedule = self.optimizer.learning_rate._create_pytorch_schedule(new)
            self._lr_schedule.load_state_dict(schedule.state_dict())
        if len(groups) == len(old.param_groups):
            for group, former in zip(groups, old.param_groups, strict=True):
                group["lr"] = former["lr"]
        self._pytorch_optimizer = new
        logger.info("the functional has other parameters than before: its optimiser is a new one")


def _parts(batch: Any) -> tuple[Any, Any, Any]:
    """Entries, y and weights of a batch, each in a list."""
    given = isinstance(batch, (tuple, list)) and len(batch) == 3
    if not given or not all(isinstance(part, (list, tuple)) for part in batch):
        raise ValueError(
            "a batch is ([entries], [y], [weights]), as model.default_generator(dataset) makes "
            f"them; got {[type(part).__name__ for part in batch] if given else batch!r}."
        )
    inputs, labels, weights = batch
    return inputs, labels, weights
