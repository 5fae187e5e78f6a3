"""Position in a training: its epoch, the batches done in it, records of all epochs."""

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
        Number of epochs done.
    batch, nbatches : int
        Number of batches done in the present epoch, and in total.
    record : EpochRecord
        Record of the present epoch.
    history : list of EpochRecord
        Records of the epochs done; the list stays the same object.

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
        """Restart the present epoch."""
        self.batch, self.nbatches = 0, 1
        self.record = EpochRecord(self.epoch)

    def end_epoch(self) -> None:
        """Store the record of the present epoch and begin the next one."""
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
        """Inverse of `state_dict`; other keys are ignored."""
        self.epoch, self.batch, self.nbatches = state["position"]
        self.record = EpochRecord(**state["record"])
        self.history[:] = [EpochRecord(**record) for record in state["history"]]
