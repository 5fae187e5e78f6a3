"""The training of a network for densities: steps, losses, validation."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from deepchem.data import Dataset

from deepchem_xc._values import whole_number
from deepchem_xc.densities import DensityLoss
from deepchem_xc.densities.energy_reference import EnergyReference, energy_loss
from deepchem_xc.densities.references import Reference, errors_of, loss_of
from deepchem_xc.models.checkpoint import write_best
from deepchem_xc.models.density_checkpoints import DensityCheckpoints
from deepchem_xc.models.density_rows import density_loss, rows_of, weights_of
from deepchem_xc.models.options import checked_callbacks, checked_checkpoints
from deepchem_xc.models.progress import Best
from deepchem_xc.models.progress_bar import progress_bar
from deepchem_xc.models.training_log import EpochRecord, Stopwatch
from deepchem_xc.store import digest

logger = logging.getLogger(__name__)


class DensityTraining(DensityCheckpoints):
    """A DeepChem model of densities whose training can be interrupted, base of `DensityModel`.

    Attributes
    ----------
    density_loss : DensityLoss
        What the training minimises.
    energy_weight : float
        Weight of the free energy's error (Hartree per atom) beside `density_loss`.
    moment_scales : (float, float)
        Between these, initial moments are scaled in a training.
    ecut : float or None
        Cutoff to which records are brought in a training, Hartree; None keeps theirs.
    seed : int
        Seed of the order of structures.
    max_gradient_norm : float or None
        Norm to which gradients are limited.
    progress : bool or None
        Whether a bar is shown; see `progress_bar`.
    """

    density_loss: DensityLoss
    energy_weight: float
    moment_scales: tuple[float, float]
    _functional: Any
    _cutoff: float | None
    seed: int
    max_gradient_norm: float | None
    progress: bool | None

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._kept: WeakKeyDictionary[Any, Reference] = WeakKeyDictionary()
        self._kept_energies: WeakKeyDictionary[Any, EnergyReference] = WeakKeyDictionary()
        super().__init__(*arguments, **keywords)

    @property
    def epoch(self) -> int:
        """Number of epochs done since the model was made, including those before a checkpoint."""
        return self._progress.epoch

    @property
    def history(self) -> list[EpochRecord]:
        """Records of the epochs done; `validation_loss` is the density error (%)."""
        return self._progress.history

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best validation so far, counted from 0; None without one."""
        best = self._progress.best
        return best.epoch if best is not None and math.isfinite(best.loss) else None

    def fit(
        self,
        dataset: Dataset,
        nb_epoch: int = 10,
        max_checkpoints_to_keep: int = 5,
        checkpoint_interval: int = 1000,
        deterministic: bool = False,
        restore: bool = False,
        variables: list[torch.nn.Parameter] | None = None,
        loss: DensityLoss | str | None = None,
        callbacks: Callable[..., Any] | list[Callable[..., Any]] | None = None,
        all_losses: list[float] | None = None,
        *,
        validation: Dataset | None = None,
        validation_interval: int = 1,
        patience: int | None = None,
    ) -> float:
        """Train on records; parameters are those of DeepChem's `TorchModel.fit`, and three more.

        Parameters
        ----------
        dataset : Dataset
            X holds records of densities, (n,) or (n, 1), w their weights. y is not used.
        nb_epoch : int, optional
            Epochs to train for; with `restore`, the interrupted one counts as the first.
        max_checkpoints_to_keep, checkpoint_interval : int, optional
            Number of checkpoints, and steps between them; an interval of 0 writes none.
        deterministic : bool, optional
            Whether structures keep the order of the data set.
        restore : bool, optional
            Continue from the latest checkpoint: the weights are then those of a run without
            interruption, bit by bit on one machine.
        variables : optional
            Not supported: freeze parameters by ``requires_grad_(False)``.
        loss : DensityLoss or str, optional
            Loss for this fit.
        callbacks : callable or list, optional
            Called as ``f(model, step)`` after every step.
        all_losses : list, optional
            Logged losses are appended to it.
        validation : Dataset, optional
            Records whose mean density error (%) is kept in `history`; the best weights so far are
            kept in the file best.pt of the model's folder, for `use_best`.
        validation_interval : int, optional
            Epochs between validations.
        patience : int, optional
            Number of successive validations without an improvement that ends the training.

        Returns
        -------
        float
            Mean loss of the steps since the last logged one.

        Raises
        ------
        ValueError
            For an empty data set, anything other than records, and records that are damaged, of
            unknown elements, or made with another functional or other potentials; for weights that
            are negative, NaN or all zero, and options without effect.
        RuntimeError
            If the loss is no longer finite; earlier checkpoints are kept.
        """
        nb_epoch = whole_number(nb_epoch, "nb_epoch")
        if variables is not None:
            raise ValueError(
                "variables is not supported: freeze the others with parameter.requires_grad_(False)"
                ", see dict(model.network.named_parameters())."
            )
        if patience is not None and validation is None:
            raise ValueError("patience needs validation=..., the data set to judge by.")
        chosen = self.density_loss if loss is None else density_loss(loss)
        keep, interval = checked_checkpoints(max_checkpoints_to_keep, checkpoint_interval)
        patience = None if patience is None else whole_number(patience, "patience")
        every = whole_number(validation_interval, "validation_interval")
        hooks = checked_callbacks(callbacks)
        self._ensure_built()
        if restore:
            self.restore()
        references = self._references(dataset)
        energies = self._energy_references(dataset) if self.energy_weight > 0.0 else None
        weights = weights_of(dataset)
        judged = None if validation is None else self._references(validation)
        over = False
        if judged is not None:
            identity = digest([len(judged), [float(r.wanted.abs().sum()) for r in judged]])
            best = self._progress.best
            if best is None or best.identity != identity:
                self._progress.best = None
            elif not restore:
                best.waited = 0
            over = self._is_over(patience)
        nbatches = math.ceil(len(references) / self.batch_size)
        progress = self._progress
        if progress.batch > 0 and nbatches != progress.nbatches:
            raise ValueError(
                f"the training stopped after {progress.batch} of {progress.nbatches} batches of an "
                f"epoch and cannot continue with {nbatches}: give the same data set and batch_size."
            )
        last, recent, mean, watch = progress.epoch + nb_epoch, [], math.nan, Stopwatch()
        steps = nb_epoch * nbatches - progress.batch
        self.model.train()
        with progress_bar(self.progress, total=steps, desc="training", unit="step") as bar:
            while progress.epoch < last and not over:
                order = np.arange(len(references))
                if not deterministic:
                    order = np.random.default_rng((self.seed, progress.epoch)).permutation(order)
                progress.nbatches = nbatches
                piece = order[progress.batch * self.batch_size :][: self.batch_size].tolist()
                batch = [self._with_varied_moments(references[i], i) for i in piece]
                factors = [weights[i] for i in piece]
                of_energy = None if energies is None else [energies[i] for i in piece]
                recent.append(self._step(batch, factors, chosen, of_energy))
                progress.record.seconds += watch.lap()
                self._global_step += 1
                progress.batch += 1
                if progress.batch == progress.nbatches:
                    progress.end_epoch()
                    if judged is not None and progress.epoch % every == 0:
                        self._validate(judged, identity, chosen.points)
                        over = self._is_over(patience)
                        watch.lap()  # validation is no part of the next epoch
                    logger.info(self.history[-1].line())
                bar.set_postfix(loss=f"{recent[-1]:.3g}", refresh=False)
                bar.update()
                if self._global_step % self.log_frequency == 0:
                    mean, recent = self._log(recent, all_losses), []
                if interval > 0 and self._global_step % interval == 0:
                    self.save_checkpoint(keep)
                for hook in hooks:
                    hook(self, self._global_step)
        if recent:
            mean = self._log(recent, all_losses)
        if interval > 0:
            self.save_checkpoint(keep)
        return mean

    def _step(
        self,
        batch: Sequence[Reference],
        factors: Sequence[float],
        loss: DensityLoss,
        energies: Sequence[EnergyReference] | None,
    ) -> float:
        """Take a step; returns the loss before it."""
        optimizer, record = self._pytorch_optimizer, self._progress.record
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError("no parameter requires gradients: there is nothing to train.")
        if not any(factors):  # structures without weight
            return 0.0
        total: float | None = None
        # From the step alone, so that a training that goes on draws the same points.
        draw = (self.seed, self._global_step)

        def closure() -> torch.Tensor:
            nonlocal total
            optimizer.zero_grad()
            with torch.enable_grad():
                found = loss_of(self.predictor, batch, loss, factors, draw)
                if energies is not None:
                    error = energy_loss(self.predictor, energies, loss.weights, factors)
                    found = found + self.energy_weight * error
                if self.regularization_loss is not None:
                    found = found + self.regularization_loss()
                found.backward()
            value = float(found.detach())
            total = value if total is None else total
            limit = math.inf if self.max_gradient_norm is None else self.max_gradient_norm
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
            if not (math.isfinite(norm) and math.isfinite(value)):
                raise RuntimeError(
                    f"the loss is {value:g} and the norm of its gradient {norm:g} in epoch "
                    f"{self.epoch}: lower learning_rate, or give max_gradient_norm=1.0, and "
                    "restore the last checkpoint."
                )
            record.gradient_norm = max(norm, record.gradient_norm or 0.0)
            return found

        optimizer.step(closure)
        if self._lr_schedule is not None:
            self._lr_schedule.step()
        assert total is not None
        for _ in batch:
            record.add("density", total)
        return total

    def _with_varied_moments(self, reference: Reference, index: int) -> Reference:
        """Differently in each epoch, by its number, so that a training can be resumed."""
        seed = (self.seed, self.epoch, index)
        return reference.with_varied_moments(self.predictor, self.moment_scales, seed)

    def _validate(
        self, judged: Sequence[Reference], identity: str, points: int | None = None
    ) -> None:
        progress, record = self._progress, self._progress.history[-1]
        record.validation_loss = float(np.mean(errors_of(self.predictor, judged, points)))
        record.validation_errors = {"density (%)": record.validation_loss}
        found = Best(identity, record.validation_loss, 0, record.epoch)
        if found.is_better_than(progress.best):
            progress.best = found
            write_best(self._state(), Path(self.model_dir), self._format)
        elif progress.best is not None:
            progress.best.waited += 1

    def _is_over(self, patience: int | None) -> bool:
        best = self._progress.best
        return patience is not None and best is not None and best.waited >= patience

    def _log(self, losses: list[float], all_losses: list[float] | None) -> float:
        mean = sum(losses) / len(losses)
        if all_losses is not None:
            all_losses.append(mean)
        logger.info("step %d: mean loss %g", self._global_step, mean)
        if self.tensorboard:
            self._log_scalar_to_tensorboard("loss", mean, self._global_step)
        return mean

    def _references(self, dataset: Any) -> list[Reference]:
        """Prepared records of a data set, kept as long as the records."""
        found = []
        for record in rows_of(dataset):
            self.predictor.check_record(record)  # before it is taken for a key
            if record not in self._kept:
                self._kept[record] = Reference.of(self.predictor, record, self._cutoff)
            found.append(self._kept[record])
        return found

    def _energy_references(self, dataset: Any) -> list[EnergyReference]:
        """Calculations of a data set's records, kept as long as the records."""
        found = []
        for record in rows_of(dataset):
            self.predictor.check_record(record)
            if record not in self._kept_energies:
                made = EnergyReference.of(self.predictor, record, self._functional)
                self._kept_energies[record] = made
            found.append(self._kept_energies[record])
        return found
