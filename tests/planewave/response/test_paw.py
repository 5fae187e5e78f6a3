"""Derivatives through the self-consistent field of PAW datasets agree with differences."""

from __future__ import annotations

import pytest

from tests.crystals import FIXED, SHEAR, bcc, doubles, fcc
from tests.planewave.response.finite_differences import Agreement, Case, compare
from tests.planewave.response.response_cases import (
    DIAMOND,
    GAMMA222,
    HONEYCOMB,
    ORIGIN,
    smeared,
)

pytest.importorskip("gpaw_data")

AGREEMENT = 1e-5
CASES = {
    "Si": Case(
        fcc(10.26),
        ("Si", "Si"),
        DIAMOND,
        6.0,
        GAMMA222,
        FIXED,
        pseudopotentials="paw-pbe",
        symmetry=True,
    ),
    "Al": Case(
        fcc(7.65),
        ("Al",),
        ORIGIN,
        6.0,
        {"size": (3, 3, 3), "gamma": True},
        smeared(),
        pseudopotentials="paw-pbe",
        symmetry=True,
        nlevels=1,
    ),
    "Ni": Case(
        fcc(6.65),
        ("Ni",),
        ORIGIN,
        14.0,
        {"size": (3, 3, 3), "gamma": True},
        smeared(width=0.01),
        moments=(0.6,),
        pseudopotentials="paw-pbe",
        symmetry=True,
        nlevels=1,
    ),
    "MgO": Case(
        fcc(8.0),
        ("Mg", "O"),
        doubles([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]),
        14.0,
        GAMMA222,
        FIXED,
        pseudopotentials="paw-pbe",
        symmetry=True,
    ),
    "graphene": Case(
        doubles([[4.65, 0, 0], [-2.325, 4.0270, 0], [0, 0, 12.0]]),
        ("C", "C"),
        HONEYCOMB,
        10.0,
        {"size": (3, 3, 1), "gamma": True},
        smeared(width=0.005),
        pseudopotentials="paw-pbe",
        symmetry=True,
        nlevels=1,
    ),
    "AlMg, distorted": Case(
        bcc(7.0) @ SHEAR,
        ("Al", "Mg"),
        doubles([[0.0, 0.02, 0.01], [0.47, 0.52, 0.51]]),
        5.0,
        [[0.0, 0.0, 0.0], [0.5, 0.25, -0.25]],
        smeared("methfessel-paxton", 0.02),
        pseudopotentials={"Al": "paw-pbe", "Mg": "paw-pbe:2"},
        symmetric=False,
    ),
}


def check(table: list[Agreement]) -> None:
    """Every derivative."""
    assert table
    for entry in table:
        entry.check(AGREEMENT)


@pytest.mark.parametrize(
    ("name", "parameters"), [("Al", ("network",)), ("AlMg, distorted", ("positions",))]
)
def test_derivatives_of_small_crystals(name: str, parameters: tuple[str, ...]) -> None:
    check(compare(CASES[name], parameters))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_all_crystals(name: str) -> None:
    check(compare(CASES[name], halvings=3))
