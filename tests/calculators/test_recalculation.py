"""When the calculator computes, and from what it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.calculator import PropertyNotPresent
from ase.io.jsonio import decode, encode

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import DensityRecord, SCFConvergenceError
from deepchem_xc.xc import PBE, get_xc
from tests.calculators.systems import GAMMA_MESH, QUICK, TIGHT, Count, distorted, silicon
from tests.planewave.pseudo.conftest import Analytic, analytic, psp8_text  # noqa: F401


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
    with pytest.raises(PropertyNotPresent, match="cannot be computed without atoms"):
        calc.get_potential_energy()


@pytest.fixture(params=["xc", "pseudopotentials"])
def rewritten(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    analytic: Analytic,  # noqa: F811
    psp8_text: Callable[..., str],  # noqa: F811
) -> tuple[dict[str, Any], Callable[[], None]]:
    """A setting that names a file, and what writes something else there."""
    if request.param == "xc":
        path = tmp_path / "f.safetensors"
        PBE(trainable=True).save(path)
        return {"xc": path}, lambda: PBE(mu=0.1, trainable=True).save(path)
    path = tmp_path / "si.psp8"
    path.write_text(psp8_text())

    def rewrite() -> None:
        analytic.c = (-6.0, 0.1)
        path.write_text(psp8_text())

    return {"pseudopotentials": {"Si": str(path)}}, rewrite


def test_a_file_that_was_rewritten_makes_results_stale(
    rewritten: tuple[dict[str, Any], Callable[[], None]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the calculator, and in what it wrote; the density is a start."""
    setting, rewrite = rewritten
    count = Count(monkeypatch)
    atoms = silicon(ecut=80.0, **setting)
    before = atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "one.npz")
    same = PlaneWaveDFT(restart=tmp_path / "one.npz").get_atoms()
    assert same.get_potential_energy() == atoms.get_potential_energy() == before
    assert count.loops == 1
    rewrite()
    fresh = silicon(ecut=80.0, **setting).get_potential_energy()
    assert abs(fresh - before) > 1e-2
    close = pytest.approx(fresh, abs=1e-5)
    # Written now, it still holds what was computed with the file before.
    atoms.calc.write(tmp_path / "two.npz")
    for name in ("one.npz", "two.npz"):
        read = PlaneWaveDFT(restart=tmp_path / name, txt=tmp_path / "log.txt").get_atoms()
        assert read.get_potential_energy() == close
        assert "density of an earlier calculation" in (tmp_path / "log.txt").read_text()
    assert same.get_potential_energy() == close
    atoms.calc.set(**setting)
    assert atoms.get_potential_energy() == close
    assert atoms.calc.get_potential_energy() == close
    assert count.loops == 6


def test_a_file_that_is_gone_takes_no_results_with_it(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    PBE(trainable=True).save(path)
    atoms = silicon(ecut=80.0, xc=str(path))
    energy = atoms.get_potential_energy()
    path.unlink()
    assert atoms.get_potential_energy() == energy
    atoms.calc.write(tmp_path / "si.npz")
    assert PlaneWaveDFT(restart=tmp_path / "si.npz").get_potential_energy() == energy


def test_files_without_digests_are_read(tmp_path: Path) -> None:
    """As earlier versions wrote them; what is rewritten after that is noticed."""
    path = tmp_path / "f.safetensors"
    PBE(trainable=True).save(path)
    atoms = silicon(ecut=80.0, xc=str(path))
    energy = atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.npz")
    restart = DensityRecord.load(tmp_path / "si.npz")
    notes = decode(restart.notes)
    assert list(notes.pop("files")) == [str(path)]
    replace(restart, notes=encode(notes)).save(tmp_path / "old.npz")
    read = PlaneWaveDFT(restart=tmp_path / "old.npz").get_atoms()
    assert read.get_potential_energy() == energy
    PBE(mu=0.1, trainable=True).save(path)
    assert abs(read.get_potential_energy() - energy) > 1e-2


def test_settings_that_the_caller_changes_in_place_are_noticed() -> None:
    """Or not taken over, as long as they are not set."""
    mesh, occupations = np.array([1, 1, 2]), {"name": "fermi-dirac", "width": 0.1}
    atoms = silicon(ecut=80.0, kpts=mesh, occupations=occupations)
    atoms.get_potential_energy()
    mesh[:] = 2
    occupations["width"] = 1.0
    assert atoms.calc.parameters["occupations"]["width"] == 0.1
    assert atoms.calc.parameters["kpts"].tolist() == [1, 1, 2]
    atoms.calc.todict()["kpts"][:] = 3
    assert atoms.calc.parameters["kpts"].tolist() == [1, 1, 2]
    assert set(atoms.calc.set(kpts=mesh, occupations=occupations)) == {"kpts", "occupations"}
    fresh = silicon(ecut=80.0, kpts=(2, 2, 2), occupations={**occupations})
    assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-5)
