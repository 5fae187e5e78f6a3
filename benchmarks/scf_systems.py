"""The calculations of `scf.py`, in bohr and Hartree, in the form of `abinit_systems.system`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

#: Energy change at which both codes stop, Hartree per cell.
TOLERANCE = 1e-8
#: Density error per electron at which our energy is accurate to `TOLERANCE`; every run checks it.
DENSITY = 1e-5


def fcc(half: float) -> list[list[float]]:
    """Primitive face-centred cubic cell; half the cubic constant, bohr."""
    return [[0.0, half, half], [half, 0.0, half], [half, half, 0.0]]


# The structures and settings of ../shared/references/abinit_gth.json; bohr and Hartree.
ABINIT_SYSTEMS: dict[str, dict[str, Any]] = {
    "Si": {
        "lattice": fcc(5.130606428358965),
        "atoms": [("Si", [0.0, 0.0, 0.0]), ("Si", [0.25, 0.25, 0.25])],
        "pseudos": "Si.GTH-PBE-q4",
        "ecut": 20.0,
        "kmesh": [4, 4, 4],
        "fft_size": [30, 30, 30],
    },
    "Al": {
        "lattice": fcc(3.8266954023671844),
        "atoms": [("Al", [0.0, 0.0, 0.0])],
        "pseudos": "Al.GTH-PBE-q3",
        "ecut": 20.0,
        "kmesh": [8, 8, 8],
        "occupations": ("fermi-dirac", 0.01),
        "fft_size": [24, 24, 24],
    },
    "Ni": {
        "lattice": fcc(3.3259179793413556),
        "atoms": [("Ni", [0.0, 0.0, 0.0])],
        "pseudos": "Ni.GTH-PBE-q18",
        "ecut": 100.0,
        "kmesh": [4, 4, 4],
        "occupations": ("fermi-dirac", 0.002),
        "moments": [2.0],
        "fft_size": [45, 45, 45],
    },
}
ELECTRONS = {"Si": 8, "Al": 3, "Ni": 18}
# The crystals of `deepchem-xc benchmark`.
GPAW_SYSTEMS = ("Al", "Ni", "Ca", "graphene")


def mesh(numbers: Iterable[int]) -> str:
    """4x4x4."""
    return "x".join(map(str, numbers))


def chosen(known: Iterable[str], wanted: list[str]) -> list[str]:
    """The requested ones among the known names; all by default."""
    return [name for name in known if not wanted or name.lower() in wanted]


def chain(count: Iterable[int]) -> dict[str, Any]:
    """Al supercell of n1 x n2 x n3 primitive cells."""
    n = list(count)
    primitive = ABINIT_SYSTEMS["Al"]["lattice"]
    atoms = [
        ("Al", [i / n[0], j / n[1], k / n[2]])
        for i in range(n[0])
        for j in range(n[1])
        for k in range(n[2])
    ]
    lattice = [[x * m for x in row] for m, row in zip(n, primitive, strict=True)]
    return {"lattice": lattice, "atoms": atoms}


#: Cells of `silicon`, in conventional cells along each axis, by their number of atoms.
SILICON_CELLS = {8: (1, 1, 1), 16: (2, 1, 1), 32: (2, 2, 1), 64: (2, 2, 2)}
#: Energy change at which both codes stop there, Hartree per cell, and the density error per
#: electron at which our energy is as accurate; every run checks it.
CELL_TOLERANCE, CELL_DENSITY = 1e-7, 3e-5


def silicon(natom: int) -> dict[str, Any]:
    """Si supercell at Gamma, 12 Ha; atoms displaced by 0.01 Angstrom (rms of each coordinate)."""
    counts = np.array(SILICON_CELLS[natom])
    face = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    conventional = np.concatenate([face, face + 0.25])
    sides = counts * 2.0 * ABINIT_SYSTEMS["Si"]["lattice"][0][1]
    ideal = np.concatenate([(conventional + cell) / counts for cell in np.ndindex(*counts)])
    noise = np.random.default_rng(0).normal(scale=0.01 / 0.52917721, size=ideal.shape)
    positions = ideal + noise / sides
    return {
        "lattice": np.diag(sides).tolist(),
        "atoms": [("Si", position) for position in positions.tolist()],
        "pseudos": "Si.GTH-PBE-q4",
        "ecut": 12.0,
        "kmesh": [1, 1, 1],
    }


def growth_series() -> dict[str, tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Series of systems: the varied quantity, and the systems by label."""
    al = {key: value for key, value in ABINIT_SYSTEMS["Al"].items() if key != "fft_size"}
    small = {**al, "ecut": 10.0}
    cells = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2), (4, 2, 2), (4, 4, 2)]
    return {
        "cutoff": (
            "ecut",
            [(f"{e} Ha", {**al, "ecut": e, "kmesh": [4, 4, 4]}) for e in (10.0, 20.0, 40.0, 80.0)],
        ),
        "k-points": (
            "kpoints",
            [(mesh([n] * 3), {**small, "kmesh": [n] * 3}) for n in (4, 6, 8, 12, 16, 20)],
        ),
        # The sampling stays equal to 4x4x4 in the primitive cell, and so does the energy per atom.
        "atoms": (
            "atoms",
            [(mesh(n), {**small, **chain(n), "kmesh": [4 // min(m, 4) for m in n]}) for n in cells],
        ),
        "atoms, one k-point": (
            "atoms",
            [(mesh(n), {**small, **chain(n), "kmesh": [1, 1, 1]}) for n in cells],
        ),
        "long cells": (
            "atoms",
            [
                (mesh((n, 1, 1)), {**small, **chain((n, 1, 1)), "kmesh": [1, 4, 4]})
                for n in (4, 8, 12)
            ],
        ),
    }
