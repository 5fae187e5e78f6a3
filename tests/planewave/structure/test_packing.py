"""No real crystal is too dense, and one that holds its atoms twice is."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_vacuum, bulk, fcc111, molecule
from ase.collections import dcdft

from deepchem_xc._files import data_file
from deepchem_xc.planewave.structure.packing import (
    SMALLEST_VOLUME,
    check_packing,
    typical_volume,
)

STRUCTURES = {"cscl": "cesiumchloride"}
# Entries of the collection of prototypes that are not what they are called: volumes an atom of
# silicon (BC8) and of brookite are 0.25 and 0.7 of the measured ones, ullmanite and the sigma phase
# have atoms at 1.03 and 1.26 Angstrom. Lithium is at 39 GPa.
WRONG = {"BC8", "Brookite", "Ullmanite", "sigma phase CrFe", "High pressure (38.9 GPa)"}


def measured() -> dict[str, Atoms]:
    crystals = json.loads(data_file("experiment.json").read_text())["crystals"]
    return {
        name: bulk(name, STRUCTURES.get(c["structure"], c["structure"]), a=c["a"])
        for name, c in crystals.items()
    }


def doubled(atoms: Atoms) -> Atoms:
    """All atoms twice, the second ones as far as possible from the first in a few directions."""
    best, most = atoms, 0.0
    for shift in np.ndindex(4, 4, 4):
        copy = atoms.copy()
        copy.positions += np.array(shift) / 4 @ atoms.cell
        both = atoms + copy
        apart = both.get_all_distances(mic=True) + 9.0 * np.eye(len(both))
        if apart.min() > most:
            best, most = both, apart.min()
    return best


@pytest.mark.parametrize("name", dcdft.names)
def test_elements_are_crystals_and_are_not_when_doubled(name: str) -> None:
    check_packing(dcdft[name])
    check_packing(dcdft[name], compressed=True)
    ratio = dcdft[name].get_volume() / typical_volume(dcdft[name].get_chemical_symbols())
    if ratio < 1.2 and len(dcdft[name]) <= 4:
        with pytest.raises(ValueError, match="listed twice"):
            check_packing(doubled(dcdft[name]))


@pytest.mark.parametrize("name", measured())
def test_measured_crystals_may_also_be_compressed_by_a_tenth(name: str) -> None:
    atoms = measured()[name]
    atoms.set_cell(atoms.cell * 0.9 ** (1 / 3), scale_atoms=True)
    check_packing(atoms)


def test_prototypes_of_compounds_are_crystals() -> None:
    """Independent of the volumes that the estimate is made of."""
    try:
        package = importlib.util.find_spec("pymatgen.analysis.prototypes")
    except ModuleNotFoundError:
        package = None
    file = Path((package and package.origin) or "").parent / "aflow_prototypes.json.gz"
    if not file.is_file():
        pytest.skip("this needs pymatgen's collection of prototypes")
    refused, caught, total = set(), 0, 0
    for entry in json.loads(gzip.decompress(file.read_bytes())):
        sites = entry["snl"]["sites"]
        if any(len(site["species"]) > 1 or site["species"][0]["occu"] < 1 for site in sites):
            continue
        total += 1
        symbols = [site["species"][0]["element"] for site in sites]
        atoms = Atoms(
            symbols,
            cell=entry["snl"]["lattice"]["matrix"],
            scaled_positions=[site["abc"] for site in sites],
            pbc=True,
        )
        try:
            check_packing(atoms)
        except ValueError:
            refused.add(str(entry["tags"]["mineral"]))
        caught += atoms.get_volume() / 2 < SMALLEST_VOLUME * typical_volume(symbols)
    assert all(name.startswith(tuple(WRONG)) for name in refused)
    assert total > 200 and caught / total > 0.7


@pytest.mark.parametrize("name", ["H2", "N2", "CO", "F2", "HCN", "Li2", "NaCl", "CH4", "SO2"])
def test_molecules_in_boxes_have_bonds(name: str) -> None:
    atoms = molecule(name)
    atoms.center(vacuum=3.0)
    atoms.pbc = True
    check_packing(atoms)


def test_vacuum_is_no_mistake_and_hides_none() -> None:
    slab = fcc111("Al", (1, 1, 3), vacuum=8.0)
    check_packing(slab)
    twice = slab + slab
    twice.positions[3:] += [0.4, 0.3, 0.2]
    with pytest.raises(ValueError, match=r"Al0 and Al3 are 0\.54 Angstrom apart"):
        check_packing(twice)
    layer = bulk("Al")
    add_vacuum(layer, 10.0)
    check_packing(layer)


def test_pressure_is_said() -> None:
    dense = bulk("Li", a=2.7)
    with pytest.raises(ValueError, match=r"9\.8 Angstrom\^3 an atom, 0\.49 .*compressed: true"):
        check_packing(dense)
    check_packing(dense, compressed=True)


def test_units_other_than_angstrom_are_noticed() -> None:
    nanometres = bulk("Si", a=0.543 * 2)
    with pytest.raises(ValueError, match="another unit than Angstrom"):
        check_packing(nanometres)
