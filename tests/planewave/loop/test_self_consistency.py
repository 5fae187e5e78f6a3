"""The self-consistency loop: what it stops on, what it finds, and what it leaves behind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc100, graphene, molecule
from ase.units import Hartree

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.xc import PBE
from tests.differences import assert_derivative

MESH = {"size": (2, 2, 2), "gamma": True}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), "PBE", ecut=150.0, kpts=MESH, occupations={"name": "fixed"})


@pytest.fixture(scope="module")
def aluminium() -> SCFResult:
    return scf(bulk("Al"), "PBE", ecut=150.0, kpts={"size": (4, 4, 4), "gamma": True})


def exact_levels(result: SCFResult, spin: int, k: int) -> np.ndarray:
    """All eigenvalues of the result's own potential by LAPACK."""
    hamiltonian = result.problem.hamiltonian(result.potential)
    matrix, _ = hamiltonian.dense(spin, k, result.basis.npw_per_k[k])
    return np.linalg.eigvalsh(matrix.numpy())


def test_levels_are_those_of_the_whole_matrix(silicon: SCFResult) -> None:
    for k in range(silicon.basis.nk):
        np.testing.assert_allclose(
            silicon.eigenvalues[0, k, :4], exact_levels(silicon, 0, k)[:4], rtol=0, atol=1e-8
        )


def test_the_density_holds_the_electrons(silicon: SCFResult, aluminium: SCFResult) -> None:
    for result, electrons in ((silicon, 8.0), (aluminium, 3.0)):
        total = float(result.density.mean() * result.basis.volume)
        assert total == pytest.approx(electrons, abs=1e-9)
        weighted = result.occupations * result.weights[:, None]
        assert float(weighted.sum()) == pytest.approx(electrons, abs=1e-9)


def test_the_density_is_made_by_the_orbitals(silicon: SCFResult) -> None:
    """At one grid point by hand, on a result whose symmetry was not used."""
    basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 4.0, [[0.1, 0.2, -0.3]], symmetry=False)
    result = scf(basis, occupations={"name": "fixed"})
    point = (3, 1, 2)
    x = torch.tensor(point, dtype=torch.float64) / torch.tensor(basis.fft_size)
    g = basis.orbital_g_vectors[0].to(torch.float64)
    phase = 2.0 * torch.pi * g @ x
    wave = result.orbitals[0, 0, :4] @ torch.polar(torch.ones_like(phase), phase)
    expected = 2.0 * wave.abs().square().sum() / basis.volume
    assert float(result.density[0][point]) == pytest.approx(float(expected), rel=1e-10)


def test_the_potential_is_that_of_the_density(silicon: SCFResult) -> None:
    again, _ = silicon.problem.effective_potential(silicon.fields)
    volume = silicon.basis.volume
    assert float(volume * (again.v - silicon.potential_g).abs().max()) < 1e-2
    difference = silicon.basis.to_grid(again.v - silicon.potential_g).abs().max()
    assert float(difference) < 1e-4


def test_terms_add_up(aluminium: SCFResult) -> None:
    terms = {name: float(value) for name, value in aluminium.energies.items()}
    free, total = terms.pop("free"), terms.pop("total")
    assert sum(terms.values()) == pytest.approx(free, abs=1e-12)
    assert total == pytest.approx(free - terms["entropy"], abs=1e-12)
    assert terms["entropy"] < 0.0
    assert float(aluminium.energy) == total and float(aluminium.free_energy) == free
    # Fermi-Dirac: half the entropy is the best guess of the zero-width energy.
    assert float(aluminium.extrapolated_energy) == pytest.approx(0.5 * (free + total), abs=1e-12)


def test_the_history_ends_at_the_results_energy(aluminium: SCFResult) -> None:
    assert aluminium.history[-1]["energy"] == pytest.approx(float(aluminium.free_energy), abs=1e-7)
    assert [record["step"] for record in aluminium.history] == list(range(1, aluminium.nsteps + 1))


def test_it_stops_on_energy_density_and_orbitals_together(aluminium: SCFResult) -> None:
    criteria = Convergence()
    last = aluminium.history[-1]
    assert abs(last["energy_change"]) < criteria.energy * 3
    assert last["density_error"] < criteria.density
    assert last["orbital_error"] < criteria.orbital_tolerance


