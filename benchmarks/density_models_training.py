"""One training of `density_models.py`: in pieces, resumed bit by bit, with its curve kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import deepchem_xc  # first: it keeps DeepChem's import notices quiet

# isort: split
import numpy as np
from deepchem.data import NumpyDataset
from deepchem.models.optimizers import ExponentialDecay
from density_models_plan import Training, part_of

from deepchem_xc._files import file_digest
from deepchem_xc.densities import DensityLoss
from deepchem_xc.models import DensityModel
from deepchem_xc.molnet import DensitySet, compute_densities
from deepchem_xc.molnet.computed_densities import density_paths
from deepchem_xc.planewave import DensityRecord
from deepchem_xc.store import Store, digest

#: Seconds from one checkpoint to the next.
_SAVED_EVERY = 300.0


class Data:
    """Densities of the sets, read when they are needed, and computed if they are missing.

    Parameters
    ----------
    folder : Path or None
        As `data_dir` of the loaders.
    quick : bool
        The small part of each set.
    jobs : int
        Densities that are computed at a time.
    """

    def __init__(self, folder: Path | None, quick: bool, jobs: int) -> None:
        self.folder, self.quick, self.jobs = folder, quick, jobs
        self._kept: dict[tuple[str, str, str], dict[str, DensityRecord]] = {}

    def structures(self, name: str, part: str) -> Mapping[str, Any]:
        """Structures of a part of a set, by name."""
        return _set(name).select(quick=self.quick, parts=(part,))

    def path(self, name: str, structure: str) -> Path:
        """File of one density, which need not be there."""
        return density_paths(_set(name), {structure: None}, self.folder)[structure]

    def records(self, name: str, part: str, fraction: str = "1") -> dict[str, DensityRecord]:
        """Densities of a part of a set, by the name of the structure; missing ones are computed.

        Of a fraction only those that belong to it (`part_of`).
        """
        key = (name, part, fraction)
        if key not in self._kept:
            every = self.structures(name, part)
            names = part_of({one: s.kind for one, s in every.items()}, fraction)
            whole = _set(name)
            some = DensitySet(name, whole.description, {one: every[one] for one in names})
            paths = compute_densities(some, self.folder, jobs=self.jobs)
            self._kept[key] = {one: DensityRecord.load(path) for one, path in paths.items()}
        return self._kept[key]

    def digest(self, name: str, part: str) -> str:
        """Hash of structures and settings of a part of a set."""
        return digest({key: s.digest for key, s in self.structures(name, part).items()})


@lru_cache
def _set(name: str) -> DensitySet:
    return DensitySet.read(name)


def model_file(output: Path, training: Training) -> Path:
    """Where a training's network is, once it is trained."""
    return output / "trainings" / training.name / "model.safetensors"


def key_of(data: Data, training: Training) -> str:
    """Hash of everything a training depends on."""
    parts = [data.digest(training.set, part) for part in ("train", "valid")]
    return digest([deepchem_xc.__version__, training.name, training.settings.content, parts])[:16]


def trained(output: Path, data: Data, training: Training) -> dict[str, Any] | None:
    """Record of a finished training, with the hash of its file; None if it is not finished."""
    found = Store(output / "trainings").read(training.name, key=key_of(data, training))
    path = model_file(output, training)
    if found is None or not found["finished"] or not path.exists():
        return None
    return {**found, "model": file_digest(path)}


def train(training: Training, data: Data, output: Path, deadline: float) -> bool:
    """Train until it is finished or the time is over; return whether it is finished.

    Parameters
    ----------
    training : Training
        What to train.
    data : Data
        Its densities.
    output : Path
        Folder of all results. ``trainings/NAME.json`` gets the curve, ``trainings/NAME/`` the
        checkpoints and the network with the best validation, model.safetensors.
    deadline : float
        Of `time.monotonic`; a piece ends with the first validation after it.

    Raises
    ------
    SystemExit
        If the folder holds another training of this name.
    """
    if trained(output, data, training) is not None:
        return True
    part = training.settings.part
    records = data.records(training.set, "train", part)
    structures = data.structures(training.set, "train")
    kinds = {name: structures[name].kind for name in records}
    names = part_of(kinds, training.fraction)
    learned = _dataset({name: records[name] for name in names})
    valid = data.records(training.set, "valid", part)
    judged = _dataset(valid)
    epochs, every = training.epochs(len(names))
    folder, store = model_file(output, training).parent, Store(output / "trainings")
    key = key_of(data, training)
    resumed = (folder / "checkpoint1.pt").exists()
    before = store.read(training.name)
    if resumed and (before is None or before["key"] != key):
        raise SystemExit(
            f"{folder} holds a training with other settings or densities: move it, or give another "
            "--output."
        )
    model = _model(training, list(valid.values()), records, folder)
    if resumed:
        model.restore()
    spent = {"seconds": 0.0, "cpu_seconds": 0.0}
    if resumed and before is not None:
        spent = {name: before[name] for name in spent}
    wall, cpu = time.perf_counter(), time.process_time()
    saved = time.monotonic()

    def keep(finished: bool) -> None:
        model.save_checkpoint(1)
        record = {
            "key": key,
            "finished": finished,
            "epochs": epochs,
            "structures": len(names),
            "parameters": sum(p.numel() for p in model.network.parameters()),
            "seconds": spent["seconds"] + time.perf_counter() - wall,
            "cpu_seconds": spent["cpu_seconds"] + time.process_time() - cpu,
            "best_epoch": model.best_epoch,
            "curve": [[r.epoch + 1, r.loss, r.validation_loss] for r in model.history],
            **training.settings.content,
        }
        store.write(training.name, record)

    keep(False)
    while model.epoch < epochs and time.monotonic() < deadline:
        left = every - model.epoch % every
        options = {"validation": judged, "validation_interval": every}
        model.fit(learned, left, checkpoint_interval=0, **options)
        if time.monotonic() > saved + _SAVED_EVERY:
            keep(False)
            saved = time.monotonic()
    keep(False)
    if model.epoch < epochs:
        return False
    model.use_best()
    model.save(folder / "model.safetensors")
    model.restore()  # the record and the checkpoint belong to the last step
    keep(True)
    return True


def _dataset(records: Mapping[str, DensityRecord]) -> NumpyDataset:
    x = np.empty(len(records), dtype=object)
    x[:] = list(records.values())
    return NumpyDataset(x, np.zeros((len(x), 1)), ids=np.array(list(records), dtype=object))


def _model(
    training: Training,
    judged: list[DensityRecord],
    records: Mapping[str, DensityRecord],
    folder: Path,
) -> DensityModel:
    settings = training.settings
    every = [*records.values(), *judged]
    (pseudopotentials,) = {
        str(s.keywords.get("pseudopotentials")) for s in _set(training.set).structures.values()
    }
    return DensityModel(
        sorted({symbol for record in every for symbol in record.crystal.symbols}),
        network=training.network,
        target=training.target,
        spin=any(record.nspin == 2 for record in every),
        pseudopotentials=pseudopotentials,
        loss=DensityLoss("absolute", points=settings.points),
        network_options=settings.network_options,
        seed=training.seed,
        learning_rate=ExponentialDecay(
            settings.rate, settings.last_rate, settings.steps, staircase=False
        ),
        model_dir=str(folder),
    )
