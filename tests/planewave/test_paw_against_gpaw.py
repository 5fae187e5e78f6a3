"""The PAW solver against GPAW: same dataset, functional, cutoff, k-points and smearing.

data/paw_gpaw.py made GPAW's numbers. GPAW tabulates shape functions, projectors and zero
potentials on few points and keeps densities on a grid that aliases products; this package does
neither. That leaves an offset of about 1 meV an atom, nearly the same for all structures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.planewave.paw_of_gpaw import REFERENCE, differences_to_gpaw

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:the functional is")


class Allowed(NamedTuple):
    """Largest difference of the energies' offset (meV/atom), of a and of B (relative)."""

    spread: float
    lattice_constant: float
    modulus: float


SIMPLE = Allowed(0.05, 5e-5, 5e-3)
TRANSITION = Allowed(0.15, 5e-5, 5e-3)
IONIC = Allowed(0.5, 2e-4, 1e-2)
CRYSTALS = {
    "Si": SIMPLE,
    "Al": SIMPLE,
    "Na": SIMPLE,
    "AlP, triclinic": SIMPLE,
    "Ca": SIMPLE,
    "NaCl": SIMPLE,
    "LiF": IONIC,
    "MgO": IONIC,
    "GaAs": SIMPLE,
    "Cu": TRANSITION,
    "graphene": SIMPLE,
    "Ni": TRANSITION,
    "Fe": TRANSITION,
}
QUICK = ("Si", "Al", "Na")
ENERGY, FORCE, STRESS, MOMENT, LEVEL = 3.0, 2e-3, 0.02, 5e-3, 2e-3


def cases() -> list[Any]:
    """Crystals with PBE and the LDA; most take long."""
    return [
        pytest.param(name, functional, marks=() if name in QUICK else pytest.mark.slow)
        for name in CRYSTALS
        for functional in ("PBE", "LDA")
    ]


every = pytest.mark.parametrize(("name", "functional"), cases())


def test_every_crystal_of_the_reference_is_tested() -> None:
    assert set(CRYSTALS) == set(REFERENCE)


@every
def test_free_energies_are_gpaws(name: str, functional: str) -> None:
    assert abs(differences_to_gpaw(name, functional).energies).max() < ENERGY


@every
def test_the_offset_of_the_energy_is_the_same_for_all_structures(
    name: str, functional: str
) -> None:
    assert differences_to_gpaw(name, functional).spread < CRYSTALS[name].spread


@every
def test_equations_of_state_are_gpaws(name: str, functional: str) -> None:
    found, allowed = differences_to_gpaw(name, functional), CRYSTALS[name]
    assert abs(found.lattice_constant) < allowed.lattice_constant
    assert abs(found.modulus) < allowed.modulus


@every
def test_forces_and_stress_are_gpaws(name: str, functional: str) -> None:
    found = differences_to_gpaw(name, functional)
    assert found.forces < FORCE
    assert found.stress < STRESS


@every
def test_moments_are_gpaws(name: str, functional: str) -> None:
    assert differences_to_gpaw(name, functional).moments < MOMENT


@every
def test_levels_of_electrons_are_gpaws(name: str, functional: str) -> None:
    assert differences_to_gpaw(name, functional).levels < LEVEL
