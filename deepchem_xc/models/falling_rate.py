"""A learning rate that falls over a whole training, also one that was made longer."""

from __future__ import annotations

import math
from typing import Any

from deepchem.models.optimizers import LearningRateSchedule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from deepchem_xc._values import real_number, whole_number


class FallingRate(LearningRateSchedule):
    """A learning rate that falls exponentially from the first step of a training to the last.

    It is a function of the number of steps done and of all steps. A training that is continued with
    more steps than before goes on with the rate that the longer training has at this point.

    Parameters
    ----------
    initial_rate : float
        Rate of the first step.
    last_part : float
        Rate after the last step as a part of that, more than 0 and at most 1; it then stays.
    steps : int
        Number of steps of the whole training.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> import torch
    >>> from deepchem_xc.models import FallingRate
    >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    >>> schedule = FallingRate(0.01, 0.04, 2)._create_pytorch_schedule(optimizer)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(schedule.get_last_lr()[0], 9))
    ...     optimizer.step()
    ...     schedule.step()
    >>> rates
    [0.01, 0.002, 0.0004, 0.0004]
    """

    def __init__(self, initial_rate: float, last_part: float, steps: int) -> None:
        self.initial_rate = real_number(initial_rate, "initial_rate")
        self.last_part = real_number(last_part, "last_part")
        self.steps = whole_number(steps, "steps")
        if not 0.0 < self.initial_rate < math.inf:
            raise ValueError(f"initial_rate must be positive, got {initial_rate!r}.")
        if not 0.0 < self.last_part <= 1.0:
            raise ValueError(f"last_part must be above 0 and at most 1, got {last_part!r}.")

    def factor(self, step: int) -> float:
        """Rate after a number of steps, as a part of the first."""
        return float(self.last_part ** min(step / self.steps, 1.0))

    def _create_pytorch_schedule(self, optimizer: Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, self.factor)


def continue_schedule(schedule: Any, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Take a schedule of learning rates to where a checkpoint was written.

    Schedules that are functions of the step, such as `FallingRate`, keep their own first rate and
    length; the state of others is read completely.

    Parameters
    ----------
    schedule : torch.optim.lr_scheduler.LRScheduler
        That of this model.
    optimizer : torch.optim.Optimizer
        Its optimiser, in the state of the checkpoint.
    state : dict
        State of the checkpoint's schedule.

    """
    own = list(schedule.base_lrs) if isinstance(schedule, LambdaLR) else None
    schedule.load_state_dict(state)
    if own is None:
        return
    schedule.base_lrs = own
    rates = [r * f(schedule.last_epoch) for r, f in zip(own, schedule.lr_lambdas, strict=True)]
    schedule._last_lr = rates
    for group, initial, rate in zip(optimizer.param_groups, own, rates, strict=True):
        group.update(initial_lr=initial, lr=rate)
