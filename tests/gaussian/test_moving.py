"""Parts of forces: weights, densities and matrices of atoms that move change as differences do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from pyscf import dft, gto, scf

from deepchem_xc.gaussian import Molecule
from deepchem_xc.gaussian.coulomb import Coulomb, Interaction
from deepchem_xc.gaussian.grid import Grid
from deepchem_xc.gaussian.moving_core import MovingCore, homes_of
from deepchem_xc.gaussian.moving_interaction import MovingInteraction
from deepchem_xc.gaussian.moving_points import MovingBlocks, add_gradient_of_rows
from deepchem_xc.gaussian.partition import Partition
from tests.differences import assert_agreement, differences

FITTING = "def2-universal-jkfit"


def water(basis: str = "6-31g") -> gto.Mole:
    return gto.M(atom="O 0 0 0; H 0 0 0.96; H 0.93 0.1 -0.24", basis=basis, verbose=0)


def moved(mole: gto.Mole, velocities: torch.Tensor, time: float) -> gto.Mole:
    positions = mole.atom_coords() + time * velocities.numpy()
    return mole.set_geom_(positions, unit="Bohr", inplace=False)


def symmetric(nspin: int, size: int) -> torch.Tensor:
    matrix = torch.randn(nspin, size, size, dtype=torch.float64)
    return matrix + matrix.mT


def velocities_of(mole: gto.Mole) -> torch.Tensor:
    return torch.randn(mole.natm, 3, dtype=torch.float64)


def assert_change(change: torch.Tensor, function: Any, rel: float = 1e-7) -> None:
    found = differences(function, 0.02, halvings=3)
    assert_agreement(change, found, rel, scale=float(change.abs().max()))


# weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["H2O", "SiH4", "He"])
def test_weights_are_those_of_the_grid(name):
    atoms = Atoms(name) if name == "He" else molecule(name)
    one = Molecule.of(atoms, basis="sto-3g")
    grid = Grid(one.mole, 1, False)
    weights = Partition(grid, torch.from_numpy(one.positions)).weights()
    assert torch.allclose(weights, grid.weights, rtol=1e-10, atol=1e-12)


def test_changes_of_weights_are_differences():
    mole = water()
    velocities = velocities_of(mole)
    grid = Grid(mole, 0, False)
    positions, coordinates = torch.from_numpy(mole.atom_coords()), grid.coordinates

    def weights(time: float) -> torch.Tensor:
        grid.coordinates = coordinates + time * velocities[grid.atoms]
        return Partition(grid, positions + time * velocities).weights()

    change = Partition(grid, positions).change(velocities)
    assert_change(change, weights)
    densities = torch.randn(grid.npoint, dtype=torch.float64)
    grid.coordinates = coordinates
    gradient = Partition(grid, positions).gradient(densities)
    assert float((gradient * velocities).sum()) == pytest.approx(float(change @ densities))
    assert float(gradient.sum(0).abs().max()) < 1e-9


# densities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("nrow", [1, 4, 5])
def test_changes_of_densities_are_differences(nrow):
    """Also in blocks that leave functions out."""
    mole = gto.M(atom="H 0 0 0; O 0 0.1 1; He 0 0 12", basis="6-31g", spin=1, verbose=0)
    grid, matrices, velocities = (
        Grid(mole, 1, nrow > 1),
        symmetric(2, mole.nao),
        velocities_of(mole),
    )
    assert any(block.functions is not None for block in grid.blocks())
    moving = MovingBlocks(grid, homes_of(mole), velocities)
    kind = {1: "LDA", 4: "GGA", 5: "MGGA"}[nrow]

    def rows(time: float) -> np.ndarray:
        points = (grid.coordinates + time * velocities[grid.atoms]).numpy()
        values = dft.numint.eval_ao(moved(mole, velocities, time), points, deriv=int(nrow > 1))
        found = [
            dft.numint.eval_rho(mole, values, one.numpy(), xctype=kind, with_lapl=False)
            for one in matrices
        ]
        return np.stack(found).reshape(2, nrow, -1)

    change = moving.rows(matrices, nrow)
    # Tight functions make truncation: at the nuclei they change within a tenth of a bohr.
    found = differences(rows, 2e-3, halvings=3)
    assert_agreement(change, found, 1e-7, scale=float(change.abs().max()))

    weights = torch.randn(2, nrow, grid.npoint, dtype=torch.float64)
    product = float((change * weights).sum())
    back = moving.matrices(weights, mole.nao)
    assert float((back * matrices).sum()) == pytest.approx(product, rel=1e-9)
    assert torch.equal(back, back.mT)
    gradient = torch.zeros_like(velocities)
    for batch in grid.batches_with_derivatives():
        add_gradient_of_rows(batch, matrices, weights, grid, homes_of(mole), gradient)
    assert float((gradient * velocities).sum()) == pytest.approx(product, rel=1e-9)


# one electron -------------------------------------------------------------------------------------


def core_of(name: str) -> gto.Mole:
    if name == "core potential":
        return Molecule.of(Atoms("HI", [[0, 0, 0], [0, 0.3, 1.6]]), basis="def2-svp").mole
    if name == "pseudopotential":  # titanium has two projectors of one momentum
        atoms = Atoms("TiO", [[0, 0, 0], [0, 0.3, 1.6]])
        basis = "gth-dzvp-molopt-sr"
        return Molecule.of(atoms, basis=basis, pseudopotentials="gth-pbe").mole
    return water()


@pytest.mark.parametrize("name", ["nuclei", "core potential", "pseudopotential"])
def test_changes_of_one_electron_matrices_are_differences(name):
    mole = core_of(name)
    velocities, (matrix,) = velocities_of(mole), symmetric(1, mole.nao)
    moving = MovingCore(mole)
    overlap, core = moving.overlap(velocities), moving.matrix(velocities)
    assert_change(overlap, lambda t: moved(mole, velocities, t).intor("int1e_ovlp"))
    assert_change(core, lambda t: scf.hf.get_hcore(moved(mole, velocities, t)))
    for change, gradient in (
        (overlap, moving.overlap_gradient(matrix)),
        (core, moving.gradient(matrix)),
    ):
        product = float((change * matrix).sum())
        assert float((gradient * velocities).sum()) == pytest.approx(product, rel=1e-9)
        assert float(gradient.sum(0).abs().max()) < 1e-9


def test_the_change_of_the_core_is_pyscfs():
    mole = water()
    one = scf.RHF(mole).nuc_grad_method().hcore_generator(mole)
    for atom in range(mole.natm):
        for axis in range(3):
            velocities = torch.zeros(mole.natm, 3, dtype=torch.float64)
            velocities[atom, axis] = 1.0
            assert np.allclose(MovingCore(mole).matrix(velocities), one(atom)[axis], atol=1e-11)


# two electrons ------------------------------------------------------------------------------------


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("fitting", [None, FITTING])
def test_changes_of_interactions_are_differences(fitting, nspin):
    mole = water()
    velocities, density = velocities_of(mole), 0.1 * symmetric(nspin, mole.nao)
    interactions = [Interaction(), Interaction(0.3)]
    moving = MovingInteraction(mole, fitting)
    coulomb, exchange = moving.matrices(density, velocities, interactions)

    def matrices(time: float) -> np.ndarray:
        at = Coulomb(moved(mole, velocities, time), fitting)
        j, k = at.matrices(density, interactions)
        return torch.stack([j[None].expand_as(density), *k]).numpy()

    found = differences(matrices, 0.02, halvings=3)
    for i, change in enumerate((coulomb.expand_as(density), *exchange)):
        # Rounding of fitted long-ranged integrals is amplified: see `fitted_interaction`.
        rel = 1e-5 if fitting and i == 2 else 1e-7
        assert_agreement(change, found[i], rel, scale=float(change.abs().max()))
    total = density.sum(0)
    energy = 0.5 * float((total * coulomb).sum())
    factors = dict(zip(interactions, (0.3, 0.7), strict=True))
    for factor, change in zip(factors.values(), exchange, strict=True):
        energy -= 0.5 * factor * float((density * change).sum())
    gradient = moving.gradient(density, factors)
    rel = 1e-6 if fitting else 1e-9
    assert float((gradient * velocities).sum()) == pytest.approx(energy, rel=rel)
    assert float(gradient.sum(0).abs().max()) < 1e-9


def test_fitted_gradients_are_pyscfs():
    mole = water()
    calculation = scf.RHF(mole).density_fit(auxbasis=FITTING).run()
    expected = calculation.nuc_grad_method()
    density = torch.from_numpy(np.array(calculation.make_rdm1()))[None]
    j, k = expected.get_jk(mole, density[0].numpy())
    homes = homes_of(mole)
    on_functions = 2.0 * torch.einsum(
        "xij,ij->ix", torch.from_numpy(np.array(j - 0.5 * k)), density[0]
    )
    total = torch.from_numpy((j.aux - 0.5 * k.aux).sum((0, 1)).copy())
    total.index_add_(0, homes, on_functions)
    gradient = MovingInteraction(mole, FITTING).gradient(density, {Interaction(): 0.5})
    assert torch.allclose(gradient, total, atol=1e-9)
