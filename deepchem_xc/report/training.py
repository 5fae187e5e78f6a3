"""The page of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepchem_xc.report.page import Page, Picture, Section, Table, Text
from deepchem_xc.report.reading import (
    ReportError,
    number,
    read_csv,
    read_json,
    read_text,
    versions_section,
)

_NEEDED = ("set", "name", "type", "unit", "label", "prediction")
# File, and what it is called on the page.
_FUNCTIONALS = {"functional.safetensors": "last epoch", "best.safetensors": "best validation"}


def training_page(folder: Path) -> Page:
    """Page of a folder that `deepchem-xc train` wrote."""
    epochs = read_epochs(folder)
    sections = [
        _settings(folder),
        Section("Curves", [training_picture(folder, epochs)]),
        _best(epochs),
        *_predictions(folder),
        _functional(folder),
        versions_section(
            read_json(folder / "versions.json") if (folder / "versions.json").exists() else None,
            "This training",
        ),
    ]
    total = sum(epoch.seconds for epoch in epochs)
    calculations = sum(epoch.calculations for epoch in epochs)
    skipped = sum(epoch.skipped for epoch in epochs)
    done = (
        f"{len(epochs)} epochs, {calculations} self-consistent calculations, {total:.0f} s, "
        f"{skipped} skipped entries; last loss {epochs[-1].loss:.4g}"
    )
    return Page(f"Training in {folder.resolve().name}", done, sections)


def read_epochs(folder: Path) -> Sequence[Any]:
    """Epochs of a training's log, at least one."""
    from deepchem_xc.models.training_log import read_log

    path = folder / "log.csv"
    read_csv(path, ("epoch", "loss", "calculations"))  # names what is damaged
    try:
        epochs = read_log(path)
    except ValueError as error:
        raise ReportError(f"{path} is damaged: {error}.") from error
    if not epochs:
        raise ReportError(f"{path} has no epoch: the training has not finished its first one.")
    return epochs


def training_picture(folder: Path, epochs: Sequence[Any]) -> Picture:
    """Curves of losses and validation errors."""
    from deepchem_xc.plotting import plot_training

    path = folder / "validation.json"
    validation: Mapping[str, Any] = read_json(path) if path.exists() else {}
    figure = plot_training(epochs, validation=validation)
    what = "Loss of each type of entry" + (", and validation errors" if validation else "")
    return Picture.of(figure, f"{what}; marks at the bottom: epochs that computed ground states.")


def _settings(folder: Path) -> Section:
    path = folder / "config.yaml"
    if not path.exists():
        return Section("Settings", [Text("The folder has no config.yaml.")])
    return Section("Settings", [Text(read_text(path), kind="code")])


def _best(epochs: Sequence[Any]) -> Section:
    judged = [
        epoch
        for epoch in epochs
        if epoch.validation_loss is not None and math.isfinite(epoch.validation_loss)
    ]
    if not judged:
        lowest = min(epochs, key=lambda epoch: (math.isnan(epoch.loss), epoch.loss))
        text = (
            f"No validation loss was recorded. The training loss is lowest in epoch {lowest.epoch}:"
            f" {lowest.loss:.4g}."
        )
        return Section("Best epoch", [Text(text)])
    best = min(judged, key=lambda epoch: epoch.validation_loss)
    text = (
        f"Epoch {best.epoch} has the lowest validation loss, {best.validation_loss:.4g}, of "
        f"{len(judged)} validations; the last one, in epoch {judged[-1].epoch}, "
        f"gave {judged[-1].validation_loss:.4g}."
    )
    return Section("Best epoch", [Text(text)])


