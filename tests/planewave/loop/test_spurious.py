"""States with more electrons in PAW spheres than these have room for are errors, not results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.numerics.errors import SCFConvergenceError
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.loop import spurious

PAW: dict[str, Any] = {"ecut": 150.0, "kpts": (1, 1, 1), "pseudopotentials": "paw-pbe"}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), **PAW)


@pytest.mark.parametrize("electrons", [15.0, 25.0])
def test_an_atom_with_twenty_electrons_in_one_state_is_named(
    silicon: SCFResult, electrons: float
) -> None:
    problem = silicon.problem
    assert problem.spheres is not None and silicon.fields.spheres is not None
    matrices = [matrix.clone() for matrix in problem.spheres.by_atom(silicon.fields.spheres)]
    vector = torch.zeros(matrices[1].shape[-1], dtype=torch.float64)
    vector[1], vector[5] = 0.6, 0.8
    matrices[1] += electrons * torch.outer(vector, vector)
    fields = replace(silicon.fields, spheres=problem.spheres.of_atoms(matrices))
    reason = spurious.why_spurious(problem, fields)
    if electrons < 20.0:
        assert reason is None
    else:
        assert reason is not None and "atom 1 (Si, Si.PBE) has 2" in reason and "beta" in reason


def test_a_loop_does_not_end_in_such_a_state(
    silicon: SCFResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spurious, "_MOST", 0.5)
    with pytest.raises(
        SCFConvergenceError, match="ended in a spurious state: .* room for 2"
    ) as error:
        scf(bulk("Si"), **PAW)
    assert len(error.value.history) == silicon.nsteps


def test_norm_conserving_potentials_have_no_spheres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spurious, "_MOST", 0.0)
    scf(bulk("Si"), ecut=80.0, kpts=(1, 1, 1))
