"""The same code on a CUDA device gives the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk
from ase.io.cube import read_cube_data

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import (
    DensityRecord,
    SCFResult,
    band_structure,
    density_of_states,
    equation_of_state,
    non_self_consistent,
    scf,
    write_density_cube,
)
from deepchem_xc.xc import PBE
from tests.devices import DEVICES, GPU

pytestmark = pytest.mark.gpu

OPTIONS: dict[str, Any] = {
    "ecut": 150.0,
    "kpts": {"size": (2, 2, 2), "gamma": True},
    "convergence": {"energy": 1e-9, "density": 1e-8},
}


def both(atoms: Any, **options: Any) -> tuple[SCFResult, SCFResult]:
    here, there = (scf(atoms, "PBE", device=d, **(OPTIONS | options)) for d in DEVICES)
    assert there.density.device.type == there.orbitals.device.type == GPU
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


def test_a_meta_gga() -> None:
    results = [
        scf(bulk("Al"), "r2SCAN", device=device, pseudopotentials="gth-pbe", **OPTIONS)
        for device in DEVICES
    ]
    assert_same(*results)
    here, there = results
    torch.testing.assert_close(
        there.kinetic_energy_density.cpu(), here.kinetic_energy_density, rtol=0, atol=1e-6
    )


def test_bands_and_densities_of_states() -> None:
    here, there = both(bulk("Al"))
    path = bulk("Al").cell.bandpath("GX", npoints=4)
    bands = [band_structure(result, path, nbands=4).energies for result in (here, there)]
    assert bands[1] == pytest.approx(bands[0], abs=1e-5)  # eV
    grid = [float(bands[0].min()) + step for step in range(20)]
    curves = [density_of_states(r, grid, 0.5, kpts=(3, 3, 3)).values for r in (here, there)]
    assert curves[0].max() > 0.1
    assert curves[1] == pytest.approx(curves[0], abs=1e-5)


def test_a_calculation_goes_on_on_the_other_device(tmp_path: Path) -> None:
    here, there = both(bulk("Si"))
    DensityRecord.of(there).save(tmp_path / "there.npz")
    on_cpu = scf(bulk("Si"), "PBE", start=DensityRecord.load(tmp_path / "there.npz"), **OPTIONS)
    on_gpu = scf(bulk("Si"), "PBE", start=here, device=GPU, **OPTIONS)
    assert on_cpu.density.device.type == "cpu" and on_gpu.density.device.type == GPU
    for again in (on_cpu, on_gpu):
        assert again.nsteps <= 2
        assert float(again.free_energy) == pytest.approx(float(here.free_energy), abs=1e-9)


def test_the_calculator_and_an_equation_of_state(tmp_path: Path) -> None:
    numbers = []
    for device in DEVICES:
        atoms = bulk("Al")
        options = {"ecut": 150.0, "kpts": (2, 2, 2), "device": device}
        log = tmp_path / f"{device}.txt"
        atoms.calc = PlaneWaveDFT(xc="PBE", txt=log, **options)
        energy, stress = atoms.get_potential_energy(), atoms.get_stress()
        assert f"device           {device}" in log.read_text()
        write_density_cube(tmp_path / f"{device}.cube", atoms.calc.scf_result)
        curve = equation_of_state(bulk("Al"), "PBE", ecut_smoothing=30.0, **options)
        numbers.append([energy, *stress, curve.a0, curve.fit.modulus])
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-5, abs=1e-6)
    (one, _), (other, _) = (read_cube_data(tmp_path / f"{d}.cube") for d in DEVICES)
    assert other == pytest.approx(one, abs=1e-5)


def test_a_gapped_crystal_screened_by_a_dielectric_function() -> None:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.02, seed=1)
    here, there = both(atoms, kpts=(1, 1, 1), occupations={"name": "fixed"})
    assert_same(here, there)
    assert there.nsteps == here.nsteps


def test_energies_without_a_loop_of_a_magnet_and_their_derivatives() -> None:
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.5])
    results = both(iron, ecut=300.0)
    energies, gradients = [], []
    for device, result in zip(DEVICES, results, strict=True):
        functional = PBE(trainable=True).to(device)
        found = non_self_consistent(
            iron, functional, density=result, device=device, **(OPTIONS | {"ecut": 300.0})
        )
        gradient = torch.autograd.grad(found.free_energy, list(functional.parameters()))
        energies.append(float(found.free_energy.detach()))
        gradients.append(torch.stack(gradient).cpu())
    assert energies[1] == pytest.approx(energies[0], abs=1e-8)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)


def test_libxc_is_refused() -> None:
    """It computes on the CPU alone."""
    pytest.importorskip("pyscf.dft.libxc")
    if GPU == "cpu":
        pytest.skip("the CPU is where libxc computes")
    with pytest.raises(RuntimeError, match="libxc.*use the CPU, or a functional written in torch"):
        scf(bulk("Si"), "mgga_x_scan + mgga_c_scan", device=GPU, **OPTIONS)
