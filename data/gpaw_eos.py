"""Compute the GPAW reference of this folder.

An interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deepchem_xc.against_gpaw.gpaw_reference import GPAW_SETTINGS, run_gpaw_eos


def main() -> None:
    """Parse the command line, run, and print the fits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--systems", nargs="+", default=list(GPAW_SETTINGS), choices=list(GPAW_SETTINGS)
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("gpaw_eos.json"))
    arguments = parser.parse_args()
    results = run_gpaw_eos(
        arguments.systems,
        path=arguments.output,
        on_point=lambda name, point: print(
            f"{name:9s} {point['scale']:.2f} {point['energy']:14.8f} eV "
            f"{point['magmom']:7.4f} mu_B {point['seconds']:7.1f} s",
            flush=True,
        ),
    )
    for name in arguments.systems:
        fit = results[name]["fit"]["energy"]
        modulus = (
            f"{fit['bulk_modulus']:.2f} GPa"
            if "bulk_modulus" in fit
            else f"{fit['layer_modulus']:.2f} N/m"
        )
        print(f"{name:9s} a = {fit['a']:.5f} Angstrom, {modulus}")


if __name__ == "__main__":
    main()
