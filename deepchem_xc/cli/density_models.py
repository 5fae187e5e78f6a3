"""Implementation of `deepchem-xc density train`, `predict` and `evaluate`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deepchem_xc._files import write_json
from deepchem_xc.cli.options import say
from deepchem_xc.store import digest
from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from deepchem_xc.models import DensityModel
    from deepchem_xc.parallel import Jobs
    from deepchem_xc.planewave import DensityRecord

#: Learning rate at the end of a training, as a part of that at its beginning.
_LAST_RATE = 0.02
#: File of a training's folder that says which training it is.
_SETTINGS = "training.json"


def run_training(
    name: str,
    output: Path,
    quick: bool,
    data_dir: Path | None,
    jobs: Jobs | None,
    target: str,
    network: str,
    epochs: int,
    ecut: float | None,
    learning_rate: float,
    batch_size: int,
    energy_weight: float,
    seed: int,
    device: str,
    fresh: bool,
) -> None:
    """Train a model of densities on a set, or resume its training, and write it to a file.

    Checkpoints are in the folder ``<output>.checkpoints``; its files belong to one training, whose
    structures, network, cutoff, order and batches ``training.json`` names.

    Parameters
    ----------
    name : str
        The set.
    output : Path
        File of the model.
    quick, data_dir, jobs : optional
        As for `load_crystal_densities`.
    target, network, ecut, learning_rate, batch_size, energy_weight, seed, device : optional
        As for `DensityModel`.
    epochs : int
        Epochs in all; the learning rate falls from the first to the last one. A training with fewer
        epochs goes on with the rate that this one has there.
    fresh : bool
        Start again, whatever the folder holds.

    Raises
    ------
    ValueError
        For sets and options that are not valid, or the folder of another training.
    """
    from deepchem_xc.models import DensityModel, FallingRate, write_log
    from deepchem_xc.molnet import DensitySet, load_crystal_densities

    structures = DensitySet.read(name).select(quick=quick)
    (pseudopotentials,) = {str(s.keywords.get("pseudopotentials")) for s in structures.values()}
    folder = output.with_name(f"{output.name}.checkpoints")
    if fresh and folder.exists():
        shutil.rmtree(folder)
    resumed = (folder / "checkpoint1.pt").exists()
    settings = {
        "set": name,
        "structures": digest({key: s.digest for key, s in structures.items()})[:16],
        "target": target,
        "network": network,
        "ecut": ecut,
        "batch_size": batch_size,
        "seed": seed,
    }
    if resumed:
        _check_settings(folder, settings)
    _, (train, valid, _), _ = load_crystal_densities(
        name=name, quick=quick, data_dir=data_dir, jobs=jobs
    )
    records = [*train.X, *valid.X]
    elements = sorted({symbol for record in records for symbol in record.crystal.symbols})
    steps = -(-len(train) // batch_size) * epochs
    model = DensityModel(
        elements,
        network=network,
        target=target,
        spin=any(record.nspin == 2 for record in records),
        pseudopotentials=pseudopotentials,
        ecut=ecut,
        seed=seed,
        device=device,
        batch_size=batch_size,
        energy_weight=energy_weight,
        learning_rate=FallingRate(learning_rate, _LAST_RATE, max(steps, 1)),
        model_dir=str(folder),
    )
    if resumed:
        model.restore()
        say(f"resuming after {model.epoch} epochs, from {folder}")
    else:
        write_json(folder / _SETTINGS, settings)
    left = epochs - model.epoch
    if left <= 0:
        say(f"these are all {epochs}: more --epochs continue the training, --fresh starts again")
    else:
        say(f"{len(train)} structures to train on, {len(valid)} to validate, {epochs} epochs")
        try:
            model.fit(
                train,
                left,
                checkpoint_interval=max(1, 5 * steps // epochs),
                restore=resumed,
                validation=valid,
            )
        except KeyboardInterrupt:
            say(f"checkpoints are kept in {folder}; the same command resumes from there")
            raise
    model.use_best()
    model.save(output)
    log = output.with_name(f"{output.name}.log.csv")
    write_log(model.history, log)
    best = model.history[model.best_epoch or 0].validation_loss
    typer.echo(f"best validation: {best:.3g} % of the electrons, epoch {model.best_epoch}")
    typer.echo(f"Written: {output}, {log}")


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError unless a folder's training has these settings."""
    path = folder / _SETTINGS
    kept = json.loads(path.read_text()) if path.is_file() else {}
    other = [f"{key} {kept.get(key)}, not {s}" for key, s in settings.items() if kept.get(key) != s]
    if other:
        raise ValueError(
            f"{folder} holds another training ({'; '.join(other)}): give another --output, or "
            "--fresh to discard it."
        )


