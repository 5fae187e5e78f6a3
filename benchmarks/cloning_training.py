"""One clone of `cloning.py`: trained in pieces, resumed where it stopped, kept with its hash."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import deepchem_xc  # first: it keeps DeepChem's import notices quiet

# isort: split
from ase import Atoms
from cloning_plan import PARENTS, Clone
from deepchem.data import NumpyDataset

from deepchem_xc._files import file_digest
from deepchem_xc.cloning import (
    FunctionalCloning,
    KeptDensity,
    KeptEnergies,
    clone_dataset,
    dataset_digest,
    free_atoms,
    new_student,
    parent_densities,
    train_clone,
)
from deepchem_xc.store import Store, digest
from deepchem_xc.xc import XCFunctional, get_xc
from deepchem_xc.xc.identity import content_digest


class Stopped(Exception):
    """The time is over; the training is kept."""


class Data:
    """Densities of parents and points in them, read or computed when they are needed.

    Parameters
    ----------
    folder : Path or None
        As `data_dir` of `parent_densities`.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._datasets: dict[str, NumpyDataset] = {}

    def parent(self, clone: Clone) -> XCFunctional:
        """The functional that is cloned."""
        return get_xc(PARENTS[clone.parent])

    def densities(
        self, clone: Clone, molecules: Sequence[str] | Mapping[str, Atoms]
    ) -> list[KeptDensity]:
        """Densities of molecules with the parent, as `parent_densities` takes them."""
        made = clone.settings
        how = {"basis": made.basis, "grid_level": made.grid_level, "progress": False}
        return parent_densities(clone.functional, molecules, self.folder, **how)

    def dataset(self, clone: Clone) -> NumpyDataset:
        """The points that a clone is trained on."""
        made = clone.settings
        sampled = (made.molecules, made.points, made.uniform, made.basis, made.grid_level)
        key = digest([clone.parent, *sampled])
        if key not in self._datasets:
            kept = self.densities(clone, made.molecules)
            self._datasets[key] = clone_dataset(
                kept, made.points, uniform=made.uniform, grid_level=made.grid_level
            )
        return self._datasets[key]

    def energies(self, clone: Clone) -> KeptEnergies:
        """Energies of the molecules that a clone is trained on, and of their atoms."""
        molecules = clone.settings.molecules
        kept = self.densities(clone, [*molecules, *free_atoms(molecules)])
        return KeptEnergies(self.parent(clone), kept)


def clone_file(output: Path, clone: Clone) -> Path:
    """Where a clone is, once it is trained."""
    return output / "clones" / clone.name / f"{clone.name}.safetensors"


def key_of(clone: Clone) -> str:
    """Hash of everything that decides about a clone."""
    functionals = functionals_digest(clone.functional, clone.student, clone.seed)
    return digest([deepchem_xc.__version__, clone.name, clone.settings.content, functionals])[:16]


@lru_cache
def functionals_digest(parent: str, student: str, seed: int) -> str:
    """Hash of a parent, and of its student before the training."""
    functional = get_xc(parent)
    return digest([content_digest(f) for f in (functional, new_student(student, functional, seed))])


def trained(output: Path, clone: Clone) -> dict[str, Any] | None:
    """Record of a finished clone, whose "model" is the hash of its file; None if there is none."""
    found = Store(output / "clones").read(clone.name, key=key_of(clone))
    path = clone_file(output, clone)
    if found is None or not found["finished"] or not path.exists():
        return None
    if file_digest(path) != found["model"]:
        raise SystemExit(
            f"{path} is not the file that was trained: delete {path.parent} and "
            f"{path.parent}.json to train it again."
        )
    return found


def train(clone: Clone, data: Data, output: Path, deadline: float) -> bool:
    """Train until the clone is finished or the time is over; return whether it is finished.

    Parameters
    ----------
    clone : Clone
        What to train.
    data : Data
        Densities of the parents.
    output : Path
        Folder of all results. ``clones/NAME.json`` gets the record, ``clones/NAME/`` the
        checkpoints and NAME.safetensors.
    deadline : float
        Of `time.monotonic`; the training stops with the first step after it.

    Raises
    ------
    SystemExit
        If the folder holds another training of this name.
    """
    if trained(output, clone) is not None:
        return True
    path, store, key = clone_file(output, clone), Store(output / "clones"), key_of(clone)
    before = store.read(clone.name)
    if path.parent.exists() and (before is None or before["key"] != key):
        raise SystemExit(
            f"{path.parent} holds a training with other settings or of another version: move it, "
            "or give another --output."
        )
    dataset, parent = data.dataset(clone), data.parent(clone)
    resumed = before is not None and before["key"] == key
    record: dict[str, Any] = {
        "key": key,
        "finished": False,
        "dataset": dataset_digest(dataset),
        "cpu_seconds": before["cpu_seconds"] if before is not None and resumed else 0.0,
        **clone.settings.content,
    }
    store.write(clone.name, record)
    cpu = time.process_time()
    try:
        student = _trained(clone, data, path.parent, deadline)
    except Stopped:
        return False
    finally:
        record["cpu_seconds"] += time.process_time() - cpu
        store.write(clone.name, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    student.save(path)
    errors = FunctionalCloning(parent, student, progress=False).evaluate(dataset)
    store.write(
        clone.name, {**record, "finished": True, "errors": errors, "model": file_digest(path)}
    )
    return True


def _trained(clone: Clone, data: Data, folder: Path, deadline: float) -> XCFunctional:
    """The clone, from where its training stopped; it alone knows how clones are trained."""
    made, parent = clone.settings, data.parent(clone)
    if made.steps == 0:
        return new_student(clone.student, parent, clone.seed)

    def look_at_the_clock(model: FunctionalCloning, step: int) -> None:
        if time.monotonic() > deadline:
            model.save_checkpoint(1)
            raise Stopped

    with_energies: dict[str, Any] = {}
    if made.energy_steps:
        with_energies = {
            "energies": data.energies(clone),
            "energy_weight": made.energy_weight,
            "energy_steps": made.energy_steps,
        }
    return train_clone(
        parent,
        data.dataset(clone),
        folder,
        student=clone.student,
        steps=made.steps,
        polish=made.polish,
        seed=clone.seed,
        callbacks=look_at_the_clock,
        progress=False,
        **with_energies,
    ).functional
