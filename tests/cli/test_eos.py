"""`deepchem-xc eos`: energies at several volumes, and their fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk, graphene
from ase.units import Hartree

from deepchem_xc.eos.fits import fit_equation_of_state
from tests.cli.options import COARSE, Call


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
        assert f"{point['energy']:.6f}" in run.output


def test_eos_prints_what_is_done_when_a_volume_fails(
    call: Call, aluminium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepchem_xc.planewave import SCFConvergenceError
    from deepchem_xc.planewave.properties import volume_scan

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
        assert f"{float(result.extrapolated_energy) * Hartree:.6f}" in run.output


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


@pytest.mark.slow
def test_eos_computes_volumes_side_by_side(call: Call, aluminium: Path, tmp_path: Path) -> None:
    found = []
    for name, jobs in (("one", ("--jobs", "1")), ("two", ("--jobs", "2"))):
        output = tmp_path / f"{name}.json"
        run = call(
            "eos", aluminium, *COARSE, "--points", "5", "--strain", "0.2", *jobs, "-o", output
        )
        assert run.exit_code == 0, run.stderr
        found.append(json.loads(output.read_text())["points"])
    one, two = ([point["energy"] for point in points] for points in found)
    assert one == pytest.approx(two, abs=1e-7)


def test_eos_without_its_scheduler_says_so(call: Call, aluminium: Path) -> None:
    pytest.importorskip("distributed")
    run = call("eos", aluminium, *COARSE, "--scheduler", "tcp://127.0.0.1:1")
    assert run.exit_code == 1
    assert "no Dask scheduler answers at 'tcp://127.0.0.1:1'" in run.output
    run = call("eos", aluminium, *COARSE, "--scheduler", "tcp://127.0.0.1:1", "--jobs", "2")
    assert run.exit_code == 1 and "--jobs 2 would have no effect" in run.output


def test_a_curve_that_was_interrupted_goes_on_with_what_is_missing(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepchem_xc.planewave.properties import volume_points

    path, folder = tmp_path / "al.xyz", tmp_path / "kept"
    ase.io.write(path, bulk("Al", a=4.04), format="extxyz")
    words = ("eos", path, *COARSE, "--points", "5", "--strain", "0.2")

    def energies(*more: Any) -> list[float]:
        output = tmp_path / "eos.json"
        run = call(*words, *more, "--output", output)
        assert run.exit_code == 0, run.stderr
        return [point["energy"] for point in json.loads(output.read_text())["points"]]

    solve, solved, broken = volume_points.scf, [], [True]

    def counted(crystal: Any, *arguments: Any, **keywords: Any) -> Any:
        if broken[0] and len(solved) == 3:
            raise MemoryError("no more")
        solved.append(round(float(crystal.volume), 6))
        return solve(crystal, *arguments, **keywords)

    at_once = energies("--jobs", "1")
    monkeypatch.setattr(volume_points, "scf", counted)
    run = call(*words, "--keep-in", folder)
    assert run.exit_code == 1
    assert "2 of 5 volumes failed" in run.stderr and f"are kept in {folder}" in run.stderr
    broken[0] = False
    # The same numbers: what is missing starts from the kept density of the middle volume.
    assert energies("--keep-in", folder) == pytest.approx(at_once, abs=1e-10)
    assert len(solved) == len(set(solved)) == 5
    # All are there, unless what they depend on has changed, or a file is damaged.
    assert energies("--keep-in", folder) == pytest.approx(at_once, abs=1e-10)
    assert len(solved) == 5
    (point,) = folder.glob("*-1.0.json")
    point.write_text(point.read_text()[:-20])
    assert energies("--keep-in", folder) == pytest.approx(at_once, abs=1e-10)
    assert solved[5:] == [solved[0]]
    assert energies("--keep-in", folder, "--xc", "LDA") != pytest.approx(at_once, abs=1e-3)
    assert len(solved) == 11


def test_points_of_a_functional_that_cannot_be_compared_are_not_kept(tmp_path: Path) -> None:
    from deepchem_xc.planewave import equation_of_state
    from deepchem_xc.xc import PBE

    with pytest.raises(ValueError, match=r"keep_in= needs a functional.*name or as a file, got"):
        equation_of_state(bulk("Al"), PBE(), ecut=100.0, kpts=(1, 1, 1), keep_in=tmp_path)
