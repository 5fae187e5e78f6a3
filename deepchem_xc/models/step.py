"""One step of an optimiser: whole, or not taken."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.losses.objective import LossFunction
from deepchem_xc.models.dft_xc import EXPECTED_FAILURES
from deepchem_xc.models.labels import Floats
from deepchem_xc.xc.networks import check_weights

if TYPE_CHECKING:
    from deepchem_xc.models.training_loop import TrainingLoop


class LabelledBatch(NamedTuple):
    """What a step is taken with."""

    entries: list[DFTEntry]
    labels: list[Floats]
    """Of the shapes and units of the entries' values."""
    weights: list[float]

    def part(self, indices: Iterable[int]) -> LabelledBatch:
        """Some of them."""
        chosen = list(indices)
        return LabelledBatch(
            [self.entries[i] for i in chosen],
            [self.labels[i] for i in chosen],
            [self.weights[i] for i in chosen],
        )


class Step:
    """A step on a batch.

    Parameters
    ----------
    model : TrainingLoop
        It has the functional, the objective and a regularisation loss.
    optimizer : torch.optim.Optimizer
        Of the functional's parameters.
    batch : LabelledBatch
        Entries whose calculations did not fail.
    loss : callable, optional
        Another loss than the objective's.
    """

    def __init__(
        self, model: TrainingLoop, optimizer: Any, batch: LabelledBatch, loss: LossFunction | None
    ) -> None:
        self.model, self.optimizer, self.batch, self.loss = model, optimizer, batch, loss

    def take(self, values: list[Tensor]) -> Tensor:
        """Take the step; returns the loss before it, 0-d, in no graph.

        Parameters
        ----------
        values : list of Tensor
            Of the entries, in the functional's graph.

        Raises
        ------
        FloatingPointError, EntryError and other `EXPECTED_FAILURES`
            Parameters and optimiser are as before then.
        """
        total = self._gradients(values)
        if _needs_closure(self.optimizer):
            self._search(total)
        else:
            self.optimizer.step()
        return total

    def _gradients(self, values: list[Tensor]) -> Tensor:
        """The loss, in no graph; its gradients are filled in."""
        entries, labels, weights = self.batch
        total = self.model.objective(entries, values, labels, weights, self.loss)
        if not total.requires_grad:
            raise FloatingPointError(
                "it does not depend on the functional's parameters here: a gap of zero, for "
                "example, has no derivative"
            )
        if self.model.regularization_loss is not None:
            total = total + self.model.regularization_loss()
        self.optimizer.zero_grad()
        total.backward()
        for name, parameter in self.model.functional.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise FloatingPointError(f"the gradient of {name!r} is NaN or infinite")
        return total.detach()

    def _search(self, total: Tensor) -> None:
        """The step of an optimiser that asks for losses on its way, such as LBFGS.

        What depends on energies only is taken at the densities of the step's start.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in parameters]
        state = copy.deepcopy(self.optimizer.state_dict())
        known = [total]

        def closure() -> Tensor:
            if known:
                return known.pop()
            check_weights(self.model.functional)
            # A search may come back to weights whose graphs a derivative has used up.
            self.model.states.end_batch()
            compute, epoch = self.model.model.training_value, self.model.epoch
            return self._gradients([compute(entry, epoch) for entry in self.batch.entries])

        try:
            self.optimizer.step(closure)
            check_weights(self.model.functional)
        except BaseException as error:
            with torch.no_grad():
                for parameter, value in zip(parameters, before, strict=True):
                    parameter.copy_(value)
            self.optimizer.load_state_dict(state)
            if isinstance(error, ValueError) and not isinstance(error, EXPECTED_FAILURES):
                raise FloatingPointError(f"a step went too far ({error})") from error
            raise


def _needs_closure(optimizer: Any) -> bool:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
