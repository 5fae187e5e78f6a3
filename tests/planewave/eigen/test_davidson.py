"""The block Davidson solver against LAPACK."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.eigen.davidson import davidson, orthonormalize, teter_preconditioner
from deepchem_xc.planewave.eigen.states import diagonalize
from deepchem_xc.planewave.fields import Potential
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.inputs import make_problem
from tests.crystals import SMEARED, cubic, gallium_nitride

NBAND = 8


@pytest.fixture(scope="module")
def hamiltonian() -> Hamiltonian:
    """Superposed atoms' potential of a low-symmetry crystal at three k-points, two spins."""
    mesh = [[0.0, 0.0, 0.0], [0.31, -0.17, 0.42], [0.5, 0.5, 0.5]]
    basis = PlaneWaveBasis(gallium_nitride(), 4.0, mesh, symmetry=False)
    problem = make_problem(basis, "PBE", "gth-pbe", SMEARED)
    potential, _ = problem.effective_potential(problem.starting_fields())
    return problem.hamiltonian(potential)


def random_start(basis: PlaneWaveBasis, nband: int, nspin: int = 2) -> torch.Tensor:
    shape = (nspin * basis.nk, nband, basis.npw)
    smooth = basis.mask / (1.0 + basis.kinetic)
    noise = torch.randn(shape, dtype=torch.complex128) * smooth.repeat(nspin, 1)[:, None]
    return orthonormalize(noise).view(nspin, basis.nk, nband, basis.npw)


def exact(hamiltonian: Hamiltonian, spin: int, k: int) -> np.ndarray:
    matrix, _ = hamiltonian.dense(spin, k, hamiltonian.basis.npw_per_k[k])
    return np.linalg.eigvalsh(matrix.numpy())


def converge(hamiltonian: Hamiltonian, orbitals: torch.Tensor, sweeps: int = 30) -> tuple:
    for _ in range(sweeps):
        values, orbitals, residuals = diagonalize(hamiltonian, orbitals, 3, 1e-10)
    return values, orbitals, residuals


