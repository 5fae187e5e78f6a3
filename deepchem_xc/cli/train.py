"""Implementation of `deepchem-xc train`."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
import yaml
from tqdm import tqdm

from deepchem_xc._atomic import replacing
from deepchem_xc._files import write_json
from deepchem_xc.cli.options import say
from deepchem_xc.tables import as_table

if TYPE_CHECKING:
    from deepchem.data import Dataset

    from deepchem_xc.models import XCModel
    from deepchem_xc.models.compared import ComparedEntry
    from deepchem_xc.models.config import TrainingSpec
    from deepchem_xc.models.distributed import Team
    from deepchem_xc.parallel import Jobs

# Settings that may change when a training is resumed.
_FREE = (
    "epochs",
    "validation",
    "validation_interval",
    "patience",
    "checkpoint_interval",
    "final_errors",
)
_FUNCTIONAL = "functional.safetensors"
_BEST = "best.safetensors"
_PREDICTIONS = "predictions.csv"
# File for the digest of the entries, because names of data files say little about their content.
_ENTRIES = "entries.sha256"
_LATEST = Path("checkpoints") / "checkpoint1.pt"


def run_training(
    config: Path,
    output: Path,
    fresh: bool = False,
    device: str = "cpu",
    seed: int | None = None,
    jobs: Jobs | None = None,
) -> None:
    """Train as a file describes, or resume the training in a folder, and write the results.

    Parameters
    ----------
    config : Path
        YAML file; see docs/training.md.
    output : Path
        Folder for ``config.yaml``, ``entries.sha256``, ``checkpoints/``, ``log.csv``,
        ``validation.json``, ``training.png``, ``predictions.csv``, ``versions.json``,
        ``functional.safetensors`` and, with a validation, ``best.safetensors``.
    fresh : bool, optional
        Delete the checkpoints of an earlier training there.
    device : str, optional
        Torch device.
    seed : int, optional
        Replaces the file's seed.
    jobs : int, str or distributed.Client, optional
        As for `XCModel`.

    Raises
    ------
    ValueError
        For mistakes in the files, if the folder holds a training with other settings, or if the
        functional could not be written to a file at the end.
    JobsError
        If calculations in other processes do not come back; those that do are kept.
    ClusterError
        If the scheduler died when nothing was running there.
    """
    from deepchem_xc.data import DFTYamlLoader
    from deepchem_xc.feat.calculation import digest
    from deepchem_xc.models.config import read_training
    from deepchem_xc.models.distributed import Team
    from deepchem_xc.models.side_by_side import JobsError
    from deepchem_xc.parallel import ClusterError
    from deepchem_xc.xc.definition import own_classes
    from deepchem_xc.xc.saving import check_savable

    spec = read_training(config)
    if seed is not None:
        spec = spec.model_copy(update={"seed": seed})
    folder = config.parent
    loader = DFTYamlLoader()
    dataset = loader.create_dataset([folder / name for name in spec.dataset])
    validation = None
    if spec.validation:
        validation = loader.create_dataset([folder / name for name in spec.validation])
        for entry in validation.X:
            entry.get_true_val()  # raises errors now, not after the first epochs
    team = Team()
    team.join()
    if team.leads:
        _prepare(spec, folder, output, fresh, digest([entry.identity for entry in dataset.X]))
    team.exchange("folder", None)  # the others wait for it
    model = spec.make_model(folder, output, device, jobs)
    # Bars of the model would break this command's lines.
    model.progress = False
    classes = own_classes(model.functional) if spec.functional.class_ else ()
    check_savable(model.functional, classes)
    resumed = team.once("checkpoint", (output / _LATEST).exists)
    if resumed:
        team.restore(model)
        _tell(team, f"resuming after {model.epoch} epochs, from {output}")
    steps = -(-len(dataset) // spec.batch_size)
    run = _Run(spec, model, output, validation, tuple(classes)) if team.leads else None
    if model.epoch < spec.epochs:
        keys = {one.key for entry in dataset.X for one in entry.calculations}
        _tell(
            team,
            f"{len(dataset)} entries, {len(keys)} calculations; the first epoch does all of them",
        )
        try:
            model.fit(
                dataset,
                nb_epoch=spec.epochs - model.epoch,
                checkpoint_interval=spec.checkpoint_interval * steps,
                deterministic=spec.deterministic,
                restore=resumed,
                callbacks=run,
                validation=validation,
                validation_interval=spec.validation_interval,
                patience=spec.patience,
            )
        except (KeyboardInterrupt, JobsError, ClusterError):
            _tell(
                team, f"finished epochs are kept in {output}; the same command resumes from there"
            )
            raise
    if model.epoch < spec.epochs:
        _tell(
            team,
            f"stopped after {model.epoch} of {spec.epochs} epochs: {spec.patience} validations "
            f"without an improvement",
        )
    if run is not None:
        run.finish(dataset)


def _tell(team: Team, message: str) -> None:
    """Say something once, not once for each process."""
    if team.leads:
        say(message)


class _Run:
    """Callback that shows progress, and writes log and validation errors."""

    def __init__(
        self,
        spec: TrainingSpec,
        model: XCModel,
        output: Path,
        validation: Dataset | None,
        classes: tuple[type[Any], ...],
    ) -> None:
        self.spec, self.model, self.output, self.validation = spec, model, output, validation
        self.classes = classes
        self._seen = model.epoch
        self._errors = _read_errors(output, model.epoch)
        # The bar appears on a terminal only: a log has one line an epoch.
        self._bar = tqdm(desc="self-consistent", unit="calculation", leave=False, disable=None)
        model.ground_states.on_calculation = lambda calculation: self._bar.update()

    def __call__(self, model: XCModel, step: int) -> None:
        from deepchem_xc.models import write_log

        if model.epoch == self._seen:
            return
        self._seen = model.epoch
        self._bar.clear()
        self._bar.reset()
        say(model.history[-1].line())
        write_log(model.history, self.output / "log.csv")
        self._validated(model.history[-1].validation_errors)

    def _validated(self, errors: dict[str, float]) -> None:
        if not errors:
            return
        for name, error in errors.items():
            self._errors.setdefault(name, []).append([self.model.epoch - 1, error])
        parts = ((*name.removesuffix(")").split(" (", 1), error) for name, error in errors.items())
        text = "  ".join(f"{name} {error:.4g} {unit}" for name, unit, error in parts)
        say(f"validation: mean absolute errors {text}")
        write_json(self.output / "validation.json", self._errors)

    def _compare(self, data: Dataset) -> list[ComparedEntry]:
        """Predictions and labels; empty if all are skipped, so that the training continues."""
        try:
            return self.model.compare(data)
        except RuntimeError as error:
            if self.spec.on_failure == "raise":
                raise
            say(f"no errors: {error}")
            return []

    def finish(self, dataset: Dataset) -> None:
        """Write the functional and the figure, and print the errors of all entries."""
        self._bar.close()
        from deepchem_xc.against_gpaw.report import about_run
        from deepchem_xc.models import write_log
        from deepchem_xc.models.compared import mean_errors
        from deepchem_xc.plotting import plot_training

        write_json(self.output / "versions.json", about_run())
        write_log(self.model.history, self.output / "log.csv")
        self.model.progress = None
        if self.validation is not None and not self._errors:
            found = mean_errors(self._compare(self.validation))
            self._validated({f"{name} ({unit})": e for name, (e, unit, _) in found.items()})
        plot_training(self.model.history, self.output / "training.png", self._errors)
        files = ["log.csv", "training.png", *self._save()]
        if self.spec.final_errors:
            self._print_errors(dataset)
            files.append(_PREDICTIONS)
        typer.echo(f"Written: {', '.join(str(self.output / name) for name in files)}")

    def _save(self) -> list[str]:
        """Write the last functional and the best one; names of their files."""
        from deepchem_xc.xc.saving import save_functional

        save_functional(self.model.functional, self.output / _FUNCTIONAL, self.classes)
        names = [_FUNCTIONAL]
        if self.validation is not None and self.model.best_epoch is not None:
            best = self.model.best_functional()
            save_functional(best, self.output / _BEST, self.classes)
            names.append(_BEST)
            say(
                f"{_BEST} is the functional of the best validation, after epoch "
                f"{self.model.best_epoch}; {_FUNCTIONAL} is the last one"
            )
        if self.classes:
            classes = ", ".join(one.__name__ for one in self.classes)
            say(f"read these files with load_functional(path, classes=[{classes}])")
        return names

    def _print_errors(self, dataset: Dataset) -> None:
        from deepchem_xc.models.compared import mean_errors

        sets = {"training": dataset, "validation": self.validation}
        compared = {name: self._compare(data) for name, data in sets.items() if data is not None}
        rows = [
            [name, e_type, unit, f"{count}", f"{error:.5g}"]
            for name, entries in compared.items()
            for e_type, (error, unit, count) in mean_errors(entries).items()
        ]
        _write_predictions(compared, self.output / _PREDICTIONS)
        header = ["set", "type", "unit", "entries", "mean absolute error"]
        typer.echo(as_table(rows, header, left=3))


def _write_predictions(compared: dict[str, list[ComparedEntry]], path: Path) -> None:
    """Write each entry's label and prediction; those of arrays are 0 and the deviation."""
    with replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "name", "type", "unit", "label", "prediction"])
        for name, entries in compared.items():
            writer.writerows(
                [name, one.name, one.e_type, one.unit, one.label, one.prediction] for one in entries
            )


