"""Symmetry that a crystal, or its magnetic state, does not have is never used for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import (
    Crystal,
    DensityRecord,
    PlaneWaveBasis,
    SCFResult,
    density_of_states,
    scf,
)
from deepchem_xc.planewave.ground_state import LostMomentsWarning
from deepchem_xc.planewave.properties.volume_series import volume_series
from deepchem_xc.planewave.settings import Settings
from deepchem_xc.planewave.structure.kept_symmetry import (
    check_symmetry,
    kept_operations,
    operations_that_keep,
)
from deepchem_xc.planewave.structure.kpoints import make_kpoints
from deepchem_xc.planewave.structure.symmetry import find_symmetry
from tests.crystals import hydrogen_chain

GAMMA: dict[str, Any] = {"size": (1, 1, 1), "gamma": True}
LDA: dict[str, Any] = {"ecut": 100.0, "pseudopotentials": "gth-pade"}
FIXED_MOMENT: dict[str, Any] = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}


def zincblende(shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Atoms:
    atoms = bulk("AlP", "zincblende", a=5.46)
    atoms.positions[1] += shift
    return atoms


@pytest.fixture(scope="module")
def antiferromagnet() -> SCFResult:
    return scf(hydrogen_chain([1.0, -1.0]), "LDA", occupations=FIXED_MOMENT, **LDA)


def test_operations_of_a_distorted_crystal_are_those_that_spglib_finds() -> None:
    ideal = Crystal.from_ase(zincblende())
    group = find_symmetry(ideal)
    along = zincblende((0.1, 0.1, 0.1))  # keeps one threefold axis with its mirror planes
    tetragonal = zincblende()
    tetragonal.set_cell(tetragonal.cell[:] @ np.diag([1.0, 1.0, 1.01]), scale_atoms=True)
    mirror, general = zincblende((0.25, 0.1, -0.1)), zincblende((0.25, 0.1, -0.05))
    for atoms, order in (along, 6), (tetragonal, 8), (mirror, 2), (general, 1):
        crystal = Crystal.from_ase(atoms)
        assert len(find_symmetry(crystal)) == order
        assert int(kept_operations(crystal, group).sum()) == order
    check_symmetry(Crystal.from_ase(bulk("AlP", "zincblende", a=5.8)), group)
    check_symmetry(Crystal.from_ase(general), find_symmetry(Crystal.from_ase(general)))


def test_what_spglib_lets_pass_is_not_refused() -> None:
    supercell = make_supercell(bulk("Si"), np.diag([1, 1, 3]))
    noise = np.random.default_rng(0).normal(scale=1e-6, size=(len(supercell), 3))
    supercell.positions += noise
    supercell.set_cell(supercell.cell[:] + 1e-6 * noise[:3])
    crystal = Crystal.from_ase(supercell)
    group = find_symmetry(crystal)
    assert len(group) > 1
    check_symmetry(crystal, group)


def test_k_points_and_bases_of_another_geometry_are_refused() -> None:
    ideal, moved = Crystal.from_ase(zincblende()), Crystal.from_ase(zincblende((0.25, 0.1, -0.1)))
    points = make_kpoints(GAMMA, ideal)
    message = "reduced by 24 symmetry operations that this crystal does not all have"
    with pytest.raises(ValueError, match=message):
        scf(zincblende((0.25, 0.1, -0.1)), ecut=100.0, kpts=points)
    with pytest.raises(ValueError, match=message):
        PlaneWaveBasis(moved, 3.7, GAMMA, symmetry=find_symmetry(ideal))
    basis = PlaneWaveBasis(ideal, 3.7, points)
    with pytest.raises(ValueError, match=message):
        scf(basis.with_geometry(positions=moved.positions))
    stretch = torch.diag(torch.tensor([1.0, 1.0, 1.01], dtype=torch.float64))
    with pytest.raises(ValueError, match=message):
        scf(basis.with_geometry(lattice=ideal.lattice @ stretch))


def test_a_strain_that_keeps_the_symmetry_is_computed() -> None:
    basis = PlaneWaveBasis(Crystal.from_ase(zincblende()), 3.7, GAMMA)
    larger = basis.with_geometry(lattice=1.01 * basis.crystal.lattice)
    result = scf(larger)
    without = PlaneWaveBasis(basis.crystal, 3.7, GAMMA, symmetry=False)
    same = scf(without.with_geometry(lattice=larger.crystal.lattice))
    assert float(result.free_energy) == pytest.approx(float(same.free_energy), abs=1e-6)
    assert torch.allclose(result.stress, same.stress, rtol=0.0, atol=1e-6)


def test_k_points_of_atoms_without_moments_are_not_an_antiferromagnets() -> None:
    points = make_kpoints(GAMMA, Crystal.from_ase(hydrogen_chain()))
    with pytest.raises(ValueError, match="initial moments"):
        scf(hydrogen_chain([1.0, -1.0]), "LDA", kpts=points, **LDA)


def test_a_layer_in_a_cubic_cell_uses_what_it_has_at_every_area() -> None:
    layer = Atoms("H", cell=[3.0, 3.0, 3.0], pbc=True)
    assert len(find_symmetry(Crystal.from_ase(layer))) == 48
    settings = Settings.of({"ecut": 100.0, "kpts": GAMMA})
    series = volume_series(layer, settings, dimension=2)
    assert len(series.kpoints.symmetry) == 16
    assert len(volume_series(layer, settings).kpoints.symmetry) == 48


def test_moments_that_are_about_the_same_are_the_same() -> None:
    iron = Crystal.from_ase(bulk("Fe", cubic=True))
    group = find_symmetry(iron)
    for moments, order in ([2.2, 2.15], 96), ([2.2, 1.9], 48), ([0.3, -0.3], 48), ([0.0, 0.0], 96):
        assert int(operations_that_keep(torch.tensor(moments), iron, group).sum()) == order


@pytest.mark.parametrize("kpts", [None, (1, 1, 2)])
def test_a_start_keeps_an_antiferromagnet_without_initial_moments(
    antiferromagnet: SCFResult, kpts: tuple[int, int, int] | None
) -> None:
    keywords: dict[str, Any] = {"occupations": FIXED_MOMENT, "kpts": kpts, **LDA}
    kept = scf(hydrogen_chain(), "LDA", spinpol=True, start=antiferromagnet, **keywords)
    right = scf(hydrogen_chain([1.0, -1.0]), "LDA", **keywords)
    assert float(kept.free_energy) == pytest.approx(float(right.free_energy), abs=1e-7)
    assert torch.allclose(kept.atom_moments, right.atom_moments, atol=1e-3)
    assert abs(float(kept.atom_moments[0])) > 0.7
    assert len(kept.kpoints.symmetry) == len(right.kpoints.symmetry) == 8
    # And so does the next one, from a crystal without moments.
    again = scf(hydrogen_chain(), "LDA", spinpol=True, start=kept, **keywords)
    assert float(again.free_energy) == pytest.approx(float(right.free_energy), abs=1e-7)


def test_moments_that_a_given_symmetry_lacks_are_not_lost(antiferromagnet: SCFResult) -> None:
    message = r"0\.71, -0\.71 mu_B, which only 8 of the 16 symmetry operations"
    crystal = Crystal.from_ase(hydrogen_chain())
    points = make_kpoints(GAMMA, crystal)
    with pytest.raises(ValueError, match=message):
        scf(hydrogen_chain(), "LDA", kpts=points, spinpol=True, start=antiferromagnet, **LDA)
    basis = PlaneWaveBasis(crystal, 3.7, GAMMA)
    with pytest.raises(ValueError, match=message):
        scf(basis, "LDA", pseudopotentials="gth-pade", spinpol=True, start=antiferromagnet)
    with pytest.warns(LostMomentsWarning, match="spinpol=True"):
        scf(hydrogen_chain(), "LDA", start=antiferromagnet, **LDA)
    plain = scf(hydrogen_chain(), "LDA", spinpol=False, start=antiferromagnet, **LDA)
    assert float(plain.free_energy) == pytest.approx(-0.909, abs=2e-3)


def test_a_calculator_does_not_start_from_moments_that_its_symmetry_lacks(
    antiferromagnet: SCFResult, tmp_path: Path
) -> None:
    atoms = hydrogen_chain()
    start = DensityRecord.of(antiferromagnet)
    start = DensityRecord(Crystal.from_ase(atoms), start.g_vectors, start.fields)
    for symmetry, description in (True, "superposed atoms"), (False, "an earlier calculation"):
        log = tmp_path / f"{symmetry}.txt"
        calculator = PlaneWaveDFT(
            xc="LDA", spinpol=True, symmetry=symmetry, txt=str(log), occupations=FIXED_MOMENT, **LDA
        )
        calculator._start = start
        calculator.get_potential_energy(atoms)
        assert description in log.read_text()
        assert (abs(calculator.results["magmoms"][0]) > 0.7) is not symmetry


def test_k_points_of_a_density_of_states_have_the_states_symmetry(
    antiferromagnet: SCFResult,
) -> None:
    kpoints = make_kpoints(GAMMA, Crystal.from_ase(hydrogen_chain()))
    with pytest.raises(ValueError, match="does not all have"):
        density_of_states(antiferromagnet, kpts=kpoints)
    keywords: dict[str, Any] = {"occupations": FIXED_MOMENT, **LDA}
    kept = scf(hydrogen_chain(), "LDA", spinpol=True, start=antiferromagnet, **keywords)
    with pytest.raises(ValueError, match="magnetic moments of this state"):
        density_of_states(kept, kpts=kpoints)
    own = density_of_states(kept, kpts=kept.kpoints)
    assert own.values.shape == density_of_states(kept, kpts=(1, 1, 1)).values.shape


@pytest.mark.parametrize("functional", ["LDA", "r2SCAN"])
def test_a_start_without_spin_serves_an_odd_electron_with_integer_occupations(
    functional: str,
) -> None:
    atom = Atoms("H", cell=[4.0] * 3, pbc=True)
    keywords: dict[str, Any] = {"ecut": 100.0, "pseudopotentials": "gth-pade"}
    plain = scf(atom, functional, **keywords)
    keywords |= {"spinpol": True, "occupations": "fixed"}
    warm = scf(atom, functional, start=plain, **keywords)
    cold = scf(atom, functional, **keywords)
    assert float(warm.free_energy) == pytest.approx(float(cold.free_energy), abs=1e-7)
    assert float(warm.magnetic_moment) == pytest.approx(1.0, abs=1e-9)
