"""Real orbitals at k-points that time reversal keeps are the complex ones in another gauge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, scf
from deepchem_xc.planewave import problem as problem_module
from deepchem_xc.planewave.basis.grid_pieces import GridPieces
from deepchem_xc.planewave.basis.inversion_gauge import InversionGauge
from deepchem_xc.planewave.basis.time_reversal_gauge import TimeReversalGauge, is_reversible
from deepchem_xc.planewave.density import density_from_orbitals, density_from_real_orbitals
from deepchem_xc.planewave.fields import Potential
from deepchem_xc.planewave.hamiltonian import LocalOperator
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.response.pair_density import pair_fields
from tests.crystals import FIXED, doubles, fcc

GAMMA = [[0.0, 0.0, 0.0]]
# Whole and half coordinates: lists of different lengths, so that some are padded.
HALVES = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5]]


def silicon_carbide(displacement: float = 0.02) -> Crystal:
    positions = doubles([[displacement, 0.0, 0.0], [0.25, 0.25 - displacement, 0.25]])
    return Crystal(fcc(8.24), ("Si", "C"), positions)


def problem(points: list[list[float]] = HALVES, functional: str = "PBE") -> KohnShamProblem:
    basis = PlaneWaveBasis(silicon_carbide(), 6.0, points, symmetry=False)
    return make_problem(basis, functional, "gth-pbe", FIXED)


def gauge_of(chosen: KohnShamProblem) -> TimeReversalGauge:
    assert isinstance(chosen.gauge, TimeReversalGauge)
    return chosen.gauge


def real_rows(basis: PlaneWaveBasis, n: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((basis.nk, n, basis.npw), dtype=torch.float64, generator=generator)
    return noise * basis.mask.unsqueeze(1)


def test_whole_and_half_coordinates_are_kept_by_time_reversal() -> None:
    basis = problem().basis
    assert is_reversible(basis)
    assert not is_reversible(basis.with_kpoints([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0]]))


def test_a_mesh_that_time_reversal_moves_keeps_complex_orbitals() -> None:
    basis = PlaneWaveBasis(silicon_carbide(), 4.0, {"size": (3, 1, 1), "gamma": True})
    assert make_problem(basis, "PBE", "gth-pbe", FIXED).gauge is None
    with pytest.raises(ValueError, match="whole or half coordinates"):
        TimeReversalGauge(basis, torch.zeros((basis.nk, 0, basis.npw), dtype=torch.complex128))


def test_an_inversion_centre_takes_precedence() -> None:
    crystal = Crystal(fcc(10.26), ("Si", "Si"), doubles([[0.0] * 3, [0.25] * 3]))
    chosen = make_problem(PlaneWaveBasis(crystal, 4.0, (1, 1, 1)), "PBE", "gth-pbe", FIXED)
    assert isinstance(chosen.gauge, InversionGauge)


def test_real_rows_are_real_functions_of_space() -> None:
    chosen = problem()
    basis, gauge = chosen.basis, gauge_of(chosen)
    everywhere = slice(0, basis.nk)
    waves = gauge.to_complex(real_rows(basis, 2), everywhere)
    grid = chosen.pieces.to_grid(waves, everywhere)
    axes = [torch.arange(n, dtype=torch.float64) / n for n in basis.orbital_fft_size]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    angle = 2.0 * torch.pi * torch.einsum("xyzi,ki->kxyz", points, basis.k_coordinates)
    functions = grid * torch.polar(torch.ones_like(angle), angle).unsqueeze(1)
    assert float(functions.imag.abs().max()) < 1e-12 * float(functions.real.abs().max())


def test_the_gauge_is_unitary_and_keeps_the_padding_empty() -> None:
    chosen = problem()
    basis, gauge = chosen.basis, gauge_of(chosen)
    assert min(basis.npw_per_k) < basis.npw
    everywhere, rows = slice(0, basis.nk), real_rows(basis, 3)
    waves = gauge.to_complex(rows, everywhere)
    torch.testing.assert_close((waves @ waves.mH).real, rows @ rows.mT)
    torch.testing.assert_close(gauge.transformed(waves, everywhere), rows.to(waves.dtype))
    assert float((waves * (1.0 - basis.mask)[:, None]).abs().max()) == 0.0
    for n in (1, 2, 5):
        rows = real_rows(basis, n)
        again = gauge.from_waves(gauge.to_waves(rows, everywhere), n, everywhere)
        torch.testing.assert_close(again, rows)


@pytest.mark.parametrize("nband", [1, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_hamiltonian_acts_the_same_on_real_and_complex_orbitals(
    nband: int, dtype: torch.dtype
) -> None:
    chosen = problem()
    gauge, ks, here = gauge_of(chosen), range(1, 4), slice(1, 4)
    h = chosen.hamiltonian(chosen.effective_potential(chosen.starting_fields())[0])
    real = real_rows(chosen.basis, nband)[here].to(dtype)
    image = h.apply(gauge.to_complex(real, here), 0, ks)
    rtol = {torch.float64: 1e-12, torch.float32: 1e-5}[dtype]
    scale = float(image.abs().max())
    found = gauge.to_complex(h.apply(real, 0, ks), here)
    torch.testing.assert_close(found, image, rtol=0, atol=rtol * scale)


def test_the_operator_of_a_meta_gga_acts_the_same() -> None:
    chosen = problem()
    basis, gauge = chosen.basis, gauge_of(chosen)
    noise = torch.randn((1, *basis.fft_size), dtype=torch.float64)
    v, v_tau = basis.to_sphere(noise), basis.to_sphere(noise.square())
    operator = LocalOperator(GridPieces(basis), Potential(v, v_tau), gauge)
    ks, here, real = range(basis.nk), slice(0, basis.nk), real_rows(basis, 3)
    image = operator.apply(gauge.to_complex(real, here), 0, ks)
    found = gauge.to_complex(operator.apply(real, 0, ks), here)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-12 * float(image.abs().max()))


def test_matrices_between_whole_pairs_of_plane_waves_have_the_same_levels() -> None:
    chosen = problem()
    gauge = gauge_of(chosen)
    h = chosen.hamiltonian(chosen.effective_potential(chosen.starting_fields())[0])
    for k in range(chosen.basis.nk):
        for count in range(20, 26):
            matrix, places = h.dense(0, k, count)
            real, whole = gauge.to_real_matrix(matrix, k, places)
            assert count / 2 < len(whole) <= count
            kept = torch.isin(places, whole)
            expected = torch.linalg.eigvalsh(matrix[kept][:, kept])
            torch.testing.assert_close(torch.linalg.eigvalsh(real), expected)


@pytest.mark.parametrize("tau", [False, True])
def test_densities_agree_without_symmetrisation(tau: bool) -> None:
    chosen = problem()
    basis, gauge = chosen.basis, gauge_of(chosen)
    orbitals = gauge.to_complex(real_rows(basis, 5), slice(0, basis.nk)).unsqueeze(0)
    weighted = torch.rand((2, 1, basis.nk, 5), dtype=torch.float64)
    weighted[1, :, :, :2] = 0.0
    pieces = GridPieces(basis)
    factor = basis.orbital_q[..., 1] if tau else None
    expected = density_from_orbitals(pieces, orbitals, weighted, factor)
    packed = density_from_real_orbitals(pieces, gauge, orbitals, weighted, factor)
    torch.testing.assert_close(packed, expected)


def test_densities_of_pairs_agree() -> None:
    chosen = problem()
    basis, gauge = chosen.basis, gauge_of(chosen)
    ks, here = range(basis.nk), slice(0, basis.nk)
    left, right = real_rows(basis, 3), real_rows(basis, 3, seed=2)
    found = pair_fields(chosen.pieces, gauge, left, right, ks, tau=True)
    rows = gauge.to_complex(left, here), gauge.to_complex(right, here)
    expected = pair_fields(chosen.pieces, None, *rows, ks, tau=True)
    torch.testing.assert_close(found.density, expected.density)
    torch.testing.assert_close(found.tau, expected.tau)


@pytest.mark.parametrize("case", ["PBE", "r2SCAN", "spin", "PAW"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_energy_forces_and_stress_are_those_of_complex_orbitals(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crystal, points = silicon_carbide(), HALVES if case == "PBE" else GAMMA
    options = {"occupations": FIXED, "convergence": {"energy": 1e-12, "density": 1e-9}}
    if case == "PAW":
        pytest.importorskip("gpaw_data")
        options["pseudopotentials"] = "paw-pbe"
    if case == "spin":
        crystal = Crystal(crystal.lattice, crystal.symbols, crystal.positions, (1.0, 0.5))
        options["occupations"] = {"name": "fermi-dirac", "width": 0.02}

    def ground_state() -> tuple[bool, np.ndarray, np.ndarray]:
        basis = PlaneWaveBasis(crystal, 7.0, points, symmetry=False)
        result = scf(basis, "r2SCAN" if case == "r2SCAN" else "PBE", **options)
        numbers = [result.free_energy.reshape(1), result.forces.flatten(), result.stress.flatten()]
        levels = result.eigenvalues[:, :, :4].flatten()  # empty ones are rough
        return result.problem.gauge is not None, torch.cat(numbers).numpy(), levels.numpy()

    real, numbers, levels = ground_state()
    monkeypatch.setattr(problem_module, "is_reversible", lambda basis: False)
    complex_, expected, expected_levels = ground_state()
    assert real and not complex_
    assert numbers[0] == pytest.approx(expected[0], abs=1e-10)
    np.testing.assert_allclose(numbers[1:], expected[1:], rtol=0, atol=1e-7)
    np.testing.assert_allclose(levels, expected_levels, rtol=0, atol=2e-7)


def test_a_gradient_is_that_of_complex_orbitals(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient() -> Tensor:
        strength = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
        chosen = problem(GAMMA)
        lattice = chosen.basis.crystal.lattice * (1.0 + strength)
        basis = chosen.basis.with_geometry(lattice=lattice)
        result = scf(basis, "PBE", occupations=FIXED)
        loss = result.eigenvalues[0, 0, :4].sum() + result.density.square().mean()
        return torch.autograd.grad(loss, strength)[0]

    found = gradient()
    monkeypatch.setattr(problem_module, "is_reversible", lambda basis: False)
    torch.testing.assert_close(found, gradient(), rtol=1e-6, atol=0)
