"""Checkpoints: a resumed training is an uninterrupted one, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from deepchem.models.optimizers import ExponentialDecay, GradientDescent, PolynomialDecay

from deepchem_xc.data import DFTEntry
from deepchem_xc.feat import crystal_calculation
from deepchem_xc.models import XCModel
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.planewave import DensityRecord, SCFResult, scf
from deepchem_xc.xc import NNLDA, PBE, ConstrainedGGA, HybridXC
from tests.models.systems import (
    SCALES,
    Enhanced,
    aluminium,
    dataset,
    make,
    three_entries,
    weights,
)


@pytest.mark.parametrize(
    "rate",
    [
        pytest.param(2e-3, id="constant", marks=pytest.mark.slow),
        pytest.param(ExponentialDecay(2e-3, 0.5, 2), id="exponential"),
        pytest.param("polynomial", marks=pytest.mark.slow),
    ],
)
def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, rate: Any
) -> None:
    if rate == "polynomial":
        rate = PolynomialDecay(2e-3, 1e-4, 10)
    data = dataset(*three_entries())
    straight = make(learning_rate=rate, batch_size=2)
    straight.fit(data, nb_epoch=5, checkpoint_interval=0)

    class Interrupt(Exception):
        pass

    def interrupt(model: XCModel, step: int) -> None:
        if step == 5:  # in the middle of the third epoch
            raise Interrupt

    broken = make(tmp_path, learning_rate=rate)
    with pytest.raises(Interrupt):
        broken.fit(data, nb_epoch=5, checkpoint_interval=1, callbacks=interrupt)
    resumed = make(tmp_path, seed=1, learning_rate=rate)  # other weights at first
    resumed.restore()
    assert (resumed.epoch, resumed.get_global_step()) == (2, 5)
    other = make(tmp_path, learning_rate=rate, batch_size=1)
    with pytest.raises(ValueError, match="after 1 of 2 batches .* cannot continue with 3"):
        other.fit(data, nb_epoch=1, checkpoint_interval=0, restore=True)
    resumed.fit(data, nb_epoch=3, checkpoint_interval=0, restore=True)
    assert [record.epoch for record in resumed.history] == [0, 1, 2, 3, 4]
    assert resumed.history[2].counts == {"energy": 1, "stress": 1, "band_gap": 1}
    assert weights(resumed).numpy() == pytest.approx(weights(straight).numpy(), abs=1e-7)
    assert [r.loss for r in resumed.history] == pytest.approx(
        [r.loss for r in straight.history], rel=1e-4
    )


def test_old_checkpoints_go_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    model = make(tmp_path)
    model.fit(
        dataset(three_entries()[0]), nb_epoch=4, checkpoint_interval=1, max_checkpoints_to_keep=2
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint1.pt", "checkpoint2.pt"]
    assert len(model.get_checkpoints()) == 2
    model.restore(str(tmp_path / "checkpoint2.pt"))
    assert model.epoch == 4  # written at the end once more
    path = tmp_path / "checkpoint1.pt"
    path.write_bytes(path.read_bytes()[:1000])
    before = weights(model)
    with pytest.raises(ValueError, match="not a complete checkpoint"):
        model.restore()
    for foreign in (torch.ones(2), [1], None, {"format": "deepchem_xc training 1"}):
        torch.save(foreign, path)
        with pytest.raises(ValueError, match="not a complete checkpoint"):
            model.restore()
    with pytest.raises(ValueError, match="there is no checkpoint"):
        make(tmp_path / "empty").restore()
    assert torch.equal(weights(model), before)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    make(tmp_path).save_checkpoint()
    other = XCModel(functional=Enhanced(width=5), model_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"network.0.bias has shape \(4,\) there and \(5,\) here"):
        other.restore()
    with pytest.raises(ValueError, match=r"functional.terms.0.kappa is missing in it"):
        XCModel(functional=PBE(trainable=True), model_dir=str(tmp_path)).restore()
    with pytest.raises(ValueError, match="written with the optimiser Adam, but this model has SGD"):
        make(tmp_path, optimizer=GradientDescent(1e-3)).restore()
    scheduled = make(tmp_path, learning_rate=ExponentialDecay(1e-3, 0.9, 1))
    with pytest.raises(ValueError, match="without a learning-rate schedule"):
        scheduled.restore()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: ConstrainedGGA(), lambda: ConstrainedGGA(lieb_oxford=False)),
        (lambda: ConstrainedGGA(), lambda: ConstrainedGGA(uniform_limit=False)),
        (lambda: HybridXC("lda_x", layers()), lambda: HybridXC("LDA", layers())),
        (lambda: NNLDA(layers()), lambda: NNLDA(layers(torch.nn.SiLU()))),
    ],
)
def test_a_checkpoint_of_a_functional_of_the_same_shapes(
    one: Any, other: Any, tmp_path: Path
) -> None:
    XCModel(functional=one(), model_dir=str(tmp_path)).save_checkpoint()
    XCModel(functional=one(), model_dir=str(tmp_path)).restore()
    with pytest.raises(ValueError, match="same names and shapes as those of .* something else"):
        XCModel(functional=other(), model_dir=str(tmp_path)).restore()


def layers(activation: torch.nn.Module | None = None) -> torch.nn.Module:
    middle = torch.nn.Tanh() if activation is None else activation
    return torch.nn.Sequential(torch.nn.Linear(2, 3), middle, torch.nn.Linear(3, 1))


def test_a_training_of_some_parameters_is_resumed(tmp_path: Path) -> None:
    data = dataset(three_entries()[0])
    model, straight = make(tmp_path), make()
    for m in (model, straight):
        m.fit(data, nb_epoch=1, variables=[m.functional.network[2].bias])
    again = make(tmp_path, seed=1)
    again.restore()
    assert torch.equal(weights(again), weights(model))
    with pytest.raises(ValueError, match="trained parameters were: network.2.bias; now .* all"):
        make(tmp_path).fit(data, nb_epoch=1, restore=True)
    for m in (again, straight):
        m.fit(data, 1, checkpoint_interval=0, variables=[m.functional.network[2].bias])
    assert weights(again).numpy() == pytest.approx(weights(straight).numpy(), abs=1e-8)


@pytest.mark.parametrize("predicted", [False, True])
def test_restored_densities_start_with_orbitals_of_a_neighbouring_volume(
    predicted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint holds densities and no orbitals."""
    entry = DFTEntry.create("lattice_constant", 4.05, [aluminium(ecut=100.0)], scales=SCALES)
    states = GroundStates(PBE())
    energies = states.energies(entry.calculations, epoch=0)
    starts: list[DensityRecord] = []

    def spied(*arguments: Any, start: DensityRecord, **options: Any) -> SCFResult:
        starts.append(start)
        return scf(*arguments, start=start, **options)

    monkeypatch.setattr(crystal_calculation, "scf", spied)
    restored = GroundStates(PBE(), interval=1)
    restored.load_state_dict(states.state_dict())
    if predicted:
        again = restored.predicted_energies(entry.calculations)
    else:
        again = restored.energies(entry.calculations, epoch=1)
    assert again.numpy() == pytest.approx(energies.numpy(), abs=1e-7)
    assert [start.orbitals is None for start in starts] == [True] + [False] * 4
    volumes = [float(start.crystal.volume / starts[0].crystal.volume) for start in starts]
    assert sorted(volumes) == pytest.approx(SCALES)  # the density is each volume's own
