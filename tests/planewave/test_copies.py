"""Copies of results, and results inside torch's inference mode."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.planewave import Crystal, SCFResult, equation_of_state, scf
from deepchem_xc.xc import PBE

COARSE: dict[str, Any] = {"ecut": 80.0, "kpts": (2, 2, 2)}


def used(functional: PBE) -> SCFResult:
    """A result whose energy, gap and forces were asked for, all in a graph."""
    result = scf(bulk("Si"), functional, **COARSE)
    assert result.band_gap.requires_grad and result.forces.requires_grad
    assert result.energies["xc"].requires_grad
    return result


def gradient(result: SCFResult) -> list[torch.Tensor]:
    parameters = [p for p in result.problem.functional.parameters() if p.requires_grad]
    return list(torch.autograd.grad(result.band_gap, parameters, retain_graph=True))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_whole_and_know_their_own_functional(copied: Callable[[Any], Any]) -> None:
    functional = PBE(trainable=True)
    result = used(functional)
    other = copied(result)
    assert other.problem.functional is not functional
    assert torch.equal(other.density, result.density)
    energies = [float(x.detach().free_energy) for x in (other, result)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-12)
    for new, old in zip(gradient(other), gradient(result), strict=True):
        assert torch.allclose(new, old, rtol=1e-5, atol=1e-10)
    with torch.no_grad():
        next(functional.parameters()).mul_(1.1)
    assert gradient(other)  # the copy's functional is as it was
    with pytest.raises(RuntimeError, match="changed"):
        copied(result)


def test_copies_of_results_with_a_moving_lattice_have_one_of_their_own() -> None:
    crystal = Crystal.from_ase(bulk("Si"))
    stretch = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    moving = Crystal(crystal.lattice * stretch, crystal.symbols, crystal.positions)
    result = scf(moving, "PBE", **COARSE)
    (expected,) = torch.autograd.grad(result.free_energy, stretch, retain_graph=True)
    other = copy.deepcopy(result)
    assert other.geometry is not None and other.geometry.lattice.is_leaf
    (per_vector,) = torch.autograd.grad(other.free_energy, other.geometry.lattice)
    assert float((per_vector * crystal.lattice).sum()) == pytest.approx(float(expected), rel=1e-9)
    same = copy.copy(result)
    assert same.geometry is result.geometry


def test_inference_mode_computes_what_no_grad_does() -> None:
    functional = PBE(trainable=True)
    with torch.no_grad():
        expected = scf(bulk("Si"), functional, **COARSE)
        values = [expected.free_energy, expected.stress, expected.energies["xc"]]
    before = used(functional)
    with torch.inference_mode():
        result = scf(bulk("Si"), functional, **COARSE)
        found = [result.free_energy, result.stress, result.energies["xc"]]
        assert not any(x.requires_grad or x.is_inference() for x in found)
        assert torch.allclose(before.stress, values[1], atol=1e-6)
        curve = equation_of_state(bulk("Al"), ecut=150.0, scales=(0.88, 0.94, 1.0, 1.06, 1.12))
        assert 3.5 < curve.a0 < 4.5
        atoms = bulk("Si")
        atoms.calc = PlaneWaveDFT(**COARSE)
        assert atoms.get_forces().shape == (2, 3)
    for new, old in zip(found, values, strict=True):
        assert torch.allclose(new, old, atol=1e-6)
    assert gradient(result) and gradient(before)


def test_autocast_changes_nothing() -> None:
    """Steps in single precision are not computed in half precision, nor derivatives."""
    functional = PBE(trainable=True)

    def computed() -> list[torch.Tensor]:
        result = scf(bulk("Si"), functional, **COARSE)
        loss = result.band_gap + result.density.square().mean() + result.forces.square().sum()
        gradients = torch.autograd.grad(loss, list(functional.parameters()))
        return [result.free_energy, result.stress, *gradients]

    expected = computed()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = computed()
        assert torch.is_autocast_enabled("cpu")
    for new, old in zip(found, expected, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-6, atol=1e-9)


def test_what_is_made_inside_inference_mode_is_named() -> None:
    with torch.inference_mode():
        functional, crystal = PBE(trainable=True), Crystal.from_ase(bulk("Si"))
    with pytest.raises(ValueError, match="the functional was made inside torch.inference_mode"):
        scf(bulk("Si"), functional, **COARSE)
    with pytest.raises(ValueError, match="the crystal was made inside torch.inference_mode"):
        scf(crystal, "PBE", **COARSE)


def test_a_calculators_file_finds_its_potentials_and_functional_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    PBE().save("mine.safetensors")
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(xc="mine.safetensors", **COARSE)
    energy = atoms.get_potential_energy()
    atoms.calc.write("si.npz")
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = PlaneWaveDFT(restart=os.path.join("..", "si.npz"))
    assert again.parameters["xc"] == str(tmp_path / "mine.safetensors")
    moved = bulk("Si")
    moved.rattle(1e-3, seed=0)
    moved.calc = again
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-2)
