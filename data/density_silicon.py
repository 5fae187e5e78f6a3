"""Silicon for the set of densities: cells around diamond to train on, allotropes to test on.

Diamond's cells are strained, rattled, have a vacancy, an interstitial or a rotated bond; others are
disordered, from open to dense. None is a stacking of hexagonal layers, and none is one of the
allotropes. An allotrope has the size at which the bond valences of its atoms are diamond's. Many of
them have no forces by symmetry: those of few atoms are there a second time, rattled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal
from density_members import Member
from density_prototypes import prototype
from density_volumes import bond_length, bonds, valence_sum, with_valence_sum

#: Lattice constant of diamond silicon by PBE with its GTH potential, Angstrom.
DIAMOND = 5.462
#: Settings of all calculations; each member has its mesh.
SETTINGS = {
    "pseudopotentials": "gth-pbe",
    "ecut": 300.0,
    "occupations": {"name": "fermi-dirac", "width": 0.1},
}
#: Prototypes of the allotropes.
ALLOTROPES = {
    "ST12": "A_tP12_96_ab",
    "BC8": "A_cI16_206_c",
    "BCT5": "A_tI4_139_e",
    "clathrate I": "A_cP46_223_dik",
    "lonsdaleite": "A_hP4_194_f",
    "4H": "AB_hP8_186_ab_ab",
    "6H": "AB_hP12_186_a2b_a2b",
    "9R": "AB_hR6_160_3a_3a",
    "BCT4": "A_tI8_139_h",
    "three-ring": "A_hP6_194_h",
    "beta-Sn": "A_tI4_141_a",
    "simple hexagonal": "A_hP1_191_a",
    "hcp": "A_hP2_194_c",
    "dhcp": "A_hP4_194_ac",
    "fcc": "A_cF4_225_a",
    "bcc": "A_cI2_229_a",
    "sc": "A_cP1_221_a",
    "A7": "A_hR2_166_c/A7",
    "A11": "A_oC8_64_f/A11",
    "A17": "A_oC8_64_f/A17",
    "gamma-Pu": "A_oF8_70_a",
    "cI16": "A_cI16_220_c",
    "A15": "A3B_cP8_223_c_a",
    "A13": "A_cP20_213_cd",
}
#: Standard deviation of the displacements of rattled allotropes (Angstrom), their seed, and the
#: largest number of atoms of an allotrope that has a rattled copy.
RATTLE, RATTLE_SEED, RATTLED_ATOMS = 0.06, 19, 12
#: How many cells of each kind there are.
COUNTS = {"strained": 60, "rattled": 80, "defective": 80, "disordered": 100}
#: A small part with something of each kind; its densities come with the package.
QUICK = (
    *(f"strained {number}" for number in range(12)),
    *(f"rattled {number}" for number in range(8)),
    *(f"disordered {number}" for number in range(4)),
    *("lonsdaleite", "beta-Sn", "bcc", "sc"),
)
# Of the cells to train on, one in this many validates.
_VALID = 8
# Atoms closer than this (Angstrom) are pushed apart where cells are made at random.
_APART = 2.35
# No two atoms of a cell are closer than this, Angstrom.
_CLOSEST = 2.05


def members() -> dict[str, Member]:
    """All members by name."""
    found: dict[str, Member] = {}
    makers: dict[str, Callable[[np.random.Generator], tuple[Atoms, str]]] = {
        "strained": strained,
        "rattled": rattled,
        "defective": defective,
        "disordered": disordered,
    }
    for kind, make in makers.items():
        for number, (atoms, origin) in enumerate(_random_cells(kind, make)):
            part = "valid" if number % _VALID == _VALID - 1 else "train"
            found[f"{kind} {number}"] = Member(atoms, part, kind, origin, {"kpts": mesh(atoms)})
    allotropes = {name: allotrope(label) for name, label in ALLOTROPES.items()}
    for name, label in ALLOTROPES.items():
        atoms = allotropes[name]
        found[name] = Member(atoms, "test", "allotrope", label, {"kpts": mesh(atoms)})
    atoms = clathrate_ii()
    origin = "space group 227: 8a, 32e 0.2175, 96g 0.1825 0.3705"
    found["clathrate II"] = Member(atoms, "test", "allotrope", origin, {"kpts": mesh(atoms)})
    return found | rattled_allotropes(allotropes)


def rattled_allotropes(allotropes: Mapping[str, Atoms]) -> dict[str, Member]:
    """Copies of the allotropes of few atoms, displaced at random; single atoms become eight."""
    found = {}
    for name, ideal in allotropes.items():
        if len(ideal) > RATTLED_ATOMS:
            continue
        atoms = ideal.repeat(2) if len(ideal) == 1 else ideal.copy()
        rng = np.random.default_rng([RATTLE_SEED, *name.encode()])
        atoms.positions += rng.normal(0.0, RATTLE, atoms.positions.shape)
        origin = f"{name}, seed {RATTLE_SEED}"
        settings = {"kpts": mesh(atoms)}
        found[f"{name} rattled"] = Member(atoms, "test", "rattled allotrope", origin, settings)
    return found


def mesh(atoms: Atoms) -> dict[str, object]:
    """Points per 1/Angstrom: cells of few atoms may be metals with sharp levels."""
    return {"density": 3.0 if len(atoms) <= 4 else 1.7, "gamma": True}


@cache
def diamond_valence() -> float:
    """Bond valences of an atom in diamond silicon, all neighbours included."""
    pair = {frozenset(("Si",)): bond_length("Si", "Si")}
    return valence_sum(*bonds(bulk("Si", "diamond", a=DIAMOND), pair)) / 2


def allotrope(label: str) -> Atoms:
    """The prototype filled with silicon, at the size of diamond's bond valences."""
    return at_diamonds_valence(prototype(label, "Si"))


