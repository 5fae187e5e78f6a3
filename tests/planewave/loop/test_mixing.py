"""Density mixing on model responses whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk, fcc111

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.loop.mixing import (
    AndersonMixer,
    Mixing,
    from_total_and_moment,
    to_total_and_moment,
)
from deepchem_xc.planewave.loop.screening import participation_ratio, screen
from deepchem_xc.planewave.terms.hartree import coulomb_kernel, hartree_energy
from tests.planewave.paw_crystals import paw


def chain(length: float) -> PlaneWaveBasis:
    """A cell of a given length, bohr, with the long side along z."""
    lattice = torch.diag(torch.tensor([5.0, 5.0, length], dtype=torch.float64))
    crystal = Crystal(lattice, ("Al",), torch.zeros(1, 3))
    return PlaneWaveBasis(crystal, 2.0, (1, 1, 1), symmetry=False)


def real_function(basis: PlaneWaveBasis, nspin: int) -> torch.Tensor:
    coefficients = basis.to_sphere(torch.randn(nspin, *basis.fft_size, dtype=torch.float64))
    coefficients[:, 0] = 1.0
    return coefficients


def next_density(
    mixer: AndersonMixer,
    density: torch.Tensor,
    output: torch.Tensor,
    local_dos: torch.Tensor | None = None,
) -> torch.Tensor:
    return mixer.next_fields(Fields(density), Fields(output), local_dos).density


def jellium_dos(basis: PlaneWaveBasis, k0: float) -> torch.Tensor:
    """A uniform density of states at the Fermi level, with Thomas-Fermi wave vector k0."""
    dos = torch.zeros(len(basis.g_vectors), dtype=torch.complex128)
    dos[0] = k0**2 / (4.0 * torch.pi)
    return dos


def test_spin_channels_and_total_and_moment_are_two_ways_to_say_the_same() -> None:
    up_down = torch.tensor([[3.0, 1.0], [1.0, 4.0]])
    assert to_total_and_moment(up_down).tolist() == [[4.0, 5.0], [2.0, -3.0]]
    torch.testing.assert_close(from_total_and_moment(to_total_and_moment(up_down)), up_down)
    single = torch.tensor([[3.0, 1.0]])
    assert to_total_and_moment(single) is single


def test_screening_by_uniform_states_is_kerkers_factor() -> None:
    """(1 - chi0 v)^-1 = G^2 / (G^2 + k0^2) for the homogeneous electron gas."""
    basis = chain(17.0)
    k0 = 0.8
    residual = real_function(basis, 1)[0]
    residual[0] = 0.0
    screened = screen(basis, residual, jellium_dos(basis, k0), iterations=60)
    expected = residual * basis.density_q2 / (basis.density_q2 + k0**2)
    weight = coulomb_kernel(basis).sqrt()
    error = torch.linalg.vector_norm(weight * (screened - expected))
    assert float(error / torch.linalg.vector_norm(weight * expected)) < 0.05


def test_screening_keeps_the_number_of_electrons() -> None:
    basis = chain(11.0)
    residual = real_function(basis, 1)[0]
    residual[0] = 0.0
    dos = basis.to_sphere(torch.rand(basis.fft_size, dtype=torch.float64))
    assert abs(complex(screen(basis, residual, dos)[0])) < 1e-12


@pytest.mark.parametrize("nspin", [1, 2])
def test_a_linear_response_is_solved_in_a_few_steps(nspin: int) -> None:
    """output = target + A (input - target), A with three eigenvalues: Anderson is then Krylov."""
    basis = chain(9.0)
    target, density = real_function(basis, nspin), real_function(basis, nspin)
    factor = torch.tensor([-2.0, 0.3, -0.7], dtype=torch.float64)
    # One eigenvalue a shell of |G|, so that densities stay real.
    shell = torch.round(basis.density_q2 * 1e6).long() % 3
    response = factor[shell]
    mixer = AndersonMixer(basis, nelectrons=3.0)
    for _ in range(6):
        output = target + response * (density - target)
        density = next_density(mixer, density, output)
    error = torch.linalg.vector_norm(density - target) / torch.linalg.vector_norm(target)
    assert float(error) < 1e-8


def test_mixing_without_memory_would_diverge_there() -> None:
    basis = chain(9.0)
    target, density = real_function(basis, 1), real_function(basis, 1)
    first = float(torch.linalg.vector_norm(density - target))
    for _ in range(12):
        output = target - 2.0 * (density - target)
        density = next_density(AndersonMixer(basis, 3.0), density, output)
    assert float(torch.linalg.vector_norm(density - target)) > 10.0 * first


def test_a_long_metal_needs_screening() -> None:
    """chi = -k0^2 / G^2 sloshes: with the local density of states a long cell is like a short."""
    k0 = 1.0
    left = {}
    for screened in (True, False):
        basis = chain(60.0)
        dos = jellium_dos(basis, k0) if screened else None
        kernel = coulomb_kernel(basis) * k0**2 / (4.0 * torch.pi)
        target, density = real_function(basis, 1), real_function(basis, 1)
        mixer = AndersonMixer(basis, 3.0)
        start = float(hartree_energy(basis, density - target))
        for _ in range(6):
            output = target - kernel * (density - target)
            density = next_density(mixer, density, output, dos)
        left[screened] = float(hartree_energy(basis, density - target)) / start
    assert left[True] < 1e-3 * left[False]


def test_a_self_consistent_density_is_not_moved() -> None:
    basis = chain(9.0)
    density = real_function(basis, 2)
    mixer = AndersonMixer(basis, 3.0)
    for _ in range(3):
        torch.testing.assert_close(next_density(mixer, density, density), density)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"betta": 0.3}, r"unknown mixing keys \['betta'\]; the valid ones are \['beta', 'hist"),
        ({"beta": 0.0}, "'beta'.* above 0 and at most 1, got 0.0"),
        ({"beta": "small"}, "'beta'.* must be a number, got 'small'"),
        ({"history": -1}, "'history'.* at least 0, got -1"),
        ({"preconditioner": "kerker"}, "'auto', 'ldos', None or a function, got 'kerker'"),
        ({"keep_moment": "yes"}, "True or False, got 'yes'"),
        ({"localised": 1.5}, "'localised'.* between 0 and 1, got 1.5; 0.06 is the default"),
        ({"least_moment": -0.1}, "'least_moment'.* between 0 and 1, got -0.1"),
        (0.3, "mixing = 0.3 is not valid: give a dictionary with some of the keys beta"),
    ],
)
def test_mixing_that_makes_no_sense(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scf(bulk("Si"), ecut=60.0, mixing=given)


def test_all_ways_to_mix_end_in_the_same_state() -> None:
    """The fixed point does not depend on the way to it; the number of steps does."""
    seen: list[float] = []

    def scaled(basis: PlaneWaveBasis, residual: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        seen.append(float(residual.abs().max()))
        return 0.9 * residual

    ways: list[Any] = [
        None,
        {"beta": 0.5, "history": 4},
        Mixing(preconditioner=None),
        {"preconditioner": "ldos"},
        {"preconditioner": scaled},
    ]
    energies = [
        float(scf(bulk("Al"), ecut=100.0, kpts=(2, 2, 2), mixing=way).free_energy) for way in ways
    ]
    assert seen
    assert energies == pytest.approx([energies[0]] * len(ways), abs=1e-7)


def test_the_mixing_of_a_calculator_is_kept_in_its_file(tmp_path: Path) -> None:
    atoms = bulk("Al")
    keywords = {"ecut": 100.0, "kpts": (2, 2, 2)}
    atoms.calc = PlaneWaveDFT(mixing=Mixing(beta=0.5), **keywords)
    energy = atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "al.json")
    again = PlaneWaveDFT(restart=tmp_path / "al.json")
    assert Mixing.of(again.parameters["mixing"]) == Mixing(beta=0.5)
    assert again.get_potential_energy() == energy


def test_a_screened_residual_keeps_the_symmetry_on_a_grid_that_does_not_carry_it() -> None:
    """An inversion centre between grid points: products on the grid have an odd part."""
    slab = fcc111("Al", (1, 1, 2), vacuum=2.0)
    slab.pbc = True
    slab.translate([0.11, 0.07, 0.05])
    basis = PlaneWaveBasis(Crystal.from_ase(slab), 5.0, {"size": (2, 2, 1), "gamma": True})
    states, given, output = (basis.symmetrize(real_function(basis, 1)) for _ in range(3))
    dos = basis.to_sphere(basis.to_grid(states).square())[0]
    change = screen(basis, (output - given)[0], basis.symmetrize(dos[None])[0])[None]
    assert (basis.symmetrize(change) - change).norm() > 1e-6 * change.norm()
    mixer = AndersonMixer(basis, 6.0, Mixing(preconditioner="ldos"))
    new = mixer.next_fields(Fields(given), Fields(output), basis.symmetrize(dos[None])[0]).density
    assert (basis.symmetrize(new) - new).norm() < 1e-13 * new.norm()


@pytest.mark.slow
def test_a_slab_of_ten_layers_converges_with_paw() -> None:
    """With an odd part of the potential, residuals of real orbitals stayed at 1e-5 Ha."""
    slab = fcc111("Al", (1, 1, 10), vacuum=5.0)
    slab.pbc = True
    assert paw(slab, 250.0, (3, 3, 1), convergence=None).nsteps <= 28


def test_states_of_an_atom_in_a_box_are_localised_and_those_of_a_metal_are_not() -> None:
    basis = chain(40.0)
    near = basis.to_grid(torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128))[0]
    near[0, 0, :3] = 1.0
    assert participation_ratio(basis, basis.to_sphere(near)) < 0.06
    wave = 1.0 + 0.5 * torch.cos(torch.linspace(0.0, 6.28, near.shape[2]).double())
    assert participation_ratio(basis, basis.to_sphere(wave.expand_as(near))) > 0.5


@pytest.mark.parametrize(
    ("along_start", "growth", "kept"), [(True, 0.5, True), (True, -0.5, False), (False, 0.5, False)]
)
def test_a_moment_along_the_start_is_not_given_up_and_others_are_free(
    along_start: bool, growth: float, kept: bool
) -> None:
    """Residuals that grow along the start's magnetisation forbid steps that shrink it.

    What grows beside an antiferromagnet's pattern is noise, and free to go.
    """
    basis = chain(9.0)
    up, down, other = (real_function(basis, 1)[0] for _ in range(3))
    pattern = (up - down) / torch.linalg.vector_norm(up - down)
    other = other - torch.vdot(pattern, other).real * pattern
    line = pattern if along_start else other / torch.linalg.vector_norm(other)
    fixed = torch.zeros_like(pattern) if along_start else pattern
    mixer = AndersonMixer(basis, 3.0, start=Fields(torch.stack([up, down])))
    # What Anderson makes of two steps on a line with the slope `growth`: a step to its zero.
    for size in (1.0, 1.1):
        moment = fixed + size * line
        density = 0.5 * torch.stack([up + down + moment, up + down - moment])
        change = 0.5 * growth * size * torch.stack([line, -line])
        new = next_density(mixer, density, density + change)
    found = float(torch.vdot(line, new[0] - new[1]).real)
    assert (found > 1.1) == kept
