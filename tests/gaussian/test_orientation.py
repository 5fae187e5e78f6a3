"""Atoms and linear molecules turn in space: exactly, and without second-order steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from deepchem_xc.gaussian import MolecularResult, scf, self_consistency
from deepchem_xc.gaussian.inputs import make_problem
from deepchem_xc.gaussian.orientation import Angles, Orientation
from deepchem_xc.gaussian.problem import Kernel, MolecularProblem
from deepchem_xc.gaussian.self_consistency import commutator
from deepchem_xc.xc import PBE

GIVEN: dict[str, Any] = {
    "basis": "6-31g",
    "grid_level": 1,
    "convergence": {"commutator": 1e-8},
}
# Error of this grid, Hartree: energies of one atom in different orientations.
GRID_ERROR = 3e-6


class Calls:
    """Numbers of evaluations since the last call of `taken`."""

    def __init__(self) -> None:
        self.potentials = self.kernels = self.products = 0

    def taken(self) -> tuple[int, int, int]:
        """Potentials, kernels and products with a kernel."""
        found = self.potentials, self.kernels, self.products
        self.potentials = self.kernels = self.products = 0
        return found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    counted = Calls()
    places = [
        (MolecularProblem, "potential", "potentials"),
        (MolecularProblem, "kernel", "kernels"),
        (Kernel, "__call__", "products"),
    ]
    for place, name, number in places:
        original = getattr(place, name)

        def counting(*args: Any, original: Any = original, number: str = number) -> Any:
            setattr(counted, number, getattr(counted, number) + 1)
            return original(*args)

        monkeypatch.setattr(place, name, counting)
    yield counted


def oxygen(**keywords: Any) -> MolecularResult:
    return scf(Atoms("O"), **{**GIVEN, "spin": 2, **keywords})


def towards(result: MolecularResult, target: tuple[float, float, float]) -> Orientation:
    """A frame in which oxygen's lone p electron of the second spin points to a target.

    Where it points in a result is left to rounding: along an axis of the grid nothing turns it.
    """
    density = result.density_matrix[1]
    block = density[3:6, 3:6] + density[6:9, 6:9]  # 6-31g: three s functions, two p shells
    here = torch.linalg.eigh(block).eigenvectors[:, 2]
    there = torch.tensor(target, dtype=torch.float64)
    there = there / there.norm()
    axis = torch.linalg.cross(here, there)
    frame = Orientation(result.problem)
    # exp(angle . (r x gradient)) turns functions backwards.
    frame.rotate(-axis / axis.norm() * torch.atan2(axis.norm(), here @ there))
    turned = frame.outside(result.density_matrix)[1, 3:6, 3:6]
    found = torch.linalg.eigh(turned).eigenvectors[:, 2]
    assert float(torch.linalg.cross(found, there).norm()) < 1e-4
    return frame


# the frame ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "atoms, nangle",
    [
        (Atoms("C"), 3),
        (Atoms("CO", [[0, 0, 0], [0.5, 0.6, 0.7]]), 1),
        (Atoms("CO2", [[0.1, 0, 0], [0.1, 0.2, 1.1], [0.1, -0.2, -1.1]]), 1),
        (molecule("H2O"), 0),
    ],
)
def test_turning_keeps_all_that_no_grid_is_needed_for(atoms, nangle):
    """Overlap, kinetic energy and attraction of the nuclei, also with d functions and any axis."""
    problem = make_problem(atoms, "PBE", basis="def2-svp", grid_level=0)
    frame = Orientation(problem)
    assert frame.nangle == nangle
    frame.rotate(torch.tensor([0.3, -0.5, 0.7], dtype=torch.float64)[:nangle])
    for matrix in (problem.overlap, problem.kinetic, problem.core):
        assert float((frame.inside(matrix) - matrix).abs().max()) < 1e-10


def test_the_torque_is_the_derivative_of_the_energy():
    result = oxygen()
    problem, frame = result.problem, towards(result, (0.3, 0.2, 0.9))
    unit = torch.eye(3, dtype=torch.float64)
    density = result.density_matrix
    fock = frame.inside(problem.potential(frame.outside(density)).fock)
    torque = frame.torque(commutator(problem, fock, density), density)
    step = 2e-3
    for axis in range(3):
        energies = []
        for n in (1, -1, 2, -2):
            frame.rotate(n * step * unit[axis])
            energies.append(problem.potential(frame.outside(density)).energy)
            frame.rotate(-n * step * unit[axis])
        near, far = energies[0] - energies[1], energies[2] - energies[3]
        slope = (8.0 * near - far) / (12.0 * step)
        # Energies are rounded to 1e-13 of 75 Hartree, and so the slope to some 1e-11.
        assert float(torque.values[axis]) == pytest.approx(slope, abs=1e-9)
    assert float(torque.values.abs().max()) > 1e-7
    # The held matrices have the rest of the commutator, which has no torque.
    rest = commutator(problem, fock + torque.hold, density)
    assert torch.allclose(rest, commutator(problem, fock, density) - torque.part, atol=1e-12)
    assert float(frame.torque(rest, density).values.abs().max()) < 1e-12


@pytest.mark.parametrize("name, spin", [("N", 3), ("N2", 0)])
def test_a_density_as_round_as_its_molecule_has_no_torque(name, spin):
    atoms = Atoms(name) if spin else molecule(name)
    result = scf(atoms, spin=spin, **GIVEN)
    frame, density = Orientation(result.problem), result.density_matrix
    residual = commutator(result.problem, result.converged.potential.fock, density)
    torque = frame.torque(residual, density)
    assert frame.nangle > 0
    assert not torque.values.any() and not torque.part.any() and not torque.hold.any()


def test_steps_of_the_angles_leave_a_maximum_and_end_in_a_minimum():
    """On an energy with wells of 0.4 radian, as the errors of a grid are, from beside a maximum."""
    depths = torch.tensor([1e-6, 5e-6, 2e-5], dtype=torch.float64)
    x, angles = torch.full((3,), 1e-3, dtype=torch.float64), Angles()
    for _ in range(40):
        torque = -depths * torch.sin(15.0 * x)
        if float(torque.abs().max()) < 1e-10:
            break  # as the loop does: curvatures of steps below are noise
        x = x + angles.next_step(torque)
    assert float(torque.abs().max()) < 1e-10
    assert bool((torch.cos(15.0 * x) < 0.0).all())


# the loop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, spin", [("B", 1), ("C", 2), ("O", 2), ("F", 1), ("OH", 1)])
def test_open_shells_that_turn_freely_need_no_second_order_steps(calls, name, spin):
    atoms = Atoms(name) if len(name) == 1 else molecule(name)
    result = scf(atoms, "PBE", spin=spin, **GIVEN)
    potentials, kernels, products = calls.taken()
    assert result.history[-1]["commutator"] < 1e-8
    assert (kernels, products) == (0, 0)
    assert potentials == result.nsteps <= 40
    assert result.stability().is_stable


def test_turned_atoms_are_at_the_minimum_that_second_order_steps_find(calls, monkeypatch):
    turned = oxygen()
    assert calls.taken()[1] == 0
    monkeypatch.setattr(self_consistency, "Orientation", AtRest)
    plain = oxygen(start=towards(turned, (0.3, 0.2, 0.9)).outside(turned.density_matrix))
    assert calls.taken()[1] > 0
    assert abs(float(turned.energy - plain.energy)) < GRID_ERROR
    for result in (turned, plain):
        assert result.stability().internal.value > -1e-4
    levels = (turned.eigenvalues - plain.eigenvalues).abs().max()
    assert float(levels) < 1e-4  # a grid's error of levels is of first order


class AtRest(Orientation):
    """A frame that does not turn."""

    def __init__(self, problem: MolecularProblem) -> None:
        super().__init__(problem)
        self.fix()


def test_orientations_that_find_no_minimum_are_left_to_second_order_steps(calls, monkeypatch):
    plain = oxygen()
    calls.taken()
    monkeypatch.setattr(self_consistency, "_TURNS", 2)
    start = towards(plain, (0.3, 0.2, 0.9)).outside(plain.density_matrix)
    result = oxygen(start=start)
    assert result.history[-1]["commutator"] < 1e-8
    assert calls.taken()[1] > 0


@pytest.mark.parametrize("restricted", [False, "open"])
def test_a_result_in_a_turned_frame_is_that_of_its_orbitals(restricted):
    """Density, levels and potential agree in the molecule's own functions."""
    result = oxygen(restricted=restricted)
    problem, states = result.problem, result.converged.states
    potential = problem.potential(states.density)
    assert abs(potential.energy - float(result.energy)) < 1e-10
    assert float((potential.fock - result.converged.potential.fock).abs().max()) < 1e-9
    identity = states.orbitals.mT @ problem.overlap @ states.orbitals
    assert torch.allclose(identity, torch.eye(identity.shape[-1]).double(), atol=1e-10)


