"""Models of densities that are trained on free energies, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from deepchem.data import NumpyDataset

from deepchem_xc.densities import energy_reference
from deepchem_xc.densities.energy_reference import EnergyReference
from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, non_self_consistent, scf
from deepchem_xc.xc import PBE
from tests.differences import assert_derivative

SMALL: dict[str, Any] = {"channels": 4, "l_max": 1}


def strained(symbol: str, seed: int = 0) -> Atoms:
    atoms = bulk(symbol)
    rng = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), True)
    return atoms


SETTINGS: dict[str, dict[str, Any]] = {
    "Si": {"ecut": 200.0, "kpts": (2, 1, 1), "occupations": "fixed"},
    "Al": {
        "ecut": 100.0,
        "kpts": [[0.1, 0.2, 0.3], [0.4, -0.2, 0.1]],
        "occupations": {"name": "marzari-vanderbilt", "width": 0.4},
    },
}


def dataset(*records: Any) -> NumpyDataset:
    x = np.empty(len(records), dtype=object)
    x[:] = records
    return NumpyDataset(x, np.zeros((len(records), 1)))


def record(symbol: str, seed: int = 0, **keywords: Any) -> DensityRecord:
    return DensityRecord.of(scf(strained(symbol, seed), **{**SETTINGS[symbol], **keywords}))


@pytest.fixture(scope="module", params=["Si", "Al"])
def new(request: pytest.FixtureRequest) -> tuple[DensityModel, DensityRecord]:
    """An untrained model, whose density is not far from superposed atoms, and what it may learn."""
    model = DensityModel(request.param, network_options=SMALL, progress=False)
    return model, record(request.param)


def test_the_gradient_of_the_energy_is_that_of_differences(
    new: tuple[DensityModel, DensityRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With respect to the weights of the network, along a random direction."""
    model, kept = new
    (found,) = model.predict(dataset(kept))
    assert float(found.density.min()) > 0.0, "functionals are not smooth at negative densities"
    reference = EnergyReference.of(model.predictor, kept)
    parameters = list(model.network.parameters())
    before = [p.detach().clone() for p in parameters]
    generator = torch.Generator().manual_seed(1)
    along = [
        p.square().mean().sqrt() * torch.randn(p.shape, generator=generator, dtype=torch.float64)
        for p in before
    ]
    error = reference.error(model.predictor)
    slopes = torch.autograd.grad(error, parameters, materialize_grads=True, allow_unused=True)
    slope = sum(float((g * a).sum()) for g, a in zip(slopes, along, strict=True))

    @torch.no_grad()
    def at(x: float) -> float:
        try:
            for p, start, direction in zip(parameters, before, along, strict=True):
                p.copy_(start + float(x) * direction)
            return float(reference.error(model.predictor))
        finally:
            for p, start in zip(parameters, before, strict=True):
                p.copy_(start)

    monkeypatch.setattr(energy_reference, "_RESIDUAL", 1e-9)  # differences need less noise
    assert_derivative(slope, at, 0.002, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Kohn-Sham and Harris")
def test_it_is_the_energy_without_a_loop_at_the_records_settings(
    new: tuple[DensityModel, DensityRecord],
) -> None:
    model, kept = new
    symbol = kept.crystal.symbols[0]
    expected = non_self_consistent(strained(symbol), density=model, **SETTINGS[symbol])
    reference = EnergyReference.of(model.predictor, kept)
    error = float(reference.error(model.predictor).detach()) * kept.crystal.natom
    assert kept.free_energy is not None
    assert error == pytest.approx(float(expected.free_energy) - kept.free_energy, abs=1e-8)
    assert abs(error) > 1e-6
    errors = model.energy_errors(dataset(kept))
    assert errors[0] == pytest.approx(error / kept.crystal.natom * 27.211386, rel=1e-5)


def test_a_training_on_energies_lowers_their_error_and_can_be_resumed(tmp_path: Path) -> None:
    kept = record("Al")
    data = dataset(kept)

    def model(folder: str) -> DensityModel:
        return DensityModel(
            "Al",
            network_options=SMALL,
            learning_rate=0.01,
            energy_weight=300.0,
            model_dir=str(tmp_path / folder),
            progress=False,
        )

    whole = model("whole")
    before = abs(whole.energy_errors(data)[0])
    losses: list[float] = []
    first = whole.fit(data, 1, checkpoint_interval=1, all_losses=losses)
    whole.energy_weight = 0.0
    density_alone = float(whole.evaluate(data)["density_error"])
    whole.energy_weight = 300.0
    whole.fit(data, 7, checkpoint_interval=0)
    assert abs(whole.energy_errors(data)[0]) < before / 2
    assert whole.evaluate(data)["density_error"] < density_alone
    assert first > 0.01
    resumed = DensityModel(
        "Al", network_options=SMALL, learning_rate=0.01, energy_weight=300.0,
        model_dir=str(tmp_path / "whole"), progress=False,
    )  # fmt: skip
    resumed.fit(data, 7, checkpoint_interval=0, restore=True)
    pairs = zip(whole.network.parameters(), resumed.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_records_without_their_energy_or_of_other_settings_are_refused() -> None:
    kept = record("Si")
    model = DensityModel("Si", network_options=SMALL, energy_weight=1.0, progress=False)

    def refused(message: str, given: DensityRecord, at: DensityModel = model) -> None:
        with pytest.raises(ValueError, match=message):
            at.fit(dataset(given), 1, checkpoint_interval=0)

    assert kept.ecut is not None
    refused("has no free_energy", replace(kept, free_energy=None))
    refused("has no free_energy", kept.at(0.8 * kept.ecut))
    refused("has no k_coordinates, k_weights", replace(kept, k_coordinates=None, k_weights=None))
    refused(
        "Ha/atom away from the record's",
        replace(kept, smearing={"name": "fermi-dirac", "width": 0.1}),
    )
    between = torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64)
    refused("k-points are not those of a 2 x 1 x 1 mesh", replace(kept, k_coordinates=between))
    changed = PBE(trainable=True)
    next(changed.parameters()).data += 0.1
    model = DensityModel("Si", network_options=SMALL, functional=changed, energy_weight=1.0)
    refused("another functional than PBE as it is now", kept, model)
    for weight in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="energy_weight must be at least 0"):
            DensityModel("Si", energy_weight=weight)
