"""Forces and stress are the derivatives of the free energy, by differences.

The stress is defined at a fixed set of plane waves, so a strained crystal is solved in a basis that
keeps the integers of the unstrained one. Nothing here uses symmetry but where it says so: a general
displacement has none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave import Crystal, PlaneWaveBasis, SCFResult
from deepchem_xc.planewave.inputs import make_problem
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.self_consistency import solve
from tests.crystals import FIXED, SHEAR, SMEARED, bcc, cubic, doubles, fcc
from tests.differences import assert_derivative

TIGHT = Convergence(energy=1e-12, density=1e-9, orbitals=1e-5)

# Largest steps of the differences, bohr and strain.
DISPLACEMENT = 0.005
STRAIN = 0.002
AGREEMENT = 1e-6
# Ha/bohr, Ha: of less than this, AGREEMENT would be a test of rounding.
SMALLEST = 1e-3


def crystal(lattice: Tensor, symbols: str, positions: list[list[float]], **kw: Any) -> Crystal:
    return Crystal(lattice @ SHEAR, tuple(symbols.split()), doubles(positions), **kw)


CASES: dict[str, dict[str, Any]] = {
    "covalent": {
        "crystal": crystal(fcc(10.26), "Si Si", [[0.01, 0.02, 0.03], [0.25, 0.25, 0.25]]),
        "ecut": 5.0,
        "occupations": FIXED,
    },
    "ionic": {
        "crystal": crystal(fcc(9.6), "Li F", [[0.03, -0.02, 0.01], [0.5, 0.5, 0.5]]),
        "ecut": 9.0,
        "occupations": FIXED,
    },
    "metal": {
        "crystal": crystal(bcc(7.0), "Al Mg", [[0.0, 0.02, 0.01], [0.47, 0.52, 0.51]]),
        "ecut": 5.0,
        "pseudopotentials": {"Al": "GTH-PBE-q3", "Mg": "GTH-PBE-q2"},
        "occupations": {"name": "methfessel-paxton", "width": 0.02},
    },
    "aluminium": {
        "crystal": crystal(
            torch.diag(doubles([5.4, 5.4, 7.6])),
            "Al Al",
            [[0.0, 0.02, 0.01], [0.42, 0.53, 0.55]],
        ),
        "ecut": 5.0,
        "occupations": SMEARED,
    },
    "nickel": {
        "crystal": crystal(
            torch.diag(doubles([4.7, 4.7, 6.65])),
            "Ni Ni",
            [[0.0, 0.02, 0.01], [0.48, 0.52, 0.51]],
            magnetic_moments=(0.8, 0.8),
        ),
        "ecut": 7.0,
        "pseudopotentials": {"Ni": "GTH-GGA-q10"},
        "occupations": SMEARED,
        "mesh": [[0.25, 0.25, 0.25]],
    },
    "f projectors": {
        "crystal": crystal(
            cubic(6.4),
            "Cs Br",
            [[0.0, 0.02, 0.01], [0.52, 0.48, 0.51]],
        ),
        "ecut": 5.0,
        "occupations": FIXED,
    },
    "magnet": {
        "crystal": crystal(
            cubic(5.6),
            "Fe Co",
            [[0.01, 0.0, -0.02], [0.51, 0.48, 0.5]],
            magnetic_moments=(2.5, 1.5),
        ),
        "ecut": 7.0,
        "occupations": SMEARED,
        "mesh": [[0.25, 0.25, 0.25]],
    },
    "one spin more": {
        "crystal": crystal(
            cubic(6.0),
            "N O",
            [[0.5, 0.49, 0.33], [0.48, 0.5, 0.69]],
            magnetic_moments=(0.5, 0.5),
        ),
        "ecut": 6.0,
        "occupations": {"name": "gaussian", "width": 0.01, "fixmagmom": True},
        "mesh": [[0.0, 0.0, 0.0]],
    },
    "lda": {
        "crystal": crystal(fcc(6.8), "C C", [[0.01, 0.02, 0.03], [0.25, 0.25, 0.25]]),
        "ecut": 9.0,
        "functional": "LDA",
        "pseudopotentials": "gth-pade",
        "occupations": FIXED,
    },
    "core correction": {
        "crystal": crystal(fcc(10.26), "Si Si", [[0.01, 0.02, 0.03], [0.25, 0.25, 0.25]]),
        "ecut": 5.0,
        "files": {"Si": "Si.psp8"},
        "occupations": FIXED,
    },
}


def ground_state(
    case: dict[str, Any],
    paths: Callable[[str], Path],
    strain: Tensor | None = None,
    displacement: Tensor | None = None,
    start: SCFResult | None = None,
) -> SCFResult:
    """Ground state of a case, strained at a fixed set of plane waves or with moved atoms (bohr)."""
    crystal: Crystal = case["crystal"]
    mesh = case.get("mesh", [[0.0, 0.0, 0.0], [0.5, 0.25, -0.25]])
    basis = PlaneWaveBasis(crystal, case["ecut"], mesh, symmetry=False)
    lattice, positions = crystal.lattice, crystal.positions
    if displacement is not None:
        positions = positions + displacement @ torch.linalg.inv(lattice)
    if strain is not None:
        lattice = lattice @ (torch.eye(3, dtype=lattice.dtype) + strain)
    basis = basis.with_geometry(lattice=lattice, positions=positions)
    pseudos = case.get("pseudopotentials", "gth-pbe")
    if "files" in case:
        pseudos = {symbol: paths(f"pseudos/{file}") for symbol, file in case["files"].items()}
    functional = case.get("functional", "PBE")
    problem = make_problem(basis, functional, pseudos, case["occupations"])
    if start is None:
        return solve(problem, TIGHT)
    return solve(problem, TIGHT, fields=start.fields, orbitals=start.orbitals)


@pytest.fixture(params=[name for name in CASES if "files" not in CASES[name]])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CASES[request.param]


def no_files(name: str) -> Path:
    raise AssertionError(f"{name} was not expected to be needed")


def check_forces(case: dict[str, Any], paths: Callable[[str], Path]) -> None:
    """Along one random direction that moves all atoms, without moving their centre."""
    direction = torch.randn(len(case["crystal"].symbols), 3, dtype=torch.float64)
    direction -= direction.mean(0)
    direction /= torch.linalg.vector_norm(direction)
    result = ground_state(case, paths)

    def energy(step: float) -> float:
        moved = ground_state(case, paths, displacement=step * direction, start=result)
        return float(moved.free_energy)

    expected = -float((result.forces * direction).sum())
    assert abs(expected) > SMALLEST
    assert_derivative(expected, energy, DISPLACEMENT, rel=AGREEMENT)


def check_stress(case: dict[str, Any], paths: Callable[[str], Path]) -> None:
    """Along one random symmetric strain, all six components at once."""
    direction = torch.randn(3, 3, dtype=torch.float64)
    direction = direction + direction.T
    direction /= torch.linalg.matrix_norm(direction)
    result = ground_state(case, paths)

    def energy(step: float) -> float:
        strained = ground_state(case, paths, strain=step * direction, start=result)
        return float(strained.free_energy)

    expected = float((result.stress * direction).sum() * result.basis.volume)
    assert abs(expected) > SMALLEST
    assert_derivative(expected, energy, STRAIN, rel=AGREEMENT)


def test_forces_are_the_slope_of_the_free_energy(case: dict[str, Any]) -> None:
    check_forces(case, no_files)


def test_stress_is_the_slope_of_the_free_energy(case: dict[str, Any]) -> None:
    check_stress(case, no_files)


def test_forces_with_a_core_density(reference_path: Callable[[str], Path]) -> None:
    check_forces(CASES["core correction"], reference_path)


def test_stress_with_a_core_density(reference_path: Callable[[str], Path]) -> None:
    check_stress(CASES["core correction"], reference_path)


def test_forces_add_up_to_nothing_and_stress_is_symmetric() -> None:
    result = ground_state(CASES["covalent"], no_files)
    assert float(result.forces.sum(0).abs().max()) < 1e-14
    assert torch.equal(result.stress, result.stress.T)


def test_symmetry_makes_the_forces_of_diamond_vanish() -> None:
    """One operation more than translation: the displaced atom feels only what is allowed."""
    lattice = fcc(10.26)
    along = torch.tensor([[0.02, 0.02, 0.02], [0.25, 0.25, 0.25]], dtype=torch.float64)
    ideal = torch.tensor([[0.0] * 3, [0.25] * 3], dtype=torch.float64)
    for positions, vanish in [(along, False), (ideal, True)]:
        crystal = Crystal(lattice, ("Si", "Si"), positions)
        basis = PlaneWaveBasis(crystal, 5.0, {"size": (2, 2, 2), "gamma": True})
        result = solve(make_problem(basis, "PBE", "gth-pbe", FIXED), TIGHT)
        forces = result.forces
        if vanish:
            assert float(forces.abs().max()) < 1e-12
        else:  # along [111] only
            assert float(forces.abs().max()) > 1e-3
            torch.testing.assert_close(forces, forces[:, :1].expand(2, 3), rtol=0, atol=1e-12)


def test_forces_from_symmetry_reduced_kpoints_are_the_slope_too() -> None:
    """Both atoms along [111], which keeps the operations of the crystal and its centre."""

    def solved(along: float) -> SCFResult:
        reduced = torch.tensor([[0.02 + along] * 3, [0.25 - along] * 3], dtype=torch.float64)
        basis = PlaneWaveBasis(
            Crystal(fcc(10.26), ("Si", "Si"), reduced), 5.0, {"size": (2, 2, 2), "gamma": True}
        )
        assert len(basis.weights) == 4  # of 8
        return solve(make_problem(basis, "PBE", "gth-pbe", FIXED), TIGHT)

    # All three reduced coordinates by x: along the sum of the lattice vectors.
    diagonal = fcc(10.26).sum(0)
    forces = solved(0.0).forces
    expected = float((forces[1] - forces[0]) @ diagonal)
    length = float(torch.linalg.vector_norm(diagonal))
    step = DISPLACEMENT / length
    assert_derivative(expected, lambda x: float(solved(x).free_energy), step, rel=AGREEMENT)


def test_pressure_is_the_slope_of_the_energy_at_constant_plane_waves() -> None:
    """The trace of the stress is -3 p, and p = -dE/dV."""
    case = CASES["covalent"]
    result = ground_state(case, no_files)
    identity = torch.eye(3, dtype=torch.float64)

    def energy(step: float) -> float:  # (1 + e)^3 = 1 + step
        e = (1.0 + step) ** (1.0 / 3.0) - 1.0
        return float(ground_state(case, no_files, strain=e * identity).free_energy)

    expected = float(result.stress.trace() * result.basis.volume) / 3.0
    assert_derivative(expected, energy, STRAIN, rel=AGREEMENT)
