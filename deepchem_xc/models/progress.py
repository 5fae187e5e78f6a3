"""Where a training stands: its epoch, the batches of it that are done, records of all epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepchem_xc.models.training_log import EpochRecord


@dataclass
class Progress:
    """Position in a training.

    Attributes
    ----------
    epoch : int
        Epochs done.
    batch, nbatches : int
        Batches of the present epoch that are done, and how many it has.
    record : EpochRecord
        Of the present epoch.
    history : list of EpochRecord
        Of the epochs that are done; the list stays the same object.

    Examples
    --------
    >>> progress = Progress()
    >>> progress.end_epoch()
    >>> progress.epoch, len(progress.history), progress.record.epoch
    (1, 1, 1)
    """

    epoch: int = 0
    batch: int = 0
    nbatches: int = 1
    record: EpochRecord = field(default_factory=lambda: EpochRecord(0))
    history: list[EpochRecord] = field(default_factory=list)

    def begin_epoch(self) -> None:
        """Forget what is done of the present epoch."""
        self.batch, self.nbatches = 0, 1
        self.record = EpochRecord(self.epoch)

    def end_epoch(self) -> None:
        """Keep the record of the present epoch, and begin the next one."""
        self.history.append(self.record)
        self.epoch += 1
        self.begin_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return {
            "position": [self.epoch, self.batch, self.nbatches],
            "record": self.record.state_dict(),
            "history": [record.state_dict() for record in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`; other keys are left alone."""
        self.epoch, self.batch, self.nbatches = state["position"]
        self.record = EpochRecord(**state["record"])
        self.history[:] = [EpochRecord(**record) for record in state["history"]]
