"""`TrainingState`: everything that the next step of a training depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from deepchem_xc.models.dft_xc import DFTXC
from deepchem_xc.models.progress import Progress
from deepchem_xc.xc.identity import fingerprint

#: Keys of `TrainingState.state_dict`.
KEYS = (
    "model_state_dict",
    "fingerprint",
    "optimizer",
    "variables",
    "optimizer_state_dict",
    "schedule_state_dict",
    "global_step",
    "position",
    "record",
    "history",
    "ground_states",
)


@dataclass
class TrainingState:
    """The live parts of a training, which `state_dict` reads and `load_state_dict` sets.

    Attributes
    ----------
    module : DFTXC
        The functional and the kept densities.
    optimizer : torch.optim.Optimizer
        Optimiser of the trained parameters.
    schedule : torch scheduler or None
        Schedule of its learning rate.
    variables : list of str or None
        Names of the trained parameters; None means all.
    progress : Progress
        Position, and records of the epochs.
    global_step : int
        Number of steps taken, including those of earlier epochs.

    Examples
    --------
    >>> from deepchem_xc.models.ground_states import GroundStates
    >>> from deepchem_xc.xc import PBE
    >>> def state(lr: float) -> TrainingState:
    ...     functional = PBE(trainable=True)
    ...     module = DFTXC(functional, GroundStates(functional))
    ...     optimizer = torch.optim.Adam(module.parameters(), lr)
    ...     return TrainingState(module, optimizer, None, None, Progress(), 0)
    >>> one, other = state(0.1), state(0.2)
    >>> other.load_state_dict(one.state_dict())
    >>> other.optimizer.param_groups[0]["lr"]
    0.1
    """

    module: DFTXC
    optimizer: Any
    schedule: Any
    variables: list[str] | None
    progress: Progress
    global_step: int

    def state_dict(self) -> dict[str, Any]:
        """Numbers, names and tensors of all parts; its keys are `KEYS`."""
        return {
            "model_state_dict": self.module.state_dict(),
            "fingerprint": fingerprint(self.module.functional),
            "optimizer": type(self.optimizer).__name__,
            "variables": self.variables,
            "optimizer_state_dict": self.optimizer.state_dict(),
            "schedule_state_dict": None if self.schedule is None else self.schedule.state_dict(),
            "global_step": self.global_step,
            **self.progress.state_dict(),
            "ground_states": self.module.ground_states.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], where: str = "the state") -> None:
        """Inverse of `state_dict`; sets all parts or none.

        Parameters
        ----------
        state : mapping
            From `state_dict`, with the same functional: see `check_functional`.
        where : str, optional
            Name of the state in messages.

        Raises
        ------
        ValueError
            If it has another optimiser or other variables, or only one of both has a schedule.
        """
        self._check_optimizer(state, where)
        self.optimizer.load_state_dict(state["optimizer_state_dict"])
        self.module.load_state_dict(state["model_state_dict"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule_state_dict"])
        self.global_step = state["global_step"]
        self.progress.load_state_dict(state)
        self.module.ground_states.load_state_dict(state["ground_states"])

    def _check_optimizer(self, state: Mapping[str, Any], where: str) -> None:
        """Raise `ValueError` unless a state has this optimiser, variables and schedule."""
        if type(self.optimizer).__name__ != state["optimizer"]:
            raise ValueError(
                f"{where} was written with the optimiser {state['optimizer']}, but this model has "
                f"{type(self.optimizer).__name__}: give the same optimizer."
            )
        own_groups = self.optimizer.param_groups
        if self.variables != state["variables"]:
            there, now = (
                "all" if names is None else ", ".join(names)
                for names in (state["variables"], self.variables)
            )
            raise ValueError(
                f"{where} was written when the trained parameters were: {there}; now they are: "
                f"{now}. Give fit the same variables."
            )
        before, here = (
            sorted(group.get("weight_decay", 0.0) for group in groups)
            for groups in (state["optimizer_state_dict"]["param_groups"], own_groups)
        )
        if before != here:
            raise ValueError(
                f"{where} was written with weight decays {before} of its groups of parameters, but "
                f"this model has {here}: give the same weight_decay and optimizer."
            )
        scheduled = state["schedule_state_dict"] is not None
        if scheduled != (self.schedule is not None):
            raise ValueError(
                f"{where} was written with{'' if scheduled else 'out'} a learning-rate schedule, "
                f"but this model has {'none' if scheduled else 'one'}: give the same learning_rate."
            )


def check_functional(module: DFTXC, state: Mapping[str, Any], where: str = "the state") -> None:
    """Raise `ValueError` unless a state belongs to the functional of a module.

    Parameters
    ----------
    module : DFTXC
        Holds the functional.
    state : mapping
        From `TrainingState.state_dict`.
    where : str, optional
        Name of the state in messages.
    """
    _check_architecture(module, state["model_state_dict"], where)
    functional = module.functional
    if not torch.allclose(
        fingerprint(functional), state["fingerprint"].cpu(), rtol=1e-9, equal_nan=True
    ):
        raise ValueError(
            f"{where} belongs to another functional: its parameters have the same names and shapes "
            f"as those of {functional.name}, but it computed something else. Make the model as it "
            "was when the checkpoint was written."
        )


def _check_architecture(module: DFTXC, weights: Mapping[str, Any], where: str) -> None:
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    other = {name: tuple(value.shape) for name, value in weights.items()}
    if own == other:
        return
    changes = [
        *(f"{name} is missing in it" for name in sorted(set(own) - set(other))),
        *(f"{name} is not in this model" for name in sorted(set(other) - set(own))),
        *(
            f"{name} has shape {other[name]} there and {own[name]} here"
            for name in sorted(set(own) & set(other))
            if own[name] != other[name]
        ),
    ]
    more = f", and {len(changes) - 4} more" if len(changes) > 4 else ""
    raise ValueError(
        f"{where} belongs to another functional: {'; '.join(changes[:4])}{more}. Make the model as "
        "it was when the checkpoint was written."
    )
