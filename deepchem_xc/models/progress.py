"""Position in a training: its epoch, the batches done in it, records of all epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deepchem_xc.models.training_log import EpochRecord


@dataclass
class Best:
    """The best validation so far, and how many there were since.

    Attributes
    ----------
    identity : str
        Digest of what was validated; losses of others cannot be compared.
    loss : float
        Its mean loss.
    skipped : int
        Number of entries that failed.
    epoch : int
        Its epoch, counted from 0.
    waited : int
        Number of validations since then.

    Examples
    --------
    >>> Best("data", 1.0, 0, 3).is_better_than(Best("data", 0.5, 1, 2))
    True
    """

    identity: str
    loss: float
    skipped: int
    epoch: int
    waited: int = 0

    def is_better_than(self, other: Best | None) -> bool:
        """Whether fewer entries failed or, if as many, the loss is lower."""
        return other is None or (self.skipped, self.loss) < (other.skipped, other.loss)


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
    best : Best or None
        The best validation so far.

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
    best: Best | None = None

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
            "best": None if self.best is None else asdict(self.best),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; other keys are ignored."""
        self.epoch, self.batch, self.nbatches = state["position"]
        self.record = EpochRecord(**state["record"])
        self.history[:] = [EpochRecord(**record) for record in state["history"]]
        # Checkpoints of 0.1.0 know no validation.
        best = state.get("best")
        self.best = None if best is None else Best(**best)
