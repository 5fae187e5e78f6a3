"""The same code on a CUDA device gives the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import SCFResult, scf

pytestmark = pytest.mark.gpu

OPTIONS: dict[str, Any] = {
    "ecut": 150.0,
    "kpts": {"size": (2, 2, 2), "gamma": True},
    "convergence": {"energy": 1e-9, "density": 1e-8},
}


def both(atoms: Any, **options: Any) -> tuple[SCFResult, SCFResult]:
    here, there = (scf(atoms, "PBE", device=d, **(OPTIONS | options)) for d in ("cpu", "cuda"))
    assert there.density.device.type == there.orbitals.device.type == "cuda"
    return here, there


def assert_same(here: SCFResult, there: SCFResult) -> None:
    for name, value in here.energies.items():
        assert float(there.energies[name]) == pytest.approx(float(value), abs=1e-6), name
    assert float(there.free_energy) == pytest.approx(float(here.free_energy), abs=1e-9)
    torch.testing.assert_close(there.forces.cpu(), here.forces, rtol=0, atol=1e-6)
    torch.testing.assert_close(there.stress.cpu(), here.stress, rtol=0, atol=1e-8)
    torch.testing.assert_close(there.density.cpu(), here.density, rtol=0, atol=1e-6)


def test_an_insulator() -> None:
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=1)
    assert_same(*both(atoms, occupations={"name": "fixed"}))


def test_a_metal() -> None:
    assert_same(*both(bulk("Al")))


def test_a_magnet() -> None:
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.5])
    here, there = both(iron, ecut=300.0)
    assert_same(here, there)
    moment = float(here.magnetic_moment)
    assert float(there.magnetic_moment) == pytest.approx(moment, abs=1e-5)


def test_the_gradient_reaches_the_functional_there() -> None:
    from deepchem_xc.xc import get_xc

    functional = get_xc("PBE")
    if not list(functional.parameters()):
        functional = 1.0 * functional
    parameters = list(functional.parameters())
    if not parameters:
        pytest.skip("PBE has no trainable parameter")
    result = scf(bulk("Si"), functional, device="cuda", **OPTIONS)
    result.free_energy.backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in parameters)