@pytest.mark.parametrize("density", [1e-2, 1e-3, 1e-4])
def test_a_loose_tolerance_ends_in_double_precision(density: float) -> None:
    """Early steps are in single precision, and their eigenvalues 1e-7 of the kinetic energy off."""
    loose = {"density": density, "energy": 1e-3, "orbitals": 1e-2}
    result = scf(bulk("Cu"), ecut=400.0, kpts=(2, 2, 2), convergence=loose)
    assert result.history[-1]["density_error"] < density and result.nsteps < 16
    hamiltonian, orbitals = result.problem.hamiltonian(result.potential), result.orbitals[0]
    image = hamiltonian.apply(orbitals, 0, range(result.basis.nk))
    levels = (orbitals.conj() * image).real.sum(-1)
    torch.testing.assert_close(levels, result.eigenvalues[0], rtol=0, atol=1e-11)


def test_the_energys_error_is_as_small_as_was_asked_for() -> None:
    """The stop criterion is honest: a much tighter run changes the energy by less than it."""
    options: dict[str, Any] = {"ecut": 150.0, "kpts": MESH, "occupations": {"name": "fixed"}}
    tight = scf(bulk("Si"), "PBE", convergence={"energy": 1e-10, "density": 1e-9}, **options)
    for energy in (1e-3, 1e-5):  # eV per electron
        loose = scf(bulk("Si"), "PBE", convergence={"energy": energy, "density": 1e-3}, **options)
        error = abs(float(loose.free_energy - tight.free_energy)) * Hartree
        assert error < 8 * energy
        assert loose.nsteps < tight.nsteps


def test_tolerances_are_in_ev_for_atoms_and_hartree_for_a_basis() -> None:
    atoms = bulk("Si")
    by_atoms = scf(atoms, ecut=100.0, kpts=MESH, occupations={"name": "gaussian", "width": 0.2})
    basis = PlaneWaveBasis(Crystal.from_ase(atoms), 100.0 / Hartree, MESH)
    by_basis = scf(basis, occupations={"name": "gaussian", "width": 0.2 / Hartree})
    assert float(by_atoms.free_energy) == pytest.approx(float(by_basis.free_energy), abs=1e-9)
    assert by_atoms.problem.smearing.width == pytest.approx(0.2 / Hartree)


def test_more_plane_waves_give_less_energy() -> None:
    """The kinetic and potential energies are variational in the cutoff."""
    crystal = Crystal.from_ase(bulk("Si"))
    grid = (24, 24, 24)
    energies = [
        float(scf(PlaneWaveBasis(crystal, ecut, MESH, fft_size=grid)).free_energy)
        for ecut in (5.0, 7.0, 9.0)
    ]
    assert energies[0] > energies[1] + 1e-4 > energies[2] + 2e-4


def test_bands_are_added_until_the_highest_is_empty() -> None:
    """A hot metal needs many more bands than electrons would."""
    options: dict[str, Any] = {"ecut": 120.0, "kpts": MESH}
    hot = {"name": "fermi-dirac", "width": 0.7}
    result = scf(bulk("Al"), "PBE", occupations=hot, **options)
    many = scf(bulk("Al"), "PBE", occupations=hot, nbands=16, **options)
    assert float(result.occupations[:, :, -1].max()) < 1e-4
    assert float(result.free_energy) == pytest.approx(float(many.free_energy), abs=1e-5)


def test_the_number_of_bands_changes_nothing_else() -> None:
    options: dict[str, Any] = {"ecut": 120.0, "kpts": MESH, "occupations": {"name": "fixed"}}
    few = scf(bulk("Si"), "PBE", nbands=4, **options)
    many = scf(bulk("Si"), "PBE", nbands=13, **options)
    assert (few.eigenvalues.shape[2], many.eigenvalues.shape[2]) == (4, 13)
    assert float(few.free_energy) == pytest.approx(float(many.free_energy), abs=1e-8)


