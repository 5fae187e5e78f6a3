from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene
from ase.io.cube import read_cube_data
from ase.units import Bohr, Hartree
from scipy.integrate import trapezoid
from scipy.spatial.transform import Rotation

from deepchem_xc.cli.results import ground_state
from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult, scf
from deepchem_xc.planewave.properties import bands as bands_module
from deepchem_xc.planewave.properties.bands import (
    DiagonalizationError,
    band_structure,
    eigenvalues_at,
)
from deepchem_xc.planewave.properties.cube import density_part, write_density_cube
from deepchem_xc.planewave.properties.dos import CoarseEnergiesWarning, density_of_states
from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning
from deepchem_xc.xc import PBE

TIGHT = {"energy": 1e-9, "density": 1e-9}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    # A shifted mesh breaks the cubic symmetry of a primitive fcc cell.
    mesh = {"size": (3, 3, 3), "gamma": True}
    return scf(bulk("Si"), "PBE", ecut=200.0, kpts=mesh, convergence=TIGHT)


@pytest.fixture(scope="module")
def hydrogen() -> SCFResult:
    atom = bulk("H", "sc", a=4.0)
    atom.set_initial_magnetic_moments([1.0])
    return scf(atom, "PBE", ecut=150.0, kpts=(1, 1, 1), convergence=TIGHT)


def test_eigenvalues_at_the_meshs_points_are_those_of_the_loop(silicon: SCFResult) -> None:
    values = eigenvalues_at(silicon, silicon.kpoints.coordinates, nbands=4, tolerance=1e-6)
    assert torch.allclose(values, silicon.eigenvalues[:, :, :4], rtol=0.0, atol=1e-9)


def test_eigenvalues_do_not_care_about_reciprocal_vectors_and_symmetry(silicon: SCFResult) -> None:
    # The same point of the zone: shifted by G, inverted, and rotated about [111].
    k = np.array([0.31, 0.12, -0.07])
    images = [k, k + [1, -2, 0], -k, k[[1, 2, 0]]]
    values = eigenvalues_at(silicon, images, nbands=5, tolerance=1e-6)[0]
    assert torch.allclose(values, values[:1].expand_as(values), rtol=0.0, atol=1e-8)


@pytest.mark.parametrize("strain", [0.05, -0.05, "shear"])
def test_bands_belong_to_the_plane_waves_of_a_strained_basis(strain: float | str) -> None:
    """The sphere of the strained lattice is another one, in another order."""
    crystal, points = Crystal.from_ase(bulk("Al")), [[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]]
    basis = PlaneWaveBasis(crystal, 3.5, points, symmetry=False)
    if strain == "shear":
        noise = torch.randn(3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        matrix = 0.01 * (noise + noise.T)
    else:
        matrix = strain * torch.eye(3, dtype=torch.float64)
    strained = basis.with_geometry(crystal.lattice @ (torch.eye(3) + matrix))
    new = PlaneWaveBasis(strained.crystal, 3.5, points)
    assert not torch.equal(new.g_vectors, basis.g_vectors)
    result = scf(strained, "LDA", pseudopotentials="gth-pade", occupations={"width": 0.02})
    values = eigenvalues_at(result, points, nbands=4)
    assert torch.allclose(values, result.eigenvalues[:, :, :4], rtol=0.0, atol=1e-8)


def test_k_points_far_outside_the_zone_are_those_inside(silicon: SCFResult) -> None:
    # Lists of different lengths are padded, and padding must not meet their plane waves.
    inside = torch.tensor([[0.31, 0.12, -0.07], [0.0, 0.0, 0.0]], dtype=torch.float64)
    values = eigenvalues_at(silicon, inside, nbands=4)
    for size in silicon.basis.orbital_fft_size[0] // 2, 50:
        outside = eigenvalues_at(silicon, inside + size, nbands=4)
        assert torch.allclose(outside, values, rtol=0.0, atol=1e-8)


def test_without_a_potential_bands_are_free_electrons(hydrogen: SCFResult) -> None:
    # The potential of hydrogen has no nonlocal part.
    nothing = hydrogen.potential * 0.0
    free = replace(hydrogen, converged=hydrogen.converged._replace(potential=nothing))
    basis = hydrogen.basis
    k = torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, 0.0]], dtype=torch.float64)
    q = (basis.g_vectors[None] + k[:, None]) @ basis.crystal.reciprocal_lattice
    expected = (0.5 * q.square().sum(-1)).sort(dim=-1).values[:, :6]
    values = eigenvalues_at(free, k, nbands=6, tolerance=1e-6)
    assert values.shape == (2, 2, 6)
    for spin in range(2):
        assert torch.allclose(values[spin], expected, rtol=0.0, atol=1e-9)


