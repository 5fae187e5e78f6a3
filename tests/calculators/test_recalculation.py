"""When the calculator computes, and from what it starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.calculator import PropertyNotPresent

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import SCFConvergenceError
from deepchem_xc.xc import get_xc
from tests.calculators.systems import GAMMA_MESH, QUICK, TIGHT, Count, distorted, silicon


def test_nothing_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Count(monkeypatch)
    atoms = silicon(ecut=80.0)
    for _ in range(2):
        atoms.get_potential_energy()
        atoms.get_forces()
        atoms.get_stress()
        atoms.get_magnetic_moment()
        atoms.calc.get_fermi_level()
    atoms.calc.set(txt=None, ecut=80.0)
    atoms.set_initial_charges([0.1, -0.1])
    atoms.get_potential_energy()
    assert count.loops == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_forces()
    atoms.get_potential_energy()
    assert count.loops == 2
    atoms.calc.set(ecut=90.0)
    with pytest.raises(PropertyNotPresent):
        _ = atoms.calc.scf_result
    atoms.get_potential_energy()
    assert count.loops == 3


def test_a_functional_that_learns_makes_results_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    count = Count(monkeypatch)
    parameter = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    functional = get_xc("gga_x_pbe") * parameter + get_xc("gga_c_pbe")
    atoms = silicon(ecut=80.0, xc=functional)
    before = atoms.get_potential_energy()
    with torch.no_grad():
        parameter.mul_(1.02)
    after = atoms.calc.get_potential_energy()
    assert count.loops == 2 and abs(after - before) > 1e-3
    fresh = silicon(ecut=80.0, xc=functional)
    assert fresh.get_potential_energy() == pytest.approx(after, abs=1e-5)


def test_a_small_move_saves_steps_and_changes_nothing_else() -> None:
    atoms = distorted(**TIGHT)
    atoms.get_potential_energy()
    cold = atoms.calc.get_number_of_iterations()
    atoms.positions[0] += [0.01, 0.02, -0.01]
    warm_energy, warm_forces = atoms.get_potential_energy(), atoms.get_forces()
    assert atoms.calc.get_number_of_iterations() < cold
    fresh = atoms.copy()
    fresh.calc = PlaneWaveDFT(**QUICK, **TIGHT)
    assert fresh.get_potential_energy() == pytest.approx(warm_energy, abs=1e-8)
    np.testing.assert_allclose(fresh.get_forces(), warm_forces, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ("move", "density and orbitals"),
        ("strain", "density and orbitals"),
        ("far", "superposed atoms"),
        ("stretch", "superposed atoms"),
        ("moments", "superposed atoms"),
        ("element", "superposed atoms"),
        ("nbands", "density and orbitals"),
        ("kpts", "density of"),
    ],
)
def test_what_the_next_calculation_starts_from(tmp_path: Path, change: str, start: str) -> None:
    text = tmp_path / "si.txt"
    atoms = bulk("Si")
    atoms.positions[0] += [0.11, -0.05, 0.07]  # so that the k-points stay the same
    atoms.calc = PlaneWaveDFT(ecut=80.0, kpts=GAMMA_MESH, txt=text)
    atoms.get_potential_energy()
    if change == "move":
        atoms.positions[0] += 0.02
    elif change == "strain":
        atoms.set_cell(atoms.cell[:] * 1.01, scale_atoms=True)
    elif change == "far":
        atoms.positions[0] += [0.8, 0.0, 0.0]
    elif change == "stretch":
        atoms.set_cell(atoms.cell[:] * 1.2, scale_atoms=True)
    elif change == "moments":
        atoms.set_initial_magnetic_moments([0.5, 0.5])
    elif change == "element":
        atoms.symbols[0] = "C"
    elif change == "nbands":
        atoms.calc.set(nbands=9)
    else:
        atoms.calc.set(kpts=(2, 2, 1))
    atoms.get_potential_energy()
    first, second = [
        line.split(maxsplit=1)[1]
        for line in text.read_text().splitlines()
        if line.startswith("start ")
    ]
    assert first == "superposed atoms"
    assert second.startswith(start)


def test_a_failing_calculation_raises_and_leaves_no_results(tmp_path: Path) -> None:
    text = tmp_path / "si.txt"
    atoms = silicon(txt=text)
    atoms.get_potential_energy()
    atoms.calc.set(convergence={"density": 1e-13, "energy": 1e-13, "maxiter": 2})
    atoms.positions[0] += 0.05
    for _ in range(2):
        with pytest.raises(SCFConvergenceError) as failure:
            atoms.get_potential_energy()
        assert len(failure.value.history) == 2
        assert atoms.calc.results == {}
        with pytest.raises(PropertyNotPresent, match="no converged calculation"):
            _ = atoms.calc.scf_result
    assert "failed: the self-consistency loop did not converge" in text.read_text()
    # The first failure started from the density before; the second one does not repeat that.
    starts = [line for line in text.read_text().splitlines() if line.startswith("start ")]
    assert ["superposed" in line for line in starts] == [True, False, True]
    atoms.calc.set(convergence={})
    assert atoms.get_potential_energy() < -200.0


def test_before_any_calculation_there_is_nothing_to_ask_for() -> None:
    calc = PlaneWaveDFT(**QUICK)
    with pytest.raises(PropertyNotPresent, match="no converged calculation"):
        calc.get_fermi_level()
    with pytest.raises(PropertyNotPresent, match="no atoms are known"):
        calc.get_potential_energy()
