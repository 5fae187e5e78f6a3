"""States of H c = e S c against LAPACK: the block Davidson solver, its starts, more bands."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from deepchem_xc.numerics.errors import DiagonalizationError
from deepchem_xc.planewave.eigen.davidson import davidson, orthonormalize
from deepchem_xc.planewave.eigen.first_orbitals import (
    more_bands,
    orthonormal_states,
    starting_orbitals,
)
from deepchem_xc.planewave.eigen.states import change_bands, diagonalize
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.problem import KohnShamProblem
from tests.differences import assert_derivative
from tests.planewave.coupled_cases import (
    CRYSTALS,
    dense,
    hamiltonian_of,
    mixing_coupling,
    overlap_matrix,
    problem_of,
)

# Wanted bands, and those above them that only help.
NBAND, SPARE = 8, 4
# Largest eigenvalues of S; the smallest are about 0.25.
MILD, BAD = 2.5, 750.0


@cache
def case(name: str, largest: float) -> tuple[KohnShamProblem, Hamiltonian]:
    problem = problem_of(name)
    overlap = overlap_matrix(problem, name, largest)
    return problem, hamiltonian_of(problem, mixing_coupling(problem, name), overlap)


def exact(hamiltonian: Hamiltonian) -> Tensor:
    """LAPACK's eigenvalues, (nspin, nk, NBAND)."""
    nspin, nk = hamiltonian.nspin, hamiltonian.basis.nk
    pencils = [dense(hamiltonian, spin, k) for spin in range(nspin) for k in range(nk)]
    values = [scipy.linalg.eigh(*pencil, eigvals_only=True)[:NBAND] for pencil in pencils]
    return torch.tensor(np.array(values)).view(nspin, nk, NBAND)


def converge(
    hamiltonian: Hamiltonian, orbitals: Tensor, tolerance: float = 1e-10
) -> tuple[Tensor, Tensor, Tensor]:
    for _ in range(30):
        values, orbitals, residuals = diagonalize(hamiltonian, orbitals, 3, tolerance)
        if float(residuals[:, :, :NBAND].max()) < tolerance:
            return values, orbitals, residuals
    raise AssertionError(f"residuals are still {float(residuals[:, :, :NBAND].max()):.1e}")


def assert_orthonormal(hamiltonian: Hamiltonian, orbitals: Tensor, atol: float = 1e-11) -> None:
    for channel in orbitals:
        image = hamiltonian.apply_overlap(channel, range(hamiltonian.basis.nk))
        product = channel @ image.mH
        unit = torch.eye(channel.shape[1], dtype=product.dtype).expand_as(product)
        torch.testing.assert_close(product, unit, rtol=0, atol=atol)


def random_rows(hamiltonian: Hamiltonian, nband: int) -> Tensor:
    basis = hamiltonian.basis
    shape = (hamiltonian.nspin, basis.nk, nband, basis.npw)
    return (
        torch.randn(shape, dtype=torch.complex128) * (basis.mask / (1.0 + basis.kinetic))[:, None]
    )


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("largest", [MILD, BAD])
def test_the_overlap_has_the_wanted_condition(name: str, largest: float) -> None:
    """So that the tests below try what they say."""
    hamiltonian = case(name, largest)[1]
    spectra = [np.linalg.eigvalsh(dense(hamiltonian, 0, k)[1]) for k in range(hamiltonian.basis.nk)]
    lowest, highest = min(s[0] for s in spectra), max(s[-1] for s in spectra)
    assert 0.15 < lowest < 0.5 and 0.7 * largest < highest < 1.3 * largest


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("largest", [MILD, BAD])
def test_states_are_lapacks_and_orthonormal_in_s(name: str, largest: float) -> None:
    problem, hamiltonian = case(name, largest)
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, NBAND + SPARE)
    values, orbitals, residuals = converge(hamiltonian, start)
    torch.testing.assert_close(values[:, :, :NBAND], exact(hamiltonian), rtol=0, atol=1e-12)
    assert_orthonormal(hamiltonian, orbitals)
    mask = hamiltonian.basis.mask[:, None]
    assert float((orbitals * (1.0 - mask)).abs().max()) == 0.0
    ks = range(hamiltonian.basis.nk)
    for spin, channel in enumerate(orbitals):
        image, overlap_image = hamiltonian.apply_both(channel, spin, ks)
        again = (image - values[spin].unsqueeze(-1) * overlap_image).norm(dim=-1)
        torch.testing.assert_close(residuals[spin], again, rtol=1e-2, atol=1e-11)