def test_silicon_has_its_bands(silicon: SCFResult) -> None:
    path = bulk("Si").cell.bandpath("LGX", npoints=21)
    bands = band_structure(silicon, path, nbands=8)
    assert bands.energies.shape == (1, 21, 8)
    assert bands.reference == pytest.approx(float(silicon.fermi_level) * Hartree)
    energies, points = bands.energies[0], path.kpts
    gamma = int(np.argmin(np.abs(points).sum(1)))
    valence, conduction = energies[:, :4], energies[:, 4:]
    # Gamma: one state at the bottom, three at the top of the valence bands, three above the gap.
    assert np.ptp(energies[gamma, 1:4]) < 1e-4 and np.ptp(energies[gamma, 4:7]) < 1e-4
    assert np.argmax(valence[:, 3]) == gamma and np.argmin(valence[:, 0]) == gamma
    # X: bands stick together in pairs.
    assert energies[-1, 1] - energies[-1, 0] < 1e-4 < energies[-1, 2] - energies[-1, 1]
    # PBE: valence bands 11.9 eV wide, gap 2.56 eV at Gamma and about 0.6 eV to a point at 0.85 X
    # (e.g. Heyd et al., J. Chem. Phys. 123, 174101 (2005); all-electron 2.57 and 0.5-0.6).
    assert valence[gamma, 3] - valence[gamma, 0] == pytest.approx(11.9, abs=0.2)
    assert conduction[gamma, 0] - valence[gamma, 3] == pytest.approx(2.56, abs=0.15)
    lowest = int(np.argmin(conduction[:, 0]))
    assert gamma < lowest < 20
    assert conduction[lowest, 0] - valence[gamma, 3] == pytest.approx(0.6, abs=0.2)


def test_named_points_make_a_path_and_foreign_cells_are_refused(silicon: SCFResult) -> None:
    bands = band_structure(silicon, "GX", npoints=3, nbands=1)
    assert bands.path.path == "GX" and bands.energies.shape == (1, 3, 1)
    primitive = bulk("Si").cell
    others = {
        "larger": bulk("Si", a=5.5).cell,
        "its lengths, other angles": primitive.fromcellpar([*primitive.lengths(), 90, 90, 90]),
        "its volume, sheared": primitive.new(primitive @ [[1, 0.01, 0], [0, 1, 0], [0, 0, 1]]),
        "its lattice, other vectors": primitive.new([[1, 0, 0], [1, 1, 0], [0, 0, 1]] @ primitive),
    }
    for cell in others.values():
        with pytest.raises(ValueError, match="the path belongs to a cell"):
            band_structure(silicon, cell.bandpath("G", npoints=1))


def test_a_path_is_the_same_in_any_orientation_of_the_cell() -> None:
    """Orthorhombic, so that confusing two directions changes the energies."""
    standard = Atoms("Li", cell=[2.6, 3.3, 4.1], pbc=True)
    turned = standard.copy()
    rotation = Rotation.from_rotvec([0.3, 0.5, -0.7]).as_matrix()
    turned.set_cell(standard.cell @ rotation, scale_atoms=True)
    assert np.abs(turned.cell - standard.cell).max() > 1.0
    paths = [atoms.cell.bandpath("XGYSZ", npoints=7) for atoms in (standard, turned)]
    energies = []
    for atoms in (standard, turned):
        result = scf(atoms, ecut=150.0, kpts=(2, 2, 1), convergence=TIGHT)
        energies += [band_structure(result, path, nbands=3).energies for path in paths]
    x, y = energies[0][0, 0], energies[0][0, 4]
    assert np.abs(x - y).max() > 0.1
    for other in energies[1:]:
        np.testing.assert_allclose(other, energies[0], rtol=0.0, atol=1e-5)


def test_a_cell_written_with_few_digits_gets_its_lattices_path() -> None:
    """ASE makes the path for the exact lattice, which differs in the digits that were left out."""
    lengths_and_angles = [3.8397, 3.8396, 3.8397, 60.0005, 60.0, 59.9997]
    atoms = Atoms("Si2", cell=lengths_and_angles, scaled_positions=[[0] * 3, [0.25] * 3], pbc=True)
    path = atoms.cell.bandpath("GX", npoints=2)
    assert np.abs(path.cell.cellpar() - lengths_and_angles).max() > 1e-4
    result = scf(atoms, ecut=100.0)
    given, named = band_structure(result, path), band_structure(result, "GX", npoints=2)
    np.testing.assert_allclose(given.energies, named.energies, rtol=0.0, atol=1e-7)


