"""The learning rate of the protocol: constant, then linear, then constant again."""

from __future__ import annotations

import math

from deepchem.models.optimizers import LearningRateSchedule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from deepchem_xc._values import real_number, whole_number

# Parts of the training at which the rate begins and ceases to fall.
_BEGIN, _END = 0.5, 0.9


class CloningRate(LearningRateSchedule):
    """A learning rate that is constant to half the steps, then falls linearly to 90 % of them.

    Parameters
    ----------
    initial_rate : float, optional
        Rate of the first half.
    last_rate : float, optional
        Rate of the last tenth, at most the first.
    steps : int, optional
        Number of steps of the whole training.

    Raises
    ------
    ValueError
        For other values.

    Examples
    --------
    >>> from deepchem_xc.cloning import CloningRate
    >>> rate = CloningRate(steps=100)
    >>> [round(rate.initial_rate * rate.factor(step), 8) for step in (0, 50, 70, 90, 100)]
    [0.001, 0.001, 0.000505, 1e-05, 1e-05]
    """

    def __init__(
        self, initial_rate: float = 1e-3, last_rate: float = 1e-5, steps: int = 20_000
    ) -> None:
        self.initial_rate = real_number(initial_rate, "initial_rate")
        self.last_rate = real_number(last_rate, "last_rate")
        self.steps = whole_number(steps, "steps")
        if not 0.0 < self.initial_rate < math.inf:
            raise ValueError(f"initial_rate must be positive, got {initial_rate!r}.")
        if not 0.0 < self.last_rate <= self.initial_rate:
            raise ValueError(
                f"last_rate must be above 0 and at most initial_rate, got {last_rate!r}."
            )

    def factor(self, step: int) -> float:
        """Rate after a number of steps, as a part of the first."""
        fallen = (step / self.steps - _BEGIN) / (_END - _BEGIN)
        return 1.0 + (self.last_rate / self.initial_rate - 1.0) * min(max(fallen, 0.0), 1.0)

    def _create_pytorch_schedule(self, optimizer: Optimizer) -> LambdaLR:
        return LambdaLR(optimizer, self.factor)