def test_a_start_from_the_result_takes_hardly_a_step(silicon: SCFResult) -> None:
    again = scf(
        bulk("Si"), "PBE", ecut=150.0, kpts=MESH, occupations={"name": "fixed"}, start=silicon
    )
    assert again.nsteps <= 3 < silicon.nsteps
    assert float(again.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-8)


def test_two_runs_give_the_same_number(silicon: SCFResult) -> None:
    again = scf(bulk("Si"), "PBE", ecut=150.0, kpts=MESH, occupations={"name": "fixed"})
    # The same to rounding, which follows how arrays lie in memory.
    assert float(again.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-10)


def test_the_gap_of_silicon_is_between_its_bands(silicon: SCFResult) -> None:
    levels = [exact_levels(silicon, 0, k) for k in range(silicon.basis.nk)]
    top, bottom = max(x[3] for x in levels), min(x[4] for x in levels)
    assert float(silicon.band_gap) == pytest.approx(bottom - top, abs=1e-5)
    assert float(silicon.fermi_level) == pytest.approx(top, abs=1e-7)


def test_a_metal_has_no_gap(aluminium: SCFResult) -> None:
    assert float(aluminium.band_gap) == 0.0


def test_a_fixed_moment_is_kept_and_costs_energy() -> None:
    """Two Fermi levels; the free moment's energy is the minimum of the curve."""
    iron = bulk("Fe")
    options: dict[str, Any] = {"ecut": 600.0, "kpts": MESH}
    width = {"name": "fermi-dirac", "width": 0.1}
    iron.set_initial_magnetic_moments([2.5])
    free = scf(iron, "PBE", occupations=width, **options)
    moment = float(free.magnetic_moment)
    assert moment > 1.0
    energies = []
    for wanted in (moment - 0.5, moment, moment + 0.5):
        iron.set_initial_magnetic_moments([wanted])
        held = scf(iron, "PBE", occupations=width | {"fixmagmom": True}, **options)
        assert float(held.magnetic_moment) == pytest.approx(wanted, abs=1e-8)
        assert held.fermi_level.shape == (2,)
        energies.append(float(held.free_energy))
    assert energies[1] == pytest.approx(float(free.free_energy), abs=1e-6)
    assert min(energies[0], energies[2]) > energies[1] + 1e-4