def test_a_layer_has_a_path_in_its_plane() -> None:
    layer = graphene(vacuum=2.5)
    layer.pbc = (True, True, False)
    with pytest.warns(NonPeriodicWarning):
        result = scf(layer, ecut=200.0, kpts=(3, 3, 1))
    # Points as they are for any hexagonal lattice; valence and conduction bands meet at K.
    path = layer.cell.bandpath("KGM", npoints=5, pbc=layer.pbc)
    assert not path.cell[2].any()
    for bands in (band_structure(result, path), band_structure(result, "KGM", npoints=5)):
        assert not bands.path.kpts[:, 2].any()
        at_k, at_gamma = (
            bands.energies[0, 0],
            bands.energies[0, int(np.argmin(np.abs(path.kpts).sum(1)))],
        )
        assert at_k[4] - at_k[3] < 1e-3 < 1.0 < at_gamma[4] - at_gamma[3]


def test_bands_that_do_not_converge_are_an_error(
    silicon: SCFResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bands_module, "_MAXIMUM_SWEEPS", 1)
    with pytest.raises(DiagonalizationError, match="wanted 1.0e-12"):
        eigenvalues_at(silicon, [[0.1, 0.2, 0.3]], tolerance=1e-12)


def test_more_bands_than_plane_waves_or_none_are_refused(silicon: SCFResult) -> None:
    with pytest.raises(ValueError, match="raise ecut"):
        eigenvalues_at(silicon, [[0, 0, 0]], nbands=10_000)
    with pytest.raises(ValueError, match="nbands = 0 is not a number of bands"):
        eigenvalues_at(silicon, [[0, 0, 0]], nbands=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "0.1"}, r"width must be a number \(eV\), got '0.1'"),
        ({"width": math.nan}, "width of the broadening must be positive"),
        ({"npoints": 2.5}, "npoints must be a whole number of at least 2, got 2.5"),
        ({"energies": []}, r"energies must be a list of finite numbers \(eV\), got \[\]"),
        ({"energies": 5.0}, "must be a list of finite numbers"),
        ({"energies": [0.0, math.nan]}, "must be a list of finite numbers"),
        ({"energies": [[0.0, 1.0], [2.0, 3.0]]}, "must be a list of finite numbers"),
        ({"energies": "all"}, "must be a list of finite numbers .*got 'all'; leave it out"),
    ],
)
def test_a_density_of_states_that_makes_no_sense(
    silicon: SCFResult, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        density_of_states(silicon, **options)


def test_density_of_states_counts_states_and_electrons(silicon: SCFResult) -> None:
    dos = density_of_states(silicon, width=0.05, npoints=4001)
    nband = silicon.eigenvalues.shape[2]
    assert trapezoid(dos.total, dos.energies) == pytest.approx(2 * nband, abs=1e-6)
    below = dos.energies < dos.fermi_level
    electrons = trapezoid(dos.total[below], dos.energies[below])
    assert electrons == pytest.approx(8.0, abs=1e-4)


@pytest.mark.parametrize("width", [0.01, 0.003, 0.1, 1.0])
def test_states_add_up_whatever_the_width(silicon: SCFResult, width: float) -> None:
    dos = density_of_states(silicon, width=width)
    nband = silicon.eigenvalues.shape[2]
    step = dos.energies[1] - dos.energies[0]
    assert step <= width / 4 and len(dos.energies) >= 1001
    assert dos.total.sum() * step == pytest.approx(2 * nband, abs=1e-8)
    below = silicon.eigenvalues[0, :, :4].numpy() * Hartree
    edge = 0.5 * (below.max() + silicon.eigenvalues[0, :, 4].min().item() * Hartree)
    if width < 0.1:
        assert dos.total[dos.energies < edge].sum() * step == pytest.approx(8.0, abs=1e-8)
        # The mean of the occupied levels, weighted: the first moment.
        valence = dos.energies < edge
        mean = (dos.total * dos.energies)[valence].sum() * step / 8.0
        expected = float(silicon.weights.numpy() @ below.mean(1))
        assert mean == pytest.approx(expected, abs=1e-7)


def test_energies_too_far_apart_to_be_summed_are_noticed(silicon: SCFResult) -> None:
    with pytest.warns(CoarseEnergiesWarning, match=r"0\.\d+ eV apart and the levels 0\.01 eV wide"):
        density_of_states(silicon, width=0.01, npoints=200)
    with pytest.warns(CoarseEnergiesWarning):
        density_of_states(silicon, np.linspace(-10.0, 10.0, 500), width=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        density_of_states(silicon, [-1.0, 0.3, 7.0], width=0.01)  # no grid
        density_of_states(silicon, np.linspace(-10.0, 10.0, 500), width=0.04)
    with pytest.raises(ValueError, match="give one of them"):
        density_of_states(silicon, [-1.0, 0.3], npoints=7)
    with pytest.raises(ValueError, match="at least 2"):
        density_of_states(silicon, npoints=1)


@pytest.mark.parametrize("name", ["fermi-dirac", "fixed"])
def test_without_electrons_of_one_spin_the_others_level_is_the_reference(name: str) -> None:
    atom = Atoms("H", cell=[3.5, 3.6, 3.7], pbc=True, magmoms=[1.0])
    occupations = {"name": name, "fixmagmom": True} | ({"width": 0.1} if name != "fixed" else {})
    functional = PBE(trainable=True)
    result = scf(atom, functional, ecut=150.0, occupations=occupations)
    up, down = (result.fermi_level.detach() * Hartree).tolist()
    assert down == -math.inf
    assert float(result.reference_level.detach()) * Hartree == pytest.approx(up)
    assert density_of_states(result).fermi_level == pytest.approx(up)
    assert band_structure(result, "GX", npoints=2, nbands=1).reference == pytest.approx(up)
    values = ground_state(result)
    assert values["fermi_level"] == [pytest.approx(up), None]
    json.dumps(values, allow_nan=False)
    # Infinity in one channel leaves derivatives of the other alone.
    (slope,) = torch.autograd.grad(result.reference_level, list(functional.parameters())[:1])
    assert bool(torch.isfinite(slope).all())


def test_density_of_states_of_one_level_is_a_gaussian_per_spin(hydrogen: SCFResult) -> None:
    level = hydrogen.eigenvalues[:, 0, 0].numpy() * Hartree
    dos = density_of_states(hydrogen, energies=level, width=1e-3)
    assert dos.values.shape == (2, 2)
    # At its own level each spin has 1 / (sqrt(2 pi) s), the other spin (far away) nothing.
    peak = 1 / (math.sqrt(2 * math.pi) * 1e-3)
    assert np.abs(np.diff(level)) > 1.0
    np.testing.assert_allclose(dos.values, np.diag([peak, peak]), rtol=1e-10, atol=1e-10)


def test_a_mesh_of_its_own_for_the_density_of_states(silicon: SCFResult) -> None:
    mesh = {"size": (3, 3, 3), "gamma": True}
    own = density_of_states(silicon, width=0.2)
    again = density_of_states(silicon, own.energies, width=0.2, kpts=mesh)
    valence = own.energies < own.fermi_level
    np.testing.assert_allclose(again.total[valence], own.total[valence], atol=1e-6)
    finer = density_of_states(silicon, width=0.2, kpts=(4, 4, 4), nbands=4, npoints=2001)
    assert trapezoid(finer.total, finer.energies) == pytest.approx(8.0, abs=1e-6)
    assert np.abs(np.interp(own.energies, finer.energies, finer.total) - own.total).max() > 0.1


def test_bad_options_of_the_density_of_states(silicon: SCFResult) -> None:
    with pytest.raises(ValueError, match="positive"):
        density_of_states(silicon, width=0.0)
    with pytest.raises(ValueError, match="give kpts as well"):
        density_of_states(silicon, nbands=9)


def test_cube_file_holds_the_electrons_where_they_are(silicon: SCFResult, tmp_path: Path) -> None:
    path = tmp_path / "si.cube"
    write_density_cube(path, silicon)
    data, atoms = read_cube_data(path)
    assert data.shape == silicon.basis.fft_size
    # A cube file's integral is the sum times the volume of a voxel, in bohr^3.
    voxel = atoms.get_volume() / Bohr**3 / data.size
    assert data.sum() * voxel == pytest.approx(8.0, abs=2e-4)
    assert atoms.get_chemical_symbols() == ["Si", "Si"]
    np.testing.assert_allclose(atoms.positions, bulk("Si").positions, atol=1e-5)
    np.testing.assert_allclose(data, silicon.density[0].numpy(), rtol=1e-5, atol=1e-9)


def test_spin_densities_add_up_and_a_moment_is_their_difference(hydrogen: SCFResult) -> None:
    parts = {p: density_part(hydrogen, p) for p in ("total", "up", "down", "magnetization")}
    assert torch.allclose(parts["up"] + parts["down"], parts["total"])
    assert torch.allclose(parts["up"] - parts["down"], parts["magnetization"])
    moment = float(parts["magnetization"].mean() * hydrogen.basis.volume)
    assert moment == pytest.approx(float(hydrogen.magnetic_moment), abs=1e-10)
    assert moment == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ValueError, match="'total', 'up', 'down', 'magnetization'"):
        density_part(hydrogen, "left")


def test_a_cube_file_that_cannot_be_finished_leaves_the_old_one(
    silicon: SCFResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "density.cube"
    path.write_text("old")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("deepchem_xc.planewave.properties.cube.write_cube", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_density_cube(path, silicon)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["density.cube"]
