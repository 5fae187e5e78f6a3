"""Bands of PAW results, and densities of states on atoms and angular momenta."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.units import Hartree

from deepchem_xc.planewave import SCFResult, band_structure, density_of_states, scf
from deepchem_xc.planewave.properties.atomic_weights import atomic_weights, symmetric_weights
from deepchem_xc.plotting import plot_density_of_states
from tests.planewave.paw_crystals import gpaw, paw

MESH = (2, 2, 2)


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return paw(bulk("Si"), 300.0, MESH, nbands=8)


@pytest.fixture(scope="module")
def nitride() -> SCFResult:
    return paw(bulk("BN", "zincblende", a=3.6), 250.0, MESH)


def layer_of_hydrogen(symmetry: bool) -> SCFResult:
    # Four atoms of two kinds of places, exchanged by operations that permute k-points too.
    atoms = Atoms("H4", cell=[2.2, 2.2, 3.0], pbc=True)
    atoms.set_scaled_positions([[0.1, 0.2, 0], [0.9, 0.8, 0], [0.8, 0.1, 0], [0.2, 0.9, 0]])
    return paw(atoms, 200.0, (2, 2, 1), symmetry=symmetry, nbands=6)


@pytest.mark.gpaw
def test_bands_of_silicon_are_gpaws(silicon: SCFResult) -> None:
    path = bulk("Si").cell.bandpath("LGXU", npoints=8)
    reference = gpaw(bulk("Si"), 300.0, MESH, symmetry="off").fixed_density(
        kpts=path.kpts,
        symmetry="off",
        nbands=10,
        convergence={"bands": 8, "eigenstates": 1e-9},
        txt=None,
    )
    expected = np.array([reference.get_eigenvalues(k)[:8] for k in range(len(path.kpts))])
    found = band_structure(silicon, path, nbands=8).energies[0]
    # On the same scale, without a shift.
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1.5e-3)


@pytest.mark.gpaw
def test_projections_of_silicon_are_gpaws(silicon: SCFResult) -> None:
    from gpaw.dos import DOSCalculator

    reference = DOSCalculator.from_calculator(
        gpaw(bulk("Si"), 300.0, MESH, nbands=8, symmetry="off"), shift_fermi_level=False
    )
    level = float(silicon.fermi_level) * Hartree
    energies = np.linspace(level - 14.0, level + 1.0, 301)
    # GPAW's Gaussians are exp(-(E / width)^2).
    own = density_of_states(silicon, energies, width=0.3 / np.sqrt(2.0), projected=True)
    for l, name in enumerate("sp"):
        expected = reference.raw_pdos(energies, 0, l, width=0.3)
        scale = expected.max()
        np.testing.assert_allclose(own.of(0, name)[0], expected, rtol=0.0, atol=0.002 * scale)
        assert scale > 0.1


@pytest.mark.parametrize("name", ["silicon", "nitride"])
def test_weights_of_filled_states_are_the_occupations_of_bound_waves(
    name: str, request: pytest.FixtureRequest
) -> None:
    result: SCFResult = request.getfixturevalue(name)
    spheres = result.problem.paw_spheres("this test")
    assert result.fields.spheres is not None
    weights = atomic_weights(spheres, result.problem.projectors, result.orbitals)
    weights = symmetric_weights(weights, result.basis.crystal, result.kpoints.symmetry)
    filled = result.occupations * result.weights[:, None]
    electrons = torch.einsum("skn,sknal->al", filled, weights)
    for species, matrices in spheres.matrices(result.fields.spheres.sum(0)).items():
        dataset = spheres.potentials[species].dataset
        for atom, matrix in zip(spheres.atoms[species], matrices, strict=True):
            for l in (0, 1):
                bound = [
                    i
                    for i, (j, _) in enumerate(dataset.states)
                    if dataset.waves[j].l == l and dataset.waves[j].n is not None
                ]
                expected = float(matrix.diagonal()[bound].sum())
                assert expected > 0.1
                assert float(electrons[atom, l]) == pytest.approx(expected, abs=1e-6)


def test_projections_do_not_depend_on_the_symmetry_in_use() -> None:
    reduced, full = (layer_of_hydrogen(symmetry) for symmetry in (True, False))
    assert reduced.basis.nk < full.basis.nk
    energies = np.linspace(-15.0, 5.0, 41)
    compute = partial(density_of_states, energies=energies, width=0.5, projected=True)
    for atom in range(4):
        np.testing.assert_allclose(
            compute(reduced).of(atom), compute(full).of(atom), rtol=0.0, atol=1e-4
        )


def test_another_mesh_gives_the_same_projections(nitride: SCFResult) -> None:
    own = density_of_states(nitride, width=0.2, projected=True)
    again = density_of_states(
        nitride, own.energies, 0.2, {"size": MESH, "gamma": True}, projected=True
    )
    valence = own.energies < own.fermi_level
    for symbol in ("B", "N"):
        difference = np.abs(again.of(symbol) - own.of(symbol))[:, valence]
        assert difference.max() < 1e-5
    # The lowest band is nitrogen's 2s.
    lowest = own.energies < own.energies[0] + 6.0
    assert own.of("N", "s")[0, lowest].sum() > 2.0 * own.of("B", "s")[0, lowest].sum()


def test_a_plot_has_a_line_for_each_element_and_momentum(nitride: SCFResult) -> None:
    dos = density_of_states(nitride, width=0.3, projected=True)
    labels = [line.get_label() for line in plot_density_of_states(dos).lines]
    assert {"B s", "B p", "N s", "N p"} <= set(labels)
    nothing = plot_density_of_states(density_of_states(nitride, width=0.3))
    assert len(nothing.lines) == len(labels) - 4


def test_projections_that_do_not_exist_are_refused(nitride: SCFResult) -> None:
    with pytest.raises(ValueError, match="'O', l='d'; there are: B 0 s, B 0 p, N 1 s, N 1 p"):
        density_of_states(nitride, projected=True).of("O", "d")
    with pytest.raises(ValueError, match="none, compute the density of states with projected=True"):
        density_of_states(nitride).of("B")
    with pytest.raises(NotImplementedError, match="needs partial waves"):
        density_of_states(scf(bulk("Si"), ecut=60.0, convergence={"density": 1e-3}), projected=True)
