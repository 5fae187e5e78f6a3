from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.units import Hartree
from typer.testing import CliRunner, Result

from deepchem_xc.benchmark import CASES, Case
from deepchem_xc.benchmark.report import make_curve
from deepchem_xc.benchmark.trainings import Training
from deepchem_xc.calculators.gpaw_reference import GPAW_SETTINGS, load_gpaw_eos
from deepchem_xc.cli import app
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.eos import fit_equation_of_state
from deepchem_xc.plotting import fitted_energy
from deepchem_xc.xc import ConstrainedGGA
from tests.planewave.test_structure_input import CIF, SITES

Call = Callable[..., Result]
PBE_OF_AL = ("benchmark", "--pbe-only", "--systems", "al", "--jobs", "1")
COARSE = ("--ecut", "150", "--kpts", "2x2x2")


@pytest.fixture
def call() -> Call:
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def aluminium(tmp_path: Path) -> Path:
    path = tmp_path / "al.xyz"
    ase.io.write(path, bulk("Al", a=4.04), format="extxyz")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["scf", "--help"],
        ["eos", "--help"],
        ["bands", "--help"],
        ["benchmark", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from deepchem_xc.cli import main
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


@pytest.mark.parametrize("name", ["scf", "eos", "bands"])
def test_partially_occupied_sites_are_refused(call: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / "alloy.cif").write_text(CIF.format(sites=SITES["alloy"]))
    run = call(name, tmp_path / "alloy.cif", *COARSE)
    assert run.exit_code == 1
    assert re.search(r"error: .*partially occupied sites \(Al 0\.6, Mg 0\.4\)", run.stderr)
    assert run.stdout == ""


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


def test_nbands_that_is_no_number(call: Call, aluminium: Path) -> None:
    run = call("scf", aluminium, *COARSE, "--nbands", "many")
    assert run.exit_code == 1
    assert "nbands = 'many' is no number of bands" in run.stderr


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
    assert "Traceback" in run.stderr and "in make_basis" in run.stderr
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


def test_eos_fits_what_it_prints(call: Call, aluminium: Path, tmp_path: Path) -> None:
    output, figure = tmp_path / "eos.json", tmp_path / "eos.png"
    run = call(
        *("eos", aluminium, "--ecut", "200", "--kpts", "3x3x3", "--strain", "0.2"),
        *("--points", "5", "-o", output, "--figure", figure),
    )
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    volumes = [point["size"] for point in values["points"]]
    middle = bulk("Al", a=4.04).get_volume()
    assert volumes == pytest.approx(middle * np.linspace(0.8, 1.2, 5))
    fit = fit_equation_of_state(volumes, [point["energy"] for point in values["points"]])
    assert values["fit"]["size"] == fit.size
    assert values["fit"]["modulus"] == fit.modulus
    assert values["lattice_constants"]["a"] == pytest.approx((4 * fit.size) ** (1 / 3))
    assert f"{fit.modulus:.2f} GPa" in run.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_eos_keeps_the_points_of_a_curve_without_a_minimum(call: Call, tmp_path: Path) -> None:
    path, output = tmp_path / "al.xyz", tmp_path / "eos.json"
    ase.io.write(path, bulk("Al", a=3.4), format="extxyz")
    run = call("eos", path, *COARSE, "--strain", "0.1", "--points", "5", "--output", output)
    assert run.exit_code == 1
    assert re.search(r"upper end.; move the range to larger volumes.*--strain", run.output)
    values = json.loads(output.read_text())
    assert values["fit"] is None and len(values["points"]) == 5
    for point in values["points"]:
        assert f"{point['energy']:16.6f}" in run.output


def test_eos_prints_what_is_done_when_a_volume_fails(
    call: Call, aluminium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepchem_xc.planewave import SCFConvergenceError, volume_scan

    solve, done = volume_scan.scf, []

    def fails_third(*arguments: Any, **keywords: Any) -> Any:
        if len(done) == 2:
            raise SCFConvergenceError("not converged", [])
        done.append(solve(*arguments, **keywords))
        return done[-1]

    monkeypatch.setattr(volume_scan, "scf", fails_third)
    run = call("eos", aluminium, *COARSE)
    assert run.exit_code == 1 and "not converged" in run.output
    for result in done:
        assert f"{float(result.extrapolated_energy) * Hartree:16.6f}" in run.output


def test_eos_of_a_layer_strains_it_in_its_plane_only(call: Call, tmp_path: Path) -> None:
    path, output = tmp_path / "graphene.xyz", tmp_path / "eos.json"
    layer = graphene(a=2.46, vacuum=2.5)
    layer.pbc = True
    ase.io.write(path, layer, format="extxyz")
    run = call(
        *("eos", path, "--ecut", "350", "--kpts", "2x2x1", "--strain", "0.2", "--layer"),
        *("--points", "5", "-o", output),
    )
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    a = values["lattice_constants"]["a"]
    assert values["fit"]["size"] == pytest.approx(a**2 * 3**0.5 / 2)
    assert values["points"][2]["size"] == pytest.approx(2.46**2 * 3**0.5 / 2)
    assert "N/m" in run.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--points", "4"], "points must be at least 5, got 4"),
        (["--points", "-3"], "points must be at least 5, got -3"),
        (["--strain", "0"], "strain"),
        (["--figure", "al.foo"], "al.foo: its name must end in one of"),
        (["--output", "."], "is a folder"),
    ],
)
def test_eos_refuses_ranges_that_cannot_be_fitted(
    call: Call, aluminium: Path, options: list[str], message: str
) -> None:
    run = call("eos", aluminium, *COARSE, *options)
    assert run.exit_code == 1
    assert message in run.stderr


