"""`deepchem-xc bands`: levels along a path."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from tests.cli.options import COARSE, Call


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
    assert f"{lowest:.3f}" in run.stdout
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


def test_a_path_that_does_not_exist_is_said_before_the_ground_state(
    call: Call, aluminium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepchem_xc.planewave.scf", lambda *_, **__: pytest.fail("computed"))
    run = call("bands", aluminium, *COARSE, "--path", "GQ")
    assert run.exit_code == 1
    assert "names ['Q']; the special points of this lattice" in run.stderr
