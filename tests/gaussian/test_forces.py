"""Forces are PySCF's, and derivatives of converged energies; so are their own derivatives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr

from deepchem_xc.gaussian import MolecularResult, scf
from deepchem_xc.xc import PBE, ConstrainedGGA
from tests.differences import assert_agreement, differences
from tests.gaussian.molecules import (
    CLOSED,
    FUNCTIONALS,
    SPINS,
    distance,
    forces_of,
    ours,
    theirs,
)
from tests.gaussian.test_adjoint import (
    along_random_direction,
    directions,
    hybrid,
    of_parameter,
)

TIGHT = {"energy": 1e-11, "commutator": 1e-10}
FITTED = {"basis": "6-31g", "density_fitting": "def2-universal-jkfit"}


def turned(name: str) -> Atoms:
    """A molecule whose forces point anywhere."""
    atoms = molecule(name)
    atoms.rotate(37, (1, 2, 3))
    return atoms


def iodide() -> Atoms:
    return Atoms("HI", [[0.1, 0, 0], [0, 0.3, 1.61]])


# against PySCF ------------------------------------------------------------------------------------


@pytest.mark.parametrize("functional", FUNCTIONALS)
@pytest.mark.parametrize("name", ["H2O", "CH3"])
def test_forces_of_every_kind_of_functional_are_pyscfs(name, functional):
    result = ours(name, functional)
    assert distance(result.forces, forces_of(theirs(result, FUNCTIONALS[functional]))) < 1e-7


@pytest.mark.parametrize(
    "name, functional",
    [("O2", "PBE"), ("O2", "B3LYP"), ("N2", "r2SCAN"), ("NH2", "PBE0"), ("HCN", "PBE")],
)
def test_forces_of_radicals_oxygen_and_closed_shells_are_pyscfs(name, functional):
    result = ours(name, functional)
    assert distance(result.forces, forces_of(theirs(result, FUNCTIONALS[functional]))) < 1e-7


@pytest.mark.parametrize("functional", ["PBE", "r2SCAN", "PBE0"])
def test_forces_of_open_shells_with_one_set_of_orbitals_are_pyscfs(functional):
    result = ours("NH2", functional, restricted="open")
    assert distance(result.forces, forces_of(theirs(result, FUNCTIONALS[functional]))) < 1e-7


@pytest.mark.parametrize("functional, theirs_", [("HSE06", "hse06"), ("camb3lyp", "camb3lyp")])
def test_forces_of_range_separated_hybrids_are_pyscfs(functional, theirs_):
    result = ours("HF", functional)
    assert distance(result.forces, forces_of(theirs(result, theirs_))) < 1e-7


@pytest.mark.parametrize("functional", ["PBE", "PBE0"])
def test_forces_with_density_fitting_are_pyscfs(functional):
    result = ours("H2O", functional, density_fitting="def2-universal-jkfit")
    fitted = theirs(result, FUNCTIONALS[functional]).density_fit(auxbasis="def2-universal-jkfit")
    fitted.kernel()
    assert distance(result.forces, forces_of(fitted)) < 1e-7
    assert distance(result.forces, ours("H2O", functional).forces) > 1e-6


@pytest.mark.parametrize(
    "atoms, keywords",
    [
        (molecule("H2O"), {"basis": "gth-dzvp", "pseudopotentials": "gth-pbe"}),
        (iodide(), {"basis": "def2-svp"}),
    ],
)
def test_forces_with_potentials_for_cores_are_pyscfs(atoms, keywords):
    result = scf(atoms, "PBE", grid_level=1, convergence=TIGHT, **keywords)
    assert distance(result.forces, forces_of(theirs(result, "pbe"))) < 1e-7


@pytest.mark.slow
@pytest.mark.parametrize("functional", FUNCTIONALS)
@pytest.mark.parametrize("name", [*CLOSED, *SPINS])
def test_forces_of_twenty_molecules_are_pyscfs(name, functional):
    result = ours(name, functional, basis="def2-tzvp", grid_level=3)
    mf = theirs(result, FUNCTIONALS[functional], same_start=True)
    assert distance(result.forces, forces_of(mf)) < 1e-6


# against differences of converged energies --------------------------------------------------------

# Structure, keywords, largest step in bohr, and the deviation that is allowed in Hartree/bohr.
ENERGIES: dict[str, tuple[Atoms, dict[str, Any], float, float]] = {
    "core potential": (iodide(), {"basis": "def2-svp"}, 0.03, 1e-8),
    "pseudopotential": (
        turned("H2O"),
        {"basis": "gth-dzvp", "pseudopotentials": "gth-pbe"},
        0.03,
        1e-8,
    ),
    "fitted hybrid": (turned("H2O"), {"functional": "PBE0", **FITTED}, 0.03, 1e-8),
    # Auxiliary functions are linearly dependent in the long-ranged interaction.
    "fitted range": (turned("NH2"), {"functional": "camb3lyp", "spin": 1, **FITTED}, 0.03, 1e-7),
    "range": (turned("H2O"), {"functional": "camb3lyp"}, 0.03, 1e-8),
    "one set of orbitals": (
        turned("NH2"),
        {"functional": "TPSSh", "spin": 1, "restricted": "open"},
        0.03,
        1e-8,
    ),
    "smeared": (
        turned("O2"),
        {"spin": 0, "occupations": {"name": "fermi-dirac", "width": 0.02}},
        0.03,
        1e-8,
    ),
    "smeared radical": (
        turned("NH2"),
        {"spin": 1, "occupations": {"name": "methfessel-paxton", "width": 0.05}},
        0.03,
        1e-8,
    ),
    "ion": (turned("H2O"), {"functional": "r2SCAN", "charge": 1, "spin": 1}, 0.01, 1e-7),
}


@pytest.mark.parametrize("case", ENERGIES)
def test_forces_are_derivatives_of_the_free_energy(case):
    atoms, keywords, step, tolerance = ENERGIES[case]
    given = {"functional": "PBE", "basis": "6-31g", "grid_level": 0, "convergence": TIGHT}
    given |= keywords
    forces = scf(atoms, **given).forces
    velocities = torch.randn_like(forces)

    def energy(h: float) -> float:
        moved = atoms.copy()
        moved.positions += h * Bohr * velocities.numpy()
        return float(scf(moved, **given).free_energy)

    found = differences(energy, step, halvings=3)
    slope = -float((forces * velocities).sum())
    assert_agreement(slope, found, tolerance, scale=1.0, name=case)


def test_forces_add_up_to_zero_and_turn_hardly():
    """The grid moves with the atoms, but does not turn with them: a finer one has less torque."""
    torques = []
    for level in (0, 3):
        result = scf(turned("H2CO"), "r2SCAN", basis="6-31g*", grid_level=level)
        forces = result.forces
        assert float(forces.sum(0).abs().max()) < 1e-11
        positions = torch.from_numpy(result.molecule.positions)
        torques.append(float(torch.linalg.cross(positions, forces).sum(0).norm()))
    assert torques[1] < 1e-4 and torques[1] < 0.2 * torques[0]


def test_an_atom_feels_no_force():
    assert float(scf(Atoms("He"), "PBE", basis="def2-svp").forces.abs().max()) < 1e-12


# derivatives with respect to parameters -----------------------------------------------------------

PARTS: dict[str, tuple[Atoms, dict[str, Any]]] = {
    "core potential": (iodide(), {"basis": "def2-svp"}),
    "pseudopotential": (turned("H2O"), {"basis": "gth-szv", "pseudopotentials": "gth-pbe"}),
    "fitted": (turned("H2O"), FITTED),
}


def assert_derivative_of_forces(compute: Any, arguments: dict[str, Any]) -> None:
    """A random combination of forces changes with parameters as differences do."""

    def loss(result: MolecularResult) -> torch.Tensor:
        return (directions(result) * result.forces).sum()

    exact = arguments["slope"](loss(compute()))

    def value(x: float) -> float:
        arguments["move"](x)
        with torch.no_grad():
            return float(loss(compute()))

    found = differences(value, arguments["step"], halvings=3)
    arguments["move"](0.0)
    assert_agreement(exact, found, 1e-6, 1e-2, limit=4e-6)


@pytest.mark.parametrize("part", PARTS)
def test_derivatives_of_forces_hold_with_every_kind_of_integral(part):
    atoms, keywords = PARTS[part]
    functional = PBE(trainable=True)
    given = {"basis": "6-31g", "grid_level": 0, "convergence": TIGHT} | keywords

    def compute() -> MolecularResult:
        return scf(atoms, functional, **given)

    assert_derivative_of_forces(compute, of_parameter(functional.terms[0].kappa, 0.1))


@pytest.mark.parametrize("range_", [(0.0, "all"), (0.3, "short")])
def test_derivatives_of_fitted_forces_with_respect_to_the_fraction_of_exchange(range_):
    functional, share = hybrid(*range_)

    def compute() -> MolecularResult:
        given = {"grid_level": 0, "convergence": TIGHT, "spin": 1, **FITTED}
        return scf(turned("NH2"), functional, **given)

    assert_derivative_of_forces(compute, of_parameter(share, 0.1))


def test_forces_follow_the_weights_of_a_network():
    functional = ConstrainedGGA(seed=3)
    with torch.no_grad():
        for weight in functional.parameters():
            weight += 0.1 * torch.randn_like(weight)

    def compute() -> MolecularResult:
        keywords = {"basis": "6-31g", "grid_level": 0, "convergence": TIGHT, "spin": 1}
        return scf(turned("CH3"), functional, **keywords)

    assert_derivative_of_forces(compute, along_random_direction(functional, 0.02))


def test_a_loss_on_forces_and_energy_solves_one_equation(monkeypatch):
    from deepchem_xc.gaussian import adjoint

    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, basis="6-31g", grid_level=0)
    calls = []
    solve = adjoint.solve_adjoint
    monkeypatch.setattr(adjoint, "solve_adjoint", lambda *a, **k: calls.append(1) or solve(*a, **k))
    (result.forces.square().sum() + result.dipole.sum() + result.energy).backward()
    assert len(calls) == 1
    assert not result.detach().forces.requires_grad


def test_a_gradient_of_forces_is_not_differentiated_again():
    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, basis="sto-3g", grid_level=0)
    parameter = functional.terms[0].kappa
    loss = result.forces.square().sum()
    (gradient,) = torch.autograd.grad(loss, [parameter], create_graph=True)
    with pytest.raises(NotImplementedError, match="first order"):
        torch.autograd.grad(gradient, [parameter])


def test_forces_refuse_a_functional_that_has_changed():
    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, basis="sto-3g", grid_level=0)
    functional.terms[0].kappa.data *= 1.1
    with pytest.raises(RuntimeError, match="kappa"):
        _ = result.forces


def test_forces_are_computed_once(monkeypatch):
    from deepchem_xc.gaussian.moving_core import MovingCore

    functional = PBE(trainable=True)
    result = scf(molecule("H2O"), functional, basis="sto-3g", grid_level=0)
    calls = []
    gradient = MovingCore.gradient
    monkeypatch.setattr(MovingCore, "gradient", lambda *a: calls.append(1) or gradient(*a))
    plain = result.detach().forces
    assert torch.equal(result.forces.detach(), plain) and torch.equal(result.forces, plain)
    assert result.forces.requires_grad and len(calls) == 1