def _predictions(folder: Path) -> list[Section]:
    """Errors by type, and each entry's prediction beside its label."""
    path = folder / "predictions.csv"
    if not path.exists():
        text = (
            "The folder has no predictions.csv: the training has not ended, was run with "
            "final_errors: false, or by an older version."
        )
        return [Section("Metrics by type of entry", [Text(text)])]
    rows = read_csv(path, _NEEDED)
    groups: dict[tuple[str, str, str], list[tuple[str, float, float]]] = {}
    for row in rows:
        found = (row["set"], number(row["label"], path), number(row["prediction"], path))
        groups.setdefault((row["set"], row["type"], row["unit"]), []).append(found)
    errors = [
        [name, kind, unit, str(len(found)), *_errors(found)]
        for (name, kind, unit), found in groups.items()
    ]
    header = ["set", "type", "unit", "entries", "mean absolute error"]
    metrics = Section(
        "Metrics by type of entry",
        [
            Table([*header, "root mean square error", "mean error"], errors, left=3),
            Text("Of arrays, such as forces, an entry's error is its root mean square deviation."),
        ],
    )
    cells = [
        [row["set"], row["name"], row["type"], row["unit"], *_compared(row, path)] for row in rows
    ]
    header = ["set", "entry", "type", "unit", "label", "prediction", "error"]
    table = Table(header, cells, left=4)
    return [metrics, Section("Predictions and labels", [*_parity(groups), table])]


def _errors(found: Sequence[tuple[str, float, float]]) -> list[str]:
    errors = [prediction - label for _, label, prediction in found if math.isfinite(prediction)]
    if not errors:
        return ["-", "-", "-"]
    absolute = sum(map(abs, errors)) / len(errors)
    square = math.sqrt(sum(error**2 for error in errors) / len(errors))
    return [f"{absolute:.5g}", f"{square:.5g}", f"{sum(errors) / len(errors):+.5g}"]


def _compared(row: Mapping[str, str], path: Path) -> list[str]:
    label, prediction = number(row["label"], path), number(row["prediction"], path)
    if not math.isfinite(prediction):
        return [f"{label:.6g}", "failed", "-"]
    return [f"{label:.6g}", f"{prediction:.6g}", f"{prediction - label:+.4g}"]


def _parity(groups: Mapping[tuple[str, str, str], Any]) -> list[Picture]:
    """One figure for each type that has labels other than 0, which stands for an array."""
    from deepchem_xc.plotting import plot_parity

    pictures = []
    for kind, unit in dict.fromkeys((kind, unit) for _, kind, unit in groups):
        points = [p for (_, k, u), found in groups.items() if (k, u) == (kind, unit) for p in found]
        sets, labels, predictions = zip(*points, strict=True)
        if not any(labels) or not any(map(math.isfinite, predictions)):
            continue
        name = kind.replace("_", " ")
        drawn = plot_parity(labels, predictions, name, unit, sets)
        pictures.append(Picture.of(drawn, f"Predictions of the type {kind} over their labels."))
    return pictures


def _functional(folder: Path) -> Section:
    from deepchem_xc.plotting import plot_enhancement, plot_exchange_enhancement
    from deepchem_xc.plotting.style import new_figure
    from deepchem_xc.xc import FunctionalFileError, get_xc, load_functional

    section = Section("Enhancement factor")
    found: dict[str, Any] = {}
    for name, label in _FUNCTIONALS.items():
        if not (folder / name).exists():
            continue
        try:
            found[label] = load_functional(folder / name)
        except FunctionalFileError as error:
            # A class of the user's own cannot be loaded without it; a damaged file neither.
            section.blocks.append(Text(f"{name} could not be drawn: {error}"))
    if len(found) == 2 and len({(folder / name).read_bytes() for name in _FUNCTIONALS}) == 1:
        # Of two curves in the same place one would hide the other.
        found = {"last epoch, also best validation": found["last epoch"]}
    if not found:
        if not section.blocks:
            section.blocks.append(Text("The folder has no functional: the training has not ended."))
        return section
    shown = {**found, "PBE": get_xc("PBE")}
    figure = new_figure(10.4, 3.8)
    left, right = figure.subplots(1, 2)
    try:
        plot_exchange_enhancement(shown, ax=left, title="exchange")
    except ValueError as error:
        left.set_axis_off()
        section.blocks.append(Text(f"The factor of exchange cannot be drawn: {error}"))
    plot_enhancement(shown, rs=2.0, ax=right, title="exchange and correlation, $r_s$ = 2 bohr")
    section.blocks.append(
        Picture.of(figure, "Enhancement factors of the trained functional, with PBE's beside them.")
    )
    return section
