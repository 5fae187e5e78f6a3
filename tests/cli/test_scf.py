"""`deepchem-xc scf`: one ground state."""

from __future__ import annotations

import json
import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.planewave import scf
from tests.cli.options import COARSE, Call


def test_moments_of_an_earlier_calculation_are_used_and_said(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "h.xyz"
    path.write_text(
        '1\nLattice="3 0 0 0 3.1 0 0 0 3.2" pbc="T T T" '
        "Properties=species:S:1:pos:R:3:magmoms:R:1\nH 0 0 0 1.0\n"
    )
    options = ("--ecut", "80", "--kpts", "1x1x1")
    run = call("scf", path, *options, "-o", tmp_path / "h.json")
    assert run.exit_code == 0, run.stderr
    assert re.search(r"warning: .*results of an earlier .*initial moments", run.stderr)
    assert json.loads((tmp_path / "h.json").read_text())["magnetic_moment"] == pytest.approx(1.0)
    run = call("scf", path, *options, "--magmom", "0", "-o", tmp_path / "h.json")
    assert run.exit_code == 0, run.stderr
    assert "warning" not in run.stderr
    values = json.loads((tmp_path / "h.json").read_text())
    assert values["magnetic_moment"] == 0.0
    assert values["band_gap"] == 0.0  # one electron in a level for two: a metal


@pytest.mark.parametrize(
    ("options", "bands", "k_points"),
    [
        (("--nbands", "120%"), 5, 2),
        (("--nbands", "-6"), 10, 2),
        (("--nbands", "010"), 10, 2),
        (("--fft-size", "12x12x12", "--nbands", "8"), 8, 2),
        (("--nbands", "9", "--no-symmetry"), 9, 8),
    ],
)
def test_bands_and_symmetry_as_the_solver_understands_them(
    call: Call, tmp_path: Path, options: tuple[str, ...], bands: int, k_points: int
) -> None:
    write_structure = tmp_path / "si.cif"
    ase.io.write(write_structure, bulk("Si"))
    run = call(
        *("scf", write_structure, "--ecut", "80", "--kpts", "2x2x2", "--no-gamma", *options),
        *("--smearing", "fixed", "-o", tmp_path / "si.json"),
    )
    assert run.exit_code == 0, run.stderr
    eigenvalues = np.array(json.loads((tmp_path / "si.json").read_text())["eigenvalues"])
    assert eigenvalues.shape == (1, k_points, bands)


def test_scf_prints_and_writes_what_the_solver_gives(
    call: Call, aluminium: Path, tmp_path: Path
) -> None:
    run = call("scf", aluminium, *COARSE, "-o", tmp_path / "al.json")
    assert run.exit_code == 0, run.stderr
    values = json.loads((tmp_path / "al.json").read_text())
    kpts = {"size": (2, 2, 2), "gamma": True}
    result = scf(bulk("Al", a=4.04), "PBE", ecut=150.0, kpts=kpts)
    assert values["energies"]["free"] == pytest.approx(float(result.free_energy) * Hartree)
    assert values["units"]["energies"] == "eV per cell"
    assert np.shape(values["eigenvalues"]) == tuple(result.eigenvalues.shape)
    assert f"{values['energies']['free']:.6f}" in run.stdout
    assert "Fermi level" in run.stdout and "GPa" in run.stdout
    assert "density error" in run.stderr and "density error" not in run.stdout


def test_options_reach_the_solver(call: Call, tmp_path: Path) -> None:
    path, output = tmp_path / "ni.xyz", tmp_path / "ni.json"
    ase.io.write(path, bulk("Ni", a=3.52), format="extxyz")
    run = call(
        *("scf", path, "--ecut", "200", "--kpts", "1x1x1", "--quiet", "-o", output),
        *("--magmom", "Ni=2", "--fix-moment", "--smearing", "gaussian", "--width", "0.3"),
        *("--pseudopotentials", "Ni=GTH-GGA-q10", "--xc", "gga_x_pbe+gga_c_pbe", "--nbands", "9"),
    )
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    assert values["magnetic_moment"] == pytest.approx(2.0, abs=1e-6)
    assert np.shape(values["eigenvalues"]) == (2, 1, 9)
    assert np.sum(values["occupations"]) == pytest.approx(10.0)
    assert len(values["fermi_level"]) == 2
    assert "density error" not in run.stderr


def test_an_empty_spin_channel_is_written_as_null(call: Call, tmp_path: Path) -> None:
    path, output = tmp_path / "h.xyz", tmp_path / "h.json"
    Atoms("H", cell=[3.5, 3.6, 3.7], pbc=True).write(path)
    run = call(
        *("scf", path, "--ecut", "150", "--kpts", "1x1x1", "--magmom", "1", "--fix-moment"),
        *("--quiet", "-o", output),
    )
    assert run.exit_code == 0, run.stderr
    up, down = json.loads(output.read_text())["fermi_level"]
    assert down is None
    assert f"{up:.4f} eV (up), none (down)" in run.stdout