@pytest.mark.parametrize("name", CRYSTALS)
def test_first_orbitals_are_orthonormal_in_s_and_no_worse_than_few_plane_waves(name: str) -> None:
    """They contain the states of the lowest 40 plane waves, up to their noise of 1e-2."""
    problem, hamiltonian = case(name, BAD)
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, NBAND)
    assert_orthonormal(hamiltonian, start)
    values, _, _ = diagonalize(hamiltonian, start, expansions=0)
    assert float((values - exact(hamiltonian)).min()) > -1e-12
    for spin in range(hamiltonian.nspin):
        for k in range(hamiltonian.basis.nk):
            matrix, chosen = hamiltonian.dense(spin, k, 40)
            overlap = hamiltonian.dense_overlap(k, chosen)
            few = scipy.linalg.eigh(matrix.numpy(), overlap.numpy(), eigvals_only=True)[:NBAND]
            assert float((values[spin, k] - torch.tensor(few)).max()) < 1e-2


@pytest.mark.parametrize("name", ["GaN", "diamond"])
def test_more_bands_are_orthonormal_in_s_to_those_there_are(name: str) -> None:
    problem, hamiltonian = case(name, BAD)
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, 4)
    more = more_bands(hamiltonian, start, 3)
    assert_orthonormal(hamiltonian, more)
    torch.testing.assert_close(more[:, :, :4], start, rtol=0, atol=1e-10)
    assert torch.equal(change_bands(hamiltonian, start, 7), more)
    assert torch.equal(change_bands(hamiltonian, start, 3), start[:, :, :3])


@pytest.mark.parametrize("name", ["GaN", "diamond"])
def test_an_overlap_matrix_of_zeros_changes_nothing(name: str) -> None:
    problem = problem_of(name)
    plain = hamiltonian_of(problem, problem.fixed_coupling)
    general = hamiltonian_of(
        problem, problem.fixed_coupling, torch.zeros_like(problem.fixed_coupling)
    )
    start = starting_orbitals(plain, problem.pseudopotentials, NBAND)
    # At 1e-3 Ha corrections are applied in single precision, also to S.
    for tolerance, rounding in ((0.0, 1e-12), (1e-3, 1e-8)):
        expected = diagonalize(plain, start, 3, tolerance)
        found = diagonalize(general, start, 3, tolerance)
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=rounding)
        torch.testing.assert_close(found[2], expected[2], rtol=1e-4, atol=10.0 * rounding)


@pytest.mark.parametrize("name", ["GaN", "fluorite"])
def test_dependent_rows_are_replaced(name: str) -> None:
    """In a start, and among residuals: all are zero for states that are exact."""
    _, hamiltonian = case(name, BAD)
    rows = random_rows(hamiltonian, NBAND + SPARE)
    rows[:, 0, 3] = rows[:, 0, 2]
    rows[:, 1, 1] = 0.0
    rows[:, 1, 5] = rows[:, 1, 4] + 1e-14 * rows[:, 1, 6]
    kept = torch.stack(
        [orthonormal_states(hamiltonian, r, range(hamiltonian.basis.nk)) for r in rows]
    )
    assert_orthonormal(hamiltonian, kept)
    values, orbitals, _ = converge(hamiltonian, rows)
    torch.testing.assert_close(values[:, :, :NBAND], exact(hamiltonian), rtol=0, atol=1e-12)
    again, orbitals, residuals = diagonalize(hamiltonian, orbitals, 3, 0.0)
    torch.testing.assert_close(again[:, :, :NBAND], exact(hamiltonian), rtol=0, atol=1e-12)
    assert_orthonormal(hamiltonian, orbitals)


def test_the_subspace_may_fill_all_plane_waves() -> None:
    problem, hamiltonian = case("GaN", BAD)
    nband = min(hamiltonian.basis.npw_per_k) // 2
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, nband)
    values, orbitals, _ = converge(hamiltonian, start)
    torch.testing.assert_close(values[:, :, :NBAND], exact(hamiltonian), rtol=0, atol=1e-12)
    assert_orthonormal(hamiltonian, orbitals)


@pytest.mark.parametrize("name", ["GaN", "diamond"])
def test_real_and_complex_orbitals_have_the_same_levels(name: str) -> None:
    """Without the gauge the same Hamiltonian works on complex orbitals."""
    problem, hamiltonian = case(name, BAD)
    coupled = hamiltonian.coupled
    without = Hamiltonian(
        problem.basis,
        hamiltonian.local.potential,
        coupled.projectors,
        coupled.coupling,
        problem.pieces,
        overlap=coupled.overlap,
    )
    assert (hamiltonian.gauge is not None) == (name == "diamond")
    start = starting_orbitals(without, problem.pseudopotentials, NBAND + SPARE)
    expected = converge(without, start)[0][:, :, :NBAND]
    found, orbitals, _ = converge(hamiltonian, start)
    torch.testing.assert_close(found[:, :, :NBAND], expected, rtol=0, atol=1e-12)
    assert_orthonormal(without, orbitals)


