"""Crystals of several space groups, and plane waves of theirs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell

from deepchem_xc.planewave import Crystal


def crystal_of(atoms: Atoms) -> Crystal:
    return Crystal.from_ase(atoms)


def quartz() -> Atoms:
    """Alpha quartz, P3_2 21 (154): screw axes with translations of thirds."""
    from ase.spacegroup import crystal

    return crystal(
        ["Si", "O"],
        [(0.4697, 0, 0), (0.4135, 0.2669, 0.1191)],
        spacegroup=154,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    )


def shifted(atoms: Atoms) -> Atoms:
    """Origin moved to a general position: translations fit no grid at all."""
    atoms = atoms.copy()
    atoms.positions += [0.123, -0.456, 0.789]
    return atoms


CRYSTALS = {
    "diamond": bulk("Si"),
    "diamond, odd origin": shifted(bulk("Si")),
    "zincblende": bulk("GaAs", "zincblende", a=5.65),
    "hexagonal close packed": bulk("Mg"),
    "wurtzite": bulk("ZnO", "wurtzite", a=3.25, c=5.2),
    "quartz": quartz(),
    "cubic cell of fcc": bulk("Al", cubic=True),
    "supercell of diamond": make_supercell(bulk("Si"), np.diag([1, 1, 3])),
}
every_crystal = pytest.mark.parametrize("atoms", CRYSTALS.values(), ids=CRYSTALS.keys())


def sphere(crystal: Crystal, ngs: int = 400) -> np.ndarray:
    """About `ngs` plane waves in a sphere, without cutting a shell; shuffled."""
    box = np.array(list(itertools.product(range(-12, 13), repeat=3)))
    length = np.linalg.norm(box @ crystal.reciprocal_lattice.numpy(), axis=1)
    cut = np.sort(length)[ngs]
    assert cut < 12 * float(crystal.reciprocal_lattice.norm(dim=1).min()) * 0.8
    inside = box[length <= cut + 1e-8]
    return np.random.default_rng(0).permutation(inside)


def random_density(g: np.ndarray, *batch: int) -> torch.Tensor:
    return torch.randn(*batch, len(g), dtype=torch.complex128)
