"""Structures without symmetry, and networks whose random parameters matter, for several tests."""

from __future__ import annotations

from typing import Any

import torch

from deepchem_xc.densities import AtomDensityNetwork, DensityNetwork
from deepchem_xc.planewave import Crystal, PlaneWaveBasis

LATTICE = torch.tensor([[6.1, 0.3, -0.4], [0.9, 6.8, 0.5], [-0.6, 1.1, 7.3]], dtype=torch.float64)
POSITIONS = torch.tensor(
    [[0.02, -0.03, 0.05], [0.37, 0.31, 0.28], [0.72, 0.55, 0.81]], dtype=torch.float64
)
VALENCES = {"Ga": 3.0, "N": 5.0}


def crystal(moments: tuple[float, ...] | None = None) -> Crystal:
    """Three atoms of two elements in a triclinic cell."""
    return Crystal(LATTICE, ("Ga", "N", "N"), POSITIONS, magnetic_moments=moments)


def sphere(of: Crystal, ecut: float = 2.0) -> PlaneWaveBasis:
    return PlaneWaveBasis(of, ecut, (1, 1, 1), symmetry=False)


def network(kind: type[DensityNetwork] = AtomDensityNetwork, **options: Any) -> DensityNetwork:
    """Small, and with larger outputs than a new one, so that errors show."""
    settings = {"channels": 4, "l_max": 2, "cutoff": 4.0, "seed": 1} | options
    made = kind(VALENCES, **settings)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "head" in name or name.startswith(("flow", "atoms")):
                parameter += torch.full_like(parameter, 0.1) + 2.0 * parameter
    return made


def rotation() -> torch.Tensor:
    """A proper rotation about no axis of the lattice."""
    generator = torch.Generator().manual_seed(3)
    random = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    orthogonal, _ = torch.linalg.qr(random)
    return orthogonal * torch.linalg.det(orthogonal)
