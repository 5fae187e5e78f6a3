"""What PAW spheres ask of grid, functional, charge and bands, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.occupations.electron_count import TooFewBandsError
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.terms.coulomb import Coulomb
from deepchem_xc.xc import FunctionalValueError, XCFunctional

pytest.importorskip("gpaw_data")

KEYWORDS: dict[str, Any] = {
    "ecut": 120.0,
    "kpts": {"size": (1, 1, 1), "gamma": True},
    "pseudopotentials": "paw-pbe",
    "occupations": {"name": "fermi-dirac", "width": 0.1},
}


def problem_of(atoms: Any, functional: Any = "PBE", fft_size: Any = None) -> KohnShamProblem:
    basis = PlaneWaveBasis(
        Crystal.from_ase(atoms), 5.0, {"size": (1, 1, 1), "gamma": True}, fft_size=fft_size
    )
    return make_problem(basis, functional, "paw-pbe")


def test_a_grid_that_is_too_small_is_refused_with_the_smallest_that_is_not() -> None:
    with pytest.raises(ValueError, match=r"fft_size = \(12, 12, 12\).* at least \(13, 13, 13\)"):
        scf(bulk("Si"), "PBE", **KEYWORDS, fft_size=12)
    assert scf(bulk("Si"), "PBE", **KEYWORDS, fft_size=13).problem.basis.fft_size == (13,) * 3


def test_compensation_charges_do_not_depend_on_the_grid() -> None:
    """They have plane waves of their own, beyond the density sphere, and no FFT."""
    atoms = bulk("MgO", "rocksalt", a=4.2)
    smallest = int(problem_of(atoms).basis.g_vectors.abs().max()) * 2 + 1
    with pytest.raises(ValueError, match=f"at least .*{smallest}"):
        problem_of(atoms, fft_size=smallest - 1)
    energies = []
    for size in (smallest, 2 * smallest):
        problem = problem_of(atoms, fft_size=size)
        (coulomb,) = (term for term in problem.terms if isinstance(term, Coulomb))
        fields = problem.starting_fields()
        energies.append(float(coulomb.energy(problem.basis, fields)))
        charge = coulomb.charge(problem.basis, fields)
        # Beyond the density sphere: the grid could not hold them.
        assert len(charge.g_vectors) > len(problem.basis.g_vectors)
        assert int(charge.g_vectors.abs().max()) > smallest // 2
    assert energies[0] == pytest.approx(energies[1], abs=1e-11)


class _FailsAtHighDensities(XCFunctional):
    """NaN at densities that only spheres have."""

    name = "fails"
    family = 1

    def energy_density(self, variables: Any) -> torch.Tensor:
        density = variables.density
        return torch.where(density > 10.0, torch.full_like(density, torch.nan), -density)


def test_a_functional_that_gives_nan_in_a_sphere_alone_is_named_with_the_sphere() -> None:
    with pytest.raises(FunctionalValueError, match="in the PAW sphere of Al: .* fails gives nan"):
        scf(bulk("Al"), _FailsAtHighDensities(), **KEYWORDS)


@pytest.mark.filterwarnings("ignore:the functional is")
@pytest.mark.parametrize("functional", ["LDA", "PBE", "r2SCAN"])
def test_negative_smooth_densities_give_finite_energies_and_potentials(functional: str) -> None:
    problem = problem_of(bulk("Si"), functional)
    fields = problem.starting_fields()
    basis = problem.basis
    grid = basis.to_grid(fields.density)
    # A quarter of the cell's points become negative, by as much as they were positive.
    low = grid <= torch.quantile(grid, 0.25)
    density = basis.to_sphere(torch.where(low, -grid, grid))
    negative = problem.symmetrized(replace(fields, density=density))
    assert float(basis.to_grid(negative.density).min()) < -1e-3
    potential, correction = problem.effective_potential(negative)
    for tensor in (correction, potential.v, potential.spheres, potential.v_tau):
        assert tensor is None or bool(torch.isfinite(torch.view_as_real(tensor + 0j)).all())


def test_a_loop_that_starts_from_a_negative_smooth_density_finds_the_ground_state() -> None:
    reference = scf(bulk("Si"), "PBE", **KEYWORDS)
    density = reference.fields.density.clone()
    density[:, 1:] *= 8.0  # the waves grow until the density is negative between the atoms
    assert float(reference.problem.basis.to_grid(density).min()) < -0.01
    found = solve(reference.problem, fields=replace(reference.fields, density=density))
    assert float(found.free_energy) == pytest.approx(float(reference.free_energy), abs=1e-7)


def test_a_charged_cell_is_refused() -> None:
    for compute in (lambda **k: scf(bulk("Si"), "PBE", **k), lambda **k: PlaneWaveDFT(**k)):
        with pytest.raises(TypeError, match="charge: only neutral cells can be computed"):
            compute(**KEYWORDS, charge=1)


@pytest.mark.parametrize("family", ["gth-pbe", "paw-pbe"])
def test_an_occupied_highest_band_is_an_error_with_either_kind_of_potential(family: str) -> None:
    keywords = {**KEYWORDS, "pseudopotentials": family}
    with pytest.raises(TooFewBandsError, match="the highest of 2 bands is occupied.*Raise nbands"):
        scf(bulk("Al"), "PBE", **keywords, nbands=2)
