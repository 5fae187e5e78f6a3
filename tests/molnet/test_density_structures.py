from __future__ import annotations

import importlib
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from deepchem_xc._files import data_file
from deepchem_xc.molnet import DensitySet
from deepchem_xc.molnet.density_structures import DENSITY_SETS

ROOT = Path(__file__).resolve().parents[2]
ELEMENTS = {
    *("Li", "B", "Al", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br"),
    *("Ag", "In", "Sn", "Sb", "Te", "I", "Cs", "Au", "Pb", "Bi"),
}


@cache
def script(name: str) -> ModuleType:
    """A script of data/, which is not part of the package."""
    sys.path.insert(0, str(ROOT / "data"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "data"))


@cache
def density_set(name: str) -> DensitySet:
    return DensitySet.read(name)


def structures(name: str, *parts: str) -> dict[str, Atoms]:
    found = density_set(name).structures.values()
    return {s.name: s.atoms for s in found if not parts or s.part in parts}


def reduced(atoms: Atoms) -> Structure:
    """The primitive cell."""
    return AseAtomsAdaptor.get_structure(atoms).get_primitive_structure()


def system(atoms: Atoms) -> str:
    return "-".join(sorted(set(atoms.get_chemical_symbols())))


def same_cell(left: Atoms, right: Atoms) -> bool:
    if left.get_chemical_symbols() != right.get_chemical_symbols():
        return False
    shift = left.get_scaled_positions() - right.get_scaled_positions()
    return np.allclose(left.cell, right.cell, atol=1e-5) and np.allclose(
        shift, shift.round(), atol=1e-5
    )


def matches(matcher: StructureMatcher, left: Structure, right: Structure) -> bool:
    return len(left) == len(right) and bool(matcher.fit(left, right, skip_structure_reduction=True))


@pytest.mark.slow
def test_no_cell_to_train_on_is_an_allotrope_of_the_test() -> None:
    matcher = StructureMatcher()
    allotropes = {name: reduced(atoms) for name, atoms in structures("silicon", "test").items()}
    cells = {
        name: reduced(atoms) for name, atoms in structures("silicon", "train", "valid").items()
    }
    assert len(cells) >= 300
    for name, allotrope in allotropes.items():
        alike = [key for key, cell in cells.items() if matches(matcher, allotrope, cell)]
        assert not alike, f"{name} is {alike}"
    # The same comparison finds what is there: diamond among the strained cells, and an allotrope
    # whose atoms were moved.
    diamond = reduced(bulk("Si"))
    assert sum(matches(matcher, diamond, cell) for cell in cells.values()) > 20
    moved = structures("silicon")["BC8"].copy()
    moved.rattle(0.03, seed=0)
    moved.set_cell(moved.cell * 1.05, scale_atoms=True)
    assert matches(matcher, allotropes["BC8"], reduced(moved))


def test_the_test_has_at_least_18_allotropes_none_of_them_twice() -> None:
    matcher = StructureMatcher()
    kept = density_set("silicon").structures
    ideal = [s for s in kept.values() if s.part == "test" and s.kind != "rattled allotrope"]
    cells = {s.name: reduced(s.atoms) for s in ideal}
    assert len(cells) >= 18
    named = {"ST12", "BC8", "BCT5", "clathrate I", "clathrate II", "lonsdaleite", "beta-Sn"}
    named |= {"simple hexagonal", "hcp", "fcc", "bcc", "sc", "A11", "A17"}
    assert named <= set(cells)
    assert all(kept[name].kind == "allotrope" for name in cells)
    diamond = reduced(bulk("Si"))
    names = list(cells)
    for i, name in enumerate(names):
        assert not matches(matcher, cells[name], diamond), name
        same = [other for other in names[i + 1 :] if matches(matcher, cells[name], cells[other])]
        assert not same, f"{name} is {same}"


def test_silicon_is_what_its_script_makes_from_seeds() -> None:
    silicon = script("density_silicon")
    kept = density_set("silicon").structures
    counts = {kind: sum(s.kind == kind for s in kept.values()) for kind in silicon.COUNTS}
    assert counts == silicon.COUNTS
    for kind in silicon.COUNTS:
        given = kept[f"{kind} 1"]
        seed = int(given.origin.rpartition(" ")[2])
        atoms, _ = getattr(silicon, kind)(np.random.default_rng([seed, *kind.encode()]))
        assert same_cell(atoms, given.atoms), kind


def test_allotropes_of_few_atoms_are_there_rattled_too() -> None:
    """Ideal ones have no forces by symmetry; cells of one atom are enlarged, or would have none."""
    silicon, kept = script("density_silicon"), density_set("silicon").structures
    ideal = {name: kept[name].atoms for name in silicon.ALLOTROPES}
    made = silicon.rattled_allotropes(ideal)
    rattled = {s.name: s for s in kept.values() if s.kind == "rattled allotrope"}
    assert list(made) == list(rattled) and len(rattled) == 22
    moves = []
    for name, member in rattled.items():
        assert member.part == "test" and 2 <= len(member.atoms) <= silicon.RATTLED_ATOMS
        assert same_cell(made[name].atoms, member.atoms), name
        atoms = ideal[name.removesuffix(" rattled")]
        copies = atoms.repeat(2) if len(atoms) == 1 else atoms
        moves.append(member.atoms.positions - copies.positions)
        # More than a translation of all atoms.
        assert np.ptp(moves[-1], axis=0).max() > silicon.RATTLE, name
    assert np.concatenate(moves).std() == pytest.approx(silicon.RATTLE, rel=0.1)


@pytest.mark.slow  # reading all prototypes takes seconds
def test_crystals_are_what_their_scripts_make_from_prototypes() -> None:
    silicon, mixed = script("density_silicon"), script("density_mixed")
    kept = density_set("silicon").structures
    for name in ("lonsdaleite", "A17"):
        assert same_cell(silicon.allotrope(silicon.ALLOTROPES[name]), kept[name].atoms), name
    found = [s.atoms for s in density_set("mixed").structures.values()]
    made = list(mixed.crystals(mixed.FAMILIES[9]))
    assert len(made) == 9 and all(any(same_cell(a, b) for b in found) for a in made)


@pytest.mark.parametrize(
    ("name", "a", "natoms"), [("BC8", 6.636, 16), ("clathrate II", 14.626, 136)]
)
def test_allotropes_have_nearly_the_measured_volume(name: str, a: float, natoms: int) -> None:
    """Kasper and Richards, Acta Cryst. 17, 752 (1964); Gryko et al., PRB 62, R7707 (2000)."""
    atoms = structures("silicon")[name]
    assert atoms.get_volume() / len(atoms) == pytest.approx(a**3 / natoms, rel=0.03)


def test_bc8_has_the_measured_ratio_of_its_two_bonds() -> None:
    """16c at x = 0.1003 (Kasper and Richards): one bond of 2 sqrt(3) x a, three of 0.3605 a."""
    bc8 = structures("silicon")["BC8"]
    a = (2.0 * bc8.get_volume()) ** (1 / 3)
    first, lengths = neighbor_list("id", bc8, 2.85)
    for atom in range(len(bc8)):
        bonds = np.sort(lengths[first == atom]) / a
        assert bonds == pytest.approx([2 * np.sqrt(3) * 0.1003] + 3 * [0.3605], rel=3e-3)


def test_tetrahedral_allotropes_have_four_bonds_an_atom() -> None:
    found = structures("silicon")
    for name in ("ST12", "BC8", "clathrate I", "clathrate II", "lonsdaleite", "4H", "6H", "9R"):
        first = neighbor_list("i", found[name], 2.85)
        assert (np.bincount(first, minlength=len(found[name])) == 4).all(), name


def test_compounds_have_nearly_the_volume_of_gpaws_curves() -> None:
    volumes = {}
    for file in ("gpaw_training.json", "solids_eos.json"):
        for name, result in json.loads(data_file(file).read_text()).items():
            if "a" in result.get("fit", {}).get("energy", {}):
                volumes[name] = result["fit"]["energy"]["a"]
    mixed = structures("mixed")
    zincblende, rocksalt = "AB_cF8_216_c_a", "AB_cF8_225_a_b"
    for name, formula, label in (
        ("BP", "BP", zincblende),
        ("BAs", "AsB", zincblende),
        ("InP", "InP", zincblende),
        ("AlP", "AlP", zincblende),
        ("AlAs", "AlAs", zincblende),
        ("InAs", "InAs", zincblende),
        ("LiCl", "LiCl", rocksalt),
    ):
        a = (4.0 * mixed[f"{formula} {label}"].get_volume()) ** (1 / 3)
        assert a == pytest.approx(volumes[name], rel=0.035), name


def test_mixed_crystals_are_many_and_of_all_elements_and_kinds() -> None:
    found = density_set("mixed").structures
    assert len(found) >= 150
    assert {s.kind for s in found.values()} == {"metal", "semiconductor", "ionic", "molecular"}
    trained = set().union(
        *(s.atoms.get_chemical_symbols() for s in found.values() if s.part == "train")
    )
    assert trained == ELEMENTS
    assert set().union(*(s.atoms.get_chemical_symbols() for s in found.values())) == ELEMENTS


def test_mixed_is_split_by_chemical_system() -> None:
    parts: dict[str, set[str]] = {}
    for member in density_set("mixed").structures.values():
        parts.setdefault(system(member.atoms), set()).add(member.part)
    assert all(len(found) == 1 for found in parts.values())
    for part in ("valid", "test"):
        assert sum(found == {part} for found in parts.values()) >= 15


@pytest.mark.parametrize("name", DENSITY_SETS)
def test_atoms_are_neither_on_top_of_each_other_nor_outside_the_parts(name: str) -> None:
    found = density_set(name)
    for member in found.structures.values():
        first, second, distance = neighbor_list("ijd", member.atoms, 3.0)
        radii = covalent_radii[member.atoms.numbers]
        assert (distance > 0.75 * (radii[first] + radii[second])).all(), member.name
    assert {member.part for member in found.structures.values()} == {"train", "valid", "test"}
    quick = found.select(quick=True)
    assert 0 < len(quick) < len(found.structures) / 4 and list(found.quick) != []


@pytest.mark.slow
def test_magnets_are_what_their_script_makes() -> None:
    magnets = script("density_magnets")
    expected = magnets.members()
    assert list(expected) == list(density_set("magnets").structures)
    for name, member in density_set("magnets").structures.items():
        assert same_cell(expected[name].atoms, member.atoms), name
        moments = member.atoms.get_initial_magnetic_moments()
        assert moments.tolist() == expected[name].atoms.get_initial_magnetic_moments().tolist()
        assert (moments.min() < 0.0) == (member.kind == "alternating"), name


def test_molecules_are_closed_shells_without_fluorine() -> None:
    found = density_set("molecules").structures
    assert len(found) >= 90 and {"CH4", "H2O", "SiH4", "CO2"} <= set(found)
    formulas: dict[str, set[str]] = {}
    for member in found.values():
        assert "F" not in member.atoms.get_chemical_symbols()
        assert member.atoms.numbers.sum() % 2 == 0
        assert member.atoms.get_initial_magnetic_moments().any() == np.False_
        formulas.setdefault(member.atoms.symbols.get_chemical_formula(), set()).add(member.part)
    assert all(len(parts) == 1 for parts in formulas.values())


def changed(tmp_path: Path, change: Any) -> Path:
    content = json.loads(data_file("density_molecules.json").read_text())
    content["structures"] = {"H2": content["structures"]["H2"]}
    content["quick"] = []
    path = tmp_path / "set.json"
    path.write_text(change(content))
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: json.dumps(c)[:-5], "Expecting"),
        (lambda c: json.dumps({**c, "structures": {}}), "structures"),
        (lambda c: json.dumps({**c, "quick": ["He"]}), "quick names"),
        (lambda c: json.dumps({**c, "settings": {"ecutt": 100.0}}), "ecutt"),
        (lambda c: json.dumps([c]), "is not a file of structures"),
    ],
    ids=["truncated", "empty", "unknown quick", "unknown keyword", "a list"],
)
def test_files_of_another_form_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        DensitySet.read("mine", changed(tmp_path, change))
    assert "set.json" in str(caught.value)


def test_unknown_sets_and_parts_are_named() -> None:
    with pytest.raises(ValueError, match="'silicon', 'mixed', 'molecules', 'magnets', got 'si'"):
        DensitySet.read("si")
    with pytest.raises(ValueError, match="train, valid, test"):
        density_set("silicon").select(parts=("training",))
