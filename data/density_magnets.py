"""Magnets for the set of densities: Fe, Co, Ni and their alloys, in both orders of the spins.

Each crystal has three volumes around that of its elements, and initial moments that are parallel
or alternate. Meshes are coarse and cutoffs low: these are densities to learn from, no moments to
quote.
"""

from __future__ import annotations

from ase import Atoms
from density_members import Member
from density_prototypes import prototype
from density_volumes import scaled, with_element_volumes

#: Settings of all calculations.
SETTINGS = {
    "pseudopotentials": "gth-pbe",
    "ecut": 2000.0,
    "kpts": {"density": 1.8, "gamma": True},
    "occupations": {"name": "fermi-dirac", "width": 0.1},
    "spinpol": True,
}
#: A small part to try.
QUICK = ("FeFe AB_cP2_221_b_a 1.00 parallel",)
#: Sizes of initial moments, mu_B.
MOMENTS = {"Fe": 2.5, "Co": 1.7, "Ni": 0.8}
SCALES = (0.97, 1.0, 1.03)
#: Prototypes, their original elements and those that replace them.
CRYSTALS = (
    ("A_hP2_194_c", "", "Fe, Co, Ni"),
    ("AB_tP2_123_a_d", "Cu Au", "Fe Fe, Co Co, Ni Ni, Fe Ni, Co Ni, Fe Co"),
    ("AB_cP2_221_b_a", "Cs Cl", "Fe Fe, Co Co, Ni Ni, Fe Co, Fe Ni, Co Ni"),
    ("AB3_cP4_221_a_c", "Cu Au", "Ni Fe, Fe Ni, Co Fe, Ni Co"),
)
#: Crystals, by their elements, that validate and test.
VALID = ("Co-Ni",)
TEST = ("Fe-Ni",)
#: L1_0 with this ratio of axes is face-centred cubic.
_CUBIC = 2**0.5


def members() -> dict[str, Member]:
    """All members by name."""
    found = {}
    for label, originals, compounds in CRYSTALS:
        for compound in compounds.split(", "):
            new = compound.split()
            replaced = dict(zip(originals.split(), new)) if originals else new[0]
            atoms = prototype(label, replaced)
            if label.startswith("AB_tP2"):
                a = atoms.cell.lengths().min()
                atoms.set_cell([a, a, a * _CUBIC], scale_atoms=True)
            atoms = with_element_volumes(atoms)
            system = "-".join(sorted(set(new)))
            part = "valid" if system in VALID else "test" if system in TEST else "train"
            for scale in SCALES:
                for order in ("parallel", "alternating"):
                    cell = scaled(atoms, scale)
                    give_moments(cell, order == "alternating")
                    name = f"{''.join(new)} {label} {scale:.2f} {order}"
                    found[name] = Member(cell, part, order, label, {})
    return found


def give_moments(atoms: Atoms, alternating: bool) -> None:
    """Give the first atom, or the odd one of four, the opposite moment where they alternate."""
    symbols = atoms.get_chemical_symbols()
    moments = [MOMENTS[symbol] for symbol in symbols]
    if alternating:
        odd = next((i for i, symbol in enumerate(symbols) if symbols.count(symbol) == 1), 0)
        moments[odd] *= -1
    atoms.set_initial_magnetic_moments(moments)
