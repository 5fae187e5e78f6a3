"""How far the GPAW references of this folder are converged: prints the tables of README.md.

One setting at a time is changed and the whole curve computed again. The cutoff is varied on a
coarse mesh, where its effect is the same and the cost small. An interrupted run resumes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from scipy.fft import next_fast_len
from solids_eos import SETTINGS

from deepchem_xc.against_gpaw.gpaw_reference import (
    GPAW_SETTINGS,
    GpawSettings,
    load_gpaw_eos,
    run_gpaw_eos,
)
from deepchem_xc.tables import as_table

HERE = Path(__file__).parent
#: One crystal of each kind among those that trainings use, whose meshes are not dense.
KINDS = ("BaO", "NbC", "BN layer", "Zr")
HEADER = ("changed", "compared with", "a", "modulus", "moment (mu_B)")


ALL = {**GPAW_SETTINGS, **{name: SETTINGS[name] for name in KINDS}}


def variants(name: str) -> dict[str, tuple[GpawSettings, str]]:
    """Settings to try, each with the name of the one it is compared with."""
    base = ALL[name]
    nk = base.kpts[0]

    def mesh(n: int) -> tuple[int, int, int]:
        a, b, c = (-(-n * k // nk) for k in base.kpts)
        return (a, b, 1 if base.kpts[2] == 1 else c)

    # A mesh that is not dense is compared with a denser one, and has one coarser step only.
    other = 3 * nk // 4 if name in GPAW_SETTINGS else 3 * nk // 2
    coarse = replace(base, kpts=mesh(nk // 2))
    better = replace(base, kpts=mesh(other))
    finer = tuple(next_fast_len(-(-4 * n // 3), real=True) for n in base.gpts)
    tried = {
        f"{name}, mesh {nk // 2}": (coarse, f"{name}, mesh {nk}"),
        f"{name}, mesh {other}": (better, f"{name}, mesh {nk}"),
        f"{name}, cutoff +200 eV": (
            replace(coarse, ecut=base.ecut + 200, gpts=finer),
            f"{name}, grid 4/3",
        ),
        f"{name}, grid 4/3": (replace(coarse, gpts=finer), f"{name}, mesh {nk // 2}"),
    }
    if name == "Ni":  # its moment, and all that goes with it, converge slowly with the mesh
        finest = 5 * nk // 4
        tried[f"{name}, mesh {finest}"] = (replace(base, kpts=mesh(finest)), f"{name}, mesh {nk}")
    return tried


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", default=list(ALL), choices=list(ALL))
    parser.add_argument("--output", type=Path, default=Path("gpaw_convergence.partial.json"))
    arguments = parser.parse_args()
    for name in arguments.systems:
        tried = variants(name)
        settings = {variant: used for variant, (used, _) in tried.items()}
        results = run_gpaw_eos(settings, settings, arguments.output)
        path = HERE / ("gpaw_eos.json" if name in GPAW_SETTINGS else "solids_eos.json")
        results[f"{name}, mesh {ALL[name].kpts[0]}"] = load_gpaw_eos(path)[name]
        rows = []
        for variant, (_, other) in tried.items():
            fit, base = (results[key]["fit"]["energy"] for key in (variant, other))
            modulus = "bulk_modulus" if "bulk_modulus" in fit else "layer_modulus"
            moments = [results[key]["points"][3]["magmom"] for key in (variant, other)]
            rows.append(
                [
                    *(variant, other),
                    f"{100 * (fit['a'] / base['a'] - 1):+.4f} %",
                    f"{100 * (fit[modulus] / base[modulus] - 1):+.2f} %",
                    f"{moments[0] - moments[1]:+.4f}",
                ]
            )
        print(as_table(rows, HEADER, left=2, markdown=True), flush=True)


if __name__ == "__main__":
    main()
