"""Checkpoints of the training of a network for densities, which resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepchem_xc.densities import DensityPredictor
from deepchem_xc.models.checkpoint import best_checkpoint
from deepchem_xc.models.progress import Progress
from deepchem_xc.models.training_checkpoints import TrainingCheckpoints
from deepchem_xc.store import digest


class DensityCheckpoints(TrainingCheckpoints):
    """A DeepChem model of densities that is written, and read by the same model alone.

    Attributes
    ----------
    predictor : DensityPredictor
        The network, and what it was made for.
    """

    predictor: DensityPredictor
    _format = "deepchem_xc density training 1"
    _position_keys = ("position", "record", "history", "best")

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._progress = Progress()
        super().__init__(*arguments, **keywords)

    def use_best(self) -> None:
        """Give the network the weights of the best validation so far.

        Raises
        ------
        ValueError
            If there was no validation, or its file is damaged or of another model.
        """
        path = best_checkpoint(Path(self.model_dir))
        self.model.load_state_dict(self._read(path)["model_state_dict"])

    def _made_as(self) -> dict[str, str | None]:
        """What a checkpoint's model must have been made with, in words."""
        predictor = self.predictor
        return {
            "network": type(predictor.network).__name__,
            "hyperparameters": digest(dict(predictor.network.hyperparameters)),
            "functional": predictor.functional,
            "other_code": predictor.other_code,
            "potentials": digest(predictor.potentials),
            "atoms": digest(predictor.atoms),
        }

    def _position(self) -> dict[str, Any]:
        return self._progress.state_dict()

    def _resume(self, state: dict[str, Any]) -> None:
        self._progress.load_state_dict(state)
