"""The ASE calculator with PAW: energies, forces, stress, moments, relaxations and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.optimize import BFGS
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import Bohr, Hartree

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave.observables.sphere_moments import sphere_moments
from deepchem_xc.planewave.paw import load_paw
from tests.calculators.systems import Count, distorted
from tests.differences import assert_derivative

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")

PAW: dict[str, Any] = {"ecut": 150.0, "pseudopotentials": "paw-pbe"}
TIGHT: dict[str, Any] = {"convergence": {"energy": 1e-10, "density": 1e-8}}


def test_forces_are_derivatives_of_the_free_energy_and_stress_has_its_unit() -> None:
    atoms = distorted(**PAW, **TIGHT)
    forces, stress = atoms.get_forces(), voigt_6_to_full_3x3_stress(atoms.get_stress())
    own = atoms.calc.scf_result.stress.numpy() * (Hartree / Bohr**3)
    np.testing.assert_allclose(stress, own, rtol=1e-12)
    positions = atoms.positions.copy()
    direction = np.array([[0.3, -0.5, 0.8], [-0.3, 0.5, -0.8]])

    def displaced(step: float) -> float:
        atoms.positions = positions + step * direction
        return atoms.get_potential_energy(force_consistent=True)

    # Energies are those of a density that moved with the atoms, from one step to the next.
    assert_derivative(-(forces * direction).sum(), displaced, 0.002, rel=1e-5)


def test_a_relaxation_starts_each_step_from_the_last_one() -> None:
    atoms = bulk("Si")
    atoms.positions[1] += [0.08, -0.05, 0.03]
    atoms.calc = PlaneWaveDFT(kpts={"size": (2, 2, 2), "gamma": True}, **PAW)
    steps = []
    with BFGS(atoms, logfile=None) as relaxation:
        relaxation.attach(lambda: steps.append(atoms.calc.scf_result.nsteps))
        assert relaxation.run(fmax=0.02, steps=12)
    apart = atoms.get_distance(0, 1, mic=True)
    assert apart == pytest.approx(5.43 * np.sqrt(3.0) / 4.0, abs=2e-3)
    assert max(steps[1:]) < steps[0]


def test_moments_of_atoms_are_those_inside_of_their_spheres() -> None:
    """The amidogen radical, most of whose unpaired electron is at the nitrogen."""
    places = [[0.0, 0.0, 0.0], [0.0, 0.80, 0.63], [0.0, -0.80, 0.63]]
    molecule = Atoms("NH2", places, cell=[4.0, 4.6, 4.2], pbc=True)
    molecule.set_initial_magnetic_moments([1.0, 0.0, 0.0])
    molecule.calc = PlaneWaveDFT(ecut=300.0, pseudopotentials="paw-pbe")
    moments, result = molecule.get_magnetic_moments(), molecule.calc.scf_result
    assert result.problem.spheres is not None and result.fields.spheres is not None
    own = sphere_moments(result.problem.spheres, result.fields.spheres)
    np.testing.assert_allclose(moments, own.numpy(), rtol=0, atol=1e-12)
    assert molecule.get_magnetic_moment() == pytest.approx(1.0, abs=1e-3)
    assert 0.2 < moments.sum() < 1.0 and moments[0] > 10.0 * abs(moments[1])
    assert moments[1] == pytest.approx(moments[2], abs=1e-6)


def test_a_file_gives_results_and_a_start_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = distorted(**PAW)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    steps = atoms.calc.scf_result.nsteps
    atoms.calc.write(tmp_path / "si.npz", orbitals=True)
    count = Count(monkeypatch)
    again = PlaneWaveDFT(restart=tmp_path / "si.npz")
    same = again.get_atoms()
    assert same.get_potential_energy() == energy
    np.testing.assert_array_equal(same.get_forces(), forces)
    assert count.loops == 0
    same.positions[1] += [0.002, 0.0, 0.0]
    same.get_potential_energy()
    assert count.loops == 1 and again.scf_result.nsteps < steps


def test_other_potentials_do_not_start_from_this_density() -> None:
    """The last density is dropped, as with other atoms: a given start= would be refused."""
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(kpts=(1, 1, 1), **PAW)
    with_pbe = atoms.get_potential_energy()
    atoms.calc.set(pseudopotentials="gth-pbe")
    soft = atoms.get_potential_energy()
    fresh = bulk("Si")
    fresh.calc = PlaneWaveDFT(ecut=150.0, kpts=(1, 1, 1))
    assert soft == pytest.approx(fresh.get_potential_energy(), abs=1e-5)
    atoms.calc.set(pseudopotentials="paw-pbe")
    assert atoms.get_potential_energy() == pytest.approx(with_pbe, abs=1e-5)


def test_results_of_a_file_are_dropped_if_a_family_has_another_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is the same in every version of gpaw-data, and its energies have another zero."""
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(kpts=(1, 1, 1), **PAW)
    energy = atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.npz")
    assert PlaneWaveDFT(restart=tmp_path / "si.npz").results["energy"] == energy
    dataset = load_paw("paw-pbe", "Si")
    reference = replace(dataset.reference, xc=dataset.reference.xc - 0.1)
    monkeypatch.setattr(
        "deepchem_xc.planewave.potentials.load_paw",
        lambda source, symbol: replace(dataset, reference=reference),
    )
    other = PlaneWaveDFT(restart=tmp_path / "si.npz")
    assert other.results == {}
    same = other.get_atoms()
    assert same.get_potential_energy() == pytest.approx(energy + 2 * 0.1 * Hartree, abs=1e-4)
