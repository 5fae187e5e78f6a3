"""Calculations never mix the device they are given with the CPU: checked without a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from deepchem.data import NumpyDataset

from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, scf
from tests.separate_device import separate_device

SETTINGS: dict[str, Any] = {"ecut": 80.0, "kpts": (1, 1, 1)}


@pytest.fixture
def device() -> Iterator[str]:
    with separate_device() as name:
        yield name


def test_tensors_of_both_devices_do_not_meet(device: str) -> None:
    here, there = torch.arange(3.0), torch.arange(3.0, device=device)
    for mixed in (
        lambda: here + there,
        lambda: there[here.long()] + here,
        lambda: here[there.long()],
        lambda: torch.stack([here, there]),
        lambda: here.add_(there.sum()),
        lambda: torch.randn(3, device=device, generator=torch.Generator()),
    ):
        with pytest.raises(RuntimeError):
            mixed()
    with pytest.raises((RuntimeError, TypeError)):
        there.numpy()
    assert (there + here.sum()).tolist() == (there.cpu() + 3.0).tolist() == [3.0, 4.0, 5.0]
    assert there[here.long()].tolist() == there[[0, 1, 2]].tolist() == [0.0, 1.0, 2.0]


def test_derivatives_are_those_of_the_cpu(device: str) -> None:
    found = []
    for name in ("cpu", device):
        x = torch.linspace(0.1, 1.0, 6, dtype=torch.float64, device=name).requires_grad_()
        value = torch.fft.fftn(x.view(2, 3).to(torch.complex128)).abs().square().sum()
        (gradient,) = torch.autograd.grad(value * x.exp().sum(), x)
        assert gradient.device.type == name
        found.append(gradient.tolist())
    assert found[1] == found[0]


def test_paw_with_forces_and_stress(device: str) -> None:
    pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    found = []
    for name in ("cpu", device):
        result = scf(bulk("Al"), "PBE", pseudopotentials="paw-pbe", device=name, **SETTINGS)
        assert result.density.device.type == result.forces.device.type == name
        values = [result.free_energy, *result.forces.flatten(), *result.stress.flatten()]
        found.append([float(value) for value in values])
    assert found[1] == pytest.approx(found[0], rel=1e-7, abs=1e-8)


def test_a_density_model_learns_densities_and_energies_and_starts_a_loop(device: str) -> None:
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=1)
    x = np.empty(1, dtype=object)
    x[0] = DensityRecord.of(scf(atoms, "PBE", **SETTINGS), orbitals=False)
    found = []
    for name in ("cpu", device):
        options: dict[str, Any] = {"channels": 4, "l_max": 1}
        model = DensityModel(
            "Si", network_options=options, energy_weight=1.0, device=name, progress=False
        )
        loss = model.fit(NumpyDataset(x), 1, checkpoint_interval=0)
        started = scf(atoms, "PBE", start=model, device=name, **SETTINGS)
        found.append([loss, float(started.free_energy)])
    assert found[1] == pytest.approx(found[0], rel=1e-9)
