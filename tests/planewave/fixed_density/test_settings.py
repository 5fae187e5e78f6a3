"""Keywords of a calculation at a given density: those of the loop, as far as they apply."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
import torch
from ase.build import bulk

from deepchem_xc.numerics.errors import DiagonalizationError
from deepchem_xc.planewave import SCFResult, non_self_consistent, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.problem import KohnShamProblem
from deepchem_xc.planewave.without_loop import InaccurateDensityWarning
from tests.crystals import hydrogen


class SuperposedAtoms:
    """The simplest source of densities."""

    def density_for(self, problem: KohnShamProblem) -> Fields:
        return Fields(problem.superposition())


SETTINGS: dict[str, Any] = {"ecut": 80.0, "kpts": {"size": (2, 2, 2), "gamma": True}}


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), **SETTINGS)


def test_every_keyword_of_scf_is_taken() -> None:
    taken = inspect.signature(non_self_consistent).parameters
    for name, parameter in inspect.signature(scf).parameters.items():
        assert taken[name].default == parameter.default and taken[name].kind == parameter.kind


def test_unknown_keywords_and_values_are_explained(silicon: SCFResult) -> None:
    with pytest.raises(TypeError, match="did you mean ecut"):
        non_self_consistent(bulk("Si"), density=silicon, ekut=80.0)
    for wrong in (
        {"callback": 3},
        {"start": 3},
        {"convergence": {"orbital": 1.0}},
        {"other_functional": "no"},
    ):
        with pytest.raises(ValueError, match=str(next(iter(wrong)))):
            non_self_consistent(bulk("Si"), density=silicon, **SETTINGS, **wrong)


def test_states_are_as_accurate_as_wanted(silicon: SCFResult) -> None:
    """1e-6 Ha by default, less if asked for, and an error if the sweeps are not enough."""
    density = silicon.density
    sweeps: list[dict[str, float]] = []
    for wanted, convergence in [
        (1e-6, None),
        (1e-6, {"orbitals": 1.0}),
        (1e-9, {"orbitals": 1e-9}),
    ]:
        if convergence is not None:
            convergence = {"orbitals": convergence["orbitals"] * 27.211386}
        result = non_self_consistent(
            bulk("Si"),
            density=density,
            convergence=convergence,
            callback=sweeps.append,
            **SETTINGS,
        )
        assert sweeps[-1]["orbital_error"] <= wanted
        assert abs(sweeps[-1]["energy"] - float(result.free_energy)) < 1e-12
    with pytest.raises(DiagonalizationError, match="wanted 1.0e-14"):
        non_self_consistent(
            bulk("Si"),
            density=density,
            convergence={"orbitals": 1e-14 * 27.211386, "maxiter": 2},
            **SETTINGS,
        )


def test_a_level_that_the_bands_lost_is_found_again() -> None:
    """An interstitial atom has a doublet 6e-4 Ha below a triplet at which the bands end.

    Without more bands it takes 81 sweeps to find the second state of the doublet.
    """
    atoms = bulk("Si", cubic=True)
    atoms.append("Si")
    atoms.positions[-1] = 0.5 * atoms.cell.array[0, 0]
    settings = {"ecut": 200.0, "kpts": {"size": (2, 2, 2), "gamma": True}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InaccurateDensityWarning)
        found = non_self_consistent(
            atoms, density=SuperposedAtoms(), convergence={"maxiter": 55}, **settings
        )
        more = non_self_consistent(atoms, density=SuperposedAtoms(), nbands=40, **settings)
    assert abs(float(found.free_energy - more.free_energy)) < 1e-9


def test_orbitals_of_a_start_save_sweeps_and_change_nothing(silicon: SCFResult) -> None:
    density = silicon.density
    sweeps: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    energies = [
        float(
            non_self_consistent(
                bulk("Si"),
                density=density,
                start=silicon if started else None,
                callback=sweeps[started].append,
                policies=None,
                **SETTINGS,
            ).free_energy
        )
        for started in (True, False)
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-11)
    assert len(sweeps[True]) <= len(sweeps[False])


def test_a_moment_may_be_held() -> None:
    """With two channels each has its own Fermi level, and the moment is the given one."""
    keywords: dict[str, Any] = {
        "ecut": 100.0,
        "occupations": {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True},
    }
    ground = scf(hydrogen(), convergence={"density": 1e-8}, **keywords)
    result = non_self_consistent(hydrogen(), density=ground, **keywords)
    assert float(result.magnetic_moment) == pytest.approx(1.0, abs=1e-10)
    assert float(result.free_energy) == pytest.approx(float(ground.free_energy), abs=1e-10)
    unpolarised = ground.density.sum(0, keepdim=True)
    with pytest.raises(ValueError, match="spinpol=False"):
        non_self_consistent(hydrogen(), density=unpolarised, **keywords)
    with pytest.warns(InaccurateDensityWarning):
        flipped = non_self_consistent(hydrogen(), density=ground.density.flip(0), **keywords)
    assert torch.isfinite(flipped.free_energy) and flipped.magnetisation_error > 1.0
