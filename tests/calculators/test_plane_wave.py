"""Energies, forces and stress in ASE's units; relaxations, moments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, Hartree

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.structure.crystal import NonPeriodicWarning
from tests.calculators.systems import QUICK, TIGHT, distorted, silicon
from tests.differences import assert_derivative


def test_energies_are_those_of_the_solver_in_electronvolt(computed: Atoms) -> None:
    alone = scf(computed, "PBE", **QUICK, **TIGHT)
    free = computed.get_potential_energy(force_consistent=True)
    assert free == pytest.approx(float(alone.free_energy) * 27.211386, rel=1e-7)
    assert free == pytest.approx(float(alone.free_energy) * Hartree, abs=1e-7)
    assert computed.get_potential_energy() == pytest.approx(
        float(alone.free_energy - 0.5 * alone.energies["entropy"]) * Hartree, abs=1e-7
    )
    np.testing.assert_allclose(
        computed.get_forces(), alone.forces.numpy() * Hartree / Bohr, atol=1e-5
    )


def test_forces_are_minus_the_derivative_of_the_free_energy(computed: Atoms) -> None:
    atoms = distorted(**TIGHT)
    # Not a rigid shift: that moves the XC grid along, and symmetrised forces have no sum.
    direction = np.array([[0.3, -0.5, 0.8], [-0.3, 0.5, -0.8]])
    positions = atoms.positions.copy()

    def energy(step: float) -> float:
        atoms.positions = positions + step * direction
        return atoms.get_potential_energy(force_consistent=True)

    work = (computed.get_forces() * direction).sum()
    assert abs(work) > 0.1
    assert_derivative(-work, energy, 0.002, rel=1e-6)


def test_stress_is_the_derivative_of_the_free_energy_with_strain(computed: Atoms) -> None:
    atoms = distorted(**TIGHT)
    cell = atoms.cell[:].copy()
    strain = np.array([[0.7, 0.3, -0.2], [0.3, -0.4, 0.5], [-0.2, 0.5, 0.9]])
    plane_waves = set()

    def energy(step: float) -> float:
        atoms.set_cell(cell @ (np.eye(3) + step * strain), scale_atoms=True)
        found = atoms.get_potential_energy(force_consistent=True)
        plane_waves.add(tuple(atoms.calc.scf_result.basis.npw_per_k))
        return found

    stress = computed.get_stress()  # xx yy zz yz xz xy, positive where the crystal is stretched
    work = (voigt_6_to_full_3x3_stress(stress) * strain).sum() * computed.get_volume()
    assert_derivative(work, energy, 2e-4, rel=1e-5)
    assert len(plane_waves) == 1, "the stress is that of a fixed set of plane waves"
    assert np.abs(stress[3:]).min() > 1e-3 * np.abs(stress[:3]).max()
    np.testing.assert_allclose(computed.get_stress(voigt=False)[1, 2], stress[3])


def test_a_displaced_atom_relaxes_to_the_diamond_structure() -> None:
    atoms = silicon()
    ideal = atoms.get_potential_energy()
    atoms.positions[1] += [0.10, -0.06, 0.03]
    assert atoms.get_potential_energy() > ideal + 0.01
    optimizer = BFGS(atoms, logfile=None)
    assert optimizer.run(fmax=0.01, steps=12)
    difference = atoms.positions[1] - atoms.positions[0]
    np.testing.assert_allclose(difference, 5.43 / 4, atol=2e-3)
    assert atoms.get_potential_energy() == pytest.approx(ideal, abs=1e-4)


def test_a_distorted_cell_relaxes_to_the_cube() -> None:
    # Along [111], which keeps enough symmetry to be quick and lets cell and atoms relax together.
    atoms = silicon(ecut=150.0, kpts={"size": (3, 3, 3), "gamma": True})
    atoms.positions[1] += 0.05
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.012), scale_atoms=True)
    assert np.abs(atoms.cell.angles() - 60.0).min() > 1.0
    optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
    assert optimizer.run(fmax=0.02, steps=20)
    np.testing.assert_allclose(atoms.cell.angles(), 60.0, atol=0.05)
    separation = atoms.get_scaled_positions()[1] - atoms.get_scaled_positions()[0]
    np.testing.assert_allclose(separation, 0.25, atol=5e-4)
    assert np.abs(atoms.get_stress()).max() < 0.02 / atoms.get_volume()


def test_an_atom_in_a_box_keeps_its_moment_and_its_box_is_noticed() -> None:
    atom = Atoms("H", cell=[4.0, 4.2, 4.4], magmoms=[1.0])
    atom.calc = PlaneWaveDFT(ecut=150.0)
    with pytest.warns(NonPeriodicWarning, match="treated as periodic images"):
        assert atom.get_magnetic_moment() == pytest.approx(1.0, abs=1e-3)
    assert atom.calc.get_spin_polarized() and atom.calc.get_number_of_spins() == 2
    up = atom.calc.get_occupation_numbers(kpt=0, spin=0).sum()
    down = atom.calc.get_occupation_numbers(kpt=0, spin=1).sum()
    assert up - down == pytest.approx(1.0, abs=1e-3)
    # One electron alone: only its spin has a density.
    voxel = atom.get_volume() / np.prod(atom.calc.scf_result.basis.fft_size)
    density = atom.calc.get_pseudo_density()
    assert density.sum() * voxel == pytest.approx(1.0, abs=1e-8)
    assert atom.calc.get_pseudo_density(spin=0).sum() * voxel == pytest.approx(1.0, abs=1e-3)
    assert atom.get_magnetic_moments() == pytest.approx([atom.get_magnetic_moment()], abs=1e-9)


def test_fixed_moments_have_two_fermi_levels() -> None:
    atoms = bulk("Si")
    atoms.set_initial_magnetic_moments([1.0, 1.0])
    occupations = {"name": "fermi-dirac", "width": 0.2, "fixmagmom": True}
    atoms.calc = PlaneWaveDFT(ecut=100.0, occupations=occupations)
    assert atoms.get_magnetic_moment() == pytest.approx(2.0, abs=1e-6)
    up, down = atoms.calc.get_fermi_levels()
    assert up > down
    with pytest.raises(ValueError, match="get_fermi_levels"):
        atoms.calc.get_fermi_level()


def test_one_spin_with_all_electrons_has_the_fermi_level(tmp_path: Path) -> None:
    atom = Atoms("H", cell=[3.5, 3.6, 3.7], pbc=True, magmoms=[1.0])
    occupations = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    log = tmp_path / "h.txt"
    atom.calc = PlaneWaveDFT(ecut=150.0, occupations=occupations, txt=log)
    atom.get_potential_energy()
    up, down = atom.calc.get_fermi_levels()
    assert atom.calc.get_fermi_level() == up and down == -np.inf
    assert f"{up:.5f} eV (up), none (down)" in log.read_text()


def test_importing_the_calculator_does_not_import_deepchem() -> None:
    code = "import sys, deepchem_xc.calculators; sys.exit('deepchem' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "" and finished.stderr == ""
