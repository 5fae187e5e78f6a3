"""Help, errors, warnings and exit statuses of the commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import deepchem_xc
from deepchem_xc.cli.options import FUNCTIONAL_NAMES
from deepchem_xc.xc import DensityVariables, Ingredients, XCFunctional
from deepchem_xc.xc.registry import common_names
from tests.cli.options import COARSE, Call
from tests.planewave.structure.test_reading import CIF, SITES


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["scf", "--help"],
        ["eos", "--help"],
        ["bands", "--help"],
        ["benchmark", "--help"],
        ["export", "--help"],
        ["clone", "--help"],
        ["molecule", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from deepchem_xc.cli.commands import main
sys.argv = ["deepchem-xc", *{arguments}]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
heavy = {{"torch", "deepchem", "ase", "scipy", "numpy", "pyscf", "matplotlib", "gpaw"}}
print("loaded:", sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: deepchem-xc" in run.stdout
    assert run.stdout.rstrip().endswith("loaded: []")
    assert run.stderr == ""


def test_help_has_the_names_of_all_functionals(call: Call) -> None:
    assert common_names() == FUNCTIONAL_NAMES.split(", ")
    # The help breaks lines inside the text, between the bars of its frame.
    words = call("eos", "--help").stdout.replace("\u2502", " ").split()
    assert {f"{name}," for name in common_names()} <= set(words)


def test_the_version_can_be_asked_for(call: Call) -> None:
    run = call("--version")
    assert (run.exit_code, run.stdout) == (0, f"deepchem-xc {deepchem_xc.__version__}\n")


def test_advice_for_a_class_of_ones_own_is_for_python(
    call: Call, aluminium: Path, tmp_path: Path
) -> None:
    """A command cannot name classes."""

    class Mine(XCFunctional):
        name, ingredients = "mine", Ingredients.DENSITY

        def energy_density(self, variables: DensityVariables) -> Tensor:
            return -variables.density * variables.inverse_rs

    file = tmp_path / "mine.xc.safetensors"
    Mine().save(file, classes=[Mine])
    run = call("scf", aluminium, *COARSE, "--xc", file)
    assert run.exit_code == 1
    assert "unknown functional class 'Mine'" in run.stderr
    assert "in Python: xc=load_functional(path, classes=[...])" in run.stderr


@pytest.mark.parametrize("name", ["scf", "eos", "bands"])
def test_partially_occupied_sites_are_refused(call: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / "alloy.cif").write_text(CIF.format(sites=SITES["alloy"]))
    run = call(name, tmp_path / "alloy.cif", *COARSE)
    assert run.exit_code == 1
    assert re.search(r"error: .*partially occupied sites \(Al 0\.6, Mg 0\.4\)", run.stderr)
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.cif", *COARSE], "there is no structure file nothing.cif"),
        (["SELF", *COARSE], "cannot be read as a structure|format"),
        (["AL", "--ecut", "-5"], "cutoff must be"),
        (["AL", *COARSE, "--xc", "XYZ"], "unknown functional 'XYZ'. Valid are .*PBE"),
        (["AL", *COARSE, "--pseudopotentials", "xyz"], "no pseudopotential 'xyz' for Al"),
        (["AL", *COARSE, "--pseudopotentials", "Al=,"], "Element=value"),
        (["AL", *COARSE, "--smearing", "xyz"], "fermi-dirac"),
        (["AL", *COARSE, "--smearing", "fixed", "--width", "0.1"], "--width 0.1 would have no eff"),
        (["AL", *COARSE, "--magmom", "Fe=1"], r"\['Fe'\], which are not in"),
        (["AL", *COARSE, "--magmom", "much"], "give a number for all atoms"),
        (["AL", *COARSE, "--maxiter", "1"], "did not converge in 1 step"),
        (["AL", *COARSE, "--threads", "0"], "threads must be at least 1"),
        (["AL", "--ecut", "150", "--kpts", "2x2"], "neither a mesh, such as 8x8x8"),
    ],
)
def test_an_error_is_one_clear_line_and_a_status(
    call: Call, aluminium: Path, arguments: list[str], message: str
) -> None:
    files = {"AL": aluminium, "SELF": Path(__file__)}
    run = call("scf", *(files.get(argument, argument) for argument in arguments), "--quiet")
    assert run.exit_code == 1
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("deepchem-xc: error: ")
    assert re.search(message, line), line


def test_debug_shows_where_the_error_was(call: Call, aluminium: Path) -> None:
    run = call("scf", aluminium, "--ecut", "-5", "--debug")
    assert run.exit_code == 1
    assert "Traceback" in run.stderr and "planewave/settings.py" in run.stderr
    assert run.stderr.strip().splitlines()[-1].startswith("deepchem-xc: error: ")


def test_an_unexpected_error_says_its_kind(
    call: Call, aluminium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise KeyError("coupling")

    monkeypatch.setattr("deepchem_xc.planewave.scf", fails)
    run = call("scf", aluminium, *COARSE)
    assert run.exit_code == 1
    assert run.stderr == "deepchem-xc: error: KeyError: 'coupling' (--debug shows where)\n"


def test_a_warning_is_one_line_and_not_an_error(call: Call, aluminium: Path) -> None:
    run = call("scf", aluminium, *COARSE, "--xc", "LDA", "--quiet")
    assert run.exit_code == 0
    (line,) = run.stderr.strip().splitlines()
    assert line.startswith("deepchem-xc: warning: the functional is LDA")


def test_interruption_has_its_own_status(
    call: Call, aluminium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepchem_xc.planewave.scf", interrupted)
    run = call("scf", aluminium, *COARSE)
    assert run.exit_code == 130
    assert run.stderr == "deepchem-xc: interrupted\n"


def test_a_missing_option_is_a_usage_error(call: Call, aluminium: Path) -> None:
    run = call("scf", aluminium)
    assert run.exit_code == 2
    assert "--ecut" in run.stderr


@pytest.mark.parametrize("text", ["many", "", "null", "12:30", "true"])
def test_nbands_that_is_no_number(call: Call, aluminium: Path, text: str) -> None:
    """Also where YAML would take it for nothing, for a time, or for a flag."""
    run = call("scf", aluminium, *COARSE, "--nbands", text)
    assert run.exit_code == 1
    assert f"nbands = {text!r} is not a number of bands" in run.stderr
