"""Couplings of projectors that mix angular momenta, and the overlap S."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis
from deepchem_xc.planewave.fields import Potential
from deepchem_xc.planewave.hamiltonian import Hamiltonian
from deepchem_xc.planewave.inputs import make_problem
from tests.crystals import SMEARED, TRICLINIC, doubles
from tests.planewave.coupled_cases import (
    CENTRED,
    CRYSTALS,
    hamiltonian_of,
    mixing_coupling,
    momenta,
    overlap_matrix,
    problem_of,
)


def case(name: str) -> Hamiltonian:
    problem = problem_of(name)
    coupling = mixing_coupling(problem, name)
    return hamiltonian_of(problem, coupling, overlap_matrix(problem, name, 10.0))


def random_rows(basis: PlaneWaveBasis, nband: int) -> Tensor:
    shape = (basis.nk, nband, basis.npw)
    return torch.randn(shape, dtype=torch.complex128) * basis.mask.unsqueeze(1)


@pytest.mark.parametrize("name", CRYSTALS)
def test_h_and_s_are_multiplication_by_their_dense_matrices(name: str) -> None:
    hamiltonian = case(name)
    basis = hamiltonian.basis
    rows = random_rows(basis, 3)
    for spin in range(hamiltonian.nspin):
        image, overlap_image = hamiltonian.apply_both(rows, spin, range(basis.nk))
        for k in range(basis.nk):
            matrix, chosen = hamiltonian.dense(spin, k, basis.npw_per_k[k])
            overlap = hamiltonian.dense_overlap(k, chosen)
            assert float((overlap - torch.eye(len(chosen))).abs().max()) > 0.1
            x = rows[k][:, chosen]
            torch.testing.assert_close(image[k][:, chosen], x @ matrix.T, rtol=0, atol=1e-10)
            expected = x @ overlap.T
            torch.testing.assert_close(overlap_image[k][:, chosen], expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", CRYSTALS)
def test_both_images_are_those_of_each_alone(name: str) -> None:
    hamiltonian = case(name)
    ks = range(1, hamiltonian.basis.nk)
    rows = random_rows(hamiltonian.basis, 3)[1:]
    image, overlap_image = hamiltonian.apply_both(rows, 0, ks)
    torch.testing.assert_close(image, hamiltonian.apply(rows, 0, ks), rtol=0, atol=1e-12)
    alone = hamiltonian.apply_overlap(rows, ks)
    torch.testing.assert_close(overlap_image, alone, rtol=0, atol=1e-12)


def test_without_an_overlap_s_is_one() -> None:
    problem = problem_of("GaN")
    hamiltonian = hamiltonian_of(problem, problem.fixed_coupling)
    ks = range(problem.basis.nk)
    rows = random_rows(problem.basis, 2)
    image, overlap_image = hamiltonian.apply_both(rows, 1, ks)
    assert overlap_image is rows and hamiltonian.apply_overlap(rows, ks) is rows
    torch.testing.assert_close(image, hamiltonian.apply(rows, 1, ks), rtol=0, atol=0)
    _, chosen = hamiltonian.dense(0, 0, 5)
    assert torch.equal(hamiltonian.dense_overlap(0, chosen), torch.eye(5, dtype=torch.complex128))


def test_spins_have_their_own_couplings() -> None:
    """The difference of both is that of potentials and couplings, nothing else."""
    problem = problem_of("GaN")
    coupling = mixing_coupling(problem, "GaN")
    both = hamiltonian_of(problem, coupling)
    rows, ks = random_rows(problem.basis, 2), range(problem.basis.nk)
    for spin in (0, 1):
        one = hamiltonian_of(problem, coupling[spin])
        torch.testing.assert_close(both.apply(rows, spin, ks), one.apply(rows, spin, ks))
    other = hamiltonian_of(problem, coupling[0]).apply(rows, 1, ks)
    assert float((both.apply(rows, 1, ks) - other).abs().max()) > 1e-2


@pytest.mark.parametrize("name", CENTRED)
def test_h_and_s_act_the_same_on_real_and_complex_orbitals(name: str) -> None:
    hamiltonian = case(name)
    basis, gauge = hamiltonian.basis, hamiltonian.gauge
    assert gauge is not None
    ks, here = range(basis.nk), slice(0, basis.nk)
    real = random_rows(basis, 4).real.contiguous()
    found = hamiltonian.apply_both(real, 0, ks)
    expected = hamiltonian.apply_both(gauge.to_complex(real, here), 0, ks)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(gauge.to_complex(ours, here), theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", CENTRED)
def test_atoms_on_a_centre_keep_their_number_of_real_projectors(name: str) -> None:
    """Others need twice as many. At Gamma: else, all centres but one have phases of k."""
    basis = PlaneWaveBasis(problem_of(name).basis.crystal, 5.0, (1, 1, 1))
    problem = make_problem(basis, "PBE", "gth-pbe", SMEARED)
    assert problem.gauge is not None
    images = CENTRED[name][2]
    wanted = sum(
        len(momenta(problem, a)) * (1 if a == images[a] else 2) for a in range(len(images))
    )
    assert problem.gauge.projectors.shape[1] == wanted


def pair(positions: Tensor, lattice: Tensor, k: list[float], dipole: float = 1.0) -> np.ndarray:
    """Levels of two different atoms, each with a coupling of s and p, as a dipole makes it.

    The dipoles point along the first and the second lattice vector, times `dipole`.
    """
    basis = PlaneWaveBasis(Crystal(lattice, ("Al", "Si"), positions), 4.0, [k], symmetry=False)
    problem = make_problem(basis, "PBE", "gth-pbe", SMEARED)
    blocks = []
    for symbol, direction in zip(("Al", "Si"), lattice, strict=False):
        s, p = (len(channel.coupling) for channel in problem.pseudopotentials[symbol].channels)
        block = torch.zeros(2 * [s + 3 * p], dtype=torch.float64)
        # Rows are those of s, then those of p by m and number: couple the first of each.
        block[0, s::p] = block[s::p, 0] = dipole * direction / 6.0
        blocks.append(block)
    mixed = problem.fixed_coupling + torch.block_diag(*blocks)
    potential = Potential(torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128))
    hamiltonian = Hamiltonian(basis, potential, problem.projectors, mixed)
    matrix, _ = hamiltonian.dense(0, 0, basis.npw_per_k[0])
    return np.linalg.eigvalsh(matrix.numpy())[:12]


PLACES = doubles([[0.02, -0.03, 0.05], [0.31, 0.27, 0.24]])
K = [0.21, -0.13, 0.34]


def test_time_reversal_makes_levels_at_k_and_minus_k_equal() -> None:
    """Functions that are real in space do that, whatever couples them: it needs (-i)^l."""
    there, back = (pair(PLACES, TRICLINIC, [sign * x for x in K]) for sign in (1.0, -1.0))
    np.testing.assert_allclose(there, back, rtol=0, atol=1e-12)
    # The coupling matters, and so does k.
    assert np.abs(there - pair(PLACES, TRICLINIC, K, dipole=0.0)).max() > 1e-3
    assert np.abs(there - pair(PLACES, TRICLINIC, [0.21, 0.13, 0.34])).max() > 1e-3


def test_couplings_of_s_and_p_turn_with_the_crystal() -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    turned = TRICLINIC @ torch.tensor(turn.T)
    found, expected = pair(PLACES, turned, K), pair(PLACES, TRICLINIC, K)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_dipoles_change_their_sign_with_an_inversion_of_the_crystal() -> None:
    """The s-p coupling with its factor (-i) does; the levels tell one sign from the other."""
    expected = pair(PLACES, TRICLINIC, K)
    inverted = pair(-PLACES, TRICLINIC, K, dipole=-1.0)
    np.testing.assert_allclose(inverted, expected, rtol=0, atol=1e-11)
    assert np.abs(pair(-PLACES, TRICLINIC, K) - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("coupling", "overlap", "message"),
    [
        ((2, 2), None, r"coupling of 3 projectors has shape \(2, 2\)"),
        ((1, 1, 3, 3), None, r"coupling of 3 projectors has shape \(1, 1, 3, 3\)"),
        ((3, 3), (2, 3, 3), r"overlap matrix of 3 projectors has shape \(2, 3, 3\)"),
        ((3, 3, 3), None, "1 spin channels, but the projectors have 3 couplings"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(
    coupling: tuple[int, ...], overlap: tuple[int, ...] | None, message: str
) -> None:
    basis = problem_of("diamond").basis
    potential = Potential(torch.zeros(1, len(basis.g_vectors), dtype=torch.complex128))
    rows = torch.zeros(basis.nk, 3, basis.npw, dtype=torch.complex128)
    matrix = None if overlap is None else torch.zeros(overlap, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        given = torch.zeros(coupling, dtype=torch.float64)
        Hamiltonian(basis, potential, rows, given, overlap=matrix)


def test_real_orbitals_need_a_gauge() -> None:
    hamiltonian = case("GaN")
    rows = random_rows(hamiltonian.basis, 1).real
    with pytest.raises(ValueError, match="with a gauge"):
        hamiltonian.apply_overlap(rows, range(hamiltonian.basis.nk))