def run_evaluation(
    path: Path,
    name: str,
    part: str,
    quick: bool,
    data_dir: Path | None,
    jobs: Jobs | None,
    output: Path | None,
) -> None:
    """Print the error of a model for each structure of a part of a set, beside superposed atoms'.

    Parameters
    ----------
    path : Path
        File of the model.
    name, quick, data_dir, jobs
        As for `run_training`.
    part : {"train", "valid", "test"}
        Part of the set.
    output : Path or None
        JSON file of the same.
    """
    import numpy as np
    from deepchem.data import NumpyDataset

    from deepchem_xc.molnet import DensitySet, compute_densities
    from deepchem_xc.planewave import Crystal, DensityRecord

    parts = ("train", "valid", "test")
    if part not in parts:
        raise ValueError(f"part must be one of {', '.join(parts)}, got {part!r}.")
    model = _model(path)
    # Densities may take hours, which are not spent on other parts or on what it does not know.
    wanted: dict[str, Any] = {"quick": quick, "parts": (part,)}
    for structure in DensitySet.read(name).select(**wanted).values():
        model.predictor.network.check(Crystal.from_ase(structure.atoms))
    paths = compute_densities(name, data_dir, jobs=jobs, **wanted)
    records = [DensityRecord.load(path) for path in paths.values()]
    dataset = NumpyDataset(np.array(records, dtype=object), ids=np.array(list(paths), dtype=object))
    found = model.compare(dataset)[:, 0]
    atoms = model.compare(dataset, atoms=True)[:, 0]
    rows = [[str(n), a, f] for n, a, f in zip(dataset.ids, atoms, found, strict=True)]
    mean = ["mean", float(atoms.mean()), float(found.mean())]
    table = [[str(row[0]), f"{row[1]:.3g}", f"{row[2]:.3g}"] for row in [*rows, mean]]
    header = ["density error (% of the electrons)", "superposition", "model"]
    typer.echo(as_table(table, header))
    values = {row[0]: {"superposition": float(row[1]), "model": float(row[2])} for row in rows}
    if output is not None:
        write_json(output, {"density_error_percent": values})
        say(f"results in {output}")


def run_prediction(path: Path, structure: Path, ecut: float, output: Path) -> None:
    """Write the predicted density of a structure: a record, a cube file or a CHGCAR.

    Parameters
    ----------
    path : Path
        File of the model.
    structure : Path
        File of the structure.
    ecut : float
        Cutoff, eV.
    output : Path
        Ends in .npz or .cube, or is named CHGCAR.

    Raises
    ------
    ValueError
        For another ending, and structures that the model does not know.
    """
    from deepchem_xc.planewave import Crystal

    kind = _kind(output)
    model = _model(path)
    (record,) = model.predict([Crystal.read(structure)], ecut=ecut)
    _write(record, output, kind)
    typer.echo(f"Written: {output}, {record.nelectrons:.6f} electrons")


def _model(path: Path) -> DensityModel:
    from deepchem_xc.models import DensityModel

    # A name without folder may be that of a shipped model.
    return DensityModel.load(str(path))


def _kind(output: Path) -> str:
    name = output.name.lower()
    for kind, fits in {
        "record": name.endswith(".npz"),
        "cube": name.endswith((".cube", ".cub")),
        "chgcar": "chg" in name,
    }.items():
        if fits:
            return kind
    raise ValueError(f"--output {output} must end in .npz or .cube, or have CHGCAR in its name.")


def _write(record: DensityRecord, output: Path, kind: str) -> None:
    if kind == "record":
        record.save(output)
        return
    from deepchem_xc.data import write_chgcar
    from deepchem_xc.feat.density_grid import DensityGrid

    if kind == "chgcar":
        write_chgcar(output, DensityGrid.of(record))
        return
    from ase.io.cube import write_cube

    from deepchem_xc._atomic import replacing

    values: Any = record.density.sum(0).numpy()
    made_for = record.functional or record.other_code
    comment = f"predicted valence density of {made_for}, electrons per bohr^3"
    with replacing(output) as file:
        write_cube(file, record.crystal.to_ase(), values, comment=comment)
