"""The figures of the README.

    python benchmarks/readme_figures.py                                 # from what is kept
    python benchmarks/readme_figures.py --results benchmark-results     # after `make benchmark`

Drawn into docs/figures/: the enhancement factor of the functional that the benchmark trains
(data/recovered_paw.safetensors) between that of the LDA, from which it started, and that of PBE,
with which its data were made; and energy curves with PBE beside GPAW's (data/gpaw_eos.json). The
curves' points are kept in docs/figures/energy_curves.json; ``--results`` replaces them with those
of a complete run of the benchmark, which is refused if it was made with coarse settings. Those of
a run with GTH potentials go to data/gth_eos.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deepchem_xc  # first: it keeps DeepChem's import notices quiet

# isort: split
import numpy as np
from enhancement import enhancement_factor
from matplotlib.figure import Figure

from deepchem_xc._files import data_file, write_json
from deepchem_xc.against_gpaw import CASES
from deepchem_xc.against_gpaw.gpaw_reference import load_gpaw_eos
from deepchem_xc.eos.fits import fit_equation_of_state
from deepchem_xc.keywords import PotentialKind
from deepchem_xc.plotting import fitted_energy
from deepchem_xc.xc import get_xc

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
POINTS: Mapping[PotentialKind, Path] = {
    "paw": FIGURES / "energy_curves.json",
    "gth": data_file("gth_eos.json"),
}
# Wigner-Seitz radius, bohr, at which factors are drawn: valence electrons have 1.5 to 4.
RADIUS = 2.0
LARGEST_GRADIENT = 2.0
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#777777"
COLORS = (BLUE, ORANGE, "#009e73", "#cc79a7")


def draw_factors(path: Path) -> None:
    """LDA, PBE, and what was learned from energies alone."""
    s = np.linspace(0.0, LARGEST_GRADIENT, 201)
    learned = get_xc(str(data_file("recovered_paw.safetensors")))
    figure, (ax,) = _axes(1)
    for functional, label, style in (
        (get_xc("LDA"), "LDA, the start", {"color": GREY, "ls": "--"}),
        (get_xc("PBE"), "PBE", {"color": BLUE, "lw": 5, "alpha": 0.35}),
        (learned, "learned", {"color": ORANGE, "lw": 1.6}),
    ):
        ax.plot(s, enhancement_factor(functional, s, RADIUS), label=label, **style)
    ax.set_xlabel("reduced density gradient s")
    ax.set_ylabel(r"enhancement factor $F_{xc}$")
    title = f"A GGA learned from energies of 15 crystals ($r_s$ = {RADIUS:g} bohr)"
    ax.set_title(title, fontsize=10.5)
    ax.legend(frameon=False, loc="upper left")
    _save(figure, path)


def draw_curves(path: Path) -> None:
    """Energies of this code as lines, GPAW's as rings, each from its own minimum."""
    kept, gpaw = json.loads(POINTS["paw"].read_text())["systems"], load_gpaw_eos()
    figure, axes = _axes(len(kept))
    for ax, (name, curve), color in zip(axes, kept.items(), COLORS):
        ours = fit_equation_of_state(curve["sizes"], curve["energies"], curve["dimension"])
        points = gpaw[name]["points"]
        size = np.array([p["area" if ours.dimension == 2 else "volume"] for p in points])
        energy = np.array([p["energy"] for p in points])
        fit = fit_equation_of_state(size, energy, ours.dimension)
        line = np.linspace(size.min(), size.max(), 200)
        ax.plot(line / fit.size, 1e3 * (fitted_energy(ours, line) - ours.energy), color=color)
        rings = 1e3 * (energy - fit.energy)
        ax.plot(size / fit.size, rings, "o", color=color, markerfacecolor="none", clip_on=False)
        ax.set_title(name, fontsize=10, y=0.72)
    axes[-1].set_xlabel("volume (graphene: area) in units of GPAW's")
    figure.supylabel("energy (meV per cell)", fontsize=10)
    figure.suptitle("PBE: this code (lines), GPAW (rings)", fontsize=10.5)
    _save(figure, path)


def keep_points(results: Path) -> None:
    """Copy the curves of a complete run of the benchmark with PBE."""
    report = json.loads((results / "benchmark.json").read_text())["systems"]
    made_with = {name: system["settings"] for name, system in report.items()}
    kinds = [
        kind
        for kind, cases in CASES.items()
        if made_with == {name: case.settings() for name, case in cases.items()}
    ]
    if not kinds:
        raise SystemExit(f"{results} is no complete run with the benchmark's settings.")
    systems: dict[str, Any] = {}
    for name, system in report.items():
        ours = system["ours"]
        systems[name] = {
            "sizes": ours["sizes"],
            "energies": ours["energies"],
            "dimension": ours["fit"]["dimension"],
        }
    units = {"sizes": "Angstrom^3, graphene Angstrom^2", "energies": "eV per cell"}
    write_json(
        POINTS[kinds[0]], {"version": deepchem_xc.__version__, "units": units, "systems": systems}
    )


def _axes(rows: int) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5.2, 3.7), dpi=150, layout="constrained")
    axes = figure.subplots(rows, sharex=True, squeeze=False)[:, 0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    # A white background keeps axes readable on a dark page; without a date, a figure that is drawn
    # again is the same file.
    figure.savefig(path, facecolor="white", metadata={"Software": None})
    print(path)


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, help="output folder of the benchmark")
    arguments = parser.parse_args()
    if arguments.results:
        keep_points(arguments.results)
    FIGURES.mkdir(parents=True, exist_ok=True)
    draw_factors(FIGURES / "learned-factor.png")
    draw_curves(FIGURES / "energy-curves.png")


if __name__ == "__main__":
    main()
