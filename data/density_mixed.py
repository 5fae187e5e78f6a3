"""Metals, semiconductors, ionic and molecular crystals for the set of densities of many elements.

All have the shape of a prototype, whether nature chooses it or not, and few atoms; their elements
are those whose GTH-PBE potentials are nearly converged at 1000 eV. Metals have the sum of their
elements' volumes, compounds the size at which bond valences add up. Crystals of the same elements
are in the same part of the set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from density_members import Member
from density_prototypes import prototype
from density_volumes import with_element_volumes, with_valences

#: Settings of all calculations; each member has its mesh.
SETTINGS = {
    "pseudopotentials": "gth-pbe",
    "ecut": 1000.0,
    "occupations": {"name": "fermi-dirac", "width": 0.1},
}
#: A small part to try.
QUICK = (
    "Al A_cF4_225_a",
    "Si A_cF8_227_a",
    "LiCl AB_cF8_225_a_b",
    "AlP AB_cF8_216_c_a",
    "AsB AB_cF8_216_c_a",
)
#: Densities of meshes, points per 1/Angstrom, by kind of crystal.
MESHES = {"metal": 2.5, "semiconductor": 1.8, "ionic": 1.5, "molecular": 1.2}
#: Valences of elements in compounds, for those that do not vary.
VALENCES = {
    **dict.fromkeys(("Li", "Cs", "Ag", "Cl", "Br", "I"), 1),
    **dict.fromkeys(("S", "Se", "Te"), 2),
    **dict.fromkeys(("B", "Al", "In", "P", "As", "Sb", "Bi"), 3),
    **dict.fromkeys(("Si", "Ge", "Sn", "Pb"), 4),
}
#: Parts of the chemical systems that validate and test.
FRACTIONS = {"valid": 0.12, "test": 0.18}
_SEED = 0


@dataclass(frozen=True)
class Family:
    """Crystals of one prototype.

    Attributes
    ----------
    kind
        Kind of binding.
    label
        The prototype, see `prototype`.
    originals
        Its elements.
    compounds
        Elements that replace them, in the same order, one compound after a comma.
    valences
        Those that differ from `VALENCES`; None: volumes of elements.
    """

    kind: str
    label: str
    originals: str
    compounds: str
    valences: dict[str, int] | None = field(default_factory=dict)


def _elements(kind: str, label: str, symbols: str) -> Family:
    return Family(kind, label, "", symbols, None)


#: Iodine's crystal; its molecules get the bonds of the other halogens.
DIMERS = "A_oC8_64_f/A14"
DIVALENT = {"Ge": 2, "Sn": 2, "Pb": 2}
FAMILIES = (
    _elements("metal", "A_cF4_225_a", "Li, Al, Ag, Au, Pb, In, Cs"),
    _elements("metal", "A_cI2_229_a", "Li, Al, Ag, Au, Pb, Cs"),
    _elements("metal", "A_tI2_139_a/A6", "In"),
    _elements("metal", "A_hR2_166_c/A7", "As, Sb, Bi"),
    _elements("semiconductor", "A_cF8_227_a", "Si, Ge, Sn"),
    _elements("semiconductor", "A_hP3_152_a", "Se, Te"),
    _elements("semiconductor", "A_oC8_64_f/A17", "P"),
    _elements("semiconductor", "A_hR12_166_2h", "B"),
    _elements("molecular", DIMERS, "Cl, Br, I"),
    Family(
        "semiconductor",
        "AB_cF8_216_c_a",
        "Zn S",
        "B P, B As, B Sb, Al P, Al As, Al Sb, In P, In As, In Sb",
    ),
    Family("semiconductor", "AB_cF8_216_c_a", "Zn S", "Si Ge, Si Sn, Ge Sn", None),
    Family("semiconductor", "AB_cF8_216_c_a", "Zn S", "Ag I"),
    Family("semiconductor", "AB_hP4_186_b_b", "Zn S", "Al P, In P, In As, Ag I"),
    Family(
        "ionic",
        "AB_cF8_225_a_b",
        "Na Cl",
        "Li Cl, Li Br, Li I, Ag Cl, Ag Br, Cs Cl, Cs Br, Cs I",
    ),
    Family(
        "semiconductor",
        "AB_cF8_225_a_b",
        "Na Cl",
        "Sn S, Sn Se, Sn Te, Pb S, Pb Se, Pb Te, Ge Te",
        DIVALENT,
    ),
    Family("ionic", "AB_cP2_221_b_a", "Cs Cl", "Cs Cl, Cs Br, Cs I"),
    Family("metal", "AB_cP2_221_b_a", "Cs Cl", "Li Ag, Li Au, Li Pb", None),
    Family("metal", "AB_cF16_227_a_b", "Na Tl", "Li Al, Li In", None),
    Family("metal", "AB_tP2_123_a_d", "Cu Au", "Ag Au, Li Bi, In Pb, Ag In", None),
    Family(
        "metal",
        "AB3_cP4_221_a_c",
        "Cu Au",
        "Ag In, Ag Al, Au Al, Au In, In Sn, Pb In, Al Li, Ag Au, Au Ag, Pb Bi",
        None,
    ),
    Family("semiconductor", "AB3_cF16_225_a_bc", "F Bi", "Li Sb, Li Bi, Li As, Li P"),
    Family("ionic", "AB3_hP8_194_c_bf", "Na As", "Li P, Li As"),
    Family("ionic", "AB2_cF12_225_a_c", "F Ca", "Li S, Li Se, Li Te, Cs S, Cs Se, Cs Te"),
    Family("metal", "AB2_cF12_225_a_c", "F Ca", "Al Au, In Au", None),
    Family(
        "semiconductor",
        "ABC_cF12_216_b_c_a",
        "Mg Ag As",
        "Li Al Si, Li Al Ge, Li In Ge, Li In Sn, Li Al Sn",
        None,
    ),
    Family(
        "metal",
        "AB2C_cF16_225_a_c_b",
        "Cu Al Mn",
        "Li Sn Ag, Li Pb Ag, Li Bi Au, Ag Al Li, Li In Ag, Li In Au, Au Sn Li, Li Al Ag",
        None,
    ),
    Family(
        "semiconductor",
        "ABC2_tI16_122_a_b_d",
        "Cu Fe S",
        "Ag Al S, Ag Al Se, Ag Al Te, Ag In S, Ag In Se, Ag In Te, Li In S, Li In Te, Li Al Te",
    ),
    Family(
        "semiconductor",
        "ABC2_hR4_166_a_b_c",
        "Na Cr S",
        "Li In S, Li Bi S, Ag Bi S, Ag Bi Se, Ag Sb Te, Li Bi Se, Ag Sb Se, Cs Bi S",
    ),
    Family(
        "ionic",
        "AB3C_cP5_221_a_c_b",
        "Ca Ti O",
        "Cs Pb Cl, Cs Pb Br, Cs Pb I, Cs Sn Cl, Cs Sn Br, Cs Sn I, Cs Ge Cl, Cs Ge Br, Cs Ge I",
        DIVALENT,
    ),
    Family("ionic", "AB2_hP3_164_a_d", "Cd I", "Pb I, Ge I", DIVALENT),
    Family("semiconductor", "AB2_hP3_164_a_d", "Cd I", "Sn S, Sn Se, Si Te"),
    Family(
        "semiconductor",
        "A2B3_hR5_166_c_ac",
        "Bi Te",
        "Bi Te, Bi Se, Sb Te, Sb Se, As Te, Bi S, In Se",
    ),
    Family("semiconductor", "AB_oP8_62_c_c/B16", "Ge S", "Ge S, Ge Se, Sn S, Sn Se", DIVALENT),
    Family("ionic", "AB3_hR8_148_c_f", "Bi I", "Bi I, Sb I, As I, Bi Br"),
    Family(
        "molecular",
        "A4B_cI10_217_c_a",
        "Si F",
        "Si Cl, Si Br, Si I, Ge Cl, Ge Br, Ge I, Sn Cl, Sn Br, Sn I, Pb Cl",
    ),
    Family("molecular", "A2B_aP6_2_2i_i", "P I", "P I, As I", {"P": 2, "As": 2}),
    Family("ionic", "AB3_mC16_12_g_ij", "Al Cl", "Al Cl, Al Br, In Cl, In Br"),
    Family("semiconductor", "A2B_oI12_72_j_a", "Si S", "Si S, Si Se, Ge S, Ge Se"),
    Family("metal", "AB_hP4_194_c_a", "Ni As", "Au Sn", None),
    Family("metal", "AB_tP4_129_a_c", "Pb O", "Bi In", None),
    Family(
        "semiconductor",
        "AB3C4_cP8_215_a_c_e",
        "Cu As S",
        "Ag As S, Ag P S, Ag Sb S, Ag P Se, Li P S, Li As S",
        {"P": 5, "As": 5, "Sb": 5},
    ),
    Family("metal", "A2B_tI12_140_h_a", "Al Cu", "Pb Au, In Ag", None),
    Family("metal", "A2B_cF24_227_d_a", "Cu Mg", "Au Bi, Au Pb", None),
    Family("metal", "AB2_mC6_12_a_i", "Te Au", "Te Au", None),
    Family("metal", "AB2_cP12_205_a_c", "Fe S", "Au Sb", None),
    Family("semiconductor", "ABC4_oP12_16_ag_cd_2u", "Al P S", "Al P S, B P S", {"P": 5}),
)


def members() -> dict[str, Member]:
    """All members by name: formula and prototype."""
    found: dict[str, Member] = {}
    for family in FAMILIES:
        for atoms in crystals(family):
            name = f"{atoms.symbols.get_chemical_formula('metal', empirical=True)} {family.label}"
            if name in found:
                raise ValueError(f"{name} occurs twice.")
            settings = {"kpts": {"density": MESHES[family.kind], "gamma": True}}
            found[name] = Member(atoms, "", family.kind, family.label, settings)
    parts = split(found)
    return {
        name: Member(m.atoms, parts[system(m.atoms)], m.kind, m.origin, m.settings)
        for name, m in found.items()
    }


def crystals(family: Family) -> Iterator[Atoms]:
    """Crystals of a family at their volumes."""
    for compound in family.compounds.split(", "):
        new = compound.split()
        replaced = dict(zip(family.originals.split(), new)) if family.originals else new[0]
        atoms = prototype(family.label, replaced)
        if family.valences is None:
            atoms = with_element_volumes(atoms)
            yield with_covalent_bonds(atoms) if family.label == DIMERS else atoms
        else:
            yield with_valences(atoms, {**VALENCES, **family.valences})


def with_covalent_bonds(atoms: Atoms) -> Atoms:
    """A crystal of molecules of two atoms, whose bonds get the length of two covalent radii."""
    copy = atoms.copy()
    first, second, distance, vector = neighbor_list("ijdD", atoms, 5.0)
    for atom in range(len(atoms)):
        own = np.flatnonzero(first == atom)
        nearest = own[distance[own].argmin()]
        radii = covalent_radii[atoms.numbers[[atom, second[nearest]]]].sum()
        shift = (distance[nearest] - radii) / 2.0
        copy.positions[atom] += shift * vector[nearest] / distance[nearest]
    return copy


def system(atoms: Atoms) -> str:
    """The elements of a crystal, in alphabetical order."""
    return "-".join(sorted(set(atoms.get_chemical_symbols())))


def split(found: dict[str, Member]) -> dict[str, str]:
    """Part of each chemical system; elements by themselves are for training."""
    systems = sorted({system(member.atoms) for member in found.values()})
    compounds = [name for name in systems if "-" in name]
    order = [compounds[i] for i in np.random.default_rng(_SEED).permutation(len(compounds))]
    nvalid, ntest = (round(FRACTIONS[part] * len(order)) for part in ("valid", "test"))
    parts = dict.fromkeys(systems, "train")
    parts |= dict.fromkeys(order[:nvalid], "valid")
    parts |= dict.fromkeys(order[nvalid : nvalid + ntest], "test")
    return parts
