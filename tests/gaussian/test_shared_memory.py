"""What calculations keep together stays below a limit, and results do not depend on it."""

from __future__ import annotations

import gc

import pytest
import torch
from ase.build import molecule

from deepchem_xc.gaussian import coulomb, grid, scf
from deepchem_xc.gaussian.shared_memory import SharedMemory
from deepchem_xc.xc import PBE


class Kept:
    """Counts how often it released."""

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


def test_the_oldest_release_until_all_fits() -> None:
    memory, keepers = SharedMemory(100), [Kept() for _ in range(4)]
    for keeper, size in zip(keepers, (30, 30, 30, 60)):
        memory.keep(keeper, size)
    assert [keeper.released for keeper in keepers] == [1, 1, 0, 0]
    memory.keep(keepers[2], 40)  # what it held before does not count
    assert [keeper.released for keeper in keepers] == [1, 1, 0, 0]
    memory.keep(keepers[0], 1000)  # more than the limit: alone
    assert [keeper.released for keeper in keepers] == [1, 1, 1, 1]


def test_those_that_are_gone_do_not_count() -> None:
    memory, first, last = SharedMemory(100), Kept(), Kept()
    memory.keep(first, 90)
    another = Kept()
    memory.keep(another, 10)
    del first
    gc.collect()
    memory.keep(last, 90)
    assert (another.released, last.released) == (0, 0)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_gradients_of_several_molecules_do_not_depend_on_what_is_kept(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "ALL_VALUES", SharedMemory(limit))
    monkeypatch.setattr(coulomb, "ALL_INTEGRALS", SharedMemory(limit))
    functional = PBE(trainable=True)
    (kappa, *_) = functional.parameters()

    def loss(name: str) -> torch.Tensor:
        result = scf(molecule(name), functional, basis="6-31g", grid_level=0)
        results.append(result)
        return result.density_matrix.square().sum()

    results: list = []
    alone = [float(torch.autograd.grad(loss(name), kappa)[0]) for name in ("H2O", "NH3")]
    results.clear()
    together = loss("H2O") + loss("NH3")
    if limit == 0:  # the second one released what the first one kept
        assert results[0].problem.grid._kept is None
        assert not results[0].problem.coulomb._kept
    (found,) = torch.autograd.grad(together, kappa)
    assert float(found) == pytest.approx(sum(alone), rel=1e-7)
