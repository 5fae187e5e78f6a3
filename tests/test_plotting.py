from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepchem_xc import plotting
from deepchem_xc.models import EpochRecord
from deepchem_xc.planewave.eos import fit_equation_of_state
from deepchem_xc.plotting import (
    EosCurve,
    EosPanel,
    fitted_energy,
    plot_convergence,
    plot_equations_of_state,
    plot_training,
)

VOLUMES = np.linspace(15.5, 17.5, 7)


def test_curve_of_a_crystal_passes_through_points_of_its_own_form() -> None:
    x = (16.5 / VOLUMES) ** (2 / 3)
    # Any cubic polynomial in V^(-2/3) is a third-order Birch-Murnaghan curve.
    energies = -3.0 + 4.0 * (x - 1) ** 2 + 3.0 * (x - 1) ** 3
    fit = fit_equation_of_state(VOLUMES, energies)
    assert fitted_energy(fit, VOLUMES) == pytest.approx(energies, abs=1e-8)


def test_curve_of_a_layer_passes_through_points_of_its_own_form() -> None:
    areas = np.linspace(4.9, 5.6, 7)
    x = 5.25 / areas
    energies = 7.0 + 4.0 * (x - 1) ** 2 - 3.0 * (x - 1) ** 3
    fit = fit_equation_of_state(areas, energies, dimension=2)
    assert fitted_energy(fit, areas) == pytest.approx(energies, abs=1e-9)
    assert fitted_energy(fit, [4.0]) == pytest.approx(7.0 + 4.0 * 0.3125**2 - 3.0 * 0.3125**3)


@pytest.mark.parametrize("panels", [1, 2, 3])
def test_figure_of_equations_of_state_is_written(panels: int, tmp_path: Path) -> None:
    energies = (VOLUMES - 16.5) ** 2
    fit = fit_equation_of_state(VOLUMES, energies)
    curve = EosCurve("ours", VOLUMES.tolist(), energies.tolist(), fit)
    path = tmp_path / "new" / "eos.png"
    plot_equations_of_state([EosPanel("Al", [curve, curve])] * panels, path, "title")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_figure_of_convergence_shows_exact_agreement_too(tmp_path: Path) -> None:
    series = {"cutoff": {"Al": [(300.0, 1e-3, -0.1), (400.0, 0.0, 0.01)]}}
    plot_convergence(series, tmp_path / "c.pdf")
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")


def test_plotting_needs_no_display_and_leaves_no_state(tmp_path: Path) -> None:
    code = """
import sys
from deepchem_xc.plotting import plot_convergence
plot_convergence({"cutoff": {"Al": [(1.0, 0.1, 0.1)]}}, sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {**os.environ, "MPLBACKEND": "tkagg", "DISPLAY": ""}
    path = tmp_path / "figure.png"
    subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=True)
    assert path.exists()


def test_a_type_has_one_colour_and_a_unit_one_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(plotting, "_save", lambda figure, path: figures.append(figure))
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
    plot_training(records, tmp_path / "training.png", dict.fromkeys(names, errors))
    losses, energies, forces = figures[0].axes
    assert (losses.get_ylabel(), losses.get_yscale()) == ("loss", "log")
    assert energies.get_ylabel() == "mean absolute error (eV)"
    assert forces.get_ylabel() == "mean absolute error (eV/Angstrom)"
    colours: dict[str, set[Any]] = {}
    for ax in figures[0].axes:
        assert ax.get_xlim() == losses.get_xlim()
        assert all(tick == int(tick) for tick in ax.get_xticks())
        for line in ax.lines:
            colours.setdefault(line.get_label(), set()).add(line.get_color())
    assert all(len(found) == 1 for found in colours.values())
    curves = ("all", "band_gap", "energy", "forces")
    assert len({next(iter(colours[name])) for name in curves}) == len(curves)
    (marks,) = (line for line in losses.lines if line.get_label() == "ground states computed")
    assert list(marks.get_xdata()) == [0, 10, 20]


def test_a_training_of_one_type_is_written(tmp_path: Path) -> None:
    records = [EpochRecord(0, losses={"energy": 1.0}, counts={"energy": 1}, calculations=1)]
    plot_training(records, tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 1000
