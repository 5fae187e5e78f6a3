"""Functional, optimisers and progress of a training, as one state to save and restore."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from deepchem_xc.models.evaluation import EvaluatedModel
from deepchem_xc.models.functional import make_functional
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.models.progress import Progress
from deepchem_xc.models.training_log import EpochRecord
from deepchem_xc.models.training_state import TrainingState, check_functional
from deepchem_xc.xc import XCFunctional

logger = logging.getLogger(__name__)


class ResumableModel(EvaluatedModel):
    """A DeepChem model whose training can be saved and resumed, the base of `TrainingLoop`.

    `TrainingState` lists what is saved.
    """

    # Attributes of TorchModel.
    _pytorch_optimizer: Any
    _lr_schedule: Any

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._progress = Progress()
        # Optimiser and schedule of the present or last fit.
        self._active: tuple[Any, Any] | None = None
        # Parameters for which the optimiser was made.
        self._optimised: list[torch.nn.Parameter] | None = None
        super().__init__(*arguments, **keywords)

    @property
    def functional(self) -> XCFunctional:
        """Functional to train; it may be replaced, and its first step is then self-consistent."""
        return self.model.functional

    @functional.setter
    def functional(self, functional: XCFunctional) -> None:
        made = make_functional(functional, None, None)
        self.model.functional = made.to(self.device)

    @property
    def ground_states(self) -> GroundStates:
        """Ground states of the entries; their densities are kept from epoch to epoch."""
        return self.model.ground_states

    @property
    def epoch(self) -> int:
        """Number of epochs done since the model was made, including those before a checkpoint."""
        return self._progress.epoch

    @property
    def history(self) -> list[EpochRecord]:
        """Records of the epochs done."""
        return self._progress.history

    def training_state(self) -> TrainingState:
        """Everything that the next step depends on; its parts are the model's own objects."""
        self._ensure_built()
        return self._state_with(self._active)

    def load_training_state(self, state: Mapping[str, Any], where: str = "the state") -> None:
        """Set the model to a state, completely or not at all.

        Parameters
        ----------
        state : mapping
            From `TrainingState.state_dict`.
        where : str, optional
            Name of the state in messages.

        Raises
        ------
        ValueError
            If its functional, optimiser, schedule or variables are different ones.
        """
        self._ensure_built()
        check_functional(self.model, state, where)
        active = self._active
        if active is None and state["variables"] is not None:
            # No fit has chosen variables yet: take those of the state.
            named = dict(self.functional.named_parameters())
            active = self._optimizer([named[name] for name in state["variables"]])
        own = self._state_with(active)
        own.load_state_dict(state, where)
        self._active, self._global_step = active, own.global_step

    def _state_with(self, active: tuple[Any, Any] | None) -> TrainingState:
        optimizer, schedule = active or (self._pytorch_optimizer, self._lr_schedule)
        variables = None
        if optimizer is not self._pytorch_optimizer:
            trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
            named = self.functional.named_parameters()
            variables = [name for name, parameter in named if id(parameter) in trained]
        return TrainingState(
            self.model, optimizer, schedule, variables, self._progress, self._global_step
        )

    def _optimizer(self, variables: Any) -> tuple[Any, Any]:
        """Optimiser and schedule for all or some parameters; kept from fit to fit."""
        self._ensure_built()
        if variables is None:
            return self._pytorch_optimizer, self._lr_schedule
        key = tuple(variables)
        if key not in self._optimizer_for_vars:
            optimizer = self.optimizer._create_pytorch_optimizer(list(key))
            rate = self.optimizer.learning_rate
            schedule = (
                rate._create_pytorch_schedule(optimizer)
                if hasattr(rate, "_create_pytorch_schedule")
                else None
            )
            self._optimizer_for_vars[key] = (optimizer, schedule)
        found: tuple[Any, Any] = self._optimizer_for_vars[key]
        return found

    def _ensure_built(self) -> None:
        """Make sure that the optimiser has the functional's present parameters."""
        super()._ensure_built()
        before, now = self._optimised, list(self.model.parameters())
        self._optimised = now
        same = before is None or [id(p) for p in before] == [id(p) for p in now]
        if not same:
            self._renew_optimizer()

    def _renew_optimizer(self) -> None:
        """Renew the optimiser for replaced parameters; the others keep their state."""
        old, schedule = self._pytorch_optimizer, self._lr_schedule
        new = self.optimizer._create_pytorch_optimizer(self.model.parameters())
        groups = new.param_groups
        here = {id(parameter) for group in groups for parameter in group["params"]}
        new.state.update({p: state for p, state in old.state.items() if id(p) in here})
        if schedule is not None:
            self._lr_schedule = self.optimizer.learning_rate._create_pytorch_schedule(new)
            self._lr_schedule.load_state_dict(schedule.state_dict())
        if len(groups) == len(old.param_groups):
            for group, former in zip(groups, old.param_groups, strict=True):
                group["lr"] = former["lr"]
        self._pytorch_optimizer = new
        logger.info("the functional has other parameters than before: its optimiser is renewed")
