"""Levels that tests of occupations fill, and the smearings that fill them."""

from __future__ import annotations

import pytest
import torch

SMOOTH = [
    {"name": "fermi-dirac", "width": 0.01},
    {"name": "gaussian", "width": 0.01},
    {"name": "methfessel-paxton", "width": 0.01},
    {"name": "methfessel-paxton", "width": 0.01, "order": 2},
    {"name": "methfessel-paxton", "width": 0.01, "order": 3},
    {"name": "marzari-vanderbilt", "width": 0.01},
]
every_smearing = pytest.mark.parametrize(
    "spec", SMOOTH, ids=lambda s: s["name"] + str(s.get("order", ""))
)


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


def random_bands(nspin=1, nk=7, nband=9, seed=0):
    """Metallic bands: random levels between -0.5 and 0.5 Ha, random weights."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.rand(nspin, nk, nband, generator=generator, dtype=torch.float64) - 0.5
    weights = torch.rand(nk, generator=generator, dtype=torch.float64) + 0.1
    return levels.sort(dim=-1).values, weights / weights.sum()


def count(occupations, weights):
    return float((occupations.occupations * weights[:, None]).sum())
