"""Densities of all electrons from PAW results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.geometry import get_distances
from ase.io.cube import read_cube_data
from ase.units import Bohr

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import SCFResult, all_electron_density, scf, write_density_cube
from deepchem_xc.planewave.properties.all_electron import _points_near
from deepchem_xc.planewave.terms.superposed import core_density
from tests.planewave.paw_crystals import FERMI, gpaw, paw


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return paw(bulk("Si"), 300.0, (2, 2, 2))


def oxygen(shift: int = 0) -> SCFResult:
    """A molecule moved by points of the grid, which has 30 along x."""
    atoms = Atoms("O2", [[0, 0, 0], [0.2, 0, 1.2]], cell=[4.0, 4.0, 5.0], pbc=True, magmoms=[1, 1])
    atoms.positions[:, 0] += shift * 4.0 / 30.0
    return paw(atoms, 200.0, (1, 1, 1), fft_size=(30, 30, 36))


@pytest.fixture(scope="module")
def molecule() -> SCFResult:
    return oxygen()


@pytest.mark.gpaw
def test_density_of_silicon_is_gpaws(silicon: SCFResult) -> None:
    reference = gpaw(bulk("Si"), 300.0, (2, 2, 2)).get_all_electron_density(gridrefinement=2)
    expected = reference * Bohr**3
    found = all_electron_density(silicon, expected.shape)[0].numpy()
    difference = np.abs(found - expected)
    # At both nuclei, with what the grid misses, to a part of a hundred bohr^-3.
    nuclei = expected > 100.0
    assert nuclei.sum() == 2
    assert difference[nuclei].max() < 1e-4 * expected.max()
    assert difference[~nuclei].max() < 5e-4
    assert difference[~nuclei].mean() < 2e-5


@pytest.mark.parametrize("size", [None, 30, (36, 40, 45)])
@pytest.mark.parametrize(("core", "electrons"), [(True, 28.0), (False, 8.0)])
def test_its_sum_is_the_number_of_electrons(
    silicon: SCFResult, size: int | None, core: bool, electrons: float
) -> None:
    density = all_electron_density(silicon, size, core)
    assert float(density.mean() * silicon.basis.volume) == pytest.approx(electrons, abs=1e-8)
    assert float(silicon.density.mean() * silicon.basis.volume) != pytest.approx(8.0, abs=0.1)


def test_channels_differ_by_the_moment(molecule: SCFResult) -> None:
    up, down = all_electron_density(molecule).mean((1, 2, 3)) * molecule.basis.volume
    assert float(up + down) == pytest.approx(16.0, abs=1e-7)
    assert float(up - down) == pytest.approx(float(molecule.magnetic_moment), abs=1e-7)
    assert float(up - down) > 1.5


def test_outside_of_the_spheres_it_is_the_smooth_density(molecule: SCFResult) -> None:
    basis = molecule.basis
    spheres = molecule.problem.paw_spheres("this test")
    smooth = basis.to_grid(molecule.density_g + 0.5 * core_density(basis, spheres.potentials))
    atoms = basis.crystal.to_ase()
    axes = [np.arange(n) / n for n in basis.fft_size]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ atoms.cell
    _, distances = get_distances(points, atoms.positions, cell=atoms.cell, pbc=True)
    radius = spheres.potentials["O"].dataset.sphere_radius * Bohr
    outside = torch.from_numpy(distances.min(1).reshape(basis.fft_size) > radius)
    difference = (all_electron_density(molecule) - smooth).abs()
    assert float(difference[:, outside].max()) < 1e-12
    assert float(difference[:, ~outside].max()) > 1.0


def test_it_moves_with_the_molecule_across_the_cells_faces(molecule: SCFResult) -> None:
    moved = all_electron_density(oxygen(shift=-2))
    expected = torch.roll(all_electron_density(molecule), -2, 1)
    assert torch.allclose(moved, expected, rtol=1e-5, atol=1e-4)


def test_points_of_a_sphere_beyond_the_cell_count_once_for_each_image() -> None:
    lattice = np.array([[2.0, 0.0, 0.0], [0.5, 2.5, 0.0], [0.0, -0.3, 3.0]])
    position, size, radius = np.array([0.1, 0.9, 0.47]), (4, 5, 6), 3.1
    flat, vectors = _points_near(lattice, position, size, radius)
    counts = torch.bincount(flat, minlength=120).numpy()
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    axes = [np.arange(n) / n for n in size]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    distances = np.linalg.norm((points + images - position) @ lattice, axis=-1)
    np.testing.assert_array_equal(counts, (distances < radius).sum(1))
    assert counts.max() > 1
    assert float(vectors.norm(dim=1).max()) < radius


def test_a_cube_file_and_the_calculator_hold_it(silicon: SCFResult, tmp_path: Path) -> None:
    expected = all_electron_density(silicon)[0].numpy()
    write_density_cube(tmp_path / "all.cube", silicon, all_electron=True)
    data, _ = read_cube_data(tmp_path / "all.cube")
    np.testing.assert_allclose(data, expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="give all_electron=True as well"):
        write_density_cube(tmp_path / "no.cube", silicon, core=False)
    atoms = bulk("Si")
    mesh = {"size": (2, 2, 2), "gamma": True}
    atoms.calc = PlaneWaveDFT(ecut=300.0, kpts=mesh, pseudopotentials="paw-pbe", occupations=FERMI)
    atoms.get_potential_energy()
    found = atoms.calc.get_all_electron_density(gridrefinement=1) * Bohr**3
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_small_grids_and_norm_conserving_potentials_are_refused(silicon: SCFResult) -> None:
    with pytest.raises(ValueError, match="cannot hold the smooth density"):
        all_electron_density(silicon, 12)
    with pytest.raises(NotImplementedError, match=r"Si: GTH.* take PAW datasets"):
        all_electron_density(scf(bulk("Si"), ecut=60.0, convergence={"density": 1e-3}))