def _read_errors(output: Path, epoch: int) -> dict[str, list[Any]]:
    """Errors of validation entries in the epochs before a training is resumed."""
    import json

    path = output / "validation.json"
    if not path.exists() or epoch == 0:
        return {}
    errors: dict[str, list[Any]] = json.loads(path.read_text())
    return {name: [p for p in points if p[0] < epoch] for name, points in errors.items()}


def _prepare(spec: TrainingSpec, folder: Path, output: Path, fresh: bool, entries: str) -> None:
    """Write the settings beside the training, and refuse to resume it with others.

    Paths in the written settings are absolute, so that they are valid in any folder. Entries are
    compared by their content, and the checkpoint compares the functional.
    """
    settings = _with_absolute_files(spec.model_dump(mode="json", by_alias=True), folder)
    path = output / "config.yaml"
    if fresh and (output / "checkpoints").exists():
        shutil.rmtree(output / "checkpoints")
    elif path.exists() and (output / _LATEST).exists():
        before = _with_absolute_files(yaml.safe_load(path.read_text()) or {}, folder)
        # Keywords that are newer than the training had no effect on it, nor have their defaults.
        defaults = type(spec).model_construct().model_dump(mode="json", by_alias=True)
        was, now = _comparable({**defaults, **before}), _comparable(settings)
        changed = [k for k in now if k not in _FREE and now[k] != was.get(k)]
        if (output / _ENTRIES).exists():
            changed = [k for k in changed if k != "dataset"]
            if (output / _ENTRIES).read_text().strip() != entries:
                changed.append("entries of the dataset")
        if changed:
            raise ValueError(
                f"{output} holds a training with other settings ({', '.join(changed)}): choose "
                "another --output, or --fresh to start again."
            )
    with replacing(path) as file:
        yaml.safe_dump(settings, file, sort_keys=False)
    with replacing(output / _ENTRIES) as file:
        file.write(f"{entries}\n")


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the path of a functional's file and without omitted keywords.

    Examples
    --------
    >>> _comparable({"functional": {"file": "f.safetensors"}, "solver": {"nbands": None}})
    {'functional': {'class': None, 'file': True}, 'solver': {}}
    """
    found = dict(settings)
    functional, solver = settings.get("functional"), settings.get("solver")
    if isinstance(functional, dict):
        found["functional"] = {"class": None, **functional, "file": bool(functional.get("file"))}
    if isinstance(solver, dict):
        found["solver"] = {name: value for name, value in solver.items() if value is not None}
    return found


def _with_absolute_files(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    def absolute(name: str) -> str:
        return os.path.abspath(folder / name)

    found = dict(settings)
    for key in ("dataset", "validation"):
        found[key] = [absolute(name) for name in settings.get(key) or []]
    functional = settings.get("functional")
    if isinstance(functional, dict) and functional.get("file"):
        found["functional"] = {**functional, "file": absolute(functional["file"])}
    return found