@pytest.mark.parametrize("name", ["GaN", "diamond"])
@pytest.mark.parametrize("largest", [MILD, BAD])
def test_single_precision_finds_the_same_states(name: str, largest: float) -> None:
    problem, hamiltonian = case(name, largest)
    orbitals = starting_orbitals(hamiltonian, problem.pseudopotentials, NBAND + SPARE)
    for _ in range(10):
        values, orbitals, _ = diagonalize(hamiltonian, orbitals, 3, 1e-5, single=True)
    assert orbitals.dtype == torch.complex128
    assert_orthonormal(hamiltonian, orbitals)
    expected = exact(hamiltonian)
    torch.testing.assert_close(values[:, :, :NBAND], expected, rtol=0, atol=2e-5)
    true, _, residuals = diagonalize(hamiltonian, orbitals, expansions=0)
    torch.testing.assert_close(true[:, :, :NBAND], expected, rtol=0, atol=1e-9)
    assert float(residuals[:, :, :NBAND].max()) < 5e-5


def test_orbitals_are_orthonormal_in_s_after_corrections_in_single_precision() -> None:
    """Of far bands, too, which a loose tolerance leaves far."""
    problem, hamiltonian = case("GaN", BAD)
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, NBAND + SPARE)
    assert_orthonormal(hamiltonian, diagonalize(hamiltonian, start, 3, 1e-3)[1])


def test_corrections_in_single_precision_cost_no_accuracy() -> None:
    problem, hamiltonian = case("GaN", BAD)
    basis, ks, dtypes = problem.basis, range(problem.basis.nk), []
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, NBAND + SPARE)
    goal = torch.full((basis.nk, NBAND + SPARE), 1e-9, dtype=torch.float64)
    goal[:, NBAND:] = torch.inf
    _, start, _ = converge(hamiltonian, start, 1e-6)

    def apply(block: Tensor) -> tuple[Tensor, Tensor]:
        dtypes.append(block.dtype)
        return hamiltonian.apply_both(block, 0, ks)

    values, orbitals, norms = davidson(
        apply, orthonormalize(start[0]), basis.kinetic, expansions=12, tolerance=goal
    )
    assert dtypes[0] == torch.complex128 and set(dtypes[1:]) == {torch.complex64}
    assert bool((norms < goal).all())
    image, overlap_image = hamiltonian.apply_both(orbitals, 0, ks)
    again = (image - values.unsqueeze(-1) * overlap_image).norm(dim=-1)
    torch.testing.assert_close(norms[:, :NBAND], again[:, :NBAND], rtol=0.1, atol=0.0)
    expected = exact(hamiltonian)[0]
    torch.testing.assert_close(values[:, :NBAND], expected, rtol=0, atol=1e-12)
    assert_orthonormal(hamiltonian, orbitals[None, :, :NBAND], atol=1e-11)


@pytest.mark.parametrize("what", ["coupling", "overlap"])
def test_an_eigenvalue_changes_by_the_expectation_of_dh_minus_e_ds(what: str) -> None:
    """<c| dH - e dS |c>, also where S is badly conditioned; by differences of eigenvalues."""
    name, spin, k = "GaN", 1, 1
    problem, hamiltonian = case(name, BAD)
    coupling, overlap = hamiltonian.coupled.coupling, hamiltonian.coupled.overlap
    assert overlap is not None
    noise = torch.randn(len(overlap), len(overlap), dtype=torch.float64)
    # Within atoms, so that S stays positive.
    change = (noise + noise.T) * (overlap != 0.0)
    start = starting_orbitals(hamiltonian, problem.pseudopotentials, NBAND + SPARE)
    values, orbitals, _ = converge(hamiltonian, start, 1e-11)
    projections = hamiltonian.coupled.project(orbitals[spin], range(problem.basis.nk))[k, :NBAND]
    matrix = change.to(projections.dtype)
    expected = torch.einsum("ni,ij,nj->n", projections.conj(), matrix, projections).real
    if what == "overlap":
        expected = -values[spin, k, :NBAND] * expected

    def levels(step: float) -> np.ndarray:
        moved = step * change
        found = (
            hamiltonian_of(problem, coupling + moved, overlap)
            if what == "coupling"
            else hamiltonian_of(problem, coupling, overlap + moved)
        )
        return scipy.linalg.eigh(*dense(found, spin, k), eigvals_only=True)[:NBAND]

    assert_derivative(expected, levels, 1e-3, rel=1e-6, scale=float(expected.abs().max()))


def test_an_overlap_that_is_not_positive_is_refused() -> None:
    problem, hamiltonian = case("GaN", MILD)
    overlap = hamiltonian.coupled.overlap
    assert overlap is not None
    broken = hamiltonian_of(problem, problem.fixed_coupling, -3.0 * overlap)
    rows = random_rows(broken, NBAND)
    with pytest.raises(DiagonalizationError, match="not positive definite"):
        converge(broken, rows)
