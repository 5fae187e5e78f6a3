"""Checkpoints of the training of a clone, which resume it."""

from __future__ import annotations

from typing import Any

from deepchem_xc.models.training_checkpoints import TrainingCheckpoints
from deepchem_xc.models.training_log import EpochRecord
from deepchem_xc.store import digest
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.identity import content_digest, structure


class CloningCheckpoints(TrainingCheckpoints):
    """A DeepChem model of a clone that is written, and read by the same model alone.

    Attributes
    ----------
    parent : XCFunctional
        The functional that is cloned.
    energy_weight : float
        Weight of energies in the loss.
    steps : int
        Steps of the whole training.
    history : list of EpochRecord
        Records of the training.
    """

    parent: XCFunctional
    energy_weight: float
    steps: int
    _format = "deepchem_xc cloning 1"
    _position_keys = ("history", "points")
    _another_folder = "another model_dir (deepchem-xc clone: --fresh or another --output)"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.history: list[EpochRecord] = []
        # Digest of the points of the last training.
        self._trained_on: str | None = None
        # Steps of the training that wrote the checkpoint; None without one.
        self._planned_steps: int | None = None
        super().__init__(*arguments, **keywords)

    @property
    def functional(self) -> XCFunctional:
        """The student."""
        found: XCFunctional = self.model
        return found

    @property
    def steps_done(self) -> int:
        """Number of steps done, including those before a checkpoint."""
        self._ensure_built()  # a new model counts from here
        return self._global_step

    def _made_as(self) -> dict[str, str | None]:
        return {  # a student has its seed
            "parent": content_digest(self.parent),
            "student": digest(repr(structure(self.functional))),
            "energy_weight": repr(self.energy_weight),
        }

    def _position(self) -> dict[str, Any]:
        return {
            "history": [record.state_dict() for record in self.history],
            "points": self._trained_on,
            "steps": self.steps,
        }

    def _resume(self, state: dict[str, Any]) -> None:
        self._trained_on = state["points"]
        self._planned_steps = state.get("steps")  # earlier versions wrote none
        self.history[:] = [EpochRecord(**record) for record in state["history"]]
