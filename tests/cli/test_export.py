"""`deepchem-xc export`: a program from a name or a file, and what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepchem_xc.xc import PBE, SpinParam, ValGrad, get_xc
from tests.cli.options import Call


def test_a_trained_functional_becomes_a_program(call: Call, tmp_path: Path) -> None:
    trained = 0.5 * get_xc("lda_x") + get_xc("lda_c_pw")
    trained.save(tmp_path / "mine.safetensors")
    run = call("export", tmp_path / "mine.safetensors", tmp_path / "mine.pt2", "--nspin", 2)
    assert run.exit_code == 0, run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    assert lines[0] == ["name", "shape", "unit", "meaning"]
    named = [(line[0], line[1], " ".join(line[2:5])) for line in lines[1:]]
    assert named == [
        ("input", "rho", "(2, n) 1/bohr^3"),
        ("output", "exc", "(n) Hartree/bohr^3 energy"),
        ("output", "vrho", "(2, n) Hartree"),
    ]
    assert "(up, down)" in run.stdout
    assert run.stderr == f"deepchem-xc: program in {tmp_path / 'mine.pt2'}\n"
    rho = torch.tensor([[0.1, 0.3], [0.2, 0.0]], dtype=torch.float64)
    (exc, _) = torch.export.load(tmp_path / "mine.pt2").module()(rho)
    density = SpinParam(u=ValGrad(value=rho[0]), d=ValGrad(value=rho[1]))
    torch.testing.assert_close(exc, trained.get_edensityxc(density), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PBE", "x.safetensors"], r"must end in .pt2, got 'x.safetensors'"),
        (["PBE", "x.pt2", "--nspin", "3"], "nspin must be 1 (total density) or 2 (up and down)"),
        (["SCAN", "x.pt2"], "SCAN cannot be exported: mgga_x_scan is evaluated by libxc"),
        (["nothing.safetensors", "x.pt2"], "there is no file 'nothing.safetensors'"),
        (["PBE", "."], ". is a folder: name a file in it"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = call("export", *arguments)
    assert run.exit_code == 1
    assert message in run.stderr and len(run.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_trained_in_a_program_of_trainable_weights(call: Call, tmp_path: Path) -> None:
    PBE(kappa=0.9, trainable=True).save(tmp_path / "pbe.safetensors")
    assert call("export", tmp_path / "pbe.safetensors", tmp_path / "pbe.pt2").exit_code == 0
    program = torch.export.load(tmp_path / "pbe.pt2")
    assert not list(program.parameters())
    assert 0.9 in [
        x.item() for x in (*program.buffers(), *program.constants.values()) if x.ndim == 0
    ]


def test_exact_exchange_is_named_because_the_program_lacks_it(call: Call, tmp_path: Path) -> None:
    found = call("export", "PBE0", str(tmp_path / "x.pt2")).stdout
    assert "for the caller to add: 0.25 exact exchange of 1/r" in found
    assert "exact exchange" not in call("export", "lda_x", str(tmp_path / "y.pt2")).stdout
