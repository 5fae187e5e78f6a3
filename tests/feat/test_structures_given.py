"""Structures as people have them: one crystal in any form gives one calculation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from deepchem_xc.feat import DFTEntry, DFTSystem

WORDS: dict[str, Any] = {"ecut": 100.0}
GALLIUM_ARSENIDE = bulk("GaAs", "zincblende", a=5.65)


def pymatgen_structure() -> Any:
    core = pytest.importorskip("pymatgen.core")
    atoms = GALLIUM_ARSENIDE
    return core.Structure(atoms.cell[:], atoms.get_chemical_symbols(), atoms.get_scaled_positions())


def forms(folder: Path) -> dict[str, Any]:
    structure = pymatgen_structure()
    text = json.dumps(structure.as_dict())
    (folder / "structure.json").write_text(text)
    GALLIUM_ARSENIDE.write(folder / "ase.json")
    GALLIUM_ARSENIDE.write(folder / "POSCAR", format="vasp")
    GALLIUM_ARSENIDE.write(folder / "gaas.cif")
    structure.to(filename=str(folder / "pymatgen.cif"))
    return {
        "atoms": GALLIUM_ARSENIDE,
        "atoms' dictionary": GALLIUM_ARSENIDE.todict(),
        "structure": structure,
        "structure's dictionary": structure.as_dict(),
        "structure's JSON": text,
        "file of it": folder / "structure.json",
        "name of that": str(folder / "structure.json"),
        "ase.json": folder / "ase.json",
        "POSCAR": folder / "POSCAR",
        "CIF": folder / "gaas.cif",
        "CIF text": (folder / "gaas.cif").read_text(),
        "pymatgen's CIF": folder / "pymatgen.cif",
        "arrays": {
            "symbols": np.array(GALLIUM_ARSENIDE.get_chemical_symbols()),
            "cell": GALLIUM_ARSENIDE.cell[:],
            "positions": GALLIUM_ARSENIDE.positions,
            "pbc": GALLIUM_ARSENIDE.pbc,
        },
    }


def test_all_forms_are_the_same_crystal(tmp_path: Path) -> None:
    for name, given in forms(tmp_path).items():
        atoms = DFTSystem({"structure": given, **WORDS}).atoms
        assert sorted(atoms.symbols) == ["As", "Ga"], name
        assert atoms.get_volume() == pytest.approx(5.65**3 / 4, rel=1e-5), name
        assert atoms.get_distance(0, 1, mic=True) == pytest.approx(2.4465, abs=1e-3), name


def test_moments_and_layers_come_along_in_dictionaries() -> None:
    structure = pymatgen_structure()
    structure.add_site_property("magmom", [1.0, -0.5])
    system = DFTSystem({"structure": structure.as_dict(), **WORDS})
    assert system.atoms.get_initial_magnetic_moments().tolist() == [1.0, -0.5]
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.2])
    system = DFTSystem({"structure": iron.todict(), **WORDS})
    assert system.atoms.get_initial_magnetic_moments().tolist() == [2.2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sites": [], "charge": 0}, r"structure: .*no lattice: it is a molecule's"),
        ({"sites": [{}], "lattice": {}}, "is not one of pymatgen"),
        ({"numbers": [13], "positions": [[0, 0]]}, "is not one of ASE"),
        ('{"sites": [{"species"', "the text is not JSON, or only a part of it"),
    ],
)
def test_broken_dictionaries_are_named(given: Any, message: str) -> None:
    pytest.importorskip("pymatgen.core")
    with pytest.raises(ValueError, match=message):
        DFTSystem({"structure": given, **WORDS})


def test_partial_occupancies_are_refused_in_dictionaries_too() -> None:
    core = pytest.importorskip("pymatgen.core")
    alloy = core.Structure(core.Lattice.cubic(3.6), [{"Al": 0.6, "Mg": 0.4}], [[0, 0, 0]])
    with pytest.raises(ValueError, match=r"structure: .*partially occupied"):
        DFTSystem({"structure": alloy.as_dict(), **WORDS})


def test_lists_of_an_entry_may_be_arrays_and_tuples() -> None:
    system = {"structure": GALLIUM_ARSENIDE, **WORDS, "kpts": np.array([1, 1, 1])}
    entry = DFTEntry.create(
        "eos", np.arange(5.0), (system,), scales=np.linspace(0.9, 1.1, 5), weight=np.float64(1)
    )
    assert entry.scales == pytest.approx((0.9, 0.95, 1.0, 1.05, 1.1))
