"""One step of an optimiser, taken completely or not at all."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.losses.objective import LossFunction, Objective
from deepchem_xc.models.dft_xc import DFTXC, EXPECTED_FAILURES, EntryError
from deepchem_xc.models.distributed import Team
from deepchem_xc.models.labels import Floats
from deepchem_xc.xc.networks import check_weights


class LabelledBatch(NamedTuple):
    """Entries of a step, with labels and weights."""

    entries: list[DFTEntry]
    labels: list[Floats]
    """With the shapes and units of the entries' values."""
    weights: list[float]

    def part(self, indices: Iterable[int]) -> LabelledBatch:
        """Batch of the entries with these indices."""
        chosen = list(indices)
        return LabelledBatch(
            [self.entries[i] for i in chosen],
            [self.labels[i] for i in chosen],
            [self.weights[i] for i in chosen],
        )


@dataclass
class Step:
    """A step of an optimiser on a batch.

    Attributes
    ----------
    module : DFTXC
        Holds the functional and computes values of entries.
    optimizer : torch.optim.Optimizer
        Optimiser of the functional's parameters.
    objective : Objective
        Compares values with labels.
    regularization : callable or None
        Returns a 0-d tensor that is added to the loss.
    loss : callable, optional
        Loss instead of the objective's.
    team : Team
        The processes of the training.
    """

    module: DFTXC
    optimizer: Any
    objective: Objective
    regularization: Callable[[], Tensor] | None = None
    loss: LossFunction | None = None
    team: Team = field(default_factory=Team)

    def take(self, batch: LabelledBatch, values: list[Tensor], epoch: int) -> Tensor:
        """Take the step; returns the loss before it, 0-d, without a graph.

        Parameters
        ----------
        batch : LabelledBatch
            Entries whose calculations did not fail.
        values : list of Tensor
            Their values, in the functional's graph.
        epoch : int
            Present epoch: it determines which kept densities are still valid.

        Raises
        ------
        FloatingPointError, EntryError and other `EXPECTED_FAILURES`
            Parameters and optimiser are then as before.
        """
        total = self._gradients(batch, values)
        if _needs_closure(self.optimizer):
            self._search(batch, total, epoch)
        else:
            self.optimizer.step()
        return total

    def _gradients(self, batch: LabelledBatch, values: list[Tensor]) -> Tensor:
        """Loss, without a graph; its gradients are stored in the parameters."""
        entries, labels, weights = batch
        total = self.objective(entries, values, labels, weights, self.loss)
        if not self.team.any(total.requires_grad):
            raise FloatingPointError(
                "it does not depend on the functional's parameters here: a gap of zero, for "
                "example, has no derivative"
            )
        if self.regularization is not None:
            penalty = self.regularization()
            # Gradients of all processes are added.
            total = total + (penalty if self.team.leads else penalty.detach())
        self.optimizer.zero_grad()
        self.team.backward(total, self.module.functional.parameters())
        for name, parameter in self.module.functional.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise FloatingPointError(f"the gradient of {name!r} is NaN or infinite")
        return total.detach()

    def _search(self, batch: LabelledBatch, total: Tensor, epoch: int) -> None:
        """Step of an optimiser that evaluates losses along the way, such as LBFGS.

        Values from energies alone use the densities of the step's start.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in parameters]
        state = copy.deepcopy(self.optimizer.state_dict())
        known = [total]

        def closure() -> Tensor:
            if known:
                return known.pop()
            check_weights(self.module.functional)
            # A search may return to weights whose graphs backward() has already freed.
            self.module.ground_states.end_batch()
            found = list(self.team.values(self.module, batch.entries, epoch))
            for value in found:
                if isinstance(value, EntryError):
                    raise value
            return self._gradients(batch, [one for one in found if isinstance(one, Tensor)])

        try:
            self.optimizer.step(closure)
            check_weights(self.module.functional)
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
