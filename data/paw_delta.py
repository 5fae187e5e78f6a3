"""Compute equations of state of elements with PAW, and their Delta to WIEN2k's.

The crystals of `ase.collections.dcdft`, in their primitive cells, at seven volumes from 0.94 to
1.06 times WIEN2k's, with PBE on GPAW's PBE datasets. Delta is the root mean square difference of
two curves over these volumes, whatever their zeros; good codes differ by about 1 meV an atom.

Every volume is kept in the output folder, an interrupted run resumes, and paw_delta.json is written
after every element. Elements that it has already keep their rows until they are computed again.

    python data/paw_delta.py                        # all, cheap ones first
    python data/paw_delta.py --elements Al,Si
    python data/paw_delta.py --report               # only print the table
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ase.collections import dcdft

from deepchem_xc._files import write_json
from deepchem_xc.metrics import delta_gauge, epsilon
from deepchem_xc.parallel import parallel_map
from deepchem_xc.planewave import equation_of_state
from deepchem_xc.planewave.structure.primitive import primitive_cell
from deepchem_xc.tables import as_table

HERE = Path(__file__).parent
SCALES = (0.94, 0.96, 0.98, 1.0, 1.02, 1.04, 1.06)
OCCUPATIONS = {"name": "fermi-dirac", "width": 0.1}  # eV
CONVERGENCE = {"energy": 1e-7, "density": 1e-6}
SMOOTHING = 0.07  # of the cutoff, as in protocols.py


class Plan(NamedTuple):
    """Cutoff (eV) and density of the mesh (points per 1/Angstrom, with Gamma)."""

    ecut: float
    density: float


#: In the order in which they are computed.
ELEMENTS: Mapping[str, Plan] = {
    "Al": Plan(400, 5.0),
    "Si": Plan(400, 3.5),
    "Ca": Plan(500, 5.0),
    "K": Plan(500, 5.0),
    "Cu": Plan(600, 5.0),
    "Ag": Plan(600, 5.0),
    "Au": Plan(600, 5.0),
    "Pd": Plan(600, 5.0),
    "Rh": Plan(600, 5.0),
    "Ir": Plan(600, 5.0),
    "Pt": Plan(600, 5.0),
    "Sr": Plan(500, 5.0),
    "Rb": Plan(500, 5.0),
    "Mo": Plan(600, 5.0),
    "Nb": Plan(600, 5.0),
    "W": Plan(600, 5.0),
    "Ta": Plan(600, 5.0),
    "V": Plan(700, 5.0),
    "Ge": Plan(400, 3.5),
    "S": Plan(500, 5.0),
    "Ni": Plan(700, 5.0),
    "Mg": Plan(500, 5.0),
    "Be": Plan(500, 5.0),
    "Li": Plan(400, 5.0),
    "Na": Plan(500, 5.0),
    "C": Plan(800, 3.5),
    "Ti": Plan(700, 5.0),
    "Zn": Plan(600, 5.0),
    "Fe": Plan(700, 5.0),
    "As": Plan(500, 5.0),
    "Se": Plan(500, 4.0),
    "P": Plan(500, 3.5),
    "Cl": Plan(600, 3.0),
}


def wien2k(symbol: str) -> tuple[float, float, float]:
    """Volume (Angstrom^3 an atom), bulk modulus (GPa) and its pressure derivative [1]_.

    References
    ----------
    .. [1] K. Lejaeghere et al., Science 351, aad3000 (2016), as in `ase.collections.dcdft`.
    """
    known = dcdft.data[symbol]
    return known["wien2k_volume"], known["wien2k_B"], known["wien2k_Bp"]


def compute(folder: str, symbol: str) -> dict[str, Any]:
    """Row of an element: settings, energies (eV a cell), the fit, and its distance to WIEN2k's."""
    plan = ELEMENTS[symbol]
    reference = wien2k(symbol)
    atoms, _ = primitive_cell(dcdft[symbol])
    size = (reference[0] * len(atoms) / atoms.get_volume()) ** (1.0 / 3.0)
    atoms.set_cell(atoms.cell * size, scale_atoms=True)
    settings = {
        "ecut": float(plan.ecut),
        "ecut_smoothing": round(SMOOTHING * plan.ecut),
        "kpts": {"density": plan.density, "gamma": True},
        "pseudopotentials": "paw-pbe",
        "occupations": OCCUPATIONS,
        "convergence": CONVERGENCE,
    }
    curve = equation_of_state(
        atoms, "PBE", scales=SCALES, keep_in=str(Path(folder) / symbol), **settings
    )
    return {
        "natoms": len(atoms),
        **settings,
        "volumes": [point.size for point in curve.points],
        "energies": [point.energy for point in curve.points],
        "moments": [point.magnetic_moment for point in curve.points],
        "fit": {
            "volume": curve.fit.size / len(atoms),
            "modulus": curve.fit.modulus,
            "derivative": curve.fit.derivative,
            "residual": curve.fit.residual,
        },
        "wien2k": dict(zip(("volume", "modulus", "derivative"), reference, strict=True)),
        "delta": delta_gauge(curve.fit, reference, natoms=len(atoms)),
        "epsilon": epsilon(curve.fit, reference, natoms=len(atoms)),
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of docs/paw.md."""
    header = ["element", "cutoff (eV)", "volume (A^3)", "%", "modulus (GPa)", "%", "Delta (meV)"]
    lines = []
    for symbol, row in rows.items():
        fit, other = row["fit"], row["wien2k"]
        lines.append(
            [
                symbol,
                f"{row['ecut']:g}",
                f"{fit['volume']:.3f}",
                f"{100 * (fit['volume'] / other['volume'] - 1):+.2f}",
                f"{fit['modulus']:.1f}",
                f"{100 * (fit['modulus'] / other['modulus'] - 1):+.1f}",
                f"{row['delta']:.2f}",
            ]
        )
    return as_table(lines, header, left=1, markdown=True)


def main() -> None:
    """Compute what is missing, and write the file after every element."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--elements", default="", help=f"some of {', '.join(ELEMENTS)}")
    parser.add_argument("--jobs", type=int, default=1, help="elements at a time")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-results/paw_delta"))
    parser.add_argument("--output", type=Path, default=HERE / "paw_delta.json")
    parser.add_argument("--report", action="store_true", help="compute nothing")
    arguments = parser.parse_args()
    wanted = [name.capitalize() for name in arguments.elements.split(",") if name]
    unknown = sorted(set(wanted) - set(ELEMENTS))
    if unknown:
        parser.error(f"--elements: {', '.join(unknown)}; valid: {', '.join(ELEMENTS)}")

    def rows() -> dict[str, Any]:
        there = arguments.output.exists()
        return json.loads(arguments.output.read_text())["elements"] if there else {}

    calls = {name: (str(arguments.folder), name) for name in wanted or ELEMENTS}
    if not arguments.report:
        for outcome in parallel_map(compute, calls, jobs=arguments.jobs):
            if outcome.value is None:
                print(f"{outcome.name}: {outcome.error}", flush=True)
                continue
            found = {**rows(), outcome.name: outcome.value}
            content = {
                "quantity": "energies in eV a cell of PBE with GPAW's PBE datasets; volumes in "
                "Angstrom^3 (fits: an atom), moduli in GPa; Delta in meV an atom to WIEN2k",
                "gpaw-data": version("gpaw-data"),
                "elements": {name: found[name] for name in ELEMENTS if name in found},
            }
            write_json(arguments.output, content)
            print(f"{outcome.name}: Delta {outcome.value['delta']:.2f} meV/atom", flush=True)
    print(table(rows()))


if __name__ == "__main__":
    main()