def test_bands_at_special_points(call: Call, aluminium: Path, tmp_path: Path) -> None:
    output, figure = tmp_path / "bands.json", tmp_path / "bands.png"
    run = call(
        *("bands", aluminium, *COARSE, "--path", "GX", "--npoints", "3", "--nbands", "4"),
        *("-o", output, "--figure", figure),
    )
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    assert values["path"] == "GX"
    assert np.shape(values["energies"]) == (1, 3, 4)
    # The lowest band of a nearly free electron metal rises from Gamma to X.
    assert values["energies"][0][0][0] < values["energies"][0][2][0]
    lowest = values["energies"][0][0][0] - values["reference"]
    assert f"{lowest:9.3f}" in run.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_bands_with_a_jump_list_each_point_with_its_own_levels(call: Call, tmp_path: Path) -> None:
    path, output, figure = (tmp_path / f"li.{suffix}" for suffix in ("xyz", "json", "png"))
    Atoms("Li", cell=[3.0] * 3, pbc=True).write(path)
    run = call(
        *("bands", path, "--ecut", "100", "--kpts", "2x2x2", "--magmom", "1", "--fix-moment"),
        *("--path", "GXM,RX,MR", "--npoints", "12", "--nbands", "2", "-o", output),
        *("--figure", figure),
    )
    assert run.exit_code == 0, run.stderr
    values = json.loads(output.read_text())
    points = values["special_points"]
    assert [point["label"] for point in points] == list("GXMRXMR")
    energies = np.array(values["energies"])
    rows = [line.split() for line in run.stdout.splitlines() if " spin " in line]
    assert [row[0] for row in rows] == [name for name in "GXMRXMR" for _ in range(2)]
    printed = np.array([row[3:] for row in rows], dtype=float).reshape(7, 2, 2)
    own = energies[:, [point["index"] for point in points]].swapaxes(0, 1) - values["reference"]
    np.testing.assert_allclose(printed, own, atol=6e-4)
    # The same point has the same levels wherever the path comes across it.
    for name in "XMR":
        first, second = (i for i, point in enumerate(points) if point["label"] == name)
        np.testing.assert_allclose(own[first], own[second], atol=1e-4)
    assert np.abs(own[2] - own[3]).max() > 0.1
    assert len(values["breaks"]) == 2
    assert figure.read_bytes().startswith(b"\x89PNG")


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


