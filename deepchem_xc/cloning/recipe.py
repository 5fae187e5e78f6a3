"""A clone in three stages: Adam, then Levenberg-Marquardt, at last with energies of molecules."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepchem.data import Dataset

from deepchem_xc._values import whole_number
from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.cloning.least_squares import LevenbergMarquardt
from deepchem_xc.cloning.model import STEPS, FunctionalCloning
from deepchem_xc.xc import XCFunctional, get_xc

__all__ = ["ENERGY_STEPS", "train_clone"]

#: Steps of the last stage, after which the errors of energies change by less than a tenth.
ENERGY_STEPS = 30
# Steps between checkpoints, of Adam and of Levenberg-Marquardt: seconds each.
_ADAM_INTERVAL, _SEARCH_INTERVAL = 1000, 10


def train_clone(
    parent: str | os.PathLike[str] | XCFunctional,
    dataset: Dataset,
    folder: str | os.PathLike[str] | None = None,
    *,
    student: str | XCFunctional = "constrained",
    steps: int = STEPS,
    polish: int = 0,
    energies: KeptEnergies | None = None,
    energy_weight: float = 0.0,
    energy_steps: int = ENERGY_STEPS,
    seed: int = 0,
    callbacks: Callable[..., Any] | list[Callable[..., Any]] | None = None,
    progress: bool | None = None,
) -> FunctionalCloning:
    """Train a clone in stages, each from the weights of the one before.

    Energies come last: from the first step on they slow the fit of the factors tenfold.

    Parameters
    ----------
    parent : str, path-like or XCFunctional
        The functional to clone.
    dataset : Dataset
        Points, as of `clone_dataset`.
    folder : path, optional
        Keeps checkpoints: the same call goes on where it was interrupted.
    student : {"constrained", "linear", "unbounded", "unconstrained"} or XCFunctional, optional
        As for `FunctionalCloning`.
    steps : int, optional
        Steps of Adam; by default the protocol's.
    polish : int, optional
        Steps of Levenberg-Marquardt on the factors.
    energies : KeptEnergies, optional
        Molecules whose energies are fitted as well, at the end.
    energy_weight : float, optional
        Their weight, 1 / Hartree^2, as for `FunctionalCloning`.
    energy_steps : int, optional
        Steps of Levenberg-Marquardt with energies.
    seed : int, optional
        Seed of the first weights.
    callbacks : callable or list, optional
        Called as ``f(model, step)`` after every step of every stage. One that raises ends the
        training; if it calls ``model.save_checkpoint(1)`` before, no step is lost.
    progress : bool, optional
        Whether a bar is shown; by default on a terminal and in notebooks.

    Returns
    -------
    FunctionalCloning
        The model of the last stage; its `functional` is the clone.

    Raises
    ------
    ValueError
        As `FunctionalCloning`, and for a folder that belongs to another training.

    Examples
    --------
    >>> import tempfile
    >>> from deepchem_xc.cloning import clone_dataset, parent_densities, train_clone
    >>> kept = parent_densities("PBE", ["H2"], tempfile.mkdtemp(), basis="sto-3g")
    >>> model = train_clone("PBE", clone_dataset(kept, 100), steps=20, polish=10)
    >>> model.evaluate(clone_dataset(kept, 100))["exchange"] < 0.1
    True
    """
    polish = whole_number(polish, "polish", 0)
    if energies is None and energy_weight:
        raise ValueError(
            f"energy_weight = {energy_weight!r} has no effect without energies: give both, or "
            "neither."
        )
    search: dict[str, Any] = {"optimizer": LevenbergMarquardt()}
    stages: list[tuple[str, int, dict[str, Any]]] = [("", steps, {"seed": seed})]
    if polish:
        stages.append(("polish", polish, search))
    if energies is not None:
        last = {**search, "energies": energies, "energy_weight": energy_weight}
        stages.append(("energies", energy_steps, last))
    trained: str | XCFunctional = student
    functional = get_xc(parent)
    for name, number, options in stages:
        place = None if folder is None else Path(folder) / name
        model = FunctionalCloning(
            functional,
            trained,
            steps=number,
            progress=progress,
            model_dir=None if place is None else str(place),
            **options,
        )
        interval = _SEARCH_INTERVAL if "optimizer" in options else _ADAM_INTERVAL
        model.fit(
            dataset,
            checkpoint_interval=0 if place is None else interval,
            restore=place is not None and (place / "checkpoint1.pt").exists(),
            callbacks=callbacks,
        )
        trained = model.functional
    return model
