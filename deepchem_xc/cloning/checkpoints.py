"""Checkpoints of the training of a clone, which resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepchem.models.torch_models.torch_model import TorchModel

from deepchem_xc.models.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint
from deepchem_xc.models.falling_rate import continue_schedule
from deepchem_xc.models.training_log import EpochRecord
from deepchem_xc.store import digest
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.identity import content_digest, structure

FORMAT = "deepchem_xc cloning 1"
_KEYS = (
    *("model_state_dict", "made_as", "optimizer_state_dict", "schedule_state_dict"),
    *("global_step", "history", "points"),
)


class CloningCheckpoints(TorchModel):
    """A DeepChem model of a clone that is written, and read by the same model alone.

    Attributes
    ----------
    parent : XCFunctional
        The functional that is cloned.
    energy_weight, loss_scale : float
        Weight of energies in the loss, and the factor of the loss.
    steps : int
        Steps of the whole training.
    history : list of EpochRecord
        Records of the training.
    """

    parent: XCFunctional
    energy_weight: float
    loss_scale: float
    steps: int
    # Attributes of TorchModel.
    _pytorch_optimizer: Any
    _lr_schedule: Any
    _global_step: int

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.history: list[EpochRecord] = []
        # Digest of the points of the last training.
        self._trained_on: str | None = None
        super().__init__(*arguments, **keywords)

    @property
    def functional(self) -> XCFunctional:
        """The student."""
        found: XCFunctional = self.model
        return found

    @property
    def steps_done(self) -> int:
        """Number of steps done, including those before a checkpoint."""
        return self._global_step

    def save_checkpoint(
        self, max_checkpoints_to_keep: int = 5, model_dir: str | None = None
    ) -> None:
        """Write weights, optimiser and position in the training.

        Parameters
        ----------
        max_checkpoints_to_keep : int, optional
            Older ones are deleted; 0 writes none.
        model_dir : str, optional
            Folder; the model's by default.
        """
        self._ensure_built()
        if max_checkpoints_to_keep > 0:
            folder = Path(model_dir or self.model_dir)
            write_checkpoint(self._state(), folder, max_checkpoints_to_keep, FORMAT)

    def restore(
        self,
        checkpoint: str | None = None,
        model_dir: str | None = None,
        strict: bool | None = True,
    ) -> None:
        """Read what `save_checkpoint` wrote.

        Parameters
        ----------
        checkpoint : str, optional
            A file; the latest one in the folder by default.
        model_dir : str, optional
            Folder; the model's by default.
        strict : bool, optional
            Ignored; a checkpoint of another model is always refused.

        Raises
        ------
        ValueError
            If there is no checkpoint, or it is damaged or belongs to another model.
        """
        latest = latest_checkpoint(Path(model_dir or self.model_dir))
        path = latest if checkpoint is None else Path(checkpoint)
        state = read_checkpoint(path, self.device, FORMAT, _KEYS)
        self._ensure_built()
        there, here = state["made_as"], self._made_as()
        changed = sorted(name for name in here if there.get(name) != here[name])
        if changed:
            raise ValueError(
                f"{path} belongs to another model ({', '.join(changed)} differ): make the model "
                "as it was when the checkpoint was written."
            )
        self.model.load_state_dict(state["model_state_dict"])
        self._pytorch_optimizer.load_state_dict(state["optimizer_state_dict"])
        if self._lr_schedule is not None:
            stored = state["schedule_state_dict"]
            continue_schedule(self._lr_schedule, self._pytorch_optimizer, stored)
        self._global_step = state["global_step"]
        self._trained_on = state["points"]
        self.history[:] = [EpochRecord(**record) for record in state["history"]]

    def reload(self) -> None:
        """Read the latest checkpoint of the model's folder, as `restore` does."""
        self.restore()

    def _state(self) -> dict[str, Any]:
        schedule = self._lr_schedule
        return {
            "model_state_dict": self.model.state_dict(),
            "made_as": self._made_as(),
            "optimizer_state_dict": self._pytorch_optimizer.state_dict(),
            "schedule_state_dict": None if schedule is None else schedule.state_dict(),
            "global_step": self._global_step,
            "history": [record.state_dict() for record in self.history],
            "points": self._trained_on,
        }

    def _made_as(self) -> dict[str, str]:
        """What a checkpoint's model must have been made with, in words."""
        return {
            "parent": content_digest(self.parent),
            "student": digest(repr(structure(self.functional))),
            "optimizer": type(self._pytorch_optimizer).__name__,
            "schedule": type(self._lr_schedule).__name__,
            "energy_weight": repr(self.energy_weight),
            "loss_scale": repr(self.loss_scale),
        }
