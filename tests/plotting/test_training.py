"""Curves of trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepchem_xc.models import EpochRecord
from deepchem_xc.plotting import plot_training


def test_a_type_has_one_colour_and_a_unit_one_panel() -> None:
    counts = {"band_gap": 1, "energy": 2}
    records = [
        EpochRecord(
            epoch,
            losses={"energy": 40.0 * 0.8**epoch, "band_gap": 5.0},
            counts=counts,
            calculations=3 * (epoch % 10 == 0),
        )
        for epoch in range(30)
    ]
    errors = [(9, 0.3), (19, 0.2), (29, 0.1)]
    names = ("energy (eV)", "forces (eV/Angstrom)", "band_gap (eV)")
    figure = plot_training(records, validation=dict.fromkeys(names, errors))
    losses, energies, forces = figure.axes
    assert (losses.get_ylabel(), losses.get_yscale()) == ("loss", "log")
    assert energies.get_ylabel() == "mean absolute error (eV)"
    assert forces.get_ylabel() == "mean absolute error (eV/Angstrom)"
    colours: dict[str, set[Any]] = {}
    for ax in figure.axes:
        assert ax.get_xlim() == losses.get_xlim()
        assert all(tick == int(tick) for tick in ax.get_xticks())
        for line in ax.lines:
            colours.setdefault(line.get_label(), set()).add(line.get_color())
    assert all(len(found) == 1 for found in colours.values())
    curves = ("all", "band_gap", "energy", "forces")
    assert len({next(iter(colours[name])) for name in curves}) == len(curves)
    (marks,) = (line for line in losses.lines if line.get_label() == "ground states computed")
    assert list(marks.get_xdata()) == [0, 10, 20]
    (energy,) = (line for line in losses.lines if line.get_label() == "energy")
    assert energy.get_ydata() == pytest.approx([20.0 * 0.8**epoch for epoch in range(30)])
    (error,) = (line for line in energies.lines if line.get_label() == "energy")
    assert list(zip(error.get_xdata(), error.get_ydata(), strict=True)) == errors


def test_validation_losses_are_a_line_of_the_loss_panel_without_those_that_failed() -> None:
    found = [4.0, None, float("inf"), 1.0]
    records = [
        EpochRecord(i, {"eos": 2.0}, {"eos": 1}, validation_loss=loss)
        for i, loss in enumerate(found)
    ]
    (losses,) = plot_training(records).axes
    (line,) = (line for line in losses.lines if line.get_label() == "all, validation")
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 3], [4.0, 1.0])


def test_without_an_epoch_there_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no epoch to draw"):
        plot_training([])


def test_a_training_of_one_type_is_written(tmp_path: Path) -> None:
    records = [EpochRecord(0, losses={"energy": 1.0}, counts={"energy": 1}, calculations=1)]
    plot_training(records, tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 1000
