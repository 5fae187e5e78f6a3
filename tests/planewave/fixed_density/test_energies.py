"""Energies at a given density: exact where it is self-consistent, of second order elsewhere."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io.cube import read_cube_data

from deepchem_xc.planewave import (
    DensityRecord,
    SCFResult,
    band_structure,
    density_of_states,
    non_self_consistent,
    scf,
    write_density_cube,
)
from deepchem_xc.planewave.fixed_density.sources import GridDensity
from deepchem_xc.planewave.properties.bands import eigenvalues_at
from deepchem_xc.planewave.without_loop import InaccurateDensityWarning

GAMMA222 = {"size": (2, 2, 2), "gamma": True}


def nickel() -> Atoms:
    atoms = bulk("Ni")
    atoms.set_initial_magnetic_moments([0.8])
    return atoms


CRYSTALS: dict[str, tuple[Atoms, dict[str, Any]]] = {
    "Si": (bulk("Si"), {"ecut": 120.0, "kpts": GAMMA222}),
    "Al": (bulk("Al"), {"ecut": 100.0, "kpts": (3, 3, 3)}),
    "Ni": (
        nickel(),
        {
            "ecut": 200.0,
            "kpts": GAMMA222,
            "pseudopotentials": {"Ni": "GTH-GGA-q10"},
            "occupations": {"name": "fermi-dirac", "width": 0.3},
        },
    ),
}


@pytest.fixture(scope="module", params=list(CRYSTALS))
def crystal(request: pytest.FixtureRequest) -> tuple[Atoms, dict[str, Any], SCFResult]:
    atoms, keywords = CRYSTALS[request.param]
    tight = {"energy": 1e-10, "density": 1e-9}
    return atoms, keywords, scf(atoms, convergence=tight, **keywords)


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), ecut=120.0, kpts=GAMMA222, convergence={"density": 1e-8})


def test_a_self_consistent_density_gives_the_ground_state(
    crystal: tuple[Atoms, dict[str, Any], SCFResult],
) -> None:
    atoms, keywords, ground = crystal
    result = non_self_consistent(atoms, density=ground, **keywords)
    for name, tolerance in {
        "free_energy": 1e-12,
        "energy": 1e-8,
        "kohn_sham_free_energy": 1e-12,
        "fermi_level": 1e-8,
        "magnetic_moment": 1e-7,
        "forces": 1e-7,
        "stress": 1e-9,
    }.items():
        other = getattr(ground, "free_energy" if name.startswith("kohn") else name)
        torch.testing.assert_close(getattr(result, name), other, rtol=0, atol=tolerance)
    assert result.density_error < 1e-7 and result.magnetisation_error < 1e-7
    assert abs(float(result.energy_difference)) < 1e-12
    assert result.start.removed < 1e-12


def test_both_energies_are_wrong_in_second_order(
    crystal: tuple[Atoms, dict[str, Any], SCFResult],
) -> None:
    """A quarter of the error at half the distance from the ground state."""
    atoms, keywords, ground = crystal
    wave = ground.basis.to_grid(ground.problem.atomic_density()) - ground.density
    errors = {}
    for part in (0.01, -0.01, 0.005, -0.005):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InaccurateDensityWarning)
            density = ground.density + part * wave
            result = non_self_consistent(atoms, density=density, **keywords)
        errors[part] = torch.stack([result.free_energy, result.kohn_sham_free_energy])
        errors[part] = errors[part] - ground.free_energy
        assert result.history[-1]["orbital_error"] <= 1e-6
        change = result.history[-1]["energy_change"]
        assert abs(float(result.energy_difference) - change) < 1e-11
    # The mean over both signs has no part of third order.
    ratio = (errors[0.01] + errors[-0.01]) / (errors[0.005] + errors[-0.005])
    assert bool(((ratio > 3.8) & (ratio < 4.2)).all()), errors
    assert errors[0.01][1] > 0.0  # the energy of orbitals is a minimum


def test_bands_and_densities_of_states_belong_to_the_given_density(silicon: SCFResult) -> None:
    atoms = silicon.basis.to_grid(silicon.problem.atomic_density())
    with pytest.warns(InaccurateDensityWarning, match="meV/atom"):
        result = non_self_consistent(bulk("Si"), density=atoms, ecut=120.0, kpts=GAMMA222)
    levels = eigenvalues_at(result, result.kpoints.coordinates, nbands=5)
    torch.testing.assert_close(result.eigenvalues[:, :, :5], levels, rtol=0, atol=1e-7)
    assert (levels - eigenvalues_at(silicon, result.kpoints.coordinates, 5)).abs().max() > 1e-3
    bands = band_structure(result, "GX", npoints=3, nbands=5)
    # Gamma is among the mesh's points.
    np.testing.assert_allclose(bands.energies[0, 0], levels[0, 0] * 27.211386024367243, atol=1e-5)
    states = density_of_states(result, width=0.2)
    assert states.fermi_level == pytest.approx(float(result.reference_level) * 27.211386, rel=1e-7)


def test_a_cube_file_holds_the_output_density(silicon: SCFResult, tmp_path: Any) -> None:
    result = non_self_consistent(bulk("Si"), density=silicon, ecut=120.0, kpts=GAMMA222)
    write_density_cube(tmp_path / "si.cube", result)
    data, _ = read_cube_data(str(tmp_path / "si.cube"))
    np.testing.assert_allclose(data, result.density[0], atol=1e-5)


def test_a_result_is_a_start_for_the_loop(silicon: SCFResult) -> None:
    atoms = silicon.basis.to_grid(silicon.problem.atomic_density())
    given = 0.9 * silicon.density + 0.1 * atoms
    result = non_self_consistent(bulk("Si"), density=given, ecut=120.0, kpts=GAMMA222)
    again = scf(bulk("Si"), ecut=120.0, kpts=GAMMA222, start=result)
    assert float(again.free_energy) == pytest.approx(float(silicon.free_energy), abs=1e-8)


def test_another_cutoff_is_truncated_or_padded(silicon: SCFResult) -> None:
    """The density of a lower cutoff is a good one at a higher cutoff, and the other way round."""
    for ecut in (100.0, 140.0):
        exact = scf(bulk("Si"), ecut=ecut, kpts=GAMMA222)
        kept, plain = (
            x.density_for(exact.problem).density
            for x in (DensityRecord.of(silicon), GridDensity(silicon.density))
        )
        assert float((kept - plain).abs().max()) < 1e-12
        for density in (silicon, silicon.density):
            result = non_self_consistent(bulk("Si"), density=density, ecut=ecut, kpts=GAMMA222)
            assert 1e-6 < result.density_error < 0.05
            # Of second order, 1e-3 of what the cutoff changes in the energy.
            assert abs(float(result.free_energy - exact.free_energy)) < 3e-4
            assert float(result.kohn_sham_free_energy) >= float(exact.free_energy) - 1e-9


def test_a_displaced_atom_carries_its_density(silicon: SCFResult) -> None:
    """Better than the density that stays, and than superposed atoms."""
    atoms = bulk("Si")
    atoms.positions[1] += [0.05, 0.02, -0.03]
    keywords = {"ecut": 120.0, "kpts": GAMMA222, "symmetry": False}
    exact = scf(atoms, **keywords)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InaccurateDensityWarning)
        carried, stays, superposed = (
            abs(
                float(non_self_consistent(atoms, density=x, **keywords).free_energy)
                - float(exact.free_energy)
            )
            for x in (
                silicon,
                silicon.density,
                exact.basis.to_grid(exact.problem.atomic_density()),
            )
        )
    assert carried < 0.3 * min(stays, superposed)


def test_a_meta_gga_takes_the_kinetic_energy_density_of_a_result() -> None:
    keywords: dict[str, Any] = {"ecut": 120.0, "kpts": GAMMA222}
    ground = scf(bulk("Si"), "r2SCAN", convergence={"density": 1e-8}, **keywords)
    result = non_self_consistent(bulk("Si"), "r2SCAN", density=ground, **keywords)
    assert float(result.free_energy) == pytest.approx(float(ground.free_energy), abs=1e-11)
    with pytest.raises(ValueError, match="needs the kinetic energy density"):
        non_self_consistent(bulk("Si"), "r2SCAN", density=ground.density, **keywords)
