"""Ground states that loops lose: localised shells, antiferromagnets, levels that cross."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave import SCFResult, scf
from tests.planewave.paw_crystals import paw


def staggered_iron(**keywords: Any) -> tuple[Atoms, dict[str, Any]]:
    atoms = bulk("Fe", cubic=True, a=2.84)
    atoms.set_initial_magnetic_moments([2.2, -2.2])
    return atoms, {"kpts": {"size": (4, 4, 4), "gamma": True}, "ecut": 700.0, **keywords}


def moments(result: SCFResult) -> tuple[float, float]:
    """Total and absolute moment, mu_B per cell."""
    up, down = result.density
    absolute = (up - down).abs().mean() * result.basis.volume
    return float(result.magnetic_moment), float(absolute)


@pytest.mark.slow
def test_an_antiferromagnetic_start_of_iron_stays_one(
    reference_path: Callable[[str], Path],
) -> None:
    """As with the moment held at zero; a ferromagnet would be 0.9 eV lower. GPAW stays, too."""
    files = {"Fe": reference_path("pseudos/Fe-sp.psp8")}
    atoms, keywords = staggered_iron(pseudopotentials=files)
    held = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    free, fixed = (scf(atoms, occupations=occupations, **keywords) for occupations in (None, held))
    assert free.nsteps <= 24  # GPAW: 16
    assert moments(free) == pytest.approx((0.0, 3.952), abs=2e-3)
    difference = float(free.extrapolated_energy - fixed.extrapolated_energy) * Hartree
    assert difference == pytest.approx(0.0, abs=1e-5)


@pytest.mark.slow
def test_an_antiferromagnet_with_small_moments_stays_one(
    reference_path: Callable[[str], Path],
) -> None:
    """fcc iron, single layers, 3.45 Angstrom: the state that holding the moment at zero finds."""
    half = 3.45 / 2
    atoms = Atoms("Fe2", cell=[[half, -half, 0], [half, half, 0], [0, 0, 3.45]], pbc=True)
    atoms.set_scaled_positions([[0, 0, 0], [0.5, 0.5, 0.5]])
    atoms.set_initial_magnetic_moments([2.0, -2.0])
    keywords: dict[str, Any] = {
        "ecut": 550.0,
        "kpts": {"size": (4, 4, 3), "gamma": True},
        "pseudopotentials": {"Fe": reference_path("pseudos/Fe-sp.psp8")},
    }
    held = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    free, fixed = (scf(atoms, occupations=occupations, **keywords) for occupations in (None, held))
    assert free.nsteps <= 20
    total, absolute = moments(free)
    assert abs(total) < 1e-3 < 0.1 < absolute
    difference = float(free.extrapolated_energy - fixed.extrapolated_energy) * Hartree
    assert difference == pytest.approx(0.0, abs=1e-5)


def test_a_titanium_atom_converges_with_default_settings() -> None:
    """Two unpaired electrons, as measured (3F); GPAW takes 23 steps for titanium in a box."""
    atoms = Atoms("Ti", cell=(5.4, 5.7, 6.0), pbc=True, magmoms=[2])
    atoms.center()
    result = scf(atoms, ecut=250.0, pseudopotentials={"Ti": "GTH-PBE-q4"})
    assert result.nsteps <= 34
    assert moments(result)[0] == pytest.approx(2.0, abs=0.02)


def small_molecule(formula: str, moments: list[float], length: float = 0.0) -> Atoms:
    """An atom or two in a small box without symmetry."""
    places = [[0.0, 0.0, 0.0], [0.0, 0.0, length]][: len(moments)]
    atoms = Atoms(formula, places, cell=(4.5, 4.6, 4.7), pbc=True, magmoms=moments)
    atoms.center()
    return atoms


@pytest.mark.slow
@pytest.mark.parametrize(
    ("formula", "moments", "length", "steps"),
    [
        ("OH", [1, 0], 0.97, 20),
        ("CH", [1, 0], 1.12, 34),
        ("NO", [1, 0], 1.15, 24),
        ("O2", [1, 1], 1.21, 16),
        ("B", [1], 0.0, 34),
        ("O", [2], 0.0, 20),
    ],
)
def test_open_shells_converge_with_paw(
    formula: str, moments: list[float], length: float, steps: int
) -> None:
    """Their levels fill a large part of the box, or turn when the potential changes."""
    atoms = small_molecule(formula, moments, length)
    result = paw(atoms, 350.0, (1, 1, 1), convergence=None)
    assert result.nsteps <= steps
    assert float(result.magnetic_moment) == pytest.approx(sum(moments), abs=0.01)


def test_a_boron_atom_with_paw_ends_below_every_integer_filling() -> None:
    """Mixing alone wanders: its p levels are degenerate but for the box."""
    atom = small_molecule("B", [1])
    smeared = paw(atom, 250.0, (1, 1, 1), convergence=None)
    integer = paw(atom, 250.0, (1, 1, 1), convergence=None, occupations={"name": "fixed"})
    assert smeared.nsteps <= 34
    assert float(smeared.free_energy) < float(integer.free_energy) - 1e-4


@pytest.mark.slow
def test_iron_on_a_coarse_mesh_ends_in_a_minimum_and_not_between_two() -> None:
    """2x2x2: minima at 2.00 and 3.49 mu_B, and a maximum at 2.48, 0.09 eV above the first."""
    energies = []
    for start, moment in ((2.2, 2.001), (3.5, 3.495)):
        iron = bulk("Fe", a=2.84)
        iron.set_initial_magnetic_moments([start])
        result = paw(iron, 400.0, (2, 2, 2), convergence=None)
        assert float(result.magnetic_moment) == pytest.approx(moment, abs=2e-3)
        assert result.nsteps <= 30
        energies.append(float(result.free_energy) * Hartree)
    assert energies[0] - energies[1] == pytest.approx(0.158, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("symbol", "moment", "gpaw"), [("Ni", 2.0, 30), ("Fe", 4.0, 135)])
def test_atoms_with_a_partly_filled_d_shell_converge_with_default_settings(
    reference_path: Callable[[str], Path], symbol: str, moment: float, gpaw: int
) -> None:
    """Unpaired electrons as in GPAW, and at most 1.5 times its steps."""
    atoms = Atoms(symbol, cell=(6.0, 6.3, 6.6), pbc=True, magmoms=[moment])
    atoms.center()
    file = reference_path(f"pseudos/{symbol}-sp.psp8")
    result = scf(atoms, ecut=600.0, pseudopotentials={symbol: file})
    assert result.nsteps <= min(1.5 * gpaw, 60)
    assert moments(result)[0] == pytest.approx(moment, abs=0.02)


@pytest.mark.slow
def test_a_nickel_atom_in_a_small_box_ends_with_the_moment_of_gpaw(
    reference_path: Callable[[str], Path],
) -> None:
    """Its levels split, and there are saddles on the way: loops that only mix hang at them."""
    atoms = Atoms("Ni", cell=(5.0, 5.3, 5.6), pbc=True, magmoms=[2])
    atoms.center()
    file = reference_path("pseudos/Ni-sp.psp8")
    result = scf(atoms, ecut=500.0, pseudopotentials={"Ni": file})
    assert result.nsteps <= 42  # GPAW: 24
    assert moments(result)[0] == pytest.approx(1.997, abs=5e-3)


def salt(distance: float, height: float, **keywords: Any) -> SCFResult:
    """Sodium and chlorine, one electron of which no level wants to hold a part."""
    positions = [[0.0, 0.0, 0.0], [0.0, 0.0, distance]]
    atoms = Atoms("NaCl", positions, cell=(height / 2, height / 2 + 0.2, height), pbc=True)
    potentials = {"Na": "GTH-PBE-q1", "default": "gth-pbe"}
    cold = {"name": "fermi-dirac", "width": 0.05}
    return scf(atoms, pseudopotentials=potentials, occupations=cold, **keywords)


def test_separated_ions_converge_with_default_settings() -> None:
    """Each atom neutral: the sodium level and the chlorine shell end at one Fermi level."""
    result = salt(6.0, 12.0, ecut=150.0)
    assert result.nsteps <= 49
    level = float(result.fermi_level)
    assert ((result.eigenvalues - level).abs() * Hartree < 0.5).sum() >= 2  # both are at it


@pytest.mark.slow
@pytest.mark.parametrize(("spinpol", "gpaw"), [(False, 33), (True, 41)])
def test_separated_ions_take_at_most_one_and_a_half_times_the_steps_of_gpaw(
    spinpol: bool, gpaw: int
) -> None:
    assert salt(7.0, 14.0, ecut=250.0, spinpol=spinpol).nsteps <= 1.5 * gpaw


def test_the_residual_of_a_multiplet_that_is_cut_stops_no_loop() -> None:
    """The highest band holds 1e-9 electrons and keeps a residual of 1e-3 Ha."""
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.05, seed=1)
    tight = {"energy": 1e-9, "density": 1e-9}
    result = scf(atoms, ecut=200.0, kpts=(3, 3, 3), convergence=tight)
    assert result.nsteps <= 16
    reached = [step["step"] for step in result.history if step["density_error"] < 1e-9]
    assert result.nsteps - reached[0] <= 2


def test_integer_occupations_of_levels_that_cross_are_named_as_the_reason() -> None:
    atoms = bulk("Al", cubic=True)
    atoms.rattle(0.05, seed=1)
    with pytest.raises(SCFConvergenceError, match="integer occupations have no self-consis") as at:
        scf(atoms, ecut=100.0, occupations={"name": "fixed"}, convergence={"maxiter": 30})
    assert min(step["gap"] for step in at.value.history) < 0.01
    with pytest.raises(SCFConvergenceError, match="with PBE.*raise maxiter; otherwise smear"):
        scf(bulk("Si"), ecut=100.0, convergence={"maxiter": 3})
