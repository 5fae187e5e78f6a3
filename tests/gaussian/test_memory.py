"""Memory: what a calculation needs is known before, and too little of it is refused."""

from __future__ import annotations

import pytest
import torch
from ase.build import molecule
from pyscf import gto

from deepchem_xc.gaussian import Molecule, coulomb, kept_parts, memory, scf
from deepchem_xc.gaussian.grid import KEPT_VALUES, Grid
from deepchem_xc.gaussian.memory import available_memory, check_memory, needed_memory
from deepchem_xc.gaussian.shared_memory import SharedMemory


def made(name: str, basis: str = "def2-svp") -> gto.Mole:
    return Molecule.of(molecule(name), basis=basis).mole


def test_the_estimate_is_what_the_grid_and_its_values_take() -> None:
    mole = made("C2H2")
    needed = needed_memory(mole, 3, 4, 1)
    grid = Grid(mole, 3, derivatives=True)
    assert grid.npoint == pytest.approx(needed["grid"] / (8 * (4 + 2 * 4)), rel=1e-3)
    kept = sum(4 * mole.nao * (b.points.stop - b.points.start) * 8 for b in grid.blocks())
    assert needed["basis functions"] == pytest.approx(kept, rel=1e-3)


def test_the_estimate_grows_with_the_molecule_as_what_it_counts() -> None:
    one, many = made("CH4"), made("C6H6")
    first, last = (needed_memory(mole, 1, 4, 1) for mole in (one, many))
    assert last["matrices"] / first["matrices"] == pytest.approx((many.nao / one.nao) ** 2)
    assert last["integrals"] / first["integrals"] == pytest.approx(
        (many.nao / one.nao) ** 4, rel=0.1
    )
    assert needed_memory(one, 1, 4, 2)["matrices"] == 2 * first["matrices"]
    # Values that are not kept are computed in batches, whose size is that of the basis set alone.
    large = made("C6H6", "def2-qzvp")
    finest = [needed_memory(large, level, 4, 1)["basis functions"] for level in (8, 9)]
    assert finest[0] == finest[1] < KEPT_VALUES


def test_the_estimate_of_fitted_integrals_is_what_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = SharedMemory(2**30)
    monkeypatch.setattr(coulomb, "ALL_INTEGRALS", kept)
    mole, fitting = made("CH4"), "def2-universal-jkfit"
    one = coulomb.Coulomb(mole, fitting)
    one.matrices(torch.eye(mole.nao, dtype=torch.float64)[None])
    assert needed_memory(mole, 1, 4, 1, fitting)["integrals"] == kept.used > 0


def test_what_other_molecules_keep_is_available(monkeypatch: pytest.MonkeyPatch) -> None:
    mole = made("C6H6")
    total = sum(needed_memory(mole, 3, 4, 1).values())
    kept = SharedMemory(2**40)
    monkeypatch.setattr(memory, "ALL_INTEGRALS", kept)
    monkeypatch.setattr(memory, "available_memory", lambda: 0.5 * total)
    with pytest.raises(ValueError, match="GiB of memory"):
        check_memory(mole, 3, 4, 1)
    other = coulomb.Coulomb(mole)
    kept.keep(other, int(0.6 * total))
    check_memory(mole, 3, 4, 1)


def test_too_little_memory_is_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    mole = made("C6H6")
    total = sum(needed_memory(mole, 3, 4, 1).values())
    check_memory(mole, 3, 4, 1, available=1.01 * total)
    with pytest.raises(
        ValueError, match=r"at least 0\.\d+ GiB .*114 basis functions.*0\.1 GiB are"
    ):
        check_memory(mole, 3, 4, 1, available=0.1 * 2**30)
    monkeypatch.setattr(memory, "available_memory", lambda: 1e6)

    def no_grid(*arguments: object) -> None:
        raise AssertionError("the grid is not to be made")

    monkeypatch.setattr(kept_parts, "Grid", no_grid)
    with pytest.raises(ValueError, match="GiB of memory"):
        scf(molecule("C6H6"), "PBE", basis="def2-svp")
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    with pytest.raises(AssertionError, match="the grid is not to be made"):
        scf(molecule("C6H6"), "PBE", basis="def2-svp")


def test_the_machine_says_what_is_available_or_nothing() -> None:
    found = available_memory()
    assert found is None or found > 0
