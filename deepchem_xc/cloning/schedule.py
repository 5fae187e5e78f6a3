"""The learning rate of the protocol: constant, then linear, then constant again."""

from __future__ import annotations

from deepchem_xc.models.falling_rate import FallingRate

# Parts of the training at which the rate begins and ceases to fall.
_BEGIN, _END = 0.5, 0.9


class CloningRate(FallingRate):
    """A learning rate that is constant to half the steps, then falls linearly to 90 % of them.

    Parameters
    ----------
    initial_rate : float, optional
        Rate of the first half.
    last_part : float, optional
        Rate of the last tenth as a part of that, more than 0 and at most 1.
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
        self, initial_rate: float = 1e-3, last_part: float = 0.01, steps: int = 20_000
    ) -> None:
        super().__init__(initial_rate, last_part, steps)

    def factor(self, step: int) -> float:
        """Rate after a number of steps, as a part of the first."""
        fallen = (step / self.steps - _BEGIN) / (_END - _BEGIN)
        return 1.0 + (self.last_part - 1.0) * min(max(fallen, 0.0), 1.0)