@pytest.fixture
def gpaws_own_points(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = load_gpaw_eos()

    def compute_point(case: Case, scale: float, device: str | None = None) -> dict[str, Any]:
        points = reference[case.system]["points"]
        found = [p for p in points if p["scale"] == scale]
        if not found:
            size = case.atoms(scale).get_volume()
            energy = float(fitted_energy(make_curve(points).fit, size))
            found = [{**points[0], "scale": scale, "volume": size, "energy": energy}]
        return {"irreducible_kpoints": 1, "plane_waves": 1, "bands": 1, **found[0]}

    monkeypatch.setattr("deepchem_xc.benchmark.points.compute_point", compute_point)


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_writes_table_json_and_figure(call: Call, tmp_path: Path) -> None:
    arguments = (
        "benchmark",
        "--pbe-only",
        "--systems",
        "al",
        "--jobs",
        "1",
        "-o",
        tmp_path / "out",
    )
    run = call(*arguments)
    assert run.exit_code == 0, run.stderr
    assert "+0.00 %" in run.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "benchmark.json",
        "benchmark.md",
        "benchmark.png",
        "points",
    ]
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert list(content["systems"]) == ["Al"]
    assert content["versions"]["torch"]
    assert content["quick"] is False
    again = call(*arguments)
    assert "7 of 7 points were there already" in again.stderr


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_live_gpaw_takes_the_reference_from_a_run(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_gpaw_eos(systems: Any, path: Path, on_point: Any) -> dict[str, Any]:
        results = {name: load_gpaw_eos()[name] for name in systems}
        for point in results["Al"]["points"]:
            point["energy"] *= 2
            on_point("Al", point)
        return results

    monkeypatch.setattr("deepchem_xc.calculators.gpaw_reference.find_spec", lambda name: True)
    monkeypatch.setattr("deepchem_xc.calculators.gpaw_reference.run_gpaw_eos", run_gpaw_eos)
    arguments = (
        "benchmark",
        "--pbe-only",
        "--systems",
        "al",
        "--jobs",
        "1",
        "-o",
        tmp_path,
        "--live-gpaw",
    )
    run = call(*arguments)
    assert run.exit_code == 0, run.stderr
    assert "-50.00 % !" in run.stdout
    assert "computed here (--live-gpaw)" in run.stdout
    assert "computed here (--live-gpaw)" in (tmp_path / "benchmark.md").read_text()
    assert json.loads((tmp_path / "benchmark.json").read_text())["live_gpaw"] is True


@pytest.mark.gpaw
@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_live_gpaw_shows_what_gpaw_computes(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPAW itself, with settings so coarse that its lattice constant is visibly another."""
    coarse = replace(GPAW_SETTINGS["Al"], ecut=250, kpts=(3, 3, 3), gpts=(12, 12, 12))
    monkeypatch.setattr("deepchem_xc.calculators.gpaw_reference.GPAW_SETTINGS", {"Al": coarse})
    run = call(*PBE_OF_AL, "-o", tmp_path, "--live-gpaw")
    assert run.exit_code == 0, run.stderr
    live, stored = (load_gpaw_eos(path)["Al"] for path in (tmp_path / "gpaw_eos.json", None))
    cells = [cell.strip() for cell in run.stdout.splitlines()[2].split("|")[1:-1]]
    assert cells[1] == f"{stored['fit']['energy']['a']:.4f}"  # in the place of our own
    assert cells[2] == f"{live['fit']['energy']['a']:.4f}" != cells[1]
    assert cells[5] == f"{live['fit']['energy']['bulk_modulus']:.1f}" != cells[4]
    content = json.loads((tmp_path / "benchmark.json").read_text())
    assert content["systems"]["Al"]["gpaw"]["energies"] == [p["energy"] for p in live["points"]]
    assert content["gpaw_seconds"] > 0


def test_benchmark_live_gpaw_without_gpaw_is_refused_before_anything_is_computed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: Any) -> Any:
        raise AssertionError("a point was computed")

    monkeypatch.setattr("deepchem_xc.calculators.gpaw_reference.find_spec", lambda name: None)
    monkeypatch.setattr("deepchem_xc.benchmark.points.compute_point", computed)
    run = call(*PBE_OF_AL, "-o", tmp_path, "--live-gpaw")
    assert run.exit_code == 1
    assert "make gpaw" in run.stderr and "was computed" not in run.stderr


def test_benchmark_with_failed_points_is_an_error(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(case: Case, scale: float, device: str | None = None) -> dict[str, Any]:
        raise RuntimeError("the loop did not converge")

    monkeypatch.setattr("deepchem_xc.benchmark.points.compute_point", fails)
    run = call(*PBE_OF_AL, "-o", tmp_path)
    assert run.exit_code == 1
    assert "7 of 7 points failed" in run.stderr
    assert not (tmp_path / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--systems", "xx"], "has Al, Ni, Ca, graphene"), (["--jobs", "0"], "jobs must be")],
)
def test_benchmark_refuses_bad_options(call: Call, options: list[str], message: str) -> None:
    run = call("benchmark", *options)
    assert run.exit_code == 1
    assert message in run.stderr


@pytest.mark.usefixtures("gpaws_own_points")
def test_benchmark_sets_functionals_side_by_side(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def beside(trainings: Sequence[Training], *options: object) -> Iterator[None]:
        yield
        for training in trainings:
            training.folder.mkdir(parents=True)
            ConstrainedGGA(start="random", seed=training.seed).save(training.functional)

    monkeypatch.setattr("deepchem_xc._cli_benchmark.train_beside", beside)
    options = ("--systems", "al,ca", "--jobs", "1", "--seeds", "1,2", "-o", tmp_path)
    run = call("benchmark", *options)
    assert run.exit_code == 0, run.stderr
    content = json.loads((tmp_path / "functionals.json").read_text())
    names = ["PBE", "LDA", "trained, seed 1", "trained, seed 2"]
    assert list(content["mean_errors"]) == names
    # The stand-in for the solver gives GPAW's energies whatever the functional.
    assert content["mean_errors"]["trained, seed 2"] < 1e-3
    assert "5-10 %" in run.stdout
    assert (tmp_path / "functionals.png").stat().st_size > 1000


@pytest.mark.slow
def test_quick_benchmark_of_aluminium_is_near_gpaw(call: Call, tmp_path: Path) -> None:
    run = call("benchmark", "--quick", "--systems", "al", "-o", tmp_path)
    assert run.exit_code == 0, run.stderr
    assert "Coarse settings" in run.stdout
    entry = json.loads((tmp_path / "benchmark.json").read_text())["systems"]["Al"]
    assert abs(entry["errors"]["a"]) < 0.01
    assert abs(entry["errors"]["modulus"]) < 0.1
    assert entry["settings"]["ecut"] < CASES["Al"].ecut
