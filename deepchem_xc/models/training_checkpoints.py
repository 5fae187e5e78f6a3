"""Checkpoints of a training, which the same model alone reads and resumes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from deepchem.models.torch_models.torch_model import TorchModel

from deepchem_xc.models.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint
from deepchem_xc.models.falling_rate import continue_schedule

_KEYS = (
    *("model_state_dict", "made_as", "optimizer", "optimizer_state_dict", "schedule_state_dict"),
    "global_step",
)


class TrainingCheckpoints(TorchModel):
    """A DeepChem model whose training is written, and read by the same model alone.

    A subclass sets `_format` and `_position_keys`, and defines `_made_as`, `_position` and
    `_resume`.
    """

    #: Name of the format, in files.
    _format: str
    #: Keys of `_position`.
    _position_keys: tuple[str, ...]
    #: Where another training is written, for messages.
    _another_folder = "another model_dir"
    # Attributes of TorchModel.
    _pytorch_optimizer: Any
    _lr_schedule: Any
    _global_step: int

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
            write_checkpoint(self._state(), folder, max_checkpoints_to_keep, self._format)

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
        state = self._read(latest if checkpoint is None else Path(checkpoint))
        self._ensure_built()
        if type(self._pytorch_optimizer).__name__ != state["optimizer"]:
            raise ValueError(
                f"the checkpoint was written with the optimiser {state['optimizer']}, but this "
                f"model has {type(self._pytorch_optimizer).__name__}: give the same optimizer."
            )
        stored, schedule = state["schedule_state_dict"], self._lr_schedule
        own = None if schedule is None else schedule.state_dict()
        if (stored or {}).keys() != (own or {}).keys():
            raise ValueError(
                "checkpoint and model have learning-rate schedules of different kinds, or only one "
                "of them has one: give the same learning_rate, or start the training again."
            )
        self.model.load_state_dict(state["model_state_dict"])
        self._pytorch_optimizer.load_state_dict(state["optimizer_state_dict"])
        if schedule is not None:
            continue_schedule(schedule, self._pytorch_optimizer, stored)
        self._global_step = state["global_step"]
        self._resume(state)

    def reload(self) -> None:
        """Read the latest checkpoint of the model's folder, as `restore` does."""
        self.restore()

    def _read(self, path: Path) -> dict[str, Any]:
        state = read_checkpoint(path, self.device, self._format, (*_KEYS, *self._position_keys))
        there, here = state["made_as"], self._made_as()
        changed = sorted(name for name in here if there.get(name) != here[name])
        if changed:
            raise ValueError(
                f"{os.fspath(path)} belongs to another model ({', '.join(changed)} differ): make "
                "the model as it was when the checkpoint was written, or give "
                f"{self._another_folder}."
            )
        return state

    def _state(self) -> dict[str, Any]:
        schedule = self._lr_schedule
        return {
            "model_state_dict": self.model.state_dict(),
            "made_as": self._made_as(),
            "optimizer": type(self._pytorch_optimizer).__name__,
            "optimizer_state_dict": self._pytorch_optimizer.state_dict(),
            "schedule_state_dict": None if schedule is None else schedule.state_dict(),
            "global_step": self._global_step,
            **self._position(),
        }

    def _made_as(self) -> dict[str, str | None]:
        """What a checkpoint's model must have been made with, in words."""
        raise NotImplementedError

    def _position(self) -> dict[str, Any]:
        """What the training has besides weights and optimiser, for files."""
        raise NotImplementedError

    def _resume(self, state: dict[str, Any]) -> None:
        """Take over what `_position` wrote."""
        raise NotImplementedError
