"""What a density may be, and what is refused."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import (
    Crystal,
    DensityRecord,
    PlaneWaveBasis,
    SCFResult,
    non_self_consistent,
    scf,
)
from deepchem_xc.planewave.basis.other_grids import from_any_grid
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.given_density import NegativeDensityWarning, UnsymmetricDensityError
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.without_loop import InaccurateDensityWarning

SETTINGS: dict[str, Any] = {"ecut": 80.0, "kpts": {"size": (2, 2, 2), "gamma": True}}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), **SETTINGS)


class Constant:
    """A model of one density."""

    def __init__(self, result: SCFResult, functional: str | None = None) -> None:
        self.result, self.functional = result, functional

    def density_for(self, problem: KohnShamProblem) -> Fields:
        return self.result.fields


def energy(density: Any, **keywords: Any) -> float:
    return float(
        non_self_consistent(bulk("Si"), density=density, **{**SETTINGS, **keywords}).free_energy
    )


def test_models_states_and_arrays_give_the_same_energy(silicon: SCFResult) -> None:
    expected = float(silicon.free_energy)
    for density in (silicon, silicon.density, silicon.density.numpy(), Constant(silicon)):
        assert energy(density) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("grid", [(15, 15, 15), (16, 18, 20), (12, 12, 12), (9, 8, 10)])
def test_arrays_of_other_grids_keep_their_plane_waves(grid: tuple[int, int, int]) -> None:
    """Exactly those of a wave that the grid holds, real for even grids, without those it lacks."""
    crystal = Crystal.from_ase(bulk("Si"))
    basis = PlaneWaveBasis(crystal, 3.0, (1, 1, 1))
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij")
    wave = 0.3 + np.cos(2 * np.pi * (2 * x - y)) + 0.5 * np.sin(2 * np.pi * (x + 3 * z))
    found = from_any_grid(basis, torch.from_numpy(wave))
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in basis.fft_size), indexing="ij")
    same = 0.3 + np.cos(2 * np.pi * (2 * x - y)) + 0.5 * np.sin(2 * np.pi * (x + 3 * z))
    np.testing.assert_allclose(basis.to_grid(found), same, atol=1e-12)
    noise = from_any_grid(basis, torch.randn(grid, dtype=torch.float64))
    torch.testing.assert_close(basis.to_sphere(basis.to_grid(noise)), noise, rtol=0, atol=1e-14)


def test_densities_that_do_not_fit_are_refused(silicon: SCFResult) -> None:
    density = silicon.density
    nan = density.clone()
    nan[0, 1, 2, 3] = torch.nan
    for given, message in [
        (nan, "NaN"),
        (density * 1.01, "electrons per cell"),
        (density[0], "shape"),
        (density[:, :0], "shape"),
        (density.to(torch.complex128), "not real"),
        (torch.cat([density, density]) / 2, "spin channel"),
        (5, "is not a density: .*; or an array"),
        (None, "is not a density"),
        (scf(bulk("Si", a=5.5), **SETTINGS), "another cell"),
        (scf(bulk("Ge", a=5.43), **SETTINGS), "belongs to other atoms: Ge2"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            energy(given)


def test_a_density_without_the_crystals_symmetry_is_refused(silicon: SCFResult) -> None:
    ramp = torch.linspace(-1.0, 1.0, silicon.density.shape[1], dtype=torch.float64)
    lopsided = silicon.density * (1.0 + 0.02 * (ramp - ramp.mean())[:, None, None])
    lopsided = lopsided * (silicon.density.sum() / lopsided.sum())
    with pytest.raises(ValueError, match="symmetry=False"):
        energy(lopsided)
    energy(lopsided, symmetry=False)
    little = silicon.density + 0.01 * (lopsided - silicon.density)
    result = non_self_consistent(bulk("Si"), density=little, **SETTINGS)
    assert 1e-6 < result.start.removed < 1e-3


def test_structures_and_files_that_are_wrong_are_refused(
    silicon: SCFResult, tmp_path: Path
) -> None:
    path = tmp_path / "si.npz"
    DensityRecord.of(silicon, results=False).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    charged, overlapping = bulk("Si"), bulk("Si")
    charged.info["charge"] = 1
    overlapping.positions[1] = overlapping.positions[0] + 0.01
    for atoms, density, message in [
        (bulk("Si"), path, "not a complete density file"),
        (bulk("Si"), tmp_path / "absent.npz", "there is no such file"),
        (charged, silicon, "charge"),
        (overlapping, silicon, "atoms overlap"),
        (bulk("Si", cubic=True), silicon, "belongs to other atoms: Si2, not Si8"),
    ]:
        with pytest.raises((ValueError, OSError), match=message):
            non_self_consistent(atoms, density=density, **SETTINGS)


def test_a_record_of_moved_atoms_is_never_averaged(silicon: SCFResult) -> None:
    """A start would be; here the energies are those of the density that was given."""
    displaced = bulk("Si")
    displaced.positions[1] += [0.2, 0.0, 0.1]
    record = DensityRecord.of(scf(displaced, **SETTINGS), results=False)
    with pytest.raises(UnsymmetricDensityError, match="symmetry=False"):
        energy(record)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InaccurateDensityWarning)
        assert energy(record, symmetry=False) == pytest.approx(float(silicon.free_energy), abs=1e-2)
    assert scf(bulk("Si"), start=record, **SETTINGS).start is not None


def test_negative_densities_are_noticed(silicon: SCFResult) -> None:
    mean = silicon.density.mean()
    with pytest.warns(NegativeDensityWarning), pytest.warns(InaccurateDensityWarning):
        energy(mean + 1.6 * (silicon.density - mean))


def test_a_model_of_another_functional_is_refused_but_not_an_earlier_state(
    silicon: SCFResult,
) -> None:
    model = Constant(silicon, "PBE")
    with pytest.raises(ValueError, match="other_functional=True"):
        non_self_consistent(bulk("Si"), "PBEsol", density=model, **SETTINGS)
    energies = [
        float(non_self_consistent(bulk("Si"), "PBEsol", density=x, **more, **SETTINGS).free_energy)
        for x, more in [(model, {"other_functional": True}), (silicon, {})]
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)
    assert abs(energies[0] - float(silicon.free_energy)) > 1e-3


def test_positions_that_require_gradients_are_refused(silicon: SCFResult) -> None:
    crystal = Crystal.from_ase(bulk("Si"))
    moving = crystal.with_geometry(positions=crystal.positions.clone().requires_grad_())
    with pytest.raises(ValueError, match=r"result\.forces"):
        non_self_consistent(moving, density=silicon.density, **SETTINGS)


def test_a_record_does_not_take_energies_of_another_density_than_its_own(
    silicon: SCFResult,
) -> None:
    result = non_self_consistent(bulk("Si"), density=silicon.density, **SETTINGS)
    with pytest.raises(ValueError, match="not self-consistent do not belong to its density"):
        DensityRecord.of(result)
    assert DensityRecord.of(result, results=False).energy is None


def test_copies_of_a_result_have_their_own_density(silicon: SCFResult) -> None:
    density = silicon.density.clone().requires_grad_()
    result = non_self_consistent(bulk("Si"), density=density, **SETTINGS)
    other = copy.deepcopy(result)
    assert other.free_energy.item() == result.free_energy.item()
    other.free_energy.backward()
    assert density.grad is None and other.given.fields.density.grad is not None
    assert not result.detach().free_energy.requires_grad
