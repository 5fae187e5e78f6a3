"""The PAW solver against GPAW: same dataset, functional, cutoff, k-points and smearing.

data/paw_gpaw.py made GPAW's numbers. GPAW tabulates shape functions, projectors and zero
potentials on few points and keeps densities on a grid that aliases products; this package does
neither. That leaves an offset of some meV an atom, nearly the same for all structures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.planewave.paw_of_gpaw import REFERENCE, differences_to_gpaw

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:the functional is")


class Allowed(NamedTuple):
    """Largest range and size of the offset (meV/atom), errors of a and modulus (relative).

    Also of the stress (GPa).
    """

    spread: float
    lattice_constant: float
    modulus: float
    offset: float | None = 3.0
    stress: float = 0.02


SIMPLE = Allowed(0.05, 5e-5, 5e-3)
# GPAW's tables of shape functions, projectors and zero potentials: with four times as many points
# its offset for GaAs is 0.031 to 0.037 meV for all structures, for Ca 0.15 to 0.21.
TABLES_OF_GPAW = Allowed(0.1, 5e-5, 5e-3)
TRANSITION = Allowed(0.15, 5e-5, 5e-3)
# At 800 eV. MgO's offset, -3.1 meV, is -0.03 meV with four times as many points in GPAW's tables;
# its modulus differs by 0.54 %, because the differences of its energies scatter by 0.05 meV.
HARD = Allowed(0.1, 5e-5, 1e-2, offset=3.5)
# Offsets of -8.5 (CsCl) and -3.6 meV (ScN) are GPAW's tables again, with ten times as many points
# -1.6 and +1.2 meV. Chromium's, -4.3, is -2.6 with four times as many, -2.5 on a finer grid too.
# Only their differences between structures are held against GPAW's.
DIFFERENCES_ALONE = Allowed(0.15, 5e-5, 5e-3, offset=None)
CRYSTALS = {
    "Si": SIMPLE,
    "Al": SIMPLE,
    "Na": SIMPLE,
    "AlP, triclinic": SIMPLE,
    "Ca": TABLES_OF_GPAW,
    "NaCl": SIMPLE,
    "LiF": HARD,
    "MgO": HARD,
    "GaAs": TABLES_OF_GPAW,
    "Cu": TRANSITION,
    "graphene": SIMPLE,
    "Ni": TRANSITION,
    "Fe": TRANSITION,
    "BP": SIMPLE,
    "ScN": DIFFERENCES_ALONE,
    "HgTe": TABLES_OF_GPAW,
    "PdH": TRANSITION,
    "CsCl": DIFFERENCES_ALONE,
    "Cr, antiferromagnetic": DIFFERENCES_ALONE,
    # With r2SCAN, beyond the bounds of the others: 0.09 meV (Si), 0.20 meV and 0.035 GPa (Ni), for
    # a reason that is not known. Our stress is the derivative of our energy (test_meta_gga.py), and
    # GPAW's does not change with tighter convergence.
    "Si, fine grid": Allowed(0.1, 5e-5, 5e-3),
    "MgO, fine grid": HARD,
    "Ni, fine grid": Allowed(0.25, 5e-5, 5e-3, stress=0.05),
}
# Curves whose minimum is not within the volumes computed.
WITHOUT_MINIMUM = {
    *(("Na", "LDA"), ("LiF", "LDA"), ("CsCl", "PBE"), ("CsCl", "LDA")),
    *(("Cr, antiferromagnetic", "PBE"), ("Cr, antiferromagnetic", "LDA")),
}
# Not within the bounds, for a reason that is not known: the offset rises with the volume, by 0.21
# meV within 4 % of the lattice constant, and accordingly the stress differs by 0.023 GPa.
TILTED = ("Cr, antiferromagnetic", "LDA")
QUICK = ("Si", "Al", "Na", "Si, fine grid")
# eV/Angstrom, mu_B, eV.
FORCE, MOMENT, LEVEL = 2e-3, 5e-3, 2e-3


def cases(failing: tuple[str, str] | None = None) -> list[Any]:
    """Crystals with PBE and the LDA; most take long, and one may be known to fail."""

    def marks(name: str, functional: str) -> list[pytest.MarkDecorator]:
        known = pytest.mark.xfail(strict=True, raises=AssertionError)
        slow = [] if name in QUICK else [pytest.mark.slow]
        return [*slow, known] if (name, functional) == failing else slow

    return [
        pytest.param(name, functional, marks=marks(name, functional))
        for name in CRYSTALS
        for functional in REFERENCE[name]["results"]
    ]


every = pytest.mark.parametrize(("name", "functional"), cases())
every_but_the_tilted = pytest.mark.parametrize(("name", "functional"), cases(failing=TILTED))


def test_every_crystal_of_the_reference_is_tested() -> None:
    assert set(CRYSTALS) == set(REFERENCE)


@pytest.mark.parametrize(
    ("name", "functional"),
    [case for case in cases() if CRYSTALS[case.values[0]].offset is not None],
)
def test_free_energies_are_gpaws(name: str, functional: str) -> None:
    assert abs(differences_to_gpaw(name, functional).energies).max() < CRYSTALS[name].offset


@every_but_the_tilted
def test_the_offset_of_the_energy_is_the_same_for_all_structures(
    name: str, functional: str
) -> None:
    assert differences_to_gpaw(name, functional).spread < CRYSTALS[name].spread


@pytest.mark.parametrize(
    ("name", "functional"),
    [case for case in cases() if tuple(case.values) not in WITHOUT_MINIMUM],
)
def test_equations_of_state_are_gpaws(name: str, functional: str) -> None:
    lattice_constant, modulus = differences_to_gpaw(name, functional).of_fits()
    assert abs(lattice_constant) < CRYSTALS[name].lattice_constant
    assert abs(modulus) < CRYSTALS[name].modulus


@every
def test_forces_are_gpaws(name: str, functional: str) -> None:
    assert differences_to_gpaw(name, functional).forces < FORCE


@every_but_the_tilted
def test_stress_is_gpaws(name: str, functional: str) -> None:
    assert differences_to_gpaw(name, functional).stress < CRYSTALS[name].stress


@every
def test_moments_are_gpaws(name: str, functional: str) -> None:
    assert differences_to_gpaw(name, functional).moments < MOMENT


@every
def test_levels_of_electrons_are_gpaws(name: str, functional: str) -> None:
    assert differences_to_gpaw(name, functional).levels < LEVEL
