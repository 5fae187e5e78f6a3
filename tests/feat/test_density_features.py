"""Descriptors and grids of densities against integrals and exact limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from torch import Tensor

from deepchem_xc.data import DFTEntry
from deepchem_xc.feat import (
    DensityDescriptorFeaturizer,
    DensityDescriptors,
    DensityGrid,
    DensityGridFeaturizer,
)
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.pseudo import Pseudopotential, load_pseudopotential
from tests.crystals import hydrogen

MESH = {"size": (2, 2, 2), "gamma": True}
# Fermi's kinetic energy density of a uniform gas is this times n^(5/3), Hartree bohr^2.
FERMI = 0.3 * (3 * math.pi**2) ** (2 / 3)


def kinetic_energy(found: DensityDescriptors) -> float:
    """Integral of tau from n, zeta, s and alpha, with the equations of the literature."""
    n, zeta, s, alpha, weights = found.values.T
    spin = ((1 + zeta) ** (5 / 3) + (1 - zeta) ** (5 / 3)) / 2
    one_orbital = 5 / 3 * s**2  # tau of one orbital, in units of that of the uniform gas
    tau = FERMI * n ** (5 / 3) * (alpha * (spin + 1e-3 * one_orbital) + one_orbital)
    return float(weights @ tau)


@pytest.fixture(scope="module")
def silicon() -> SCFResult:
    return scf(bulk("Si"), "PBE", ecut=150.0, kpts=MESH)


@pytest.fixture(scope="module")
def magnet() -> SCFResult:
    """A chain of hydrogen atoms with part of the moment."""
    return scf(
        Atoms("H", cell=[4.0, 4.0, 2.2], pbc=True, magmoms=[0.6]),
        "PBE",
        ecut=200.0,
        kpts={"size": (1, 1, 4), "gamma": True},
        occupations={"name": "fermi-dirac", "width": 0.3, "fixmagmom": True},
    )


@pytest.mark.parametrize("irreducible", [True, False])
@pytest.mark.parametrize("crystal", ["silicon", "magnet"])
def test_integrals_are_the_electrons_and_the_kinetic_energy(
    crystal: str, irreducible: bool, request: pytest.FixtureRequest
) -> None:
    result = request.getfixturevalue(crystal)
    found = DensityDescriptors.of(result, threshold=1e-14, irreducible=irreducible)
    assert float(found.weights.sum()) == pytest.approx(float(result.volume), rel=1e-6)
    electrons = {"silicon": 8.0, "magnet": 1.0}[crystal]
    assert found.electrons == pytest.approx(electrons, abs=1e-8)
    assert float(found.weights @ found.density) == pytest.approx(electrons, abs=1e-6)
    kinetic = float(result.energies["kinetic"])
    assert kinetic_energy(found) == pytest.approx(kinetic, rel=1e-6)
    moment = float(found.weights @ (found.density * found.zeta))
    assert moment == pytest.approx({"silicon": 0.0, "magnet": 0.6}[crystal], abs=1e-6)


def test_equivalent_points_have_equal_descriptors(silicon: SCFResult) -> None:
    few, all_of_them = (DensityDescriptors.of(silicon, irreducible=i) for i in (True, False))
    assert len(few.values) < len(all_of_them.values) / 10
    for power in (1, 2, 3):
        for name in ("density", "s", "alpha"):
            means = [float(x.weights @ getattr(x, name) ** power) for x in (few, all_of_them)]
            assert means[0] == pytest.approx(means[1], rel=1e-8)


def test_reduced_gradient_is_that_of_finite_differences(silicon: SCFResult) -> None:
    """s from differences of the density between neighbouring points of a fine grid."""
    fine = scf(bulk("Si"), "PBE", ecut=100.0, fft_size=(48, 48, 48))
    found = DensityDescriptors.of(fine, irreducible=False)
    n = fine.density[0].numpy()
    # Fourth order, along the lattice vectors.
    steps = [
        (8 * (np.roll(n, -1, i) - np.roll(n, 1, i)) - np.roll(n, -2, i) + np.roll(n, 2, i)) / 12
        for i in range(3)
    ]
    lattice = fine.basis.crystal.lattice.numpy()
    gradient = np.einsum("ai,ixyz->axyz", np.linalg.inv(lattice / 48), np.stack(steps))
    s = np.sqrt((gradient**2).sum(0)) / (2 * (3 * math.pi**2) ** (1 / 3) * n ** (4 / 3))
    assert np.abs(found.s - s.ravel()).max() < 2e-3 * s.max()


def test_the_hydrogen_atom_has_one_orbital_and_one_spin() -> None:
    result = scf(hydrogen(), "PBE", ecut=250.0, occupations={"name": "fixed"})
    found = DensityDescriptors.of(result, threshold=1e-4)
    assert np.abs(found.zeta - 1.0).max() < 1e-6
    # Of one orbital alone, up to its cut-off Fourier series.
    heavy = found.density > 1e-3
    assert np.abs(found.alpha[heavy]).max() < 1e-6
    assert found.s.max() > 0.5


class Jellium(Pseudopotential):
    """An atom whose core is a uniform background."""

    symbol, name, functional, alpha, channels = "Na", "jellium", None, 0.0, ()
    valence = 1.0

    def local(self, q2: Tensor) -> Tensor:
        return torch.zeros_like(q2)

    def projectors(self, channel_index: int, q2: Tensor) -> Tensor:
        raise AssertionError("it has none")

    @property
    def atom(self) -> Any:
        return load_pseudopotential("GTH-PBE-q1", "Na").atom


def test_a_uniform_gas_has_alpha_one_and_no_gradient() -> None:
    atoms = Atoms("Na", cell=[2.0, 2.0, 2.0], pbc=True)  # rs = 2.3 bohr
    result = scf(
        atoms,
        "PBE",
        ecut=100.0,
        kpts={"size": (12, 12, 12), "gamma": True},
        pseudopotentials={"Na": Jellium()},
        occupations={"name": "fermi-dirac", "width": 0.05},
    )
    found = DensityDescriptors.of(result)
    assert np.ptp(found.density) < 1e-5 * found.density.mean()
    assert found.s.max() < 1e-5
    # 8 divisions leave 5e-3, 12 7e-4, 16 2e-4; with 16, a width of 0.2 eV 2e-3.
    assert np.abs(found.alpha - 1.0).max() < 2e-3


def test_thin_points_are_left_out_and_the_electrons_stay_known() -> None:
    result = scf(hydrogen(side=5.0), "PBE", ecut=150.0)
    whole, part = (DensityDescriptors.of(result, threshold=t) for t in (1e-14, 1e-3))
    assert len(part.values) < len(whole.values)
    assert part.density.min() >= 1e-3
    assert part.electrons == whole.electrons == pytest.approx(1.0, abs=1e-8)
    with pytest.raises(ValueError, match="threshold must be a positive density"):
        DensityDescriptors.of(result, threshold=0.0)


@pytest.mark.filterwarnings("ignore::deepchem_xc.planewave.pseudo.FunctionalMismatchWarning")
def test_featurizers_compute_what_their_settings_say() -> None:
    settings: dict[str, Any] = {"ecut": 80.0, "kpts": [1, 1, 1], "convergence": {"density": 1e-8}}
    expected = {name: scf(bulk("Al"), name, **settings) for name in ("PBE", "PBEsol")}
    densities = [result.density for result in expected.values()]
    assert float((densities[0] - densities[1]).abs().max()) > 1e-5
    for name, result in expected.items():
        (found,) = DensityDescriptorFeaturizer(name, **settings).featurize([bulk("Al")])
        assert np.allclose(found.density, DensityDescriptors.of(result).density, atol=1e-7)
        (grid,) = DensityGridFeaturizer(name, **settings).featurize([bulk("Al")])
        assert np.allclose(grid.density, DensityGrid.of(result).density, atol=1e-6)


def test_a_grid_is_the_label_of_an_entry(silicon: SCFResult) -> None:
    grid = DensityGrid.of(silicon)
    assert grid.electrons == pytest.approx(8.0, abs=1e-8)
    assert grid.weight * np.prod(grid.density.shape) == pytest.approx(bulk("Si").get_volume())
    assert np.allclose(grid.atoms.cell, bulk("Si").cell)
    system = {"structure": grid.atoms, "ecut": 150.0, "fft_size": list(grid.density.shape[1:])}
    entry = DFTEntry.create("density", grid.density, [system])
    value = entry.get_val([silicon])
    assert float((value - torch.as_tensor(entry.get_true_val())).abs().max()) < 1e-12


def test_descriptors_of_densities_with_paw_are_refused_before_anything_is_computed() -> None:
    """Their grid has a smooth density alone, with another number of electrons."""
    pytest.importorskip("gpaw_data")
    featurizer = DensityDescriptorFeaturizer(ecut=120.0, kpts=MESH, pseudopotentials="paw-pbe")
    with pytest.raises(ValueError, match="Si would have PAW datasets.*norm-conserving"):
        featurizer.featurize([bulk("Si")])
    result = scf(bulk("Si"), ecut=120.0, kpts=(1, 1, 1), pseudopotentials="paw-pbe")
    with pytest.raises(NotImplementedError, match="not available with PAW datasets"):
        DensityDescriptors.of(result)
    assert DensityGrid.of(result).electrons != pytest.approx(8.0, abs=0.1)
