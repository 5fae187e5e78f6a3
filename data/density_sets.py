"""Write the structures and settings of the sets of densities.

    python data/density_sets.py                     # or: --sets silicon mixed

Prototypes come with pymatgen (MIT licence; the AFLOW library: see `density_prototypes`), molecules
with ASE, and all else from seeds: the files are the same wherever they are made, up to rounding.
Densities are computed by `deepchem_xc.molnet.compute_densities`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import density_magnets
import density_mixed
import density_molecules
import density_silicon
from density_members import write_set

HERE = Path(__file__).parent
SETS = {
    "silicon": (density_silicon, "Cells of diamond and disordered silicon; allotropes for tests"),
    "mixed": (density_mixed, "Metals, semiconductors, ionic and molecular crystals of 21 elements"),
    "molecules": (density_molecules, "Closed-shell molecules of the G2 set without F, in boxes"),
    "magnets": (density_magnets, "Fe, Co, Ni and their alloys in two orders of the spins"),
}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--output", type=Path, default=HERE)
    arguments = parser.parse_args()
    for name in arguments.sets:
        module, description = SETS[name]
        members = module.members()
        path = arguments.output / f"density_{name}.json"
        write_set(path, description, module.SETTINGS, members, module.QUICK)
        print(f"{path.name}: {len(members)} structures")


if __name__ == "__main__":
    main()