CRYSTALS: dict[str, tuple[Atoms, dict[str, Any]]] = {
    "graphene": (graphene(vacuum=4.0), {"ecut": 350.0, "kpts": (4, 4, 1)}),
    "rock salt": (bulk("NaCl", "rocksalt", a=5.64), {"ecut": 350.0, "kpts": (2, 2, 2)}),
    "slab": (fcc100("Al", (1, 1, 10), vacuum=5.0), {"ecut": 120.0, "kpts": (3, 3, 1)}),
    "long metal": (bulk("Al", cubic=True).repeat((1, 1, 3)), {"ecut": 120.0, "kpts": (2, 2, 1)}),
    "oxygen": (molecule("O2", vacuum=2.5), {"ecut": 350.0, "kpts": (1, 1, 1)}),
    "nickel": (bulk("Ni"), {"ecut": 500.0, "kpts": (3, 3, 3)}),
    "antiferromagnet": (bulk("Cr", cubic=True), {"ecut": 350.0, "kpts": (2, 2, 2)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.filterwarnings("ignore:the atoms are not periodic")
def test_it_converges_with_default_settings(name: str) -> None:
    atoms, options = CRYSTALS[name]
    atoms = atoms.copy()
    start = {"nickel": [1.0], "oxygen": [1.0, 1.0], "antiferromagnet": [2.0, -2.0]}
    if name in start:
        atoms.set_initial_magnetic_moments(start[name])
    result = scf(atoms, "PBE", **options)
    assert result.nsteps <= 40
    moments = {"oxygen": 2.0, "antiferromagnet": 0.0}
    if name in moments:
        assert float(result.magnetic_moment) == pytest.approx(moments[name], abs=0.02)
    if name == "nickel":  # no moment that is held fixed has less energy than the free one
        for moment in (0.0, 0.6, 1.2):
            atoms.set_initial_magnetic_moments([moment])
            occupations = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
            held = scf(atoms, "PBE", occupations=occupations, **options)
            assert float(result.free_energy) < float(held.free_energy) + 1e-6


def test_a_small_moment_grows_to_the_stable_state() -> None:
    """Non-magnetic iron is a solution too, with more energy; it is not where the loop may end."""
    options: dict[str, Any] = {"ecut": 900.0, "kpts": (4, 4, 4)}
    found = []
    for start in (0.5, 2.5):
        iron = bulk("Fe")
        iron.set_initial_magnetic_moments([start])
        found.append(scf(iron, "PBE", occupations={"name": "fermi-dirac", "width": 0.1}, **options))
    assert float(found[1].magnetic_moment) > 1.0
    assert float(found[0].magnetic_moment) == pytest.approx(
        float(found[1].magnetic_moment), abs=1e-4
    )
    assert float(found[0].free_energy) == pytest.approx(float(found[1].free_energy), abs=1e-7)


def test_a_long_metal_takes_few_steps() -> None:
    """Without screening of long waves the charge would slosh along the cell."""
    atoms = bulk("Al", cubic=True).repeat((1, 1, 3))
    result = scf(atoms, "PBE", ecut=100.0, kpts=(2, 2, 1))
    assert result.nsteps < 15


def test_nickel_keeps_its_moment_where_a_saddle_has_none() -> None:
    """At this coarse cutoff the first output of a rough start is hardly magnetic at all."""
    nickel = bulk("Ni")
    nickel.set_initial_magnetic_moments([1.0])
    options: dict[str, Any] = {"ecut": 500.0, "kpts": {"size": (4, 4, 4), "gamma": True}}
    width = {"name": "fermi-dirac", "width": 0.05}
    free = scf(nickel, "PBE", occupations=width, **options)
    nickel.set_initial_magnetic_moments([0.0])
    without = scf(nickel, "PBE", occupations=width, **options)
    assert abs(float(free.magnetic_moment)) > 0.3
    assert float(free.free_energy) < float(without.free_energy) - 1e-3


@pytest.mark.parametrize("name", ["Si", "Al"])
def test_derivative_of_the_free_energy_needs_no_response(name: str) -> None:
    """Hellmann-Feynman against differences of converged energies, kappa and mu of PBE."""
    tight = {"energy": 1e-12, "density": 1e-9}
    options: dict[str, Any] = {"ecut": 120.0, "kpts": MESH, "convergence": tight}
    functional = PBE(trainable=True)
    result = scf(bulk(name), functional, **options)
    gradients = torch.autograd.grad(result.free_energy, list(functional.parameters()))
    for index, gradient in enumerate(gradients):

        def energy(step: float, index: int = index) -> float:
            moved = copy.deepcopy(functional).requires_grad_(False)
            list(moved.parameters())[index].mul_(1.0 + step)
            return float(scf(bulk(name), moved, start=result, **options).free_energy)

        value = list(functional.parameters())[index].item()
        assert_derivative(float(gradient) * value, energy, 0.02, rel=1e-5)


def test_integer_occupations_take_any_initial_moment() -> None:
    """A start of 0.7 mu_B cannot be held by integers; oxygen ends with its two unpaired spins."""
    oxygen = molecule("O2", vacuum=2.0, pbc=True)
    oxygen.set_initial_magnetic_moments([0.4, 0.3])
    result = scf(oxygen, "PBE", ecut=250.0, occupations={"name": "fixed"})
    assert abs(float(result.magnetic_moment)) == pytest.approx(2.0, abs=1e-8)


def test_a_tight_tolerance_is_met_although_the_highest_band_cuts_a_multiplet() -> None:
    """Its residual stays, and would count with the root of what it holds."""
    atoms = bulk("Si")
    atoms.positions[1] += [0.05, 0.02, -0.03]
    basis = PlaneWaveBasis(Crystal.from_ase(atoms), 8.0, (1, 1, 1), symmetry=False)
    result = scf(
        basis,
        "PBE",
        occupations={"name": "fermi-dirac", "width": 0.01},
        convergence={"energy": 1e-12, "density": 1e-10, "maxiter": 30},
    )
    assert result.history[-1]["orbital_error"] < 1e-9
