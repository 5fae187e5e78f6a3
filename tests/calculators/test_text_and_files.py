"""The calculator's text, and files that bring a calculation back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotPresent

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave import DensityRecord
from deepchem_xc.planewave.structure.kpoints import MeshSymmetryWarning
from deepchem_xc.xc import get_xc
from tests.calculators.systems import QUICK, TIGHT, Count, silicon


def test_the_text_tells_settings_steps_and_energies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "si.txt"
    path.write_text("of an earlier run")
    atoms = silicon(txt=path)
    energy, free = atoms.get_potential_energy(), atoms.get_potential_energy(force_consistent=True)
    atoms.get_forces()
    text = path.read_text()
    assert "of an earlier run" not in text
    for words in ("Si2", "functional       PBE", "GTH-PBE-q4", "120.00 eV", "mesh (2, 2, 2)"):
        assert words in text
    assert f"extrapolated     {energy:18.9f} eV" in text
    assert f"free energy      {free:18.9f} eV" in text
    assert "forces (eV/Angstrom)" in text and "band gap" in text
    steps = [line for line in text.splitlines() if line[:5].strip().isdigit()]
    assert len(steps) == atoms.calc.get_number_of_iterations()
    assert float(steps[-1].split()[1]) == pytest.approx(free, abs=1e-5)
    assert capsys.readouterr().out == ""

    atoms.calc.set(txt="-", ecut=90.0)
    atoms.get_potential_energy()
    assert "converged in" in capsys.readouterr().out
    assert path.read_text() == text
    with open(tmp_path / "opened.txt", "w") as file:
        atoms.calc.set(txt=file, ecut=80.0)
        atoms.get_potential_energy()
    assert "converged in" in (tmp_path / "opened.txt").read_text()


def test_the_text_says_which_symmetry_a_mesh_lacks(tmp_path: Path) -> None:
    atoms = silicon(ecut=80.0, kpts=(2, 2, 2), txt=tmp_path / "si.txt")
    with pytest.warns(MeshSymmetryWarning):
        atoms.get_potential_energy()
    (line,) = [x for x in (tmp_path / "si.txt").read_text().splitlines() if "k-points" in x]
    assert "12 symmetry operations (36 more with a mesh that contains Gamma)" in line


def test_a_file_brings_back_settings_results_and_density(
    computed: Atoms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "si.npz"
    computed.calc.write(path)
    count = Count(monkeypatch)
    calc = PlaneWaveDFT(restart=path)
    atoms = calc.get_atoms()
    assert atoms == computed
    assert atoms.get_potential_energy() == computed.get_potential_energy()
    np.testing.assert_array_equal(atoms.get_forces(), computed.get_forces())
    assert calc.parameters["ecut"] == QUICK["ecut"]
    assert calc.parameters["convergence"] == TIGHT["convergence"]
    assert count.loops == 0
    # Eigenvalues are not in the file: they are computed from its density.
    assert calc.get_fermi_level() == pytest.approx(computed.calc.get_fermi_level(), abs=1e-6)
    assert count.loops == 1
    assert atoms.get_potential_energy() == pytest.approx(computed.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), computed.get_forces(), atol=1e-6)


def test_orbitals_in_the_file_make_the_next_start_immediate(
    computed: Atoms, tmp_path: Path
) -> None:
    path = tmp_path / "si.npz"
    computed.calc.write(path, orbitals=True)
    calc = PlaneWaveDFT(restart=path)
    assert calc.scf_result.nsteps <= 2 < computed.calc.scf_result.nsteps


def test_other_settings_than_the_files_drop_its_results_but_not_its_density(
    computed: Atoms, tmp_path: Path
) -> None:
    path, text = tmp_path / "si.npz", tmp_path / "si.txt"
    computed.calc.write(path)
    atoms = computed.copy()
    PlaneWaveDFT(restart=path, atoms=atoms, ecut=130.0, txt=text)
    energy = atoms.get_potential_energy()
    assert energy < computed.get_potential_energy() - 1e-3
    assert "density of an earlier calculation" in text.read_text()
    fresh = computed.copy()
    fresh.calc = PlaneWaveDFT(**{**QUICK, **TIGHT, "ecut": 130.0})
    assert fresh.get_potential_energy() == pytest.approx(energy, abs=1e-8)


def test_a_functional_given_as_an_object_must_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    functional = get_xc("gga_x_pbe") * 0.9 + get_xc("gga_c_pbe")
    atoms = silicon(ecut=80.0, xc=functional)
    energy = atoms.get_potential_energy()
    atoms.calc.write(path)
    without = PlaneWaveDFT(restart=path).get_atoms()
    with pytest.raises(ValueError, match="xc is missing.*Give it again"):
        without.get_potential_energy()
    again = PlaneWaveDFT(restart=path, xc=functional).get_atoms()
    assert again.get_potential_energy() == pytest.approx(energy, abs=1e-5)


def test_an_object_that_is_missing_is_not_replaced_by_the_default(tmp_path: Path) -> None:
    atoms = silicon(ecut=80.0, xc=get_xc("gga_x_pbe") * 0.9 + get_xc("gga_c_pbe"))
    atoms.get_potential_energy()
    atoms.calc.write(tmp_path / "si.npz")
    without = PlaneWaveDFT(restart=tmp_path / "si.npz", xc=None)
    with pytest.raises(ValueError, match="xc is missing: it was an object"):
        without.get_potential_energy()
    without.set(xc="PBE")
    assert without.get_potential_energy() == pytest.approx(
        silicon(ecut=80.0).get_potential_energy(), abs=1e-4
    )


def test_pseudopotentials_by_name_are_in_the_file_and_objects_are_not(tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    by_name = silicon(ecut=80.0, pseudopotentials={"Si": "GTH-PBE-q4"})
    energy = by_name.get_potential_energy()
    by_name.calc.write(path)
    again = PlaneWaveDFT(restart=path)
    assert again.parameters["pseudopotentials"] == {"Si": "GTH-PBE-q4"}
    assert again.get_potential_energy() == energy
    potentials = by_name.calc.scf_result.problem.pseudopotentials
    as_object = silicon(ecut=80.0, pseudopotentials=dict(potentials))
    assert as_object.get_potential_energy() == pytest.approx(energy, abs=1e-5)
    as_object.calc.write(path)
    with pytest.raises(ValueError, match="pseudopotentials is missing"):
        PlaneWaveDFT(restart=path).get_potential_energy()


def test_damaged_and_foreign_files_are_refused(computed: Atoms, tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    computed.calc.write(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(DamagedFileError, match="not a complete density file"):
        PlaneWaveDFT(restart=path)
    DensityRecord.of(computed.calc.scf_result).save(path)
    with pytest.raises(DamagedFileError, match="not a calculator's settings"):
        PlaneWaveDFT(restart=path)
    with pytest.raises(FileNotFoundError):
        PlaneWaveDFT(restart=tmp_path / "absent.npz")
    with pytest.raises(PropertyNotPresent):
        PlaneWaveDFT(ecut=100.0).write(path)
