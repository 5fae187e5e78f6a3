"""Energies without a loop at a network's density: forces and stress, supercells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ase.build import bulk, make_supercell

from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor
from deepchem_xc.planewave import non_self_consistent
from deepchem_xc.planewave.fixed_density.fixed import FixedDensity
from tests.planewave.fixed_density.cases import CASES
from tests.planewave.fixed_density.checks import check_forces

SMALL: dict[str, Any] = {"channels": 4, "l_max": 1, "layers": 1, "cutoff": 4.0}


def predictor(name: str) -> DensityPredictor:
    """An untrained network, which adds a few per cent to superposed atoms."""
    pseudos = CASES[name].problem().pseudopotentials
    valences = {symbol: pseudo.valence for symbol, pseudo in pseudos.items()}
    return DensityPredictor(AtomDensityNetwork(valences, **SMALL), pseudos)


@pytest.mark.parametrize("name", ["low symmetry", "smeared metal"])
def test_forces_and_stress_follow_the_networks_own_motion(name: str) -> None:
    """Held against differences of the Harris-Foulkes free energy at the moved density."""
    problem = CASES[name].problem()
    source = predictor(name)
    given = FixedDensity.of(problem, source)
    change = given.fields.density - problem.atomic_density()
    part = problem.basis.to_grid(change).abs().mean() * problem.basis.volume / problem.nelectrons
    assert float(part) > 3e-3, "the network adds nothing"
    check_forces(problem, given)


def test_a_supercell_has_the_energy_the_forces_and_the_stress_of_its_cells() -> None:
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(
        atoms.cell.array @ [[1.02, 0.01, 0.0], [0.0, 0.99, 0.02], [0.01, 0.0, 1.0]], True
    )
    supercell = make_supercell(atoms, [[2, 0, 0], [0, 1, 0], [0, 0, 1]])
    settings: dict[str, Any] = {
        "density": predictor("low symmetry"),
        "ecut": 100.0,
        "symmetry": {"point_group": False},
        "convergence": {"orbitals": 1e-8},
    }
    mesh = {"size": (2, 1, 1), "gamma": True}
    one = non_self_consistent(atoms, kpts=mesh, fft_size=(15, 15, 15), **settings)
    two = non_self_consistent(supercell, kpts=(1, 1, 1), fft_size=(30, 15, 15), **settings)
    assert float(two.free_energy) == pytest.approx(2.0 * float(one.free_energy), abs=1e-8)
    assert float(one.forces.abs().max()) > 1e-2
    torch.testing.assert_close(two.forces, one.forces.repeat(2, 1), rtol=0.0, atol=1e-6)
    torch.testing.assert_close(two.stress, one.stress, rtol=0.0, atol=1e-8)
