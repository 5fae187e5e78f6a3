"""Compute the equations of state that functionals are trained on, with GPAW.

Crystals of all kinds of binding, none with Al, Ni, Ca or C: those are what a trained functional is
tested on. The meshes are not dense; this package uses the same, so that their errors cancel. LiF is
not among the crystals: GPAW's lithium has one valence electron, and it comes out 0.9 % too large
(4.098 Angstrom, all-electron 4.06). Written: gpaw_training.json, all that GPAW gave, and entries
for `DFTYamlLoader` with the settings of this package's own calculations, gpaw_training.yaml with
PAW and gpaw_training_gth.yaml with GTH potentials. An interrupted run resumes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from ase.units import Bohr, GPa, Hartree, kJ, m
from scipy.fft import next_fast_len

from deepchem_xc._atomic import replacing
from deepchem_xc.against_gpaw.gpaw_reference import (
    GpawSettings,
    load_gpaw_eos,
    run_gpaw_eos,
)
from deepchem_xc.eos.scales import VOLUME_SCALES
from deepchem_xc.losses import UNIT_DEVIATIONS

HERE = Path(__file__).parent


def cubic(
    structure: Literal["fcc", "bcc", "diamond", "rocksalt", "zincblende", "fluorite"],
    symbol: str,
    a: float,
    ecut: float,
    nk: int,
    nbands: int,
) -> GpawSettings:
    """Settings of a cubic crystal, with the grid GPAW chooses at the largest volume or finer."""
    side = a * (0.75 if structure == "bcc" else 0.5) ** 0.5 * max(VOLUME_SCALES) ** (1 / 3) / Bohr
    reach = side * (2.0 * ecut / Hartree) ** 0.5
    n = next_fast_len(math.ceil(0.49 * reach), real=True)
    return GpawSettings(structure, symbol, a, ecut, (nk, nk, nk), (n, n, n), nbands)


SETTINGS: Mapping[str, GpawSettings] = {
    "Si": cubic("diamond", "Si", 5.47, ecut=600, nk=6, nbands=8),
    "Ge": cubic("diamond", "Ge", 5.78, ecut=600, nk=6, nbands=8),
    "BN": cubic("zincblende", "BN", 3.63, ecut=800, nk=6, nbands=8),
    "BP": cubic("zincblende", "BP", 4.55, ecut=600, nk=6, nbands=8),
    "BAs": cubic("zincblende", "BAs", 4.82, ecut=600, nk=6, nbands=8),
    "InP": cubic("zincblende", "InP", 5.96, ecut=600, nk=6, nbands=12),
    "LiCl": cubic("rocksalt", "LiCl", 5.15, ecut=800, nk=4, nbands=9),
    "KCl": cubic("rocksalt", "KCl", 6.38, ecut=700, nk=4, nbands=12),
    "K": cubic("bcc", "K", 5.28, ecut=600, nk=6, nbands=9),
    "Nb": cubic("bcc", "Nb", 3.31, ecut=600, nk=8, nbands=12),
    "Mo": cubic("bcc", "Mo", 3.16, ecut=600, nk=8, nbands=12),
    "Rh": cubic("fcc", "Rh", 3.83, ecut=700, nk=8, nbands=13),
    "Pd": cubic("fcc", "Pd", 3.94, ecut=700, nk=8, nbands=13),
    "Ag": cubic("fcc", "Ag", 4.15, ecut=700, nk=8, nbands=13),
    "Cu": cubic("fcc", "Cu", 3.63, ecut=800, nk=8, nbands=10),
}

#: Cutoffs (eV) of this package's calculations with GTH-PBE potentials, smoothed over 7 % of them.
#: They give lattice constants within 0.03 % and moduli within 1 % of those of 1.5 times as much.
CUTOFFS: Mapping[str, float] = {
    "Si": 750,
    "Ge": 800,
    "BN": 2000,
    "BP": 1000,
    "BAs": 1000,
    "InP": 1250,
    "LiCl": 1600,
    "KCl": 1300,
    "K": 1200,
    "Nb": 1200,
    "Mo": 1250,
    "Rh": 1450,
    "Pd": 1550,
    "Ag": 1200,
    "Cu": 2700,
}
# Of GPAW's seven volumes; a curve's shape is in five.
USED = (0.94, 0.98, 1.0, 1.02, 1.06)
# An error of the lattice constant by this much, relative, counts as one in the loss, whether a
# crystal is stiff or soft.
UNIT = 1e-3


def entry_of(
    name: str, settings: GpawSettings, result: Mapping[str, Any], gth_cutoff: float | None = None
) -> dict[str, Any]:
    """An ``eos`` entry: GPAW's energies, and how this package computes the same crystal.

    Parameters
    ----------
    gth_cutoff : float, optional
        Cutoff (eV) with GTH potentials; without it GPAW's datasets are taken, with GPAW's cutoff
        and as little smoothed as there, so that the errors of both codes cancel.
    """
    atoms = settings.atoms()
    energies = {point["scale"]: point["energy"] for point in result["points"]}
    fit = result["fit"]["energy"]
    # Energy error at relative volume x of a curve with its minimum shifted by UNIT: B V 3 UNIT x;
    # of a layer, with its modulus and area, 2 UNIT x.
    mean = sum(USED) / len(USED)
    spread = (sum((x - mean) ** 2 for x in USED) / len(USED)) ** 0.5
    if settings.layered:
        shift = fit["layer_modulus"] * (kJ / 1000 / m**2) * fit["area"] * 2.0 * UNIT * spread
    else:
        shift = fit["bulk_modulus"] * GPa * fit["volume"] * 3.0 * UNIT * spread
    return {
        "name": name,
        "e_type": "eos",
        **({"dimension": 2} if settings.layered else {}),
        "true_val": [round(energies[x], 7) for x in USED],
        "scales": list(USED),
        "weight": round((UNIT_DEVIATIONS["eos"] / shift) ** 2, 4),
        "systems": [
            {
                "structure": {
                    "symbols": atoms.get_chemical_symbols(),
                    "cell": atoms.cell.tolist(),
                    "scaled_positions": atoms.get_scaled_positions().round(12).tolist(),
                },
                "ecut": settings.ecut if gth_cutoff is None else gth_cutoff,
                **({} if gth_cutoff is None else {"ecut_smoothing": round(0.07 * gth_cutoff)}),
                "kpts": {"size": list(settings.kpts), "gamma": True},
                "occupations": {"name": "fermi-dirac", "width": settings.width},
                "pseudopotentials": "paw-pbe" if gth_cutoff is None else "gth-pbe",
                "convergence": {"energy": 1e-6, "density": 1e-4},
            }
        ],
    }


def write_entries(
    results: Mapping[str, Any],
    path: Path,
    settings: Mapping[str, GpawSettings],
    cutoffs: Mapping[str, float],
) -> None:
    """Write the entries of all complete curves: one file with PAW, one with GTH potentials."""
    complete = [name for name in settings if "fit" in results.get(name, {})]
    files = {
        path: [entry_of(name, settings[name], results[name]) for name in complete],
        path.with_stem(f"{path.stem}_gth"): [
            entry_of(name, settings[name], results[name], cutoffs[name])
            for name in complete
            if name in cutoffs
        ],
    }
    for place, entries in files.items():
        with replacing(place) as file:
            file.write(f"# Made by {path.stem}.py from {path.stem}.json. eV, Angstrom.\n")
            yaml.safe_dump(entries, file, sort_keys=False, default_flow_style=None, width=100)


def compute(
    about: str, settings: Mapping[str, GpawSettings], cutoffs: Mapping[str, float], output: Path
) -> None:
    """Parse the command line, run GPAW, print the fits and write all files."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--systems", nargs="+", default=list(settings), choices=list(settings))
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument("--entries", action="store_true", help="only write the entries anew")
    arguments = parser.parse_args()
    for name in [] if arguments.entries else arguments.systems:
        entry = run_gpaw_eos([name], settings, arguments.output)[name]
        fit, seconds = entry["fit"]["energy"], sum(p["cpu_seconds"] for p in entry["points"])
        modulus = (
            f"{fit['layer_modulus']:.2f} N/m"
            if "layer_modulus" in fit
            else f"{fit['bulk_modulus']:.2f} GPa"
        )
        print(
            f"{name:5s} a = {fit['a']:.5f} Angstrom, {modulus}, residual "
            f"{1e6 * fit['residual']:.1f} micro-eV, {seconds:.0f} CPU s",
            flush=True,
        )
    results, path = load_gpaw_eos(arguments.output), arguments.output.with_suffix(".yaml")
    write_entries(results, path, settings, cutoffs)


if __name__ == "__main__":
    compute(__doc__.split("\n")[0], SETTINGS, CUTOFFS, HERE / "gpaw_training.json")
