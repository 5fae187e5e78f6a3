"""Energies at densities that differ in a spin channel which is empty in the ground state."""

from __future__ import annotations

import math

import pytest
import torch
from ase import Atoms

from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.fixed_density.outcome import at_given_density
from deepchem_xc.planewave.fixed_density.sources import source_of
from deepchem_xc.planewave.given_density import NegativeDensityWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore:the functional is"),
    pytest.mark.filterwarnings(
        f"ignore::{NegativeDensityWarning.__module__}.NegativeDensityWarning"
    ),
]


@pytest.fixture(scope="module")
def parallel() -> SCFResult:
    """Two hydrogen atoms with parallel spins, exchange only: spin down is empty."""
    pair = Atoms("H2", [[2, 2, 2], [4.2, 2, 2.1]], cell=[5, 4, 4.1], pbc=True, magmoms=[1, 1])
    fixed = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    tight = {"density": 1e-10}
    keywords = {"ecut": 100.0, "kpts": (1, 1, 1), "symmetry": False}
    return scf(pair, "lda_x", convergence=tight, occupations=fixed, **keywords)


def errors(ground: SCFResult, down: torch.Tensor) -> torch.Tensor:
    """Errors of Harris-Foulkes and Kohn-Sham energy with `down` moved from up to down, Hartree."""
    given = source_of(ground.density + torch.stack([-down, down]))
    found = at_given_density(ground.problem, FixedDensity.of(ground.problem, given), 1e-8)
    return torch.stack([found.free_energy, found.kohn_sham_free_energy]) - ground.free_energy


def test_harris_error_in_an_empty_channel_is_a_third_of_its_exchange(parallel: SCFResult) -> None:
    """E_x is proportional to the power 4/3 of the channel's density, and so is the error."""
    assert float(parallel.density[1].abs().max()) < 1e-12
    down = 2e-3 * parallel.density[0]
    exchange = -0.75 * (6.0 / math.pi) ** (1 / 3) * down ** (4 / 3)
    expected = -float(exchange.mean() * parallel.volume) / 3.0
    whole, half = errors(parallel, down), errors(parallel, down / 2)
    assert float(whole[0]) == pytest.approx(expected, rel=0.02)
    assert float(whole[0] / half[0]) == pytest.approx(2.0 ** (4 / 3), rel=0.01)


def test_other_errors_are_of_second_order(parallel: SCFResult) -> None:
    """The Kohn-Sham energy's, and both where the empty channel's density is negative."""
    down = 2e-3 * parallel.density[0]
    for sign in (1.0, -1.0):
        ratio = errors(parallel, 2.0 * sign * down) / errors(parallel, sign * down)
        assert float(ratio[1]) == pytest.approx(4.0, abs=0.1)
        if sign < 0.0:
            assert float(ratio[0]) == pytest.approx(4.0, abs=0.1)
