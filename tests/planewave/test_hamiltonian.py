"""The Hamiltonian as an operator, and the density its states make."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import PlaneWaveBasis
from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.density import density_from_orbitals
from deepchem_xc.planewave.fields import Fields, Potential
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.terms.base import DensityTerm
from tests.crystals import SMEARED, gallium_nitride
from tests.differences import assert_derivative

MESH = {"kpts": [[0.0, 0.0, 0.0], [0.31, -0.17, 0.42]], "weights": [0.25, 0.75]}


@pytest.fixture(scope="module")
def problem() -> KohnShamProblem:
    """Two species, projectors up to d, two spins, a triclinic cell, padded plane-wave lists."""
    basis = PlaneWaveBasis(gallium_nitride(), 4.0, MESH, symmetry=False)
    return make_problem(basis, "PBE", "gth-pbe", SMEARED)


@pytest.fixture(scope="module")
def hamiltonian(problem: KohnShamProblem) -> Hamiltonian:
    potential, _ = problem.effective_potential(problem.starting_fields())
    return problem.hamiltonian(potential)


def random_orbitals(basis: PlaneWaveBasis, nband: int) -> torch.Tensor:
    shape = (basis.nk, nband, basis.npw)
    return torch.randn(shape, dtype=torch.complex128) * basis.mask.unsqueeze(1)


def overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.conj() @ b.transpose(-1, -2)


def test_it_is_hermitian(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    x, y = random_orbitals(basis, 5), random_orbitals(basis, 7)
    for spin in (0, 1):
        left = overlap(x, hamiltonian.apply(y, spin, range(basis.nk)))
        right = overlap(hamiltonian.apply(x, spin, range(basis.nk)), y)
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-10)


def test_apply_is_multiplication_by_the_dense_matrix(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    x = random_orbitals(basis, 4)
    for spin in (0, 1):
        image = hamiltonian.apply(x, spin, range(basis.nk))
        for k in range(basis.nk):
            matrix, chosen = hamiltonian.dense(spin, k, basis.npw_per_k[k])
            expected = x[k][:, chosen] @ matrix.T
            torch.testing.assert_close(image[k][:, chosen], expected, rtol=0, atol=1e-11)


def test_the_dense_matrix_is_hermitian_and_known_term_by_term(
    problem: KohnShamProblem, hamiltonian: Hamiltonian
) -> None:
    """<G|H|G'> = |k+G|^2/2 delta + V(G-G') + sum_ij beta_i(G) D_ij beta_j(G')*, by hand."""
    basis = hamiltonian.basis
    k, spin = 1, 0
    matrix, chosen = hamiltonian.dense(spin, k, 12)
    torch.testing.assert_close(matrix, matrix.mH, rtol=0, atol=1e-13)
    position = {tuple(g): i for i, g in enumerate(basis.g_vectors.tolist())}
    for row, column in [(0, 0), (1, 3), (7, 2), (11, 11)]:
        a, b = chosen[row], chosen[column]
        difference = (basis.orbital_g_vectors[k, a] - basis.orbital_g_vectors[k, b]).tolist()
        value = complex(hamiltonian.local.potential.v[spin, position[tuple(difference)]])
        if row == column:
            reduced = basis.orbital_g_vectors[k, a] + basis.k_coordinates[k]
            value += 0.5 * float((reduced @ basis.crystal.reciprocal_lattice).square().sum())
        beta_a, beta_b = problem.projectors[k, :, a], problem.projectors[k, :, b]
        value += complex(beta_a @ problem.fixed_coupling.to(beta_a.dtype) @ beta_b.conj())
        assert complex(matrix[row, column]) == pytest.approx(value, abs=1e-12)


def test_one_spin_sees_its_own_potential(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    x = random_orbitals(basis, 3)
    up, down = (hamiltonian.apply(x, spin, range(basis.nk)) for spin in (0, 1))
    up_v, down_v = hamiltonian.local.potential.v
    shift = up_v - down_v
    empty = torch.zeros_like(hamiltonian.coupled.projectors[:, :0])
    only = Hamiltonian(
        basis, Potential(shift[None]), empty, torch.zeros((0, 0), dtype=torch.float64)
    )
    expected = only.apply(x, 0, range(basis.nk)) - x * (basis.kinetic * basis.mask)[:, None]
    assert float((up - down).abs().max()) > 1e-3
    torch.testing.assert_close(up - down, expected, rtol=0, atol=1e-11)


def test_padding_stays_empty(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    assert len(set(basis.npw_per_k)) > 1  # or nothing would be padded
    image = hamiltonian.apply(random_orbitals(basis, 3), 0, range(basis.nk))
    assert float((image * (1.0 - basis.mask)[:, None]).abs().max()) == 0.0


def test_some_of_the_kpoints_give_the_same_as_all(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    x = random_orbitals(basis, 3)
    everything = hamiltonian.apply(x, 1, range(basis.nk))
    torch.testing.assert_close(hamiltonian.apply(x[1:2], 1, range(1, 2)), everything[1:2])


@pytest.mark.parametrize("piece_bytes", [1, 3 * 16 * 15**3, 10**9])
def test_cutting_the_ffts_changes_nothing(problem: KohnShamProblem, piece_bytes: int) -> None:
    basis = problem.basis
    orbitals = random_orbitals(basis, 7).expand(2, -1, -1, -1)
    weighted = torch.rand(1, 2, basis.nk, 7, dtype=torch.float64)  # one set
    expected = density_from_orbitals(GridPieces(basis), orbitals, weighted)
    pieces = GridPieces(basis, piece_bytes)
    covered = torch.zeros(basis.nk, 7)
    for ks, bands in pieces.split(range(basis.nk), 7):
        covered[ks, bands] += 1.0
    assert torch.equal(covered, torch.ones_like(covered))
    torch.testing.assert_close(density_from_orbitals(pieces, orbitals, weighted), expected)
    rounded = density_from_orbitals(pieces, orbitals, weighted, single=True)
    assert rounded.dtype == torch.complex128
    largest = float(expected.abs().max())
    assert 0.0 < float((rounded - expected).abs().max()) < 1e-6 * largest


def test_an_empty_channel_has_no_density(problem: KohnShamProblem) -> None:
    basis = problem.basis
    orbitals = random_orbitals(basis, 3).expand(2, -1, -1, -1)
    weighted = torch.ones(1, 2, basis.nk, 3, dtype=torch.float64)
    weighted[0, 1] = 0.0
    up, down = density_from_orbitals(GridPieces(basis), orbitals, weighted)[0]
    assert float(up.abs().max()) > 0.0 and float(down.abs().max()) == 0.0


def test_the_density_of_orthonormal_states_counts_the_electrons(problem: KohnShamProblem) -> None:
    basis = problem.basis
    orbitals = torch.linalg.qr(random_orbitals(basis, 6).mT)[0].mT
    weighted = torch.rand(1, 1, basis.nk, 6, dtype=torch.float64)
    density = density_from_orbitals(GridPieces(basis), orbitals[None], weighted)[0]
    assert float(density[0, 0].real * basis.volume) == pytest.approx(float(weighted.sum()))
    grid = basis.to_grid(density)
    electrons = float(grid.mean() * basis.volume)
    assert electrons == pytest.approx(float(weighted.sum()))
    assert float(grid.min()) > -1e-12  # nothing is cut off: the sphere holds every product


DENSITY_TERMS = ("local", "hartree", "xc")


def test_these_are_the_terms_of_the_density(problem: KohnShamProblem) -> None:
    names = [term.name for term in problem.terms if isinstance(term, DensityTerm)]
    assert tuple(names) == DENSITY_TERMS


@pytest.mark.parametrize("name", DENSITY_TERMS)
def test_the_potential_of_a_term_is_the_derivative_of_its_energy(
    problem: KohnShamProblem, name: str
) -> None:
    """Along a random direction, by differences; what the potential leaves of the energy, too."""
    (term,) = (term for term in problem.terms if term.name == name)
    assert isinstance(term, DensityTerm)
    basis = problem.basis
    # Superposed atoms have points where a channel is negative at this cutoff. Energies take no
    # notice of it there, while the potential is that of an empty channel.
    superposed = basis.to_grid(problem.atomic_density())
    density = basis.to_sphere(superposed + 0.01)
    assert float(basis.to_grid(density).min()) > 0.0 > float(superposed.min())
    potential, correction = term.potential(basis, Fields(density))
    grid = torch.randn(2, *basis.fft_size, dtype=torch.float64)
    direction = basis.to_sphere(basis.to_grid(density) * grid)

    def product(other: Tensor) -> float:
        return float(potential.energy(Fields(other), basis.volume))

    def energy(step: float) -> float:
        return float(term.energy(basis, Fields(density + step * direction)))

    assert float(correction) == pytest.approx(energy(0.0) - product(density), abs=1e-12)
    assert_derivative(product(direction), energy, 1e-5, rel=1e-7)


def test_the_potential_is_that_of_all_terms(problem: KohnShamProblem) -> None:
    fields = problem.starting_fields()
    potential, correction = problem.effective_potential(fields)
    terms = [term for term in problem.terms if isinstance(term, DensityTerm)]
    parts, corrections = zip(
        *(term.potential(problem.basis, fields) for term in terms), strict=True
    )
    whole: Any = sum(part.v for part in parts)
    torch.testing.assert_close(potential.v, whole, rtol=1e-13, atol=1e-13)
    assert float(correction) == pytest.approx(float(sum(corrections)), rel=1e-13)
