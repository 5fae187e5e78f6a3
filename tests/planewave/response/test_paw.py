"""Derivatives through the self-consistent field of PAW datasets agree with differences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.crystals import FIXED, doubles, fcc
from tests.planewave.response.finite_differences import Agreement, Case, compare
from tests.planewave.response.response_cases import CASES as NORM_CONSERVING
from tests.planewave.response.response_cases import GAMMA222, ORIGIN, smeared

pytest.importorskip("gpaw_data")

AGREEMENT = 1e-5
# Differences of stress and of graphene's forces show the noise of the usual convergence.
TIGHTEST = {"energy": 1e-13, "density": 1e-13, "maxiter": 200}
CASES = {
    "Si": replace(NORM_CONSERVING["Si"], pseudopotentials="paw-pbe", symmetry=True),
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
        tight=TIGHTEST,
        steps={"network": 0.06},
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
        tight=TIGHTEST,
        steps={"network": 0.06},
    ),
    "graphene": replace(
        NORM_CONSERVING["graphene"], pseudopotentials="paw-pbe", symmetry=True, tight=TIGHTEST
    ),
    "AlMg, distorted": replace(
        NORM_CONSERVING["AlMg, distorted"],
        pseudopotentials={"Al": "paw-pbe", "Mg": "paw-pbe:2"},
        steps={},
    ),
}
SILICON = replace(NORM_CONSERVING["Si, distorted"], pseudopotentials="paw-pbe")
CASES["FeCo, distorted"] = replace(NORM_CONSERVING["FeCo, distorted"], pseudopotentials="paw-pbe")
CASES |= {
    "Si, distorted, meta-GGA": replace(SILICON, functional="meta-GGA"),
    "Al, meta-GGA": replace(CASES["Al"], functional="meta-GGA"),
    "Ni, meta-GGA": replace(CASES["Ni"], functional="meta-GGA"),
}


def check(table: list[Agreement]) -> None:
    """Every derivative."""
    assert table
    for entry in table:
        entry.check(AGREEMENT)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Al", ("network",)),
        ("Al, meta-GGA", ("network",)),
        ("AlMg, distorted", ("positions",)),
    ],
)
def test_derivatives_of_small_crystals(name: str, parameters: tuple[str, ...]) -> None:
    check(compare(CASES[name], parameters))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_all_crystals(name: str) -> None:
    check(compare(CASES[name], halvings=3))
