"""Small crystals of every kind, Hartree atomic units."""

from __future__ import annotations

from typing import Any

from tests.crystals import FIXED, SHEAR, bcc, doubles, fcc
from tests.planewave.response.finite_differences import Case


def smeared(name: str = "fermi-dirac", width: float = 0.01, **kw: Any) -> dict[str, Any]:
    return {"name": name, "width": width, **kw}


GAMMA222 = {"size": (2, 2, 2), "gamma": True}
DIAMOND = doubles([[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]])
ORIGIN = doubles([[0.0, 0.0, 0.0]])
HONEYCOMB = doubles([[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]])

CASES: dict[str, Case] = {
    "Si, LDA": Case(
        fcc(10.2),
        ("Si", "Si"),
        DIAMOND,
        6.0,
        GAMMA222,
        FIXED,
        functional="LDA",
        pseudopotentials="gth-pade",
    ),
    "Si": Case(fcc(10.26), ("Si", "Si"), DIAMOND, 6.0, GAMMA222, FIXED),
    "Al": Case(
        fcc(7.65), ("Al",), ORIGIN, 8.0, (3, 3, 3), smeared(), omit=("positions",), nlevels=1
    ),
    "Ni": Case(
        fcc(6.65),
        ("Ni",),
        ORIGIN,
        44.0,
        (3, 3, 3),
        # Narrower, each k-point's moment is an integer to 1e-8, and its derivatives vanish.
        smeared(width=0.01),
        moments=(1.0,),
        pseudopotentials={"Ni": "GTH-GGA-q10"},
        symmetry=True,
        nlevels=1,
    ),
    "FeCo, distorted": Case(
        5.6 * SHEAR,
        ("Fe", "Co"),
        doubles([[0.01, 0.0, -0.02], [0.51, 0.48, 0.5]]),
        7.0,
        [[0.25, 0.25, 0.25]],
        smeared(),
        moments=(2.5, 1.5),
        symmetric=False,
        tight={"energy": 1e-13, "density": 1e-12, "maxiter": 200},
    ),
    "graphene": Case(
        doubles([[4.65, 0, 0], [-2.325, 4.0270, 0], [0, 0, 12.0]]),
        ("C", "C"),
        HONEYCOMB,
        10.0,
        {"size": (3, 3, 1), "gamma": True},
        smeared(width=0.005),
        nlevels=1,
    ),
    "NaCl": Case(
        fcc(10.6),
        ("Na", "Cl"),
        doubles([[0, 0, 0], [0.5, 0.5, 0.5]]),
        8.0,
        (2, 2, 2),
        FIXED,
        pseudopotentials={"Na": "GTH-PBE-q1", "Cl": "GTH-PBE-q7"},
        tight={"energy": 1e-13, "density": 1e-13, "maxiter": 200},
        # Its force's derivative is zero by symmetry.
        steps={"strain": 0.008},
    ),
    "Si, distorted": Case(
        fcc(10.26) @ SHEAR,
        ("Si", "Si"),
        doubles([[0.01, 0.02, 0.03], [0.25, 0.25, 0.25]]),
        6.0,
        [[0.0, 0.0, 0.0], [0.5, 0.25, -0.25]],
        FIXED,
        symmetric=False,
    ),
    "AlMg, distorted": Case(
        bcc(7.0) @ SHEAR,
        ("Al", "Mg"),
        doubles([[0.0, 0.02, 0.01], [0.47, 0.52, 0.51]]),
        5.0,
        [[0.0, 0.0, 0.0], [0.5, 0.25, -0.25]],
        smeared("methfessel-paxton", 0.02),
        pseudopotentials={"Al": "GTH-PBE-q3", "Mg": "GTH-PBE-q2"},
        symmetric=False,
        # Parts of the energy hardly answer to these moves.
        steps={"positions": 0.005},
    ),
}
