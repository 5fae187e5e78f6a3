"""One step of an optimiser, taken completely or not at all."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.losses.objective import LossFunction, Objective
from deepchem_xc.models.dft_xc import DFTXC, EntryError
from deepchem_xc.models.distributed import Team
from deepchem_xc.models.failures import EXPECTED_FAILURES
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
    max_norm : float, optional
        Gradients with a larger norm are scaled down to it.
    gradient_norm : float or None
        Norm of the first gradient, before it was limited.
    """

    module: DFTXC
    optimizer: Any
    objective: Objective
    regularization: Callable[[], Tensor] | None = None
    loss: LossFunction | None = None
    team: Team = field(default_factory=Team)
    max_norm: float | None = None
    gradient_norm: float | None = None

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
        self.gradient_norm = self._limit_gradients()
        if needs_closure(self.optimizer):
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
            extra = self.regularization()
            self._check_regularization(extra)
            # The gradients of all processes are added: only the first has this one.
            total = total + (extra if self.team.leads else torch.as_tensor(extra).detach())
        # Of all parameters: those that are not trained get gradients too.
        self.module.functional.zero_grad()
        total = self.team.backward(total, self.module.functional.parameters())
        for name, parameter in self.module.functional.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise FloatingPointError(f"the gradient of {name!r} is NaN or infinite")
        return total

    def _limit_gradients(self) -> float:
        """Scale the gradients of the trained parameters down to `max_norm`; their norm before."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(
            trained, math.inf if self.max_norm is None else self.max_norm
        )
        return float(norm)

    def _check_regularization(self, extra: Any) -> None:
        """Raise `ValueError` for a term that follows the parameters of another functional."""
        own = [p for p in self.module.functional.parameters() if p.requires_grad]
        if not (isinstance(extra, Tensor) and extra.requires_grad):
            return
        found = torch.autograd.grad(extra, own, retain_graph=True, allow_unused=True)
        if all(gradient is None for gradient in found):
            raise ValueError(
                "regularization_loss does not depend on the parameters that are trained: the "
                "model trains a copy of the functional that it is given. Take the parameters from "
                "model.functional, as in model.regularization_loss = lambda: 1e-4 * sum("
                "p.square().sum() for p in model.functional.parameters())."
            )

    def _search(self, batch: LabelledBatch, total: Tensor, epoch: int) -> None:
        """Step of an optimiser that evaluates losses along the way, such as LBFGS.

        Values from energies alone use the densities of the step's start. A line search turns back
        where an entry cannot be computed; the step fails if it finds no point at all.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in parameters]
        state = copy.deepcopy(self.optimizer.state_dict())
        known = [total]
        good, failures = [(before, float(total))], []
        searches = any(group.get("line_search_fn") for group in self.optimizer.param_groups)

        def closure() -> Tensor:
            if known:
                return known.pop()
            check_weights(self.module.functional)
            # A search may return to weights whose graphs backward() has already freed.
            self.module.ground_states.end_batch()
            here = [p.detach().clone() for p in parameters]
            try:
                values = []
                for value in self.team.values(self.module, batch.entries, epoch):
                    if isinstance(value, EntryError):
                        raise value
                    values.append(value)
                found = self._gradients(batch, values)
            except (EntryError, ValueError, *EXPECTED_FAILURES) as error:
                if not searches:
                    raise
                failures.append((here, error))
                return _wall(parameters, *good[-1])
            good.append((here, float(found)))
            return found

        try:
            self.optimizer.step(closure)
            check_weights(self.module.functional)
            for point, error in failures:
                if len(good) == 1 or all(map(torch.equal, parameters, point)):
                    raise error
        except BaseException as error:
            with torch.no_grad():
                for parameter, value in zip(parameters, before, strict=True):
                    parameter.copy_(value)
            self.optimizer.load_state_dict(state)
            if isinstance(error, ValueError) and not isinstance(error, EXPECTED_FAILURES):
                raise FloatingPointError(f"a step went too far ({error})") from error
            raise


def _wall(parameters: list[Tensor], good: list[Tensor], value: float) -> Tensor:
    """Loss of a point that cannot be computed, far above that of a good one and rising outwards.

    A search between the two then interpolates to a point in between.
    """
    height = 10.0 * max(abs(value), 1.0)
    steps = [p.detach() - q for p, q in zip(parameters, good, strict=True)]
    square = sum(float(step.square().sum()) for step in steps)
    for parameter, step in zip(parameters, steps, strict=True):
        parameter.grad = step * (2.0 * height / square) if square > 0 else torch.zeros_like(step)
    return torch.tensor(value + height, dtype=torch.float64, device=steps[0].device)


def needs_closure(optimizer: Any) -> bool:
    """Whether an optimiser evaluates the loss within its step, as LBFGS does.

    Examples
    --------
    >>> parameters = [torch.nn.Parameter(torch.zeros(1))]
    >>> needs_closure(torch.optim.LBFGS(parameters)), needs_closure(torch.optim.SGD(parameters))
    (True, False)
    """
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
