"""Checkpoint files: the latest is ``checkpoint1.pt``, older ones have higher numbers.

``best.pt`` is the one with the lowest loss of a validation.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from deepchem_xc._atomic import replacing
from deepchem_xc.models.training_state import KEYS

FORMAT = "deepchem_xc training 2"
_BEST = "best.pt"


def write_checkpoint(state: Mapping[str, Any], folder: Path, keep: int, form: str = FORMAT) -> None:
    """Write ``checkpoint1.pt`` and rename older ones to higher numbers.

    Parameters
    ----------
    state : mapping
        From `TrainingState.state_dict`.
    folder : Path
        Created if it is missing.
    keep : int
        Number of checkpoints to keep, at least 1.
    form : str, optional
        Name of the format, which `read_checkpoint` compares.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"checkpoint{i + 1}.pt" for i in range(keep)]
    # The new file is complete before the old ones move.
    new = folder / "new_checkpoint.pt"
    with replacing(new, "wb") as file:
        torch.save({"format": form, **state}, file)
    for older, newer in zip(reversed(paths[1:]), reversed(paths[:-1]), strict=True):
        if newer.exists():
            os.replace(newer, older)
    os.replace(new, paths[0])


def write_best(state: Mapping[str, Any], folder: Path, form: str = FORMAT) -> None:
    """Write ``best.pt``, a checkpoint.

    Parameters
    ----------
    state : mapping
        From `TrainingState.state_dict`.
    folder : Path
        Created if it is missing.
    form : str, optional
        As for `write_checkpoint`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / _BEST, "wb") as file:
        torch.save({"format": form, **state}, file)


def best_checkpoint(folder: Path) -> Path:
    """Path of the checkpoint with the best validation.

    Raises
    ------
    ValueError
        If there was no validation.
    """
    path = folder / _BEST
    if not path.is_file():
        raise ValueError(
            f"there is no {path}: fit(..., validation=dataset) writes it at the first validation, "
            "and whenever the result is better than before."
        )
    return path


def latest_checkpoint(folder: Path) -> Path:
    """Path of the latest checkpoint in a folder, whether it exists or not."""
    return folder / "checkpoint1.pt"


def read_checkpoint(
    path: Path, device: torch.device, form: str = FORMAT, keys: Sequence[str] = KEYS
) -> dict[str, Any]:
    """Training state from a file.

    Parameters
    ----------
    path : Path
        Written by `write_checkpoint`.
    device : torch.device
        Device of its tensors.
    form : str, optional
        Format that it must have.
    keys : sequence of str, optional
        What it must hold.

    Raises
    ------
    ValueError
        If it does not exist, is damaged or has another format.
    """
    if not path.is_file():
        raise ValueError(
            f"there is no checkpoint {path}: train first, or set model_dir to the folder of a run."
        )
    try:
        data = torch.load(path, map_location=device, weights_only=True)
        if not isinstance(data, dict) or data.get("format") != form:
            raise ValueError(f"its format is not {form!r}")
        if missing := sorted(set(keys) - set(data)):
            raise ValueError(f"it lacks {', '.join(missing)}")
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        # What torch says further is about reading files that are not trusted.
        why = str(error).partition(". ")[0].partition("\n")[0].removesuffix(".")
        raise ValueError(f"{path} is not a complete checkpoint of a training ({why}).") from error
    return data
