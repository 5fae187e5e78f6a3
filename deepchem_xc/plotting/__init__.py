"""Figures of results, drawn without a display and without matplotlib's global state.

Contract: results and numbers in (eV, Angstrom), matplotlib axes out. Each function draws into `ax`,
or into a figure of its own, and writes that figure if it gets a `path`. A function with one panel
returns the axes, whose `.figure` is the figure; one with several panels returns the figure. Axes
have units, and colours can be told apart by colour-blind readers. Nothing is computed here that
takes longer than the drawing.
"""

from __future__ import annotations

from deepchem_xc.plotting.bands import plot_bands
from deepchem_xc.plotting.density_of_states import plot_density_of_states
from deepchem_xc.plotting.enhancement import plot_enhancement, plot_exchange_enhancement
from deepchem_xc.plotting.equations_of_state import (
    EosCurve,
    EosPanel,
    fitted_energy,
    plot_equations_of_state,
)
from deepchem_xc.plotting.errors import plot_errors_by_class, plot_lattice_errors
from deepchem_xc.plotting.parity import plot_parity
from deepchem_xc.plotting.settings_study import plot_convergence
from deepchem_xc.plotting.slices import density_slice, plot_density_slice
from deepchem_xc.plotting.training import plot_training

__all__ = [
    "EosCurve",
    "EosPanel",
    "density_slice",
    "fitted_energy",
    "plot_bands",
    "plot_convergence",
    "plot_density_of_states",
    "plot_density_slice",
    "plot_enhancement",
    "plot_equations_of_state",
    "plot_errors_by_class",
    "plot_exchange_enhancement",
    "plot_lattice_errors",
    "plot_parity",
    "plot_training",
]
