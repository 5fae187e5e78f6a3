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
    """The live parts of a training, which `state_dict` writes down and `load_state_dict` sets.

    Attributes
    ----------
    module : DFTXC
        The functional and the densities that are kept.
    optimizer : torch.optim.Optimizer
        Of the parameters that are trained.
    schedule : torch scheduler or None
        Of its learning rate.
    variables : list of str or None
        Names of the parameters that are trained; None if it is all of them.
    progress : Progress
        Position, and records of the epochs.
    global_step : int
        Steps taken, those of earlier epochs included.

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
        """The inverse of `state_dict`; all parts are set, or none.

        Parameters
        ----------
        state : mapping
            From `state_dict`, of the same functional: see `check_functional`.
        where : str, optional
            What to call it in messages.

        Raises
        ------
        ValueError
            If it is of another optimiser, of other variables, or has a schedule where this
            training has none or the other way round.
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
        """Its state is of this kind, and of the parameters that are trained now."""
        if type(self.optimizer).__name__ != state["optimizer"]:
            raise ValueError(
                f"{where} was written with the optimiser {state['optimizer']}, this model has "
                f"{type(self.optimizer).__name__}: give the same optimizer."
            )
        if self.variables != state["variables"]:
            there, now = (
                "all" if names is None else ", ".join(names)
                for names in (state["variables"], self.variables)
            )
            raise ValueError(
                f"{where} was written while {there} parameters were trained, now it is {now}: "
                "give fit the same variables."
            )
        scheduled = state["schedule_state_dict"] is not None
        if scheduled != (self.schedule is not None):
            raise ValueError(
                f"{where} was written with{'' if scheduled else 'out'} a learning-rate schedule, "
                f"this model has {'none' if scheduled else 'one'}: give the same learning_rate."
            )


def check_functional(module: DFTXC, state: Mapping[str, Any], where: str = "the state") -> None:
    """Raise `ValueError` unless a state is of the functional of a module.

    Parameters
    ----------
    module : DFTXC
        It has the functional.
    state : mapping
        From `TrainingState.state_dict`.
    where : str, optional
        What to call the state in messages.
    """
    _check_architecture(module, state["model_state_dict"], where)
    functional = module.functional
    if not torch.allclose(
        fingerprint(functional), state["fingerprint"].cpu(), rtol=1e-9, equal_nan=True
    ):
        raise ValueError(
            f"{where} is of another functional: its parameters have the same names and shapes as "
            f"those of {functional.name}, but computed something else. Make the model as it "
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
        f"{where} is of another functional: {'; '.join(changes[:4])}{more}. Make the model as it "
        "was when the checkpoint was written."
    )