def test_it_finds_lapacks_lowest_eigenvalues(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    values, _, residuals = converge(hamiltonian, random_start(basis, NBAND + 3))
    assert float(residuals[:, :, :NBAND].max()) < 1e-8
    for spin in (0, 1):
        for k in range(basis.nk):
            expected = exact(hamiltonian, spin, k)[:NBAND]
            np.testing.assert_allclose(values[spin, k, :NBAND], expected, rtol=0, atol=1e-11)


def test_residuals_are_those_of_the_operator(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    values, orbitals, residuals = diagonalize(hamiltonian, random_start(basis, NBAND), 2, 0.0)
    for spin in (0, 1):
        image = hamiltonian.apply(orbitals[spin], spin, range(basis.nk))
        again = torch.linalg.vector_norm(image - values[spin][..., None] * orbitals[spin], dim=-1)
        torch.testing.assert_close(residuals[spin], again, rtol=1e-8, atol=1e-12)


def test_orbitals_stay_orthonormal_and_out_of_the_padding(hamiltonian: Hamiltonian) -> None:
    basis = hamiltonian.basis
    _, orbitals, _ = converge(hamiltonian, random_start(basis, NBAND), sweeps=40)
    overlap = orbitals @ orbitals.mH
    eye = torch.eye(NBAND, dtype=overlap.dtype).expand_as(overlap)
    torch.testing.assert_close(overlap, eye, rtol=0, atol=1e-12)
    assert float((orbitals * (1.0 - basis.mask)[:, None]).abs().max()) == 0.0


@pytest.mark.parametrize("crystal", ["GaN, no inversion", "Si, real orbitals"])
def test_single_precision_finds_the_same_states(crystal: str, hamiltonian: Hamiltonian) -> None:
    if crystal.startswith("Si"):
        basis = PlaneWaveBasis(Crystal.from_ase(bulk("Si")), 8.0, (2, 2, 2))
        problem = make_problem(basis)
        hamiltonian = problem.hamiltonian(problem.effective_potential(problem.starting_fields())[0])
        assert hamiltonian.gauge is not None
    basis, nspin = hamiltonian.basis, hamiltonian.nspin
    wanted, count = slice(0, NBAND), NBAND + 3
    exact_values, _, _ = converge(hamiltonian, random_start(basis, count, nspin))
    orbitals = random_start(basis, count, nspin)
    for _ in range(12):
        values, orbitals, _ = diagonalize(hamiltonian, orbitals, 3, 1e-5, single=True)
    assert orbitals.dtype == torch.complex128
    eye = torch.eye(count, dtype=orbitals.dtype).expand(nspin, basis.nk, count, count)
    torch.testing.assert_close(orbitals @ orbitals.mH, eye, rtol=0, atol=1e-12)
    assert float((orbitals * (1.0 - basis.mask)[:, None]).abs().max()) == 0.0
    # Eigenvalues as good as single precision can have them, orbitals as good as was asked for.
    torch.testing.assert_close(values[..., wanted], exact_values[..., wanted], rtol=0, atol=5e-6)
    true, _, residuals = diagonalize(hamiltonian, orbitals, expansions=0)
    torch.testing.assert_close(true[..., wanted], exact_values[..., wanted], rtol=0, atol=1e-9)
    assert float(residuals[..., wanted].max()) < 2e-5


def test_eigenvalues_come_from_above_and_only_fall(hamiltonian: Hamiltonian) -> None:
    """Hylleraas, Undheim, MacDonald: Ritz values bound the exact ones in their order."""
    orbitals = random_start(hamiltonian.basis, NBAND)
    previous = torch.full((2, hamiltonian.basis.nk, NBAND), torch.inf, dtype=torch.float64)
    for _ in range(8):
        values, orbitals, _ = diagonalize(hamiltonian, orbitals, 1, 0.0)
        assert bool((values < previous + 1e-10).all())
        previous = values
    bound = exact(hamiltonian, 0, 1)[:NBAND]
    assert bool((values[0, 1].numpy() > bound - 1e-10).all())


def test_exact_eigenvectors_are_left_alone(hamiltonian: Hamiltonian) -> None:
    """A residual that is rounding error must not spoil what is converged."""
    basis = hamiltonian.basis
    matrix, chosen = hamiltonian.dense(0, 0, basis.npw_per_k[0])
    vectors = torch.linalg.eigh(matrix)[1][:, :NBAND].T
    start = torch.zeros((1, NBAND, basis.npw), dtype=torch.complex128)
    start[0, :, chosen] = vectors
    values, orbitals, residuals = davidson(
        lambda block: hamiltonian.apply(block, 0, range(1)), start, basis.kinetic[:1], expansions=3
    )
    assert float(residuals.max()) < 1e-11
    np.testing.assert_allclose(values[0], exact(hamiltonian, 0, 0)[:NBAND], rtol=0, atol=1e-12)
    overlap = (orbitals[0] @ start[0].mH).abs()
    torch.testing.assert_close(overlap.diagonal(), torch.ones(NBAND, dtype=torch.float64))


def test_degenerate_levels_come_out_complete() -> None:
    """Free electrons in a cube: shells of 1, 6, 12 and 8 plane waves, from a random start."""
    cube = Crystal(cubic(6.0), ("H",), torch.zeros(1, 3))
    basis = PlaneWaveBasis(cube, 6.0, [[0.0, 0.0, 0.0]], symmetry=False)
    empty = torch.zeros((1, 0, basis.npw), dtype=torch.complex128)
    nothing = torch.zeros((1, len(basis.g_vectors)), dtype=torch.complex128)
    free = Hamiltonian(basis, Potential(nothing), empty, torch.zeros((0, 0), dtype=torch.float64))
    values, _, _ = converge(free, random_start(basis, 21, nspin=1), sweeps=15)
    unit = 0.5 * (2.0 * np.pi / 6.0) ** 2
    expected = unit * np.array([0.0] + 6 * [1.0] + 12 * [2.0])
    np.testing.assert_allclose(values[0, 0, :19], expected, rtol=0, atol=1e-10)


def test_linearly_dependent_starts_are_repaired() -> None:
    block = torch.randn(2, 4, 30, dtype=torch.complex128)
    block[0, 3] = block[0, 2]
    result = orthonormalize(block)
    eye = torch.eye(4, dtype=result.dtype).expand(2, 4, 4)
    torch.testing.assert_close(result @ result.mH, eye, rtol=0, atol=1e-12)
    rest = block - (block @ result.mH) @ result
    assert float(rest.abs().max()) < 1e-12


def test_the_preconditioner_is_one_for_long_waves_and_falls_as_the_kinetic_energy() -> None:
    kinetic = torch.tensor([[0.0, 1e-3, 1e3, 2e3]], dtype=torch.float64)
    band = torch.zeros(1, 1, 4, dtype=torch.complex128)
    band[0, 0, 1] = band[0, 0, 0] = 0.5**0.5
    factors = teter_preconditioner(kinetic, band)[0, 0]
    assert float(factors[0]) == pytest.approx(1.0)
    assert float(factors[2] / factors[3]) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("nband", [10, 20])
def test_many_bands_in_few_plane_waves_are_still_right(nband: int) -> None:
    """The subspace must not outgrow the plane waves there are."""
    cube = Crystal(cubic(4.0), ("Al",), torch.zeros(1, 3))
    basis = PlaneWaveBasis(cube, 4.5, [[0.1, 0.2, 0.3]], symmetry=False)
    assert basis.npw < 4 * 10
    problem = make_problem(basis, "PBE", "gth-pbe", SMEARED)
    potential, _ = problem.effective_potential(problem.starting_fields())
    hamiltonian = problem.hamiltonian(potential)
    values, _, _ = converge(hamiltonian, random_start(basis, nband, nspin=1), sweeps=20)
    expected = exact(hamiltonian, 0, 0)[: nband - 2]
    np.testing.assert_allclose(values[0, 0, : nband - 2], expected, rtol=0, atol=1e-9)


def test_corrections_in_single_precision_cost_no_accuracy(hamiltonian: Hamiltonian) -> None:
    """Only the corrections are rounded, and residuals say what they are."""
    basis, ks, dtypes = hamiltonian.basis, range(hamiltonian.basis.nk), []
    start = random_start(basis, NBAND + 3)[0]
    goal = torch.full((basis.nk, NBAND + 3), 1e-9, dtype=torch.float64)
    goal[:, NBAND:] = torch.inf

    def apply(block: torch.Tensor) -> torch.Tensor:
        dtypes.append(block.dtype)
        return hamiltonian.apply(block, 0, ks)

    def improve(orbitals: torch.Tensor, tolerance: torch.Tensor, expansions: int) -> tuple:
        return davidson(apply, orbitals, basis.kinetic, expansions=expansions, tolerance=tolerance)

    for _ in range(20):
        _, start, norms = improve(start, 1e3 * goal, 3)
    assert bool((norms < 1e3 * goal).all())
    dtypes.clear()
    values, orbitals, norms = improve(start, goal, 12)
    assert dtypes[0] == torch.complex128 and set(dtypes[1:]) == {torch.complex64}
    assert bool((norms < goal).all())
    image = hamiltonian.apply(orbitals, 0, ks)
    again = torch.linalg.vector_norm(image - values[..., None] * orbitals, dim=-1)
    torch.testing.assert_close(norms[:, :NBAND], again[:, :NBAND], rtol=0.1, atol=0.0)
