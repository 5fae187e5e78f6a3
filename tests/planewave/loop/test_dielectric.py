"""The model dielectric function of gapped crystals, and what it does to the mixing."""

from __future__ import annotations

import math

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.loop.dielectric import dielectric_function, strong_screening
from deepchem_xc.planewave.loop.mixing import AndersonMixer, Mixing
from deepchem_xc.planewave.terms.hartree import hartree_energy


def chain(length: float, nk: int = 1) -> PlaneWaveBasis:
    """A cell of a given length, bohr, with the long side along z."""
    lattice = torch.diag(torch.tensor([5.0, 5.0, length], dtype=torch.float64))
    crystal = Crystal(lattice, ("Si",), torch.zeros(1, 3))
    return PlaneWaveBasis(crystal, 2.0, (1, 1, nk), symmetry=False)


def levels(*values: float) -> torch.Tensor:
    return torch.tensor([[values]], dtype=torch.float64)


def density(basis: PlaneWaveBasis) -> torch.Tensor:
    """Real, smooth enough to fill the cell, with positive values only."""
    noise = torch.rand(1, *basis.fft_size, dtype=torch.float64)
    return basis.to_sphere(0.05 + 0.02 * noise)


def after_steps(mixer: AndersonMixer, basis: PlaneWaveBasis, constant: float | None) -> float:
    """Energy of the error after six steps of a response with dielectric constant 12, of its
    start."""
    response = 1.0 - dielectric_function(basis, 20.0, 12.0)
    target, current = density(basis), density(basis)
    first = float(hartree_energy(basis, current - target))
    for _ in range(6):
        output = target + response * (current - target)
        current = mixer.next_fields(Fields(current), Fields(output), None, constant).density
    return float(hartree_energy(basis, current - target)) / first


def test_a_crystal_with_one_gap_has_penns_dielectric_constant() -> None:
    """1 + (plasma frequency / gap)^2."""
    basis, gap = chain(8.0), 0.1
    plasma2 = 4.0 * math.pi * 4.0 / float(basis.volume)
    found = strong_screening(basis, levels(0.0, 0.0, gap), levels(2.0, 2.0, 0.0))
    assert found == pytest.approx(1.0 + plasma2 / gap**2, rel=1e-12)


def test_spin_channels_share_one_dielectric_constant() -> None:
    basis = chain(8.0)
    one = strong_screening(basis, levels(0.0, 0.01, 0.1), levels(2.0, 2.0, 0.0))
    both = levels(0.0, 0.01, 0.1).expand(2, 1, 3), levels(1.0, 1.0, 0.0).expand(2, 1, 3)
    assert strong_screening(basis, *both) == pytest.approx(one, rel=1e-12)


def test_only_gapped_crystals_with_strong_screening_have_one() -> None:
    basis = chain(8.0)
    narrow, filled = levels(0.0, 0.0, 0.1), levels(2.0, 2.0, 0.0)
    assert strong_screening(basis, narrow, filled) is not None
    assert strong_screening(basis, 10.0 * narrow, filled) is None
    assert strong_screening(basis, narrow, levels(2.0, 1.2, 0.8)) is None
    assert strong_screening(basis, narrow, levels(2.0, 2.0, 2.0)) is None


def test_a_band_that_is_filled_at_one_k_point_only_is_a_metals() -> None:
    basis = chain(8.0, nk=2)
    nk = len(basis.weights)
    assert nk > 1
    energies, filled = (
        levels(0.0, 0.0, 0.1).repeat(1, nk, 1),
        levels(2.0, 2.0, 0.0).repeat(1, nk, 1),
    )
    assert strong_screening(basis, energies, filled) is not None
    filled[0, 0, 1] = 0.0
    assert strong_screening(basis, energies, filled) is None


def test_the_dielectric_function_falls_from_its_constant_to_one() -> None:
    basis = chain(40.0)
    found = dielectric_function(basis, 50.0, 12.0)[basis.density_q2.argsort()]
    assert float(found[0]) == pytest.approx(12.0, rel=1e-12)
    assert bool((found.diff() <= 1e-12).all())
    assert 1.0 < float(found[-1]) < 1.5


def test_a_long_semiconductor_needs_screening() -> None:
    """Steps along bare residuals overshoot by the dielectric constant."""
    basis = chain(60.0)
    bare, screened = (after_steps(AndersonMixer(basis, 20.0), basis, c) for c in (None, 12.0))
    assert screened < 1e-3 * bare


@pytest.mark.parametrize("way", [None, "ldos"])
def test_a_chosen_preconditioner_is_not_replaced(way: str | None) -> None:
    basis = chain(60.0)
    given, output = Fields(density(basis)), Fields(density(basis))
    mixers = [AndersonMixer(basis, 20.0, Mixing(preconditioner=way)) for _ in range(2)]
    plain = mixers[0].next_fields(given, output, None)
    assert torch.equal(mixers[1].next_fields(given, output, None, 12.0).density, plain.density)


def test_with_paw_the_charge_on_plane_waves_is_not_screened_alone() -> None:
    basis = chain(60.0)
    spheres = torch.rand(2, 1, 4, dtype=torch.float64)
    given, output = (Fields(density(basis), spheres=part) for part in spheres)
    plain = AndersonMixer(basis, 20.0).next_fields(given, output, None)
    found = AndersonMixer(basis, 20.0).next_fields(given, output, None, 12.0)
    assert torch.equal(found.density, plain.density)


def test_an_isolated_density_is_not_screened_as_a_crystals() -> None:
    basis = chain(60.0)
    grid = torch.zeros(1, *basis.fft_size, dtype=torch.float64)
    grid[0, 0, 0, 0] = 1.0
    given, output = Fields(basis.to_sphere(grid)), Fields(density(basis))
    plain = AndersonMixer(basis, 20.0).next_fields(given, output, None)
    found = AndersonMixer(basis, 20.0).next_fields(given, output, None, 12.0)
    assert torch.equal(found.density, plain.density)


def test_screening_saves_steps_and_leaves_the_ground_state() -> None:
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.rattle(0.01, seed=1)
    keywords = {"ecut": 350.0, "symmetry": False}
    bare = scf(atoms, mixing={"preconditioner": None}, **keywords)
    screened = scf(atoms, **keywords)
    assert screened.nsteps < bare.nsteps
    assert float(screened.free_energy) == pytest.approx(float(bare.free_energy), abs=1e-9)
