"""Models of densities on a CUDA device are those of the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from deepchem.data import NumpyDataset

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, non_self_consistent, scf
from tests.devices import DEVICES, GPU

pytestmark = pytest.mark.gpu

SETTINGS: dict[str, Any] = {"ecut": 100.0, "kpts": {"size": (2, 2, 2), "gamma": True}}
NETWORKS: dict[str, dict[str, Any]] = {
    "atoms": {"network_options": {"channels": 4, "l_max": 1}},
    "points": {"network_options": {"channels": 4, "l_max": 1, "l_probe": 1, "cutoff": 3.0}},
}


def silicon(seed: int = 1) -> Atoms:
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=seed)
    return atoms


def iron() -> Atoms:
    atoms = bulk("Fe")
    atoms.set_initial_magnetic_moments([2.3])
    return atoms


def record(atoms: Atoms, **more: Any) -> DensityRecord:
    return DensityRecord.of(scf(atoms, "PBE", **(SETTINGS | more)), orbitals=False)


def dataset(*records: DensityRecord) -> NumpyDataset:
    x = np.empty(len(records), dtype=object)
    x[:] = records
    return NumpyDataset(x, np.zeros((len(records), 1)))


def model(device: str, network: str = "atoms", elements: str = "Si", **options: Any) -> Any:
    made = DensityModel(
        elements,
        network=network,
        device=device,
        progress=False,
        learning_rate=0.01,
        **(NETWORKS[network] | options),
    )
    assert all(parameter.device.type == device for parameter in made.network.parameters())
    return made


def density(found: Any) -> torch.Tensor:
    return found.density.detach().cpu()


@pytest.mark.parametrize("target", ["difference", "total"])
@pytest.mark.parametrize("network", NETWORKS)
def test_training_prediction_and_errors(network: str, target: str) -> None:
    data = dataset(record(silicon(1)), record(silicon(2)))
    losses, errors, found = [], [], []
    for device in DEVICES:
        one = model(device, network, target=target)
        losses.append([one.fit(data, 1, checkpoint_interval=0) for _ in range(2)])
        errors.append(one.compare(data))
        found.append(density(one.predict([silicon(3)], ecut=100.0)[0]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-8)
    assert errors[1] == pytest.approx(errors[0], rel=1e-8)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-9)


def test_training_on_a_magnets_density_with_moments_scaled_at_random() -> None:
    data = dataset(record(iron(), ecut=200.0))
    losses = []
    for device in DEVICES:
        one = model(device, elements="Fe", spin=True)
        losses.append([one.fit(data, 1, checkpoint_interval=0) for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-8)


def test_training_on_the_energies_of_predicted_densities() -> None:
    data = dataset(record(silicon(1)))
    errors, losses = [], []
    for device in DEVICES:
        one = model(device, energy_weight=1.0)
        losses.append(one.fit(data, 2, checkpoint_interval=0))
        errors.append(one.energy_errors(data))
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert errors[1] == pytest.approx(errors[0], abs=1e-6)


@pytest.mark.parametrize(("first", "second"), [DEVICES, DEVICES[::-1]])
def test_a_training_goes_on_on_the_other_device(first: str, second: str, tmp_path: Path) -> None:
    data = dataset(record(silicon(1)), record(silicon(2)))
    begun = model(first, model_dir=str(tmp_path / "moved"))
    begun.fit(data, 2)
    moved = model(second, model_dir=str(tmp_path / "moved"))
    moved.fit(data, 2, restore=True)
    alone = model("cpu")
    alone.fit(data, 4, checkpoint_interval=0)
    assert moved.epoch == alone.epoch == 4
    for name, expected in alone.network.state_dict().items():
        torch.testing.assert_close(
            moved.network.state_dict()[name].cpu(), expected, rtol=0, atol=1e-8
        )


def test_files_move_between_devices(tmp_path: Path) -> None:
    model(GPU).save(tmp_path / "there.safetensors")
    found = [
        DensityModel.load(tmp_path / "there.safetensors", device=device).predict(
            [silicon()], ecut=100.0
        )
        for device in DEVICES
    ]
    torch.testing.assert_close(density(found[1][0]), density(found[0][0]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("home", "device"), [DEVICES, DEVICES[::-1], (GPU, GPU)])
def test_calculations_on_either_device_start_from_a_model_on_either(
    network: str, home: str, device: str
) -> None:
    # Networks of points have the symmetry approximately.
    settings = SETTINGS | {"symmetry": False}
    expected = scf(silicon(), "PBE", **settings)
    started = scf(silicon(), "PBE", start=model(home, network), device=device, **settings)
    assert started.density.device.type == device
    assert float(started.free_energy) == pytest.approx(float(expected.free_energy), abs=1e-7)


def test_energies_and_forces_without_a_loop() -> None:
    """With the part of forces that comes from the model's density."""
    found = []
    for device in DEVICES:
        one = model(device)
        one.fit(dataset(record(silicon())), 20, checkpoint_interval=0)
        result = non_self_consistent(silicon(), "PBE", density=one, device=device, **SETTINGS)
        assert result.density.device.type == device
        found.append(result)
    here, there = found
    assert float(there.free_energy) == pytest.approx(float(here.free_energy), abs=1e-7)
    torch.testing.assert_close(there.forces.cpu(), here.forces, rtol=0, atol=1e-6)
    torch.testing.assert_close(there.stress.cpu(), here.stress, rtol=0, atol=1e-6)


def test_gradients_of_an_energy_without_a_loop_reach_the_network() -> None:
    gradients = []
    for device in DEVICES:
        one = model(device)
        one.parameter_gradients = True
        result = non_self_consistent(silicon(), "PBE", density=one, device=device, **SETTINGS)
        result.free_energy.backward()
        gradients.append(
            torch.cat(
                [p.grad.flatten().cpu() for p in one.network.parameters() if p.grad is not None]
            )
        )
    assert float(gradients[0].abs().max()) > 0.0
    scale = float(gradients[0].abs().max())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-6 * scale)


def test_the_calculator_starts_from_a_model() -> None:
    numbers = []
    for device in DEVICES:
        atoms = silicon()
        atoms.calc = PlaneWaveDFT(xc="PBE", start=model(device), device=device, **SETTINGS)
        numbers.append([atoms.get_potential_energy(), *atoms.get_forces().flatten()])
    assert numbers[1] == pytest.approx(numbers[0], abs=1e-4)
