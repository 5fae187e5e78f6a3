"""Molecules in ASE's units: energies, forces, moments; relaxations, refusals."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, PropertyNotPresent
from ase.calculators.fd import calculate_numerical_forces
from ase.optimize import BFGS
from ase.units import Bohr, Hartree
from pyscf import dft

from deepchem_xc.calculators import GaussianDFT
from deepchem_xc.gaussian import SCFConvergenceError, scf
from deepchem_xc.xc import PBE
from tests.gaussian.molecules import forces_of

QUICK: dict[str, Any] = {"basis": "6-31g", "grid_level": 0}
TIGHT: dict[str, Any] = {"convergence": {"energy": 1e-11, "commutator": 1e-9}}


def with_calculator(name: str, **keywords: Any) -> Atoms:
    atoms = molecule(name)
    atoms.calc = GaussianDFT(**{**QUICK, **keywords})
    return atoms


def test_results_are_those_of_the_solver_in_the_units_of_ase() -> None:
    smeared = {"name": "fermi-dirac", "width": 0.05}
    atoms = with_calculator("NH2", occupations=smeared, **TIGHT)
    alone = scf(molecule("NH2"), "PBE", spin=1, occupations=smeared, **QUICK, **TIGHT)
    free = atoms.get_potential_energy(force_consistent=True)
    assert free == pytest.approx(float(alone.free_energy) * Hartree, abs=1e-7)
    energy = atoms.get_potential_energy()
    assert energy == pytest.approx(float(alone.extrapolated_energy) * Hartree, abs=1e-7)
    np.testing.assert_allclose(atoms.get_forces(), alone.forces * (Hartree / Bohr), atol=1e-6)
    np.testing.assert_allclose(atoms.get_dipole_moment(), alone.dipole * Bohr, atol=1e-6)
    assert atoms.get_magnetic_moment() == 1.0


def test_forces_are_those_of_ases_differences() -> None:
    """Truncation of a central difference at 0.002 Angstrom is 1e-5 eV/Angstrom here."""
    atoms = with_calculator("NH2", xc="PBE0", **TIGHT)
    atoms.rattle(0.05, seed=2)
    forces = atoms.get_forces()
    numerical = calculate_numerical_forces(atoms, 2e-3, [0, 1], force_consistent=True)
    np.testing.assert_allclose(forces[:2], numerical, atol=1e-4)
    assert np.abs(forces).max() > 0.5


def test_a_relaxed_molecule_feels_no_force_in_pyscf() -> None:
    atoms = molecule("H2O")
    atoms.calc = GaussianDFT(xc="PBE", basis="def2-svp")
    assert BFGS(atoms, logfile=None).run(fmax=2e-4, steps=30)
    mf = dft.RKS(atoms.calc.scf_result.molecule.mole, xc="pbe")
    mf.verbose, mf.conv_tol = 0, 1e-11
    mf.kernel()
    assert np.abs(forces_of(mf)).max() * Hartree / Bohr < 3e-4
    assert atoms.get_distance(0, 1) != pytest.approx(molecule("H2O").get_distance(0, 1), abs=1e-3)


def test_near_positions_start_from_the_last_density() -> None:
    atoms = with_calculator("H2O")
    atoms.get_potential_energy()
    first = atoms.calc.scf_result.nsteps
    atoms.positions[1, 1] += 0.01
    energy = atoms.get_potential_energy()
    assert atoms.calc.scf_result.nsteps < first
    assert energy == pytest.approx(float(scf(atoms, **QUICK).energy) * Hartree, abs=1e-6)


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = with_calculator("H2O")
    energy, result = atoms.get_potential_energy(), atoms.calc.scf_result
    assert atoms.get_forces().shape == (3, 3) and atoms.get_dipole_moment().shape == (3,)
    assert atoms.calc.scf_result is result
    atoms.calc.set(grid_level=1)
    assert atoms.get_potential_energy() != energy
    with pytest.raises(PropertyNotPresent, match="no converged calculation"):
        _ = GaussianDFT(**QUICK).scf_result


def test_a_changed_functional_is_computed_again() -> None:
    functional = PBE(trainable=True)
    atoms = with_calculator("H2O", xc=functional)
    energy = atoms.get_potential_energy()
    assert atoms.calc.scf_result.energy.requires_grad
    with torch.no_grad():
        functional.terms[0].kappa *= 1.05
    assert abs(atoms.get_potential_energy() - energy) > 0.01


def test_unpaired_electrons_are_those_of_initial_moments() -> None:
    oxygen = with_calculator("O2")
    oxygen.get_potential_energy()
    assert oxygen.calc.scf_result.problem.kind == "unrestricted"
    assert oxygen.get_magnetic_moment() == 2.0
    oxygen.set_initial_magnetic_moments([0.7, 0.5])
    with pytest.raises(ValueError, match="add up to 1.2 mu_B"):
        oxygen.get_potential_energy()
    oxygen.set_initial_magnetic_moments([np.nan, 0.0])
    with pytest.raises(ValueError, match="add up to nan mu_B"):
        oxygen.get_potential_energy()
    singlet = with_calculator("O2", spin=0, occupations={"name": "fermi-dirac", "width": 0.02})
    assert singlet.get_magnetic_moment() == 0.0


def test_an_impossible_spin_says_whether_it_comes_from_initial_moments() -> None:
    oxygen = with_calculator("O2")
    oxygen.set_initial_magnetic_moments([2.0, 1.0])
    with pytest.raises(ValueError, match="3 unpaired .* sum of the atoms' initial magnetic mom"):
        oxygen.get_potential_energy()
    oxygen.calc.set(spin=1)
    with pytest.raises(ValueError, match="16 electrons cannot have 1 unpaired") as given:
        oxygen.get_potential_energy()
    assert "moments" not in str(given.value)


def test_keywords_are_those_of_the_solver_and_documented() -> None:
    own = {"structure", "functional", "start", "callback"}
    wanted = set(inspect.signature(scf).parameters) - own | {"xc"}
    assert set(GaussianDFT.default_parameters) == wanted
    for name in wanted:
        assert f"\n    {name} : " in (GaussianDFT.__doc__ or "")
        assert GaussianDFT(**{name: None}).parameters[name] is None


def test_what_a_molecule_does_not_have_is_refused() -> None:
    atoms = bulk("Si")
    atoms.calc = GaussianDFT(**QUICK)
    with pytest.raises(ValueError, match="repeats periodically"):
        atoms.get_potential_energy()
    with pytest.raises(PropertyNotImplementedError, match="no stress"):
        with_calculator("H2O").get_stress()
    with pytest.raises(TypeError, match="no keyword 'basi'. Do you mean basis"):
        GaussianDFT(basi="6-31g")
    with pytest.raises(ValueError, match="basis"):
        Atoms("He", calculator=GaussianDFT()).get_potential_energy()


def test_a_failed_calculation_leaves_no_results() -> None:
    atoms = with_calculator("H2O", convergence={"maxiter": 2})
    with pytest.raises(SCFConvergenceError):
        atoms.get_potential_energy()
    assert not atoms.calc.results
    atoms.calc.set(convergence=None)
    assert atoms.get_potential_energy() < -2000.0
