"""Parts of the solver: integrals, the grid and its sums, rotations of orbitals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from ase.build import molecule
from pyscf import dft, gto, scf

from deepchem_xc.gaussian.coulomb import Coulomb, Interaction
from deepchem_xc.gaussian.grid import Grid
from deepchem_xc.gaussian.inputs import make_problem
from deepchem_xc.gaussian.point_densities import add_potential_matrix, rows_on_grid
from deepchem_xc.gaussian.rotations import Rotations, pair_product
from deepchem_xc.gaussian.semilocal import Semilocal
from deepchem_xc.gaussian.states import diagonalised
from deepchem_xc.xc import get_xc


def water(basis: str = "6-31g") -> gto.Mole:
    return gto.M(atom="O 0 0 0; H 0 0 0.96; H 0.93 0 -0.24", basis=basis, verbose=0)


def symmetric(nspin: int, size: int) -> torch.Tensor:
    matrix = torch.randn(nspin, size, size, dtype=torch.float64)
    return matrix + matrix.mT


# integrals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("omega", [0.0, 0.3])
@pytest.mark.parametrize("nspin", [1, 2])
def test_kept_and_repeated_integrals_are_pyscfs(nspin, omega):
    mole = water()
    matrices = symmetric(nspin, mole.nao)
    j, k = scf.hf.get_jk(mole, matrices.numpy())
    if omega:
        with mole.with_range_coulomb(omega):
            _, k = scf.hf.get_jk(mole, matrices.numpy())
    for memory in (10**9, 0):
        coulomb, (exchange,) = Coulomb(mole, memory=memory).matrices(matrices, [Interaction(omega)])
        assert np.abs(coulomb.numpy() - j.sum(0)).max() < 1e-9
        assert np.abs(exchange.numpy() - k).max() < 1e-9


def test_fitted_integrals_are_near():
    mole = water()
    matrices = symmetric(1, mole.nao)
    exact, (k,) = Coulomb(mole).matrices(matrices, [Interaction()])
    fitted = Coulomb(mole, "def2-universal-jkfit").matrices(matrices, [Interaction()])
    assert 0.0 < float((fitted[0] - exact).abs().max()) < 1e-2
    assert 0.0 < float((fitted[1][0] - k).abs().max()) < 1e-2


def test_pickles_hold_no_integrals():
    coulomb = Coulomb(water())
    before = coulomb.matrices(symmetric(1, 13))[0]
    assert len(pickle.dumps(coulomb)) < 10**5
    torch.manual_seed(0)
    again = pickle.loads(pickle.dumps(coulomb)).matrices(symmetric(1, 13))[0]
    assert before.shape == again.shape


# grid ---------------------------------------------------------------------------------------------


def test_points_are_pyscfs_and_values_are_kept_or_not():
    mole = water("def2-svp")
    theirs = dft.gen_grid.Grids(mole)
    theirs.level = 1
    theirs.build()
    grids = Grid(mole, 1, True), Grid(mole, 1, True, memory=0)
    assert np.array_equal(grids[0].coordinates.numpy(), theirs.coords)
    assert np.array_equal(grids[0].weights.numpy(), theirs.weights)
    for _ in range(2):  # the second pass reads what the first one kept
        kept, fresh = (list(grid.blocks()) for grid in grids)
        assert all(torch.equal(a.values, b.values) for a, b in zip(kept, fresh, strict=True))
    assert next(grids[0].blocks()) is kept[0] and next(grids[1].blocks()) is not fresh[0]


def test_blocks_leave_out_functions_that_are_negligible():
    mole = gto.M(atom="He 0 0 0; He 0 0 12", basis="sto-3g", verbose=0)
    sizes = {block.values.shape[1] for block in Grid(mole, 2, False).blocks()}
    assert sizes >= {1}


@pytest.mark.parametrize("distance", [0.96, 9.0])
def test_densities_at_points_are_pyscfs(distance):
    """Also of molecules so long that blocks leave functions out."""
    mole = gto.M(atom=f"O 0 0 0; H 0 0 {distance}", basis="6-31g", spin=1, verbose=0)
    grid, matrices = Grid(mole, 1, True), symmetric(2, mole.nao)
    rows = rows_on_grid(matrices, grid, 5)
    values = dft.numint.eval_ao(mole, grid.coordinates.numpy(), deriv=1)
    for matrix, row in zip(matrices, rows):
        expected = dft.numint.eval_rho(mole, values, matrix.numpy(), xctype="MGGA", with_lapl=False)
        assert np.abs(row.numpy() - expected).max() < 1e-9 * np.abs(expected).max()


@pytest.mark.parametrize("nrow", [1, 4, 5])
def test_potentials_are_the_transpose_of_densities(nrow):
    grid, matrices = Grid(water(), 0, True), symmetric(2, 13)
    weights = torch.randn(2, nrow, grid.npoint, dtype=torch.float64)
    back = torch.zeros_like(matrices)
    add_potential_matrix(grid.blocks(), weights, back)
    forward = (rows_on_grid(matrices, grid, nrow) * weights).sum()
    assert float((back * matrices).sum()) == pytest.approx(float(forward), rel=1e-10)
    assert torch.equal(back, back.mT)
    matrices.requires_grad_()
    (slope,) = torch.autograd.grad((rows_on_grid(matrices, grid, nrow) * weights).sum(), matrices)
    assert torch.allclose(slope, back)


@pytest.mark.parametrize("name", ["LDA", "PBE", "r2SCAN"])
@pytest.mark.parametrize("nspin", [1, 2])
def test_potential_and_kernel_are_derivatives_of_the_energy(name, nspin):
    mole = water()
    semilocal = Semilocal(get_xc(name), Grid(mole, 0, True))
    guess = torch.from_numpy(scf.hf.get_init_guess(mole))[None]
    density = guess if nspin == 1 else torch.cat([0.6 * guess, 0.4 * guess])
    change, h = 0.02 * symmetric(nspin, mole.nao), 1e-3
    ahead, behind = (semilocal.energy_and_potential(density + s * h * change) for s in (1, -1))
    slope = float((semilocal.energy_and_potential(density)[1] * change).sum())
    assert (ahead[0] - behind[0]) / (2 * h) == pytest.approx(slope, rel=1e-6)
    response = semilocal.kernel(density)(change)
    assert torch.allclose((ahead[1] - behind[1]) / (2 * h), response, rtol=1e-4, atol=1e-6)


# rotations ----------------------------------------------------------------------------------------

KINDS = {"H2O": {}, "NH2": {"spin": 1}, "CH3": {"spin": 1, "restricted": "open"}}


@pytest.mark.parametrize("name", KINDS)
def test_gradient_and_hessian_of_rotations_are_differences_of_energies(name):
    problem = make_problem(molecule(name), "PBE0", basis="sto-3g", grid_level=0, **KINDS[name])
    states = diagonalised(problem, problem.core[None].repeat(len(KINDS[name]) % 2 + 1, 1, 1))
    kernel = problem.kernel(states.density)

    def turned(orbitals: torch.Tensor) -> tuple[float, Rotations]:
        density = (orbitals * states.filling[:, None, :]) @ orbitals.mT
        potential = problem.potential(density)
        return potential.energy, Rotations(orbitals, states.filling, potential.fock, kernel)

    _, rotations = turned(states.orbitals)
    kappa = torch.randn_like(rotations.gradient)
    kappa = torch.where(rotations.mixing, kappa - kappa.mT, 0.0)
    # Energies are not smooth where a spin density is almost empty, and second differences of them
    # too rough: the curvature is that of gradients. In the worst of 20 directions 4e-7 of the slope
    # and 6e-5 of the curvature are lost.
    h = 3e-5
    ahead, behind = (turned(rotations.turned(s * h * kappa)) for s in (1, -1))
    slope = float(pair_product(rotations.gradient, kappa))
    bend = float(pair_product(kappa, rotations.product(kappa)))
    assert (ahead[0] - behind[0]) / (2 * h) == pytest.approx(slope, rel=1e-4)
    change = float(pair_product(ahead[1].gradient - behind[1].gradient, kappa))
    assert change / (2 * h) == pytest.approx(bend, rel=1e-3)
