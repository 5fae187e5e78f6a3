"""Training a network with probe points on random points of the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from deepchem.data import NumpyDataset

from deepchem_xc.densities import (
    AtomDensityNetwork,
    DensityLoss,
    DensityPredictor,
    ProbeDensityNetwork,
)
from deepchem_xc.densities.references import Reference, errors_of, loss_of
from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord

SMALL: dict[str, Any] = {"channels": 2, "l_max": 1, "l_probe": 1, "cutoff": 3.0, "layers": 1}


def rattled(seed: int) -> Atoms:
    # Three different edges, so that no two axes of the grid may be exchanged.
    atoms = bulk("Si", cubic=True)[:3]
    atoms.set_cell([4.0, 5.0, 6.0])
    atoms.rattle(0.3, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def predictor() -> DensityPredictor:
    return DensityPredictor(ProbeDensityNetwork({"Si": 4}, "total", **SMALL), "gth-pbe")


@pytest.fixture(scope="module")
def record() -> DensityRecord:
    network = AtomDensityNetwork({"Si": 4}, channels=2, l_max=1, layers=1)
    return DensityPredictor(network, "gth-pbe").record(rattled(1), 120.0)


@pytest.mark.parametrize("kind", ["absolute", "squared"])
def test_all_points_give_the_error_of_the_density(record: DensityRecord, kind: str) -> None:
    reference = Reference.of(
        DensityPredictor(AtomDensityNetwork({"Si": 4}, "total"), "gth-pbe"), record
    )
    basis, wanted = reference.basis, reference.wanted
    other = 0.9 * wanted
    loss = DensityLoss(kind, points=10)
    at_points = loss.error_at_points(basis, basis.to_grid(other - wanted).flatten(1))
    assert float(at_points) == pytest.approx(float(loss.error(basis, other, wanted)), rel=1e-9)


def test_a_step_compares_the_density_where_its_points_are(
    predictor: DensityPredictor, record: DensityRecord
) -> None:
    """A network compared with itself differs only by what the sphere leaves out."""
    reference = Reference.of(predictor, record)
    basis, network = reference.basis, predictor.network
    assert isinstance(network, ProbeDensityNetwork)
    with torch.no_grad():
        own = network.on_grid(basis)
    density = basis.to_sphere(own)
    itself = Reference(basis, reference.neighbours, density, density, reference.electrons)
    left_out = (own - basis.to_grid(itself.wanted)).abs().mean() * basis.volume
    spread = (own - own.mean()).abs().mean() * basis.volume
    assert left_out < 0.3 * spread  # otherwise any points would do
    loss = DensityLoss("absolute", points=500)
    found = loss_of(predictor, [itself], loss, None, (3,)) * reference.electrons
    assert found.item() == pytest.approx(left_out.item(), rel=0.3)
    (error,) = errors_of(predictor, [itself], points=500)
    assert error == pytest.approx(100.0 * float(left_out) / reference.electrons, rel=0.3)


def test_points_follow_from_the_step(predictor: DensityPredictor, record: DensityRecord) -> None:
    reference, loss = Reference.of(predictor, record), DensityLoss("absolute", points=20)
    one, again, other = (loss_of(predictor, [reference], loss, None, d) for d in [(1,), (1,), (2,)])
    assert one.item() == again.item() != other.item()
    one.backward()
    network = predictor.network
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.output.parameters())
    assert errors_of(predictor, [reference], 20) == errors_of(predictor, [reference], 20)


def test_a_training_at_points_goes_on_bit_by_bit(record: DensityRecord, tmp_path: Path) -> None:
    x = np.empty(1, dtype=object)
    x[0] = record
    data = NumpyDataset(x, np.zeros((1, 1)))

    def model(folder: str) -> DensityModel:
        options: dict[str, Any] = {"network_options": SMALL, "progress": False}
        loss = DensityLoss("absolute", points=20)
        where = str(tmp_path / folder)
        return DensityModel("Si", network="points", loss=loss, model_dir=where, **options)

    whole = model("whole")
    whole.fit(data, 4, checkpoint_interval=0, validation=data)
    model("parts").fit(data, 2, checkpoint_interval=2, validation=data)
    resumed = model("parts")
    resumed.fit(data, 2, checkpoint_interval=0, restore=True, validation=data)
    for one, other in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)
    errors = [record.validation_loss for record in whole.history]
    assert errors == [record.validation_loss for record in resumed.history]
    # Validation is at points, too: the same ones as here.
    reference = Reference.of(whole.predictor, record)
    assert errors[-1] == errors_of(whole.predictor, [reference], 20)[0]


def test_a_network_without_points_and_wrong_numbers_are_refused(record: DensityRecord) -> None:
    predictor = DensityPredictor(AtomDensityNetwork({"Si": 4}, channels=2, l_max=1), "gth-pbe")
    with pytest.raises(ValueError, match="network='points'"):
        loss_of(predictor, [Reference.of(predictor, record)], DensityLoss("absolute", points=5))
    with pytest.raises(ValueError, match="all plane waves"):
        DensityLoss("coulomb", points=5)
    with pytest.raises(ValueError, match="points"):
        DensityLoss("absolute", points=0)
