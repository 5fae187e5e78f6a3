"""Checkpoints of the training of a clone, which resume it."""

from __future__ import annotations

from typing import Any

from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.models.training_checkpoints import TrainingCheckpoints
from deepchem_xc.models.training_log import EpochRecord
from deepchem_xc.store import digest
from deepchem_xc.xc import XCFunctional
from deepchem_xc.xc.identity import content_digest, structure

# Digits of energies, Hartree, that are compared: other numbers of threads round differently.
_DIGITS = 6


class CloningCheckpoints(TrainingCheckpoints):
    """A DeepChem model of a clone that is written, and read by the same model alone.

    Attributes
    ----------
    parent : XCFunctional
        The functional that is cloned.
    energies : KeptEnergies or None
        Molecules whose energies are a term of the loss.
    energy_weight : float
        Weight of energies in the loss.
    steps : int
        Steps of the whole training.
    history : list of EpochRecord
        Records of the training.
    """

    parent: XCFunctional
    energies: KeptEnergies | None
    energy_weight: float
    steps: int
    _format = "deepchem_xc cloning 1"
    _position_keys = ("history", "points")
    _another_folder = "another model_dir (deepchem-xc clone: --fresh or another --output)"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self.history: list[EpochRecord] = []
        # Digest of the points of the last training.
        self._trained_on: str | None = None
        # What the checkpoint that was read says of its training; earlier versions wrote less.
        self._earlier: dict[str, Any] = {}
        super().__init__(*arguments, **keywords)
        self._first_weights = content_digest(self.functional)

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
            **self._training(),
        }

    def _training(self) -> dict[str, Any]:
        """What else the weights depend on from the first step on."""
        found = None
        if self.energies is not None:
            wanted = [round(energy, _DIGITS) for energy in self.energies.wanted]
            found = digest([self.energies.names, wanted])
        return {"steps": self.steps, "first_weights": self._first_weights, "energies": found}

    def _resume(self, state: dict[str, Any]) -> None:
        self._trained_on = state["points"]
        self._earlier = {key: state[key] for key in self._training() if key in state}
        self.history[:] = [EpochRecord(**record) for record in state["history"]]

    def _check_resumed(self, points: str) -> None:
        """Refuse a checkpoint of a training on other points, or one that began otherwise.

        Parameters
        ----------
        points : str
            Digest of the points.
        """
        if self._trained_on != points:
            raise ValueError(
                "the checkpoint was written in a training on other points: give the same data "
                f"set, or {self._another_folder}."
            )
        here = self._training()
        changed = {key for key, value in self._earlier.items() if value != here[key]}
        if "steps" in changed:
            raise ValueError(
                f"the checkpoint was written in a training of {self._earlier['steps']} steps, and "
                f"this one has {self.steps}: weights depend on their number from the first "
                f"step. Give the same number, or {self._another_folder}."
            )
        for key, name in (("first_weights", "weights of the student"), ("energies", "energies")):
            if key in changed:
                raise ValueError(
                    f"the checkpoint was written in a training with other {name}: give the same "
                    f"ones, or {self._another_folder}."
                )
