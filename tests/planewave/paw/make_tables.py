"""Writes tables.json: numbers of this package's own tables, for tests without GPAW.

    PYTHONPATH=. python tests/planewave/paw/make_tables.py

Run it only if the tables are meant to change and `test_against_gpaw.py` passes.
"""

from __future__ import annotations

from pathlib import Path

import torch

from deepchem_xc._files import write_json
from deepchem_xc.planewave.paw import load_paw, on_site_tables

SOURCES = {
    "Si": "paw-pbe",
    "Al": "paw-pbe",
    "O": "paw-pbe",
    "Ni": "paw-pbe",
    "Na": "paw-pbe",
    "Cu": "paw-pbe",
    "Au": "paw-pbe",
    "Gd": "paw-pbe",
    "Ni.10": "paw-pbe:10",
    "Si.LDA": "paw-lda",
}
PROVENANCE = (
    "computed by tests/planewave/paw/make_tables.py from datasets of the package gpaw-data 1.2.1 "
    "(the same files as in 1.1.0); every table of these datasets then equalled GPAW 26.7's to 1e-10"
)


def numbers(name: str) -> dict[str, float]:
    """Invariants under rotations, and one entry, of the tables of a dataset, atomic units."""
    tables = on_site_tables(load_paw(SOURCES[name], name.partition(".")[0]))
    quadratic = tables.coulomb_quadratic
    return {
        "overlap": float(tables.overlap.trace()),
        "overlap, squared": float(tables.overlap.square().sum()),
        "multipoles, squared": float(tables.multipoles.square().sum()),
        "first multipole": float(tables.multipoles[0, 0, 0]),
        "fixed multipole": tables.fixed_multipole,
        "smooth core electrons": tables.smooth_core_electrons,
        "kinetic": float(tables.kinetic.trace()),
        "kinetic constant": tables.kinetic_constant,
        "Coulomb constant": tables.coulomb_constant,
        "Coulomb, linear": float(tables.coulomb_linear.trace()),
        "Coulomb, direct": float(torch.einsum("iijj->", quadratic)),
        "Coulomb, exchange": float(torch.einsum("ijij->", quadratic)),
        "Coulomb, squared": float(quadratic.square().sum()),
        "zero constant": tables.zero_constant,
        "zero, linear": float(tables.zero_linear.trace()),
    }


def main() -> None:
    """Write the file beside this one."""
    content = {"provenance": PROVENANCE, "tables": {name: numbers(name) for name in SOURCES}}
    write_json(Path(__file__).with_name("tables.json"), content)


if __name__ == "__main__":
    main()
