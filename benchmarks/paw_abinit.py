"""Lattice constants with ABINIT's PAW tables, here and in ABINIT with the same files.

Both codes use the LDA tables of Debian's abinit-data, the same cutoff, k-points and occupations.
Energies have different zeros, so that only differences between volumes are compared::

    python benchmarks/paw_abinit.py --tables /usr/share/abinit/psp
    python benchmarks/paw_abinit.py --tables FOLDER --crystals SrO

ABINIT must be installed (``abinit``), and the folder must hold files such as ``Si.xml``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, Hartree

from deepchem_xc.planewave import scf
from deepchem_xc.planewave.pseudo import FunctionalMismatchWarning
from deepchem_xc.tables import as_table

# Structure, lattice constant (Angstrom), cutoff (Hartree), divisions of the mesh, and whether
# occupations are smeared.
CRYSTALS: dict[str, tuple[str, float, float, int, bool]] = {
    "Al": ("fcc", 4.02, 14.0, 4, True),
    "Si": ("diamond", 5.40, 14.0, 3, False),
    "SrO": ("rocksalt", 5.10, 22.0, 2, False),
}
SCALES = (0.98, 0.99, 1.0, 1.01, 1.02)
WIDTH = 0.1  # eV
# Cutoff of ABINIT's fine grid, Hartree.
FINE = 60.0


def ours(atoms: Atoms, ecut: float, divisions: int, smeared: bool, tables: Path) -> float:
    """Free energy here, Hartree."""
    result = scf(
        atoms,
        "LDA",
        ecut=ecut * Hartree,
        kpts={"size": (divisions,) * 3, "gamma": True},
        pseudopotentials=_files(atoms, tables),
        occupations={"name": "fermi-dirac", "width": WIDTH} if smeared else "fixed",
        convergence={"energy": 1e-8, "density": 1e-6},
    )
    return float(result.free_energy)


def _files(atoms: Atoms, tables: Path) -> dict[str, str]:
    """File of each element."""
    return {symbol: str(tables / f"{symbol}.xml") for symbol in set(atoms.get_chemical_symbols())}


def abinit(atoms: Atoms, ecut: float, divisions: int, smeared: bool, tables: Path) -> float:
    """Free energy by ABINIT, Hartree."""
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    numbers = [int(atoms.numbers[atoms.get_chemical_symbols().index(s)]) for s in symbols]
    kinds = [symbols.index(s) + 1 for s in atoms.get_chemical_symbols()]
    settings: dict[str, Any] = {
        "ecut": ecut,
        "pawecutdg": FINE,
        "ntypat": len(symbols),
        "znucl": _row(numbers),
        "natom": len(atoms),
        "typat": _row(kinds),
        "acell": "1 1 1",
        "rprim": _row((atoms.cell[:] / Bohr).ravel()),
        "xred": _row(atoms.get_scaled_positions().ravel()),
        "ngkpt": _row([divisions] * 3),
        "nshiftk": 1,
        "shiftk": "0 0 0",
        "occopt": 3 if smeared else 1,
        "tsmear": WIDTH / Hartree,
        "nband": 6 * len(atoms) + 4,
        "toldfe": 1e-10,
        "nstep": 60,
        "prtwf": 0,
        "prtden": 0,
        "pp_dirpath": f'"{tables.resolve()}"',
        "pseudos": '"' + ", ".join(f"{s}.xml" for s in symbols) + '"',
    }
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(f"{name} {value}" for name, value in settings.items())
        Path(folder, "run.abi").write_text(text + "\n")
        subprocess.run(["abinit", "run.abi"], cwd=folder, check=True, capture_output=True)
        energies = re.findall(r"etotal\s+([-0-9.E+]+)", Path(folder, "run.abo").read_text())
    return float(energies[-1])


def _row(values: Any) -> str:
    return " ".join(f"{value:.12g}" for value in values)


def lattice_constant(constants: np.ndarray, energies: np.ndarray) -> float:
    """Minimum of a cubic polynomial in a^-2 (a Birch-Murnaghan curve), in the unit of a."""
    curve = np.polynomial.Polynomial.fit(constants**-2.0, energies, 3)
    roots = curve.deriv().roots()
    inside = [x.real for x in roots if constants[-1] ** -2 < x.real < constants[0] ** -2]
    return float(inside[0] ** -0.5)


def main() -> None:
    """Compute all curves and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=Path, required=True, help="folder of PAW-XML files")
    parser.add_argument("--crystals", default=",".join(CRYSTALS), help="with commas")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FunctionalMismatchWarning)
    rows = []
    for name in arguments.crystals.split(","):
        structure, size, *settings = CRYSTALS[name]
        constants = size * np.array(SCALES)
        cells = [bulk(name, structure, a=a) for a in constants]
        here = np.array([ours(cell, *settings, arguments.tables) for cell in cells])
        there = np.array([abinit(cell, *settings, arguments.tables) for cell in cells])
        offset = (here - there) * Hartree * 1e3
        a, b = lattice_constant(constants, here), lattice_constant(constants, there)
        rows.append(
            [name, f"{np.ptp(offset):.3f}", f"{a:.5f}", f"{b:.5f}", f"{1e2 * (a / b - 1):+.4f}"]
        )
        print(f"{name} done", flush=True)
    header = [
        "crystal",
        "range of the offset (meV)",
        "a here (A)",
        "a ABINIT (A)",
        "difference (%)",
    ]
    print(as_table(rows, header))


if __name__ == "__main__":
    main()
