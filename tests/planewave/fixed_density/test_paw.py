"""Energies, forces and derivatives at a given density with PAW, spheres included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.crystals import SMEARED
from tests.planewave.fixed_density.cases import CASES, Case, rough_density
from tests.planewave.fixed_density.checks import STEPS, check_derivatives, check_forces

pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")

LIGHT: dict[str, Any] = {"Al": "paw-pbe", "Mg": "paw-pbe:2"}
QUICK = ("low symmetry",)
PAW: dict[str, Case] = {
    "low symmetry": replace(CASES["low symmetry"], pseudopotentials="paw-pbe"),
    "smeared metal": replace(
        CASES["smeared metal"],
        pseudopotentials=LIGHT,
        occupations={"name": "gaussian", "width": 0.02},
    ),
    "magnet": replace(CASES["soft magnet"], pseudopotentials=LIGHT, occupations=SMEARED),
    "reduced k-points": replace(CASES["reduced k-points"], pseudopotentials="paw-pbe"),
}


@pytest.mark.parametrize("name", ["low symmetry", "smeared metal", "magnet"])
def test_forces_and_stress_are_derivatives_of_the_energy(name: str) -> None:
    problem = PAW[name].problem()
    check_forces(problem, rough_density(problem))


def test_a_meta_gga_with_its_kinetic_energy_density() -> None:
    problem = PAW["low symmetry"].problem("r2SCAN")
    check_forces(problem, rough_density(problem))


@pytest.mark.parametrize(
    "name",
    [
        "low symmetry",
        *(pytest.param(x, marks=pytest.mark.slow) for x in PAW if x != "low symmetry"),
    ],
)
def test_all_derivatives_are_those_of_differences(name: str) -> None:
    # The gap of the symmetric crystal is farther from linear than everything else.
    density = 0.005 if name == "reduced k-points" else STEPS["density"]
    check_derivatives(PAW[name], {**STEPS, "density": density})