def clathrate_ii() -> Atoms:
    """Clathrate II; the prototype A_cF136_227_aeg has 32e at 0.2624, where it lacks bonds."""
    sites = [(0.125,) * 3, (0.2175,) * 3, (0.1825, 0.1825, 0.3705)]
    cell = (14.6, 14.6, 14.6, 90, 90, 90)
    return at_diamonds_valence(
        crystal(["Si"] * 3, sites, spacegroup=227, setting=2, cellpar=cell, primitive_cell=True)
    )


def at_diamonds_valence(atoms: Atoms) -> Atoms:
    """The crystal at the size at which its atoms have the valence of those in diamond."""
    pair = {frozenset(("Si",)): bond_length("Si", "Si")}
    return with_valence_sum(atoms, diamond_valence() * len(atoms), pair)


def strained(rng: np.random.Generator) -> tuple[Atoms, str]:
    """Two atoms under a strain of up to 7 %, the second one displaced."""
    atoms = bulk("Si", "diamond", a=DIAMOND)
    deform(atoms, rng, 0.07)
    atoms.positions[1] += rng.normal(0.0, 0.08, 3)
    return atoms, "diamond"


def rattled(rng: np.random.Generator) -> tuple[Atoms, str]:
    """Eight atoms, displaced by 0.05 to 0.3 Angstrom, under a small strain."""
    atoms = bulk("Si", "diamond", a=DIAMOND, cubic=True)
    deform(atoms, rng, 0.03)
    atoms.positions += rng.normal(0.0, rng.uniform(0.05, 0.3), atoms.positions.shape)
    return atoms, "diamond"


def defective(rng: np.random.Generator) -> tuple[Atoms, str]:
    """A vacancy, an interstitial or a rotated bond in 8 or 16 atoms, displaced a little."""
    atoms = bulk("Si", "diamond", a=DIAMOND, cubic=True)
    if rng.random() < 0.3:
        atoms = make_supercell(bulk("Si", "diamond", a=DIAMOND), 2 * np.eye(3, dtype=int))
    deform(atoms, rng, 0.02)
    defect = ("vacancy", "interstitial", "rotated bond")[int(rng.integers(3))]
    if defect == "vacancy":
        del atoms[int(rng.integers(len(atoms)))]
    elif defect == "interstitial":
        atoms.append("Si")
        atoms.positions[-1] = rng.random(3) @ atoms.cell.array
        push_apart(atoms, 40)
    else:
        rotate_bond(atoms, rng)
        push_apart(atoms, 40)
    atoms.positions += rng.normal(0.0, rng.uniform(0.02, 0.12), atoms.positions.shape)
    return atoms, f"diamond, {defect}"


def disordered(rng: np.random.Generator) -> tuple[Atoms, str]:
    """Four to ten atoms anywhere, pushed apart, with 14 to 28 cubic Angstrom each."""
    natoms = int(rng.integers(4, 11))
    atoms = Atoms(f"Si{natoms}", cell=np.eye(3), pbc=True)
    deform(atoms, rng, 0.2)
    volume = natoms * rng.uniform(14.0, 28.0)
    atoms.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3))
    atoms.set_scaled_positions(rng.random((natoms, 3)))
    push_apart(atoms, int(rng.integers(30, 120)))
    return atoms, "random"


def deform(atoms: Atoms, rng: np.random.Generator, size: float) -> None:
    """Strain the cell by a random symmetric tensor with elements up to `size`."""
    strain = rng.uniform(-size, size, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)


def push_apart(atoms: Atoms, steps: int) -> None:
    """Move atoms that are closer than `_APART` away from each other, a little in each step."""
    for _ in range(steps):
        first, distance, vector = neighbor_list("idD", atoms, _APART)
        moves = np.zeros_like(atoms.positions)
        lengths = np.maximum(distance, 1e-3)[:, None]
        np.add.at(moves, first, -0.25 * (_APART - lengths) * vector / lengths)
        atoms.positions += moves


def rotate_bond(atoms: Atoms, rng: np.random.Generator) -> None:
    """Turn two neighbours about the middle of their bond by 90 degrees."""
    first, second, vector = neighbor_list("ijD", atoms, 2.6)
    chosen = int(rng.integers(len(first)))
    bond = vector[chosen]
    sideways = np.cross(bond, rng.normal(size=3))
    sideways *= np.linalg.norm(bond) / np.linalg.norm(sideways)
    middle = atoms.positions[first[chosen]] + bond / 2
    atoms.positions[first[chosen]] = middle - sideways / 2
    atoms.positions[second[chosen]] = middle + sideways / 2


def _random_cells(
    kind: str, make: Callable[[np.random.Generator], tuple[Atoms, str]]
) -> Iterator[tuple[Atoms, str]]:
    """As many cells as `COUNTS` says whose atoms are not too close; seeds are 0, 1, ..."""
    seed, found = 0, 0
    while found < COUNTS[kind]:
        atoms, origin = make(np.random.default_rng([seed, *kind.encode()]))
        if neighbor_list("d", atoms, _CLOSEST).size == 0:
            atoms.wrap()
            yield atoms, f"{origin}, seed {seed}"
            found += 1
        seed += 1