# starts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restricted", [False, "open"])
@pytest.mark.parametrize("name, spin", [("C", 2), ("F", 1), ("NO", 1)])
def test_a_warm_start_of_a_converged_atom_takes_no_second_order_step(calls, restricted, name, spin):
    atoms = Atoms(name) if len(name) == 1 else molecule(name)
    first = scf(atoms, spin=spin, restricted=restricted, **GIVEN)
    calls.taken()
    settings = {name: value for name, value in GIVEN.items() if name != "basis"}
    again = scf(first.molecule, start=first, restricted=restricted, **settings)
    potentials, kernels, products = calls.taken()
    assert potentials <= 3 and (kernels, products) == (0, 0)
    assert float(again.energy) == pytest.approx(float(first.energy), rel=1e-12)  # rounding


def test_a_start_keeps_its_orbitals_where_levels_are_not_filled_from_below(calls):
    """Carbon with one set of orbitals: DIIS would fill others first, and find back in 12 steps."""
    functional = PBE(trainable=True)
    first = scf(Atoms("C"), functional, spin=2, restricted="open", **GIVEN)
    assert first.history[-1]["gap"] < 0.0
    functional.terms[0].kappa.data *= 1.003
    calls.taken()
    again = scf(Atoms("C"), functional, spin=2, restricted="open", start=first, **GIVEN)
    potentials, kernels, _ = calls.taken()
    assert potentials == again.nsteps <= 6 and 0 < kernels <= 3
    cold = scf(Atoms("C"), functional, spin=2, restricted="open", **GIVEN)
    assert abs(float((again.energy - cold.energy).detach())) < GRID_ERROR
