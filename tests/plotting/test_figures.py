"""What holds for all figures, and those with little to check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from deepchem_xc.planewave.properties.dos import DensityOfStates
from deepchem_xc.plotting import (
    plot_convergence,
    plot_density_of_states,
    plot_errors_by_class,
    plot_parity,
)
from deepchem_xc.plotting.style import COLORS


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


def test_colours_differ_in_lightness_for_those_who_do_not_see_hues() -> None:
    def lightness(color: str) -> float:
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    # All have a contrast of at least 2.5 with the white background (WCAG's formula).
    assert all(1.05 / (lightness(color) + 0.05) > 2.5 for color in COLORS)
    assert len({round(lightness(color), 2) for color in COLORS}) == len(COLORS)


def test_parity_leaves_out_failed_points_and_says_each_groups_error() -> None:
    labels, found = [1.0, 2.0, 3.0, 4.0], [1.5, np.nan, 3.0, 3.0]
    groups = ["training", "training", "training", "validation"]
    ax = plot_parity(labels, found, "band gap", "eV", groups)
    one, other, diagonal = ax.lines
    assert list(zip(one.get_xdata(), one.get_ydata(), strict=True)) == [(1.0, 1.5), (3.0, 3.0)]
    assert one.get_label() == "training: 2 points, mean absolute error 0.25 eV"
    assert other.get_label() == "validation: 1 point, mean absolute error 1 eV"
    assert one.get_color() != other.get_color()
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == list(ax.get_xlim())
    assert ax.get_xlabel() == "band gap, label (eV)"
    for wrong, message in (([1.0], "one value a point"), ([np.nan] * 4, "nothing to draw")):
        with pytest.raises(ValueError, match=message):
            plot_parity(labels, wrong, "band gap", "eV")


def test_errors_by_class_are_means_of_absolute_errors() -> None:
    classes = {"Al": "metal", "Cu": "metal", "Si": "semiconductor"}
    errors = {
        "PBE": {"Al": 0.2, "Cu": -0.4, "Si": 0.6},
        "LDA": {"Al": -1.0, "Cu": None, "Si": -0.5},
    }
    ax = plot_errors_by_class(errors, classes, ax=Figure().subplots())
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([0.3, 0.6, 1.0, 0.5])
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.2, 0.4, 0.6], [1.0, 0.5]]
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["metal\n(2)", "semiconductor\n(1)"]
    with pytest.raises(ValueError, match="no class is given for Cu, Si"):
        plot_errors_by_class(errors, {"Al": "metal"})


def test_density_of_states_of_both_spins_is_drawn_from_the_fermi_level(tmp_path: Path) -> None:
    energies = np.linspace(-5.0, 5.0, 11)
    values = np.stack([np.abs(energies), 2 * np.abs(energies)])
    dos = DensityOfStates(energies, values, fermi_level=1.0, width=0.1)
    ax = plot_density_of_states(dos, tmp_path / "dos.svg")
    up, down = ax.lines[:2]
    assert up.get_xdata() == pytest.approx(energies - 1.0)
    assert up.get_ydata() == pytest.approx(values[0])
    assert down.get_ydata() == pytest.approx(-values[1])
    assert ax.get_ylabel() == "density of states (1/eV per cell)"
    assert "<svg" in (tmp_path / "dos.svg").read_text()
