"""Curves of equations of state, as numbers and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from deepchem_xc.eos.fits import fit_equation_of_state
from deepchem_xc.plotting import EosCurve, EosPanel, fitted_energy, plot_equations_of_state

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
def test_rings_are_the_points_and_lines_their_fit(panels: int, tmp_path: Path) -> None:
    energies = 7.0 + (VOLUMES - 16.5) ** 2
    fit = fit_equation_of_state(VOLUMES, energies)
    curve = EosCurve("ours", VOLUMES.tolist(), energies.tolist(), fit)
    path = tmp_path / "new" / "eos.png"
    figure = plot_equations_of_state([EosPanel("Al", [curve, curve])] * panels, path, "title")
    assert path.read_bytes().startswith(b"\x89PNG")
    shown = [ax for ax in figure.axes if ax.get_visible()]
    assert len(shown) == panels
    for ax in shown:
        line, rings, *_ = ax.lines
        assert rings.get_ydata() == pytest.approx(1e3 * (energies - fit.energy))
        expected = fitted_energy(fit, line.get_xdata()) - fit.energy
        assert line.get_ydata() == pytest.approx(1e3 * expected)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("volume (Å$^3$)", "energy (meV per cell)")


def test_axes_given_are_drawn_into_and_must_be_enough() -> None:
    fit = fit_equation_of_state(VOLUMES, (VOLUMES - 16.5) ** 2)
    panel = EosPanel("Al", [EosCurve("ours", VOLUMES.tolist(), VOLUMES.tolist(), fit)])
    figure = Figure()
    axes = figure.subplots(1, 3)
    assert plot_equations_of_state([panel] * 3, ax=axes) is figure
    assert all(len(ax.lines) == 2 for ax in axes)
    with pytest.raises(ValueError, match="1 x 2 panels and needs as many axes, got 3"):
        plot_equations_of_state([panel] * 2, ax=axes)
    with pytest.raises(ValueError, match="no panel"):
        plot_equations_of_state([])
