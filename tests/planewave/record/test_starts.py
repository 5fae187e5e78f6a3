"""What `start=` takes, and what it refuses, wherever calculations take keywords."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.cli.commands import app
from deepchem_xc.feat import DFTSystem
from deepchem_xc.feat.solver_options import checked_solver_options
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave import DensityRecord, SCFResult, equation_of_state, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.given_density import NegativeDensityWarning, UnsymmetricDensityError
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.xc import get_xc

KEYWORDS: dict[str, Any] = {"ecut": 120.0, "kpts": {"size": (2, 2, 2), "gamma": True}}
# Where only the start matters.
QUICK: dict[str, Any] = {"ecut": 100.0, "convergence": {"density": 1e-3, "energy": 1e-2}}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), "PBE", **KEYWORDS)


class Model:
    """Stands for a model of densities: superposed atoms, and something added to them."""

    def __init__(self, added: Any = None) -> None:
        self.added, self.asked = added, 0
        self.functional: str | None = None

    def density_for(self, problem: KohnShamProblem) -> Fields:
        self.asked += 1
        atoms = problem.superposition()
        return Fields(atoms if self.added is None else self.added(problem, atoms))


@pytest.mark.parametrize("kind", ["result", "record", "path", "source"])
def test_every_kind_of_start_saves_steps(silicon: SCFResult, tmp_path: Path, kind: str) -> None:
    record = DensityRecord.of(silicon)
    record.save(tmp_path / "si.npz")
    close = Model(lambda problem, atoms: record.density_for(problem).density)
    start = {"result": silicon, "record": record, "path": tmp_path / "si.npz", "source": close}
    result = scf(bulk("Si"), "PBE", start=start[kind], **KEYWORDS)
    assert result.nsteps < silicon.nsteps and result.start is not None
    assert result.start.removed < 1e-9 and result.start.negative < 1e-5
    assert float(result.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-7)
    assert silicon.start is None


def test_files_that_are_no_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.npz").touch()
    with pytest.raises(DamagedFileError, match=r"empty\.npz' is not a complete density file"):
        scf(bulk("Si"), start=tmp_path / "empty.npz", **KEYWORDS)
    with pytest.raises(FileNotFoundError, match=r"absent\.npz': there is no such file, and"):
        scf(bulk("Si"), start=str(tmp_path / "absent.npz"), **KEYWORDS)
    with pytest.raises(FileNotFoundError, match="it is a folder, and .*[Gg]ive an SCFResult"):
        scf(bulk("Si"), start=tmp_path, **KEYWORDS)
    (tmp_path / "CHGCAR").write_text("silicon\n1.0\n")
    with pytest.raises(DamagedFileError, match="no npz archive; densities of other codes") as error:
        scf(bulk("Si"), start=tmp_path / "CHGCAR", **KEYWORDS)
    assert "elete" not in str(error.value) and "pickle" not in str(error.value)
    with pytest.raises(ValueError, match="is not a density: give") as error:
        scf(bulk("Si"), start=np.zeros((1, 20, 20, 20)), **KEYWORDS)
    assert len(str(error.value)) < 300
    with pytest.raises(ValueError, match="start = '' is not a density"):
        scf(bulk("Si"), start="", **KEYWORDS)
    with pytest.raises(ValueError, match="is not a density"):
        scf(bulk("Si"), start=Model, **KEYWORDS)


def with_nan(problem: KohnShamProblem, atoms: torch.Tensor) -> torch.Tensor:
    atoms[0, 5] = torch.nan
    return atoms


def one_sided(problem: KohnShamProblem, atoms: torch.Tensor) -> torch.Tensor:
    """More density along one axis, without another number of electrons."""
    wave = torch.zeros(problem.basis.fft_size, dtype=torch.float64)
    n = problem.basis.fft_size[0]
    wave += 1e-2 * torch.cos(2 * np.pi * torch.arange(n) / n)[:, None, None]
    return atoms + problem.basis.to_sphere(wave)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        (lambda problem, atoms: atoms.repeat(2, 1), r"shape \(2, \d+\), but .* 1 spin channel"),
        (lambda problem, atoms: atoms[:, :-3], r"and \d+ plane waves of the density"),
        (lambda problem, atoms: atoms * 0.99, "7.920000 electrons per cell, but .* have 8"),
        (with_nan, "NaN or infinite"),
        (one_sided, r"operations removes .*e-0\d of the electrons.*Give symmetry=False"),
    ],
    ids=["spins", "sphere", "electrons", "nan", "symmetry"],
)
def test_a_density_that_does_not_belong_to_the_calculation_is_refused(
    added: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scf(bulk("Si"), start=Model(added), **KEYWORDS)


def test_a_source_returns_fields() -> None:
    class Array:
        def density_for(self, problem: KohnShamProblem) -> Any:
            return problem.superposition()

    with pytest.raises(ValueError, match=r"Array.density_for\(problem\) returned Tensor, not"):
        scf(bulk("Si"), start=Array(), **KEYWORDS)


def test_without_symmetry_nothing_is_removed(silicon: SCFResult) -> None:
    result = scf(bulk("Si"), start=Model(one_sided), symmetry=False, **KEYWORDS)
    assert result.start is not None and result.start.removed == 0.0
    assert float(result.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-6)
    with pytest.raises(UnsymmetricDensityError):
        scf(bulk("Si"), start=Model(one_sided), **KEYWORDS)


def test_the_part_removed_is_the_integral_of_the_asymmetry(silicon: SCFResult) -> None:
    def little(problem: KohnShamProblem, atoms: torch.Tensor) -> torch.Tensor:
        return atoms + 1e-3 * (one_sided(problem, atoms) - atoms)

    result = scf(bulk("Si"), start=Model(little), **KEYWORDS)
    problem = result.problem
    given = little(problem, problem.superposition())
    lost = problem.basis.to_grid(given - problem.basis.symmetrize(given))
    expected = float(lost.abs().mean() * problem.basis.volume / 8.0)
    assert result.start is not None and 1e-5 < expected < 1e-3
    assert result.start.removed == pytest.approx(expected, rel=1e-9)
    assert any("removed" in remark for remark in result.start.remarks)


def test_negative_densities_are_reported_and_no_error() -> None:
    atom = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], cell=[4, 4, 5], pbc=True)

    def steeper(problem: KohnShamProblem, atoms: torch.Tensor) -> torch.Tensor:
        # Sharper than the atoms, with a negative ring around them.
        steep = atoms * (1.0 + 0.3 * problem.basis.density_q2)
        steep[:, 0] = atoms[:, 0]
        return steep

    with pytest.warns(NegativeDensityWarning, match=r"negative in a part of the cell.*e-0\d of"):
        result = scf(atom, ecut=120.0, start=Model(steeper))
    assert result.start is not None
    grid = result.basis.to_grid(steeper(result.problem, result.problem.atomic_density()))
    share = float(-grid.clamp_max(0.0).mean() * result.basis.volume / 2.0)
    assert result.start.negative == pytest.approx(share, rel=1e-6) and share > 1e-3


def test_a_start_of_another_functional_is_used_and_logged(
    silicon: SCFResult, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="deepchem_xc.planewave"):
        result = scf(bulk("Si"), "LDA", pseudopotentials="gth-pade", start=silicon, **KEYWORDS)
    assert "start: it is a density of the functional PBE, not of LDA" in caplog.messages
    assert "start: it was computed with other potentials of Si" in caplog.messages
    assert result.start is not None and result.start.remarks[0] in caplog.text


@pytest.mark.parametrize("made_for", ["PBEsol", "PBE", None])
def test_a_models_other_functional_is_logged(made_for: str | None) -> None:
    model = Model()
    model.functional = made_for
    start = scf(bulk("Si"), "PBE", start=model, **KEYWORDS).start
    assert start is not None
    told = [remark for remark in start.remarks if "functional" in remark]
    expected = ["it is a density of the functional PBEsol, not of PBE"]
    assert told == (expected if made_for == "PBEsol" else [])


def test_a_models_moment_is_held_like_that_of_atoms() -> None:
    """Without, nickel at these settings loses what the density of a model does not show."""
    nickel = bulk("Ni")
    nickel.set_initial_magnetic_moments([0.6])
    keywords: dict[str, Any] = {"ecut": 200.0, "kpts": {"size": (2, 2, 2), "gamma": True}}
    from_atoms = scf(nickel, **keywords)

    def without_moment(problem: KohnShamProblem, atoms: torch.Tensor) -> torch.Tensor:
        return atoms.mean(0, keepdim=True).repeat(2, 1)

    with pytest.warns(NegativeDensityWarning):  # the cutoff is low
        from_model = scf(nickel, start=Model(without_moment), **keywords)
    moment = float(from_atoms.magnetic_moment)
    assert moment > 0.2
    assert float(from_model.magnetic_moment) == pytest.approx(moment, abs=1e-3)
    assert from_model.history[0]["moment"] == pytest.approx(from_atoms.history[0]["moment"])


def test_the_calculators_own_state_takes_precedence(silicon: SCFResult, tmp_path: Path) -> None:
    model, text = Model(), tmp_path / "si.txt"
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(start=model, txt=str(text), **QUICK)
    atoms.get_potential_energy()
    atoms.set_cell(1.01 * atoms.cell[:], scale_atoms=True)
    atoms.get_potential_energy()
    assert model.asked == 1
    atoms.calc.set(start=DensityRecord.of(silicon))  # a new start counts
    atoms.get_potential_energy()
    lines = [line for line in text.read_text().splitlines() if line.startswith("start ")]
    assert [line.split(None, 1)[1].split(";")[0] for line in lines] == [
        "the density given by start=, a Model",
        "density and orbitals of an earlier calculation",
        "the density given by start=, a DensityRecord",
    ]
    assert atoms.calc.todict()["start"] == "DensityRecord"
    atoms.calc.write(tmp_path / "si.npz")
    assert PlaneWaveDFT(restart=tmp_path / "si.npz").parameters["start"] is None


def test_a_calculator_for_other_atoms_begins_again(silicon: SCFResult) -> None:
    calc = PlaneWaveDFT(**QUICK)
    for atoms in (bulk("Si"), bulk("Al")):
        atoms.calc = calc
        atoms.get_potential_energy()
    calc.set(start=silicon)
    with pytest.raises(ValueError, match="other atoms: Si2, not Al"):
        atoms.get_potential_energy()


def test_curves_and_trainings_take_a_start() -> None:
    model = Model()
    keywords = {**QUICK, "start": model}
    equation_of_state(bulk("Si"), scales=(0.9, 0.95, 1.0, 1.05, 1.1), **keywords)
    assert model.asked == 1  # the others start from the nearest volume
    assert checked_solver_options({"start": model})["start"] is model


def test_a_system_takes_the_file_of_its_record(silicon: SCFResult, tmp_path: Path) -> None:
    DensityRecord.of(silicon, results=False).save(tmp_path / "si.npz")
    system = {"structure": bulk("Si"), **KEYWORDS, "start": str(tmp_path / "si.npz")}
    started, other = DFTSystem(system), DFTSystem({**system, "start": None})
    started.check()
    assert started.calculation().key == other.calculation().key  # it changes no result
    result = started.calculation().solve(get_xc("PBE"))
    assert result.nsteps < silicon.nsteps and result.start is not None
    (tmp_path / "si.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"start: .*si\.npz' is not a complete density file"):
        started.check()


def test_the_command_line_takes_the_file_of_a_record(silicon: SCFResult, tmp_path: Path) -> None:
    bulk("Si").write(tmp_path / "si.xyz")
    DensityRecord.of(silicon).save(tmp_path / "si.npz")
    command = ["scf", str(tmp_path / "si.xyz"), "--ecut", "120", "--kpts", "2x2x2"]
    run = CliRunner().invoke(app, [*command, "--start", str(tmp_path / "si.npz")])
    assert run.exit_code == 0, run.output
    for name in ("si.xyz", "absent.npz"):
        run = CliRunner().invoke(app, [*command, "--start", str(tmp_path / name)])
        assert run.exit_code != 0 and name in run.output and "Traceback" not in run.output
