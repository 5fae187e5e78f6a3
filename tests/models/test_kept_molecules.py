"""Trainings on molecules: grids and integrals are made once, and the result is the same."""

from __future__ import annotations

import gc
import pickle
from collections import Counter
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytest
import torch
from pyscf import gto

from deepchem_xc.data import DFTEntry
from deepchem_xc.feat import molecules
from deepchem_xc.gaussian import coulomb, grid, kept_parts
from deepchem_xc.gaussian.shared_memory import SharedMemory
from deepchem_xc.models import XCModel
from deepchem_xc.xc import PBE, XCFunctional
from tests.models.molecules import atomisation, system
from tests.models.systems import ROUNDING, dataset

# Labels of zeros hold no electrons.
pytestmark = pytest.mark.filterwarnings("ignore::deepchem_xc.feat.OtherElectronsWarning")


@pytest.fixture(autouse=True)
def unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal molecules that are still in use are shared: no other test's may be found here."""
    monkeypatch.setattr(molecules, "_IN_USE", WeakValueDictionary())


def entries() -> list[DFTEntry]:
    """Eight calculations of six molecules: open shells, an ion, a fitted interaction."""
    more = {"basis": "sto-3g"}
    fitted = system("H2O", density_fitting="def2-universal-jkfit", **more)
    empty = DFTEntry.create("dm", None, [fitted])
    zeros = np.zeros(empty.kind.label_shape(empty))
    return [
        DFTEntry.create("ae", 0.09, atomisation("LiH", {"Li": 1, "H": 1}, **more)),
        DFTEntry.create("ie", 0.2, [system("Li", **more), system("Li", charge=1, spin=0, **more)]),
        DFTEntry.create("ae", 0.2, atomisation("H2", {"H": 2}, **more)),
        DFTEntry.create("dm", zeros, [fitted]),
    ]


def trained(
    made: list[DFTEntry], functional: XCFunctional, epochs: int = 3, **more: Any
) -> XCModel:
    model = XCModel(functional=functional, scf_interval=1, batch_size=1, learning_rate=1e-3)
    model.fit(dataset(*made), nb_epoch=epochs, checkpoint_interval=0)
    return model


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls that make points, values of basis functions and integrals between electrons."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, label: str) -> None:
        method = getattr(owner, name)

        def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
            if name != "intor" or str(arguments[0]).startswith("int2e"):
                counts[label] += 1
            return method(self, *arguments, **keywords)

        monkeypatch.setattr(owner, name, call)

    count(grid.Grid, "__init__", "points")
    count(grid.Grid, "_evaluated", "values")
    count(gto.Mole, "intor", "integrals")
    return counts


def test_only_the_first_epoch_makes_points_values_and_integrals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = entries()
    counts = counted(monkeypatch)
    model = trained(made, PBE(trainable=True), epochs=1)
    # Entries share their atoms, and the fitted molecule has no exact integrals.
    assert (counts["points"], counts["integrals"]) == (6, 5)
    assert counts["values"] >= 6
    counts.clear()
    model.fit(dataset(*made), nb_epoch=2, checkpoint_interval=0)
    assert not counts
    assert [record.calculations for record in model.history] == [8, 8, 8]


def test_a_training_is_the_one_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = entries()
    counts = counted(monkeypatch)
    with monkeypatch.context() as without:
        without.setattr(kept_parts, "ALL_PARTS", SharedMemory(0))
        without.setattr(grid, "ALL_VALUES", SharedMemory(0))
        without.setattr(coulomb, "ALL_INTEGRALS", SharedMemory(0))
        models = [trained(made, PBE(trainable=True))]
    # Only a molecule that follows itself has what it made before.
    assert counts["points"] > 2 * 6
    counts.clear()
    models.append(trained(made, PBE(trainable=True)))
    assert counts["points"] <= 6
    weights = [torch.stack([*model.functional.parameters()]).detach() for model in models]
    assert float((weights[0] - weights[1]).abs().max()) < ROUNDING
    assert (
        float((weights[0] - torch.stack([*PBE(trainable=True).parameters()]).detach()).abs().max())
        > 1e-3
    )


def test_what_molecules_keep_goes_with_their_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    memories = {
        (kept_parts, "ALL_PARTS"): SharedMemory(2**28),
        (grid, "ALL_VALUES"): SharedMemory(2**28),
        (coulomb, "ALL_INTEGRALS"): SharedMemory(2**28),
    }
    for (room, name), memory in memories.items():
        monkeypatch.setattr(room, name, memory)
    made = entries()
    model = trained(made, PBE(trainable=True), epochs=1)
    assert all(memory.used > 0 for memory in memories.values())
    del made
    gc.collect()
    assert [memory.used for memory in memories.values()] == [0, 0, 0]
    assert model.history


def test_calculations_go_to_other_processes_without_what_they_keep() -> None:
    entry = DFTEntry.create("ae", 0.1, atomisation("LiH", {"Li": 1, "H": 1}))
    sizes = [len(pickle.dumps(entry.calculations))]
    trained([entry], PBE(trainable=True), epochs=1)
    parts = entry.calculations[0].molecule.parts
    assert parts.grid(0, True).nbytes > 5 * 10**4
    sizes.append(len(pickle.dumps(entry.calculations)))
    assert sizes[1] - sizes[0] < 10**4
