"""Compute the equations of state that functionals are trained on, with GPAW.

Crystals of all kinds of binding, none of them Al, Ni, Ca or carbon: those are what a trained
functional is tested on. An interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ase.units import Bohr, Hartree
from scipy.fft import next_fast_len

from deepchem_xc.calculators.gpaw_reference import SCALES, GpawSettings, run_gpaw_eos


def cubic(
    structure: Literal["fcc", "bcc", "diamond", "rocksalt", "zincblende"],
    symbol: str,
    a: float,
    ecut: float,
    nk: int,
    nbands: int,
) -> GpawSettings:
    """Settings of a cubic crystal, with the grid GPAW chooses at the largest volume or finer."""
    side = a * (0.75 if structure == "bcc" else 0.5) ** 0.5 * max(SCALES) ** (1 / 3) / Bohr
    reach = side * (2.0 * ecut / Hartree) ** 0.5
    n = next_fast_len(math.ceil(0.49 * reach), real=True)
    return GpawSettings(structure, symbol, a, ecut, (nk, nk, nk), (n, n, n), nbands)


SETTINGS: Mapping[str, GpawSettings] = {
    "Si": cubic("diamond", "Si", 5.47, ecut=600, nk=8, nbands=8),
    "Ge": cubic("diamond", "Ge", 5.78, ecut=600, nk=12, nbands=18),
    "BN": cubic("zincblende", "BN", 3.63, ecut=800, nk=8, nbands=8),
    "BP": cubic("zincblende", "BP", 4.55, ecut=600, nk=8, nbands=8),
    "MgO": cubic("rocksalt", "MgO", 4.26, ecut=800, nk=8, nbands=12),
    "MgS": cubic("rocksalt", "MgS", 5.23, ecut=600, nk=8, nbands=12),
    "LiF": cubic("rocksalt", "LiF", 4.07, ecut=800, nk=8, nbands=9),
    "LiCl": cubic("rocksalt", "LiCl", 5.15, ecut=700, nk=8, nbands=9),
    "NaCl": cubic("rocksalt", "NaCl", 5.70, ecut=700, nk=8, nbands=12),
    "Li": cubic("bcc", "Li", 3.44, ecut=700, nk=16, nbands=6),
    "Na": cubic("bcc", "Na", 4.20, ecut=700, nk=16, nbands=9),
    "Cu": cubic("fcc", "Cu", 3.63, ecut=800, nk=16, nbands=12),
    "Ag": cubic("fcc", "Ag", 4.15, ecut=700, nk=16, nbands=12),
    "Pd": cubic("fcc", "Pd", 3.94, ecut=700, nk=16, nbands=12),
}


def main() -> None:
    """Parse the command line, run, and print the fits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--systems", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("gpaw_training.json")
    )
    arguments = parser.parse_args()
    for name in arguments.systems:
        entry = run_gpaw_eos([name], SETTINGS, arguments.output)[name]
        fit, seconds = entry["fit"]["energy"], sum(p["cpu_seconds"] for p in entry["points"])
        print(
            f"{name:5s} a = {fit['a']:.5f} Angstrom, {fit['bulk_modulus']:.2f} GPa, residual "
            f"{1e6 * fit['residual']:.1f} micro-eV, {seconds:.0f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    main()
