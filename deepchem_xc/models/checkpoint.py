"""Checkpoints of an `XCModel`: everything that the next step of a training depends on."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from deepchem_xc._atomic import replacing
from deepchem_xc.models.training_log import EpochRecord
from deepchem_xc.xc.identity import fingerprint

if TYPE_CHECKING:
    from deepchem_xc.models.xc_model import XCModel

_FORMAT = "deepchem_xc training 2"
_KEYS = {
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
}


def save_checkpoint(model: XCModel, folder: Path, keep: int) -> None:
    """Write ``checkpoint1.pt``, and move older ones on to higher numbers.

    Parameters
    ----------
    model : XCModel
        What is saved.
    folder : Path
        Made if it is missing.
    keep : int
        How many to keep; 0 writes none.
    """
    if keep == 0:
        return
    optimizer, schedule = model._active or (model._pytorch_optimizer, model._lr_schedule)
    data = {
        "format": _FORMAT,
        "model_state_dict": model.model.state_dict(),
        "fingerprint": fingerprint(model.functional),
        "optimizer": type(optimizer).__name__,
        "variables": _variables(model, optimizer),
        "optimizer_state_dict": optimizer.state_dict(),
        "schedule_state_dict": None if schedule is None else schedule.state_dict(),
        "global_step": model._global_step,
        "position": [model._epoch, model._batch, model._nbatches],
        "record": model._record.state_dict(),
        "history": [record.state_dict() for record in model.history],
        "ground_states": model.states.state_dict(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"checkpoint{i + 1}.pt" for i in range(keep)]
    # The new file is complete before the old ones move.
    new = folder / "new_checkpoint.pt"
    with replacing(new, "wb") as file:
        torch.save(data, file)
    for older, newer in zip(reversed(paths[1:]), reversed(paths[:-1]), strict=True):
        if newer.exists():
            os.replace(newer, older)
    os.replace(new, paths[0])


def load_checkpoint(model: XCModel, folder: Path, file: str | None) -> None:
    """Bring a model to the state of a checkpoint; a model is changed completely or not at all.

    Parameters
    ----------
    model : XCModel
        Of the same functional.
    folder : Path
        Where the latest checkpoint is taken from.
    file : str, optional
        Another one.

    Raises
    ------
    ValueError
        If there is none, or it is damaged, of another functional or of another optimiser.
    """
    path = Path(file) if file is not None else folder / "checkpoint1.pt"
    if not path.is_file():
        raise ValueError(
            f"there is no checkpoint {path}: train first, or set model_dir to the folder of a run."
        )
    try:
        data = torch.load(path, map_location=model.device, weights_only=True)
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            raise ValueError(f"it has no format {_FORMAT!r}")
        if missing := sorted(_KEYS - set(data)):
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is not a complete checkpoint of a training ({error}).") from error
    _check_architecture(model, data["model_state_dict"], path)
    if not torch.allclose(
        fingerprint(model.functional), data["fingerprint"].cpu(), rtol=1e-9, equal_nan=True
    ):
        raise ValueError(
            f"{path} is of another functional: its parameters have the same names and shapes as "
            f"those of {model.functional.name}, but computed something else. Make the model as it "
            "was when the checkpoint was written."
        )
    if model._active is None and data["variables"] is not None:
        named = dict(model.functional.named_parameters())
        model._active = model._optimizer([named[name] for name in data["variables"]])
    optimizer, schedule = model._active or (model._pytorch_optimizer, model._lr_schedule)
    _check_optimizer(model, optimizer, data, path)
    state = data["schedule_state_dict"]
    if (state is None) != (schedule is None):
        raise ValueError(
            f"{path} was written with{'out' if state is None else ''} a learning-rate schedule, "
            f"this model has {'one' if state is None else 'none'}: give the same learning_rate."
        )
    optimizer.load_state_dict(data["optimizer_state_dict"])
    model.model.load_state_dict(data["model_state_dict"])
    if schedule is not None:
        schedule.load_state_dict(state)
    model._global_step = data["global_step"]
    model._epoch, model._batch, model._nbatches = data["position"]
    model._record = EpochRecord(**data["record"])
    model.history[:] = [EpochRecord(**record) for record in data["history"]]
    model.states.load_state_dict(data["ground_states"])


def _variables(model: XCModel, optimizer: Any) -> list[str] | None:
    """Names of the parameters that are trained; None if it is all of them."""
    if optimizer is model._pytorch_optimizer:
        return None
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [name for name, p in model.functional.named_parameters() if id(p) in trained]


def _check_optimizer(model: XCModel, optimizer: Any, data: dict[str, Any], path: Path) -> None:
    """Its state is of this kind, and of the parameters that are trained now."""
    if type(optimizer).__name__ != data["optimizer"]:
        raise ValueError(
            f"{path} was written with the optimiser {data['optimizer']}, this model has "
            f"{type(optimizer).__name__}: give the same optimizer."
        )
    here = _variables(model, optimizer)
    if here != data["variables"]:
        there, now = ("all" if x is None else ", ".join(x) for x in (data["variables"], here))
        raise ValueError(
            f"{path} was written while {there} parameters were trained, now it is {now}: give fit "
            "the same variables."
        )


def _check_architecture(model: XCModel, state: dict[str, Any], path: Path) -> None:
    own = {name: tuple(value.shape) for name, value in model.model.state_dict().items()}
    other = {name: tuple(value.shape) for name, value in state.items()}
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
        f"{path} is of another functional: {'; '.join(changes[:4])}{more}. Make the model as it "
        "was when the checkpoint was written."
    )
