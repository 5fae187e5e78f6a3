"""`non_self_consistent` with PAW: energies of results, records and files, and their bands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave import DensityRecord, SCFResult, non_self_consistent, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from deepchem_xc.planewave.loop.convergence import Convergence
from deepchem_xc.planewave.loop.self_consistency import solve
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.properties.bands import band_structure
from tests.planewave.fixed_density.cases import Case, rough_density, solved
from tests.planewave.fixed_density.checks import check_forces
from tests.planewave.fixed_density.test_paw import PAW

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")

WORDS: dict[str, Any] = {
    "ecut": 150.0,
    "kpts": {"size": (2, 2, 2), "gamma": True},
    "pseudopotentials": "paw-pbe",
}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), "PBE", **WORDS, convergence={"density": 1e-9, "energy": 1e-11})


@pytest.mark.parametrize("kind", ["result", "record", "path"])
def test_a_self_consistent_density_gives_the_ground_state(
    silicon: SCFResult, tmp_path: Path, kind: str
) -> None:
    record = DensityRecord.of(silicon, orbitals=False)
    record.save(tmp_path / "si.npz")
    density = {"result": silicon, "record": record, "path": tmp_path / "si.npz"}[kind]
    result = non_self_consistent(bulk("Si"), "PBE", density=density, **WORDS)
    for name, tolerance in {
        "free_energy": 1e-10,
        "kohn_sham_free_energy": 1e-10,
        "fermi_level": 1e-7,
        "forces": 1e-7,
        "stress": 1e-8,
    }.items():
        other = getattr(silicon, "free_energy" if name.startswith("kohn") else name)
        torch.testing.assert_close(getattr(result, name), other, rtol=0, atol=tolerance)
    assert result.energies.keys() == silicon.energies.keys()
    assert result.density_error < 1e-6 and result.start.removed < 1e-9


def test_both_energies_are_wrong_in_second_order() -> None:
    """A quarter of the error at half the distance, in the waves and in the spheres."""
    case: Case = PAW["magnet"]
    problem = case.problem()
    ground = _ground(problem)
    change = problem.starting_fields() - ground.fields
    for part in (replace(change, spheres=torch.zeros_like(change.spheres)), change):
        errors = {}
        for size in (0.02, -0.02, 0.01, -0.01):
            found = solved(problem, FixedDensity(ground.fields + part * size), tolerance=1e-9)
            energies = torch.stack([found.free_energy, found.kohn_sham_free_energy])
            errors[size] = energies - ground.free_energy
            assert found.history[-1]["energy_change"] == pytest.approx(
                float(found.energy_difference), abs=1e-10
            )
        # The mean over both signs has no part of third order.
        ratio = (errors[0.02] + errors[-0.02]) / (errors[0.01] + errors[-0.01])
        assert bool(((ratio > 3.7) & (ratio < 4.3)).all()), errors
        assert errors[0.02][1] > 0.0  # the energy of orbitals is a minimum


def _ground(problem: KohnShamProblem) -> SCFResult:
    return solve(problem, Convergence(density=1e-10, energy=1e-12))


def test_another_functional_at_the_density_of_the_first(silicon: SCFResult) -> None:
    """The error is that of second order, far below the difference of the functionals."""
    exact = scf(bulk("Si"), "PBEsol", **WORDS)
    found = non_self_consistent(bulk("Si"), "PBEsol", density=silicon, **WORDS)
    apart = abs(float(exact.free_energy - silicon.free_energy))
    assert abs(float(found.free_energy - exact.free_energy)) < 1e-3 * apart


def test_bands_belong_to_the_given_density(silicon: SCFResult) -> None:
    result = non_self_consistent(bulk("Si"), "PBE", density=silicon, **WORDS)
    given, own = (band_structure(one, path="GX", npoints=5) for one in (result, silicon))
    np.testing.assert_allclose(given.energies[..., :4], own.energies[..., :4], rtol=0, atol=1e-4)


class Turning:
    """A source that knows occupations, which depend on the positions and the lattice."""

    def __init__(self, given: FixedDensity, at: KohnShamProblem) -> None:
        self._given, self._at = given, at

    def density_for(self, problem: KohnShamProblem) -> Fields:
        fields = self._given.fields_at(self._at, problem)
        crystal, before = problem.basis.crystal, self._at.basis.crystal
        moved = (crystal.positions - before.positions)[1, 0] + (crystal.volume / before.volume - 1)
        assert problem.spheres is not None and fields.spheres is not None
        change = torch.zeros_like(fields.spheres)
        # A p state gains what another one loses, which have the same overlap.
        change[:, 14], change[:, 28] = 0.3, -0.3
        return replace(fields, spheres=fields.spheres + moved * change)


def test_occupations_that_a_source_moves_add_to_forces_and_stress() -> None:
    problem = PAW["low symmetry"].problem()
    source = Turning(rough_density(problem), problem)
    check_forces(problem, FixedDensity.of(problem, source))
