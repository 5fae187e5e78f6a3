"""Grid and integrals of a molecule are made once for all its calculations, and change no result."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import molecule
from pyscf import df, gto

from deepchem_xc.gaussian import Molecule, kept_parts, scf
from deepchem_xc.gaussian.coulomb import Coulomb, Interaction
from deepchem_xc.gaussian.grid import Grid
from deepchem_xc.gaussian.inputs import make_problem, starting_density
from deepchem_xc.gaussian.shared_memory import SharedMemory
from deepchem_xc.xc import PBE

FITTING = "def2-universal-jkfit"


def made(name: str = "H2O") -> Molecule:
    return Molecule.of(molecule(name), basis="6-31g")


def count(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, counts: Counter[str]) -> None:
    """Count the calls of a method."""
    method = getattr(owner, name)

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        counts[arguments[0] if name == "intor" else name] += 1
        return method(self, *arguments, **keywords)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize("fitting", [None, FITTING])
def test_the_second_calculation_makes_no_grid_values_and_integrals(
    fitting: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    for owner, name in ((Grid, "__init__"), (Grid, "_evaluated"), (df.DF, "build")):
        count(monkeypatch, owner, name, counts)
    count(monkeypatch, gto.Mole, "intor", counts)
    water, functional = made(), PBE(trainable=True)

    def calculate() -> Counter[str]:
        counts.clear()
        result = scf(water, functional, grid_level=0, density_fitting=fitting)
        result.density_matrix.square().sum().backward()
        names = ("__init__", "_evaluated", "build", "int2e")
        return Counter({name: counts[name] for name in names if counts[name]})

    first = calculate()
    assert first["__init__"] == 1 and first["_evaluated"] >= 1
    assert (first["int2e"], first["build"]) == ((1, 0) if fitting is None else (0, 1))
    with torch.no_grad():
        for parameter in functional.parameters():
            parameter.mul_(1.01)
    assert calculate() == Counter()


@pytest.mark.parametrize("fitting", [None, FITTING])
@pytest.mark.parametrize("name", ["LDA", "PBE", "PBE0", "HSE06", "r2SCAN"])
def test_matrices_with_kept_parts_are_those_with_new_ones(name: str, fitting: str | None) -> None:
    words: dict[str, Any] = {"grid_level": 0, "density_fitting": fitting}
    water = made()
    density = starting_density(make_problem(water, name, **words))
    # Functionals that need other values and ranges, another grid and another fit come first.
    for other, changes in (("LDA", {}), ("HSE06", {}), ("PBE", {"grid_level": 1})):
        make_problem(water, other, **{**words, **changes}).potential(density)
    kept = make_problem(water, name, **words)
    kept.potential(density)
    again, new = (make_problem(one, name, **words) for one in (water, made()))
    assert again.grid is kept.grid and again.coulomb is kept.coulomb
    for found in (again.potential(density), kept.potential(density)):
        expected = new.potential(density)
        assert float((found.fock - expected.fock).abs().max()) < 1e-12
        assert found.energy == pytest.approx(expected.energy, rel=1e-13)
    change = density.square()
    response = again.kernel(density)(change) - new.kernel(density)(change)
    assert float(response.abs().max()) < 1e-12


def test_parts_follow_level_ingredients_and_fitting() -> None:
    parts = made().parts
    first = parts.grid(0, True)
    assert parts.grid(0, True) is first
    assert parts.grid(1, True).npoint > first.npoint
    assert next(parts.grid(0, False).blocks()).values.shape[0] == 1
    assert next(parts.grid(0, True).blocks()).values.shape[0] == 4
    exact = parts.coulomb(None)
    assert parts.coulomb(None) is exact
    assert parts.coulomb(FITTING).fitting == FITTING
    assert parts.coulomb(None).fitting is None


def test_molecules_share_a_limit_and_do_not_grow_with_a_data_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    molecules = [made(name) for name in ("H2O", "NH3", "CH4", "HF", "CO", "N2")]
    sizes = [Grid(one.mole, 0, True).nbytes for one in molecules]
    memory = SharedMemory(2 * max(sizes))
    monkeypatch.setattr(kept_parts, "ALL_PARTS", memory)
    grids = []
    for one in molecules:
        grids.append(one.parts.grid(0, True))
        assert memory.used <= memory.limit
    assert molecules[-1].parts.grid(0, True) is grids[-1]
    again = molecules[0].parts.grid(0, True)
    assert again is not grids[0]
    assert torch.allclose(again.weights, grids[0].weights, rtol=1e-12, atol=0.0)
    assert torch.allclose(again.coordinates, grids[0].coordinates, rtol=1e-12, atol=1e-12)


def test_the_size_of_a_grid_is_that_of_its_arrays() -> None:
    grid = made().parts.grid(0, True)
    assert grid.nbytes >= 8 * grid.npoint * (3 + 1 + 1 + 1)
    arrays = [one for one in vars(grid).values() if isinstance(one, (torch.Tensor, np.ndarray))]
    shifts = grid.radii_shifts.nbytes
    assert grid.nbytes == sum(one.nbytes for one in arrays) - shifts


def test_pickles_of_molecules_hold_no_parts() -> None:
    water = made()
    before = scf(water, "PBE", grid_level=0)
    content = pickle.dumps(water)
    assert len(content) < before.coordinates.nbytes
    again = scf(pickle.loads(content), "PBE", grid_level=0)
    assert float(again.energy) == pytest.approx(float(before.energy), abs=1e-9)


@pytest.mark.parametrize("omega", [0.0, 0.3])
def test_fitted_integrals_do_not_depend_on_what_is_kept(
    omega: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    count(monkeypatch, df.DF, "build", counts)
    mole = made().mole
    matrices = torch.randn(2, mole.nao, mole.nao, dtype=torch.float64)
    matrices = matrices + matrices.mT
    kept, repeated = Coulomb(mole, FITTING), Coulomb(mole, FITTING, memory=0)
    first = kept.matrices(matrices)[0]
    assert counts["build"] == 1
    assert float((repeated.matrices(matrices)[0] - first).abs().max()) < 1e-9
    assert counts["build"] == 1  # Coulomb alone does not need all integrals at the same time
    exchange = [Interaction(omega)]
    both = kept.matrices(matrices, exchange)
    counts.clear()
    assert float((kept.matrices(matrices, exchange)[1][0] - both[1][0]).abs().max()) < 1e-9
    assert counts["build"] == 0
    kept.release()
    coulomb, (found,) = kept.matrices(matrices, exchange)
    assert counts["build"] == 1 + bool(omega)
    assert float((coulomb - first).abs().max()) < 1e-9
    assert float((found - both[1][0]).abs().max()) < 1e-9


def test_fitted_integrals_count_with_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SharedMemory(2**30)
    monkeypatch.setattr("deepchem_xc.gaussian.coulomb.ALL_INTEGRALS", memory)
    mole = made().mole
    coulomb = Coulomb(mole, FITTING)
    density = torch.eye(mole.nao, dtype=torch.float64)[None]
    pairs = mole.nao * (mole.nao + 1) // 2
    coulomb.matrices(density)
    one = 8 * pairs * df.addons.make_auxmol(mole, FITTING).nao
    assert memory.used == one
    coulomb.matrices(density, [Interaction(), Interaction(0.3)])
    assert memory.used == 2 * one
