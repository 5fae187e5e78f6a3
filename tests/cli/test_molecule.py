"""`deepchem-xc molecule`: one ground state on Gaussian functions, as the solver gives it."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.units import Bohr, Hartree

from deepchem_xc.cli.molecule import HYBRID_NAMES, WITHOUT_OPTION
from deepchem_xc.cli.molecule import molecule as command
from deepchem_xc.gaussian import scf
from deepchem_xc.xc import get_xc
from tests.cli.options import Call

SMALL = ("--basis", "sto-3g", "--grid-level", "1")


def test_the_command_prints_and_writes_what_the_solver_gives(call: Call, tmp_path: Path) -> None:
    output = tmp_path / "water.json"
    run = call("molecule", "H2O", *SMALL, "--forces", "--stability", "-o", output)
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    result = scf(molecule("H2O"), "PBE", basis="sto-3g", grid_level=1)
    assert values["energies"]["total"] == pytest.approx(float(result.energy) * Hartree)
    assert values["energies"].keys() >= {"kinetic", "hartree", "xc", "free", "extrapolated"}
    assert values["band_gap"] == pytest.approx(float(result.band_gap) * Hartree)
    assert values["lumo"][0] - values["homo"][0] == pytest.approx(values["band_gap"])
    np.testing.assert_allclose(values["dipole"], result.dipole * Bohr, atol=1e-6)
    np.testing.assert_allclose(values["forces"], result.forces * Hartree / Bohr, atol=1e-6)
    assert np.shape(values["eigenvalues"]) == np.shape(values["occupations"]) == (1, 7)
    found = result.stability()
    curvatures = values["stability"]["curvatures"]
    assert values["stability"]["is_stable"] is found.is_stable is True
    assert curvatures["same_kind"] == pytest.approx(found.internal.value * Hartree, abs=1e-4)
    assert set(values["units"]) >= {"energies", "homo", "dipole", "forces", "curvatures"}
    assert f"{values['energies']['total']:.6f}" in run.stdout
    for text in ("HOMO", "LUMO", "Gap", "debye", "Forces (eV/Angstrom)", "a minimum"):
        assert text in run.stdout
    assert "commutator" in run.stderr and "commutator" not in run.stdout


def test_options_reach_the_solver(call: Call, tmp_path: Path) -> None:
    path, output = tmp_path / "oh.xyz", tmp_path / "oh.json"
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.98]])
    atoms.write(path, format="xyz")
    run = call(
        *("molecule", path, "--basis", "O=gth-dzvp,default=gth-szv", "--xc", "PBE0", "--open"),
        *("--charge", "1", "--spin", "2", "--pseudopotentials", "gth-pbe", "--grid-level", "1"),
        *("--density-fitting", "def2-universal-jkfit", "--level-shift", "5.4", "--damping", "0.1"),
        *("--energy-tolerance", "1e-5", "--commutator-tolerance", "1e-3", "--maxiter", "60"),
        *("--quiet", "-o", output),
    )
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    result = scf(
        atoms,
        "PBE0",
        basis={"O": "gth-dzvp", "default": "gth-szv"},
        charge=1,
        spin=2,
        restricted="open",
        pseudopotentials="gth-pbe",
        grid_level=1,
        density_fitting="def2-universal-jkfit",
        convergence={"energy": 1e-5 / Hartree, "commutator": 1e-3 / Hartree},
        level_shift=5.4 / Hartree,
        damping=0.1,
    )
    assert (values["orbitals"], values["magnetic_moment"]) == ("open", 2.0)
    assert values["energies"]["total"] == pytest.approx(float(result.energy) * Hartree, abs=1e-6)
    assert values["steps"] == result.nsteps
    assert "exact_exchange" in values["energies"]
    assert len(values["homo"]) == 2 and f"{values['homo'][1]:.4f} eV (down)" in run.stdout
    assert run.stderr == f"deepchem-xc: results in {output}\n"


def test_a_width_is_in_ev(call: Call, tmp_path: Path) -> None:
    output = tmp_path / "be.json"
    smeared = ("--smearing", "fermi-dirac", "--width", "2.7", "--quiet", "-o", output)
    run = call("molecule", "Be", "--basis", "6-31g", "--grid-level", "1", *smeared)
    assert run.exit_code == 0, run.stderr
    occupations = {"name": "fermi-dirac", "width": 2.7 / Hartree}
    result = scf(Atoms("Be"), "PBE", basis="6-31g", grid_level=1, occupations=occupations)
    energies = json.loads(output.read_text())["energies"]
    assert energies["entropy"] == pytest.approx(float(result.energies["entropy"]) * Hartree)
    assert energies["entropy"] < -1e-3
    assert energies["extrapolated"] == pytest.approx(float(result.extrapolated_energy) * Hartree)


def test_the_spin_is_that_of_the_initial_moments_unless_it_is_given(
    call: Call, tmp_path: Path
) -> None:
    output = tmp_path / "o2.json"
    options = (*SMALL, "--quiet", "-o", output)
    run = call("molecule", "O2", *options)
    assert run.exit_code == 0, run.stderr
    triplet = json.loads(output.read_text())
    assert (triplet["magnetic_moment"], triplet["orbitals"]) == (2.0, "unrestricted")
    run = call("molecule", "O2", *options, "--spin", "0")
    assert run.exit_code == 0, run.stderr
    singlet = json.loads(output.read_text())
    assert (singlet["magnetic_moment"], singlet["orbitals"]) == (0.0, "restricted")
    assert singlet["energies"]["total"] > triplet["energies"]["total"] + 0.5


def test_an_empty_spin_and_full_levels_are_null(call: Call, tmp_path: Path) -> None:
    output = tmp_path / "h.json"
    run = call("molecule", "H", *SMALL, "--quiet", "-o", output)
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    assert values["homo"][1] is None and values["lumo"][0] is None
    assert values["band_gap"] is None
    assert "(up), none (down)" in run.stdout and "Gap" not in run.stdout


def test_a_state_that_is_no_minimum_is_said(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "h2.xyz"
    Atoms("H2", [[0, 0, 0], [0, 0, 2.5]]).write(path, format="xyz")
    run = call("molecule", path, "--basis", "6-31g", "--grid-level", "1", "--stability", "-q")
    assert run.exit_code == 0, run.stderr
    assert re.search(r"not a minimum: .*for each spin -\d.*start=result.stability\(\)", run.stdout)


def test_every_keyword_of_the_solver_has_an_option() -> None:
    keywords = set(inspect.signature(scf).parameters) - {"functional", *WITHOUT_OPTION}
    renamed = {
        "occupations": {"smearing", "width"},
        "convergence": {"energy_tolerance", "commutator_tolerance", "maxiter"},
    }
    wanted = {option for name in keywords for option in renamed.get(name, {name})}
    assert wanted <= set(inspect.signature(command).parameters)


def test_the_help_names_hybrids_that_exist(call: Call) -> None:
    words = call("molecule", "--help").stdout.replace("\u2502", " ").split()
    for name in HYBRID_NAMES.split(", "):
        assert f"{name}," in words or f"{name};" in words
        assert get_xc(name).exchange_shares()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["C6H7", *SMALL], r"neither a file C6H7 nor a molecule .*C6H6"),
        (["h2o", *SMALL], r"neither a file h2o nor a molecule .*\(H2O"),
        (["H2O", "--basis", "sto-3h"], "unknown basis set 'sto-3h'"),
        (["Si2H6", "--basis", "O=sto-3g"], "has nothing for H, Si: add"),
        (["H2O", *SMALL, "--spin", "1"], "10 electrons cannot have 1 unpaired ones.*even"),
        (["H2O", *SMALL, "--spin", "-2"], "at least 0, got -2"),
        (["H2O", *SMALL, "--charge", "10"], "0 electrons, and needs at least one"),
        (["H2O", *SMALL, "--restricted", "--open"], "--restricted and --open exclude each other"),
        (["O2", *SMALL, "--restricted"], "restricted='open' for one set of orbitals"),
        (["H2O", *SMALL, "--width", "0.1"], "--width 0.1 would have no effect"),
        (["H2O", *SMALL, "--smearing", "xyz"], "fermi-dirac"),
        (
            ["H2O", *SMALL, "--smearing", "gaussian", "--stability"],
            "--stability is for whole occupations",
        ),
        (["H2O", *SMALL, "--xc", "wB97X-V"], "VV10"),
        (["H2O", *SMALL, "--pseudopotentials", "gth-xyz"], "no pseudopotential 'gth-xyz' for H"),
        (["H2O", *SMALL, "--density-fitting", "xyz"], "'xyz' is no auxiliary basis set"),
        (["H2O", "--basis", "gth-dzvp"], "made for pseudopotentials"),
        (["H2O", *SMALL, "--maxiter", "1"], "did not converge in 1 step.*--level-shift"),
        (["H2O", *SMALL, "--energy-tolerance", "0"], "must be positive"),
        (["BOX", *SMALL], r"repeats periodically .*deepchem-xc scf"),
        (["CLOSE", *SMALL], "atoms overlap: H0 and H1"),
        (["NAN", *SMALL], r"positions of atoms \[1\] contain NaN"),
        (["H2O", *SMALL, "--threads", "0"], "threads must be at least 1"),
        (["O2", *SMALL, "--charge", "1"], "2 unpaired .*sum of the atoms' initial magnetic mom"),
    ],
)
def test_an_error_is_one_clear_line_and_a_status(
    call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    files = {
        "BOX": Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[5, 5, 5], pbc=True),
        "CLOSE": Atoms("H2", [[0, 0, 0], [0, 0, 0.01]]),
        "NAN": Atoms("H2", [[0, 0, 0], [0, 0, np.nan]]),
    }
    first, *rest = arguments
    if first in files:
        files[first].write(tmp_path / "given.xyz", format="extxyz")
        first = str(tmp_path / "given.xyz")
    run = call("molecule", first, *rest, "--quiet")
    assert run.exit_code == 1
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("deepchem-xc: error: ")
    assert re.search(message, line), line
    assert run.stdout == ""


def test_a_missing_basis_is_a_usage_error(call: Call) -> None:
    run = call("molecule", "H2O")
    assert run.exit_code == 2
    assert "--basis" in run.stderr
