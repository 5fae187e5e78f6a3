"""PAW datasets on a CUDA device give the numbers of the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.losses import FrozenEnergy
from deepchem_xc.planewave import (
    DensityRecord,
    NonSelfConsistentResult,
    SCFResult,
    band_structure,
    non_self_consistent,
    scf,
)
from deepchem_xc.xc import PBE, get_xc
from tests.devices import DEVICES, GPU

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
pytestmark = pytest.mark.gpu

TIGHT = {"energy": 1e-11, "density": 1e-9}


def nickel() -> Atoms:
    """Ferromagnetic."""
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.7])
    return atoms


def displaced(atoms: Atoms) -> Atoms:
    atoms.rattle(0.03, seed=1)
    return atoms


CRYSTALS: dict[str, tuple[Atoms, dict[str, Any]]] = {
    "Si": (displaced(bulk("Si")), {"ecut": 200.0, "occupations": {"name": "fixed"}}),
    "Al": (bulk("Al"), {"ecut": 150.0}),
    "Ni": (nickel(), {"ecut": 300.0}),
    "MgO": (displaced(bulk("MgO", "rocksalt", a=4.2)), {"ecut": 300.0}),
}


def calculation(name: str, device: str, functional: Any = "PBE", **more: Any) -> SCFResult:
    atoms, settings = CRYSTALS[name]
    result = scf(
        atoms,
        functional,
        pseudopotentials="paw-pbe",
        kpts={"size": (2, 2, 2), "gamma": True},
        convergence=TIGHT,
        device=device,
        **(settings | more),
    )
    assert result.density.device.type == result.orbitals.device.type == device
    return result


def both(name: str, functional: Any = "PBE", **more: Any) -> tuple[SCFResult, SCFResult]:
    here, there = (calculation(name, device, functional, **more) for device in DEVICES)
    return here, there


def assert_same(
    here: SCFResult | NonSelfConsistentResult, there: SCFResult | NonSelfConsistentResult
) -> None:
    """Energies to 1e-8 Ha, and by term to an error of the density's first order."""
    assert float(there.free_energy) == pytest.approx(float(here.free_energy), abs=1e-8)
    for name, value in here.energies.items():
        assert float(there.energies[name]) == pytest.approx(float(value), abs=1e-6), name
    torch.testing.assert_close(there.forces.cpu(), here.forces, rtol=0, atol=1e-6)
    torch.testing.assert_close(there.stress.cpu(), here.stress, rtol=0, atol=1e-7)
    torch.testing.assert_close(there.density.cpu(), here.density, rtol=0, atol=1e-6)


def spheres(result: SCFResult) -> torch.Tensor:
    found = result.converged.fields.spheres
    assert found is not None
    return found.cpu()


@pytest.mark.parametrize("name", CRYSTALS)
def test_energies_forces_stress_density_and_spheres(name: str) -> None:
    here, there = both(name)
    assert_same(here, there)
    torch.testing.assert_close(spheres(there), spheres(here), rtol=0, atol=1e-6)
    moments = here.atom_moments
    torch.testing.assert_close(there.atom_moments.cpu(), moments, rtol=0, atol=1e-5)
    assert (abs(float(here.magnetic_moment)) > 0.3) == (name == "Ni")


def test_a_meta_gga() -> None:
    assert_same(*both("Si", "r2SCAN"))


def test_bands() -> None:
    path = bulk("Al").cell.bandpath("GX", npoints=3)
    bands = [band_structure(result, path, nbands=4).energies for result in both("Al")]
    assert bands[1] == pytest.approx(bands[0], abs=1e-5)  # eV


def test_a_calculation_goes_on_on_the_other_device_in_its_spheres_too(tmp_path: Path) -> None:
    here, there = both("Ni")
    DensityRecord.of(there).save(tmp_path / "there.npz")
    DensityRecord.of(here).save(tmp_path / "here.npz")
    for device, start in zip(DEVICES, ("there", "here"), strict=True):
        again = calculation("Ni", device, start=DensityRecord.load(tmp_path / f"{start}.npz"))
        assert again.nsteps <= 3
        assert float(again.free_energy) == pytest.approx(float(here.free_energy), abs=1e-8)


def test_energies_without_a_loop_at_the_density_of_either_device(tmp_path: Path) -> None:
    results = both("Si")
    DensityRecord.of(results[1]).save(tmp_path / "there.npz")
    atoms, settings = CRYSTALS["Si"]
    found = [
        non_self_consistent(
            atoms,
            "PBEsol",
            density=density,
            pseudopotentials="paw-pbe",
            kpts={"size": (2, 2, 2), "gamma": True},
            device=device,
            **settings,
        )
        for device, density in ((DEVICES[0], results[0]), (GPU, tmp_path / "there.npz"))
    ]
    assert_same(*found)


def test_energies_and_gradients_at_a_kept_density() -> None:
    """Points of the grid and of spheres are where the functional is."""
    energies, gradients = [], []
    for result in both("Al"):
        frozen = FrozenEnergy.of(result)
        functional = PBE(trainable=True).to(result.density.device)
        energy = frozen.at(functional) + frozen.at(get_xc("PBEsol").to(result.density.device))
        energy.backward()
        energies.append(float(energy.detach()))
        gradients.append([float(p.grad) for p in functional.parameters() if p.grad is not None])
    assert energies[1] == pytest.approx(energies[0], abs=1e-8)
    assert len(gradients[0]) > 1
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-6)
