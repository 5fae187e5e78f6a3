"""Data sets, checkpoints and densities that version 0.1.0 wrote are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from deepchem.data import DiskDataset
from deepchem.models.optimizers import ExponentialDecay

from deepchem_xc.models import XCModel
from deepchem_xc.planewave import DensityRecord, scf
from deepchem_xc.xc import PBE

FILES = Path(__file__).parent / "written_by_0.1.0"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())


@pytest.fixture
def stored(tmp_path: Path) -> DiskDataset:
    return DiskDataset(str(shutil.copytree(FILES / "dataset", tmp_path / "dataset")))


def test_a_stored_data_set(stored: DiskDataset) -> None:
    energy, gap, curve, molecule = stored.X
    assert [entry.entry_type for entry in stored.X] == ["energy", "band_gap", "eos", "ae"]
    assert (energy.name, energy.get_true_val(), gap.get_weight()) == ("silicon", [-214.0], 0.5)
    assert curve.scales == (1.1, 1.05, 1.0, 0.95, 0.9)
    assert molecule.systems[0].moldesc == "H 0.86625 0 0; F -0.86625 0 0"
    assert [entry.identity for entry in stored.X] == EXPECTED["identities"]
    # Densities that were kept under these names are found again.
    keys = [[one.key for one in entry.calculations] for entry in (energy, gap, curve)]
    assert keys == EXPECTED["keys"]


def test_a_training_goes_on_from_a_checkpoint(stored: DiskDataset) -> None:
    rate = ExponentialDecay(1e-2, 0.9, 1)
    model = XCModel(
        functional=PBE(trainable=True), batch_size=1, scf_interval=3, learning_rate=rate
    )
    functional = model.functional
    model.restore(str(FILES / "checkpoint.pt"))
    assert (
        torch.cat([p.detach().flatten() for p in functional.parameters()]).tolist()
        == (EXPECTED["weights"])
    )
    assert (model.epoch, model.get_global_step()) == (EXPECTED["epoch"], EXPECTED["global_step"])
    assert [record.loss for record in model.history] == [EXPECTED["loss"]]
    model.fit(stored.select([0, 1]), nb_epoch=2, checkpoint_interval=0)
    # The energy is that at the kept density: of the last epoch only the gap was calculated.
    assert [record.calculations for record in model.history][-1] == 1
    assert [record.loss for record in model.history] == pytest.approx(
        EXPECTED["resumed_losses"], rel=1e-6
    )
    assert torch.cat([p.detach().flatten() for p in functional.parameters()]).tolist() == (
        pytest.approx(EXPECTED["resumed_weights"], abs=1e-6)
    )


def test_a_stored_density(stored: DiskDataset) -> None:
    start = DensityRecord.load(FILES / "silicon.npz")
    assert start.notes == "silicon" and start.orbitals is not None
    system = stored.X[0].systems[0]
    result = scf(system.atoms, "PBE", start=start, **system.keywords)
    assert float(result.free_energy) == pytest.approx(EXPECTED["free_energy"], abs=1e-8)
    assert result.nsteps <= 3  # it is the solution already
