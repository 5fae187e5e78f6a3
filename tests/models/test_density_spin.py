"""Models of densities with spin: initial moments in their training, and magnets that start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from deepchem.data import NumpyDataset

from deepchem_xc.densities.references import Reference
from deepchem_xc.models import DensityModel
from deepchem_xc.planewave import DensityRecord, SCFResult, scf

# LDA, because gradients of densities that are negative at a low cutoff keep loops from converging.
XC = "LDA"
SETTINGS: dict[str, Any] = {
    "ecut": 100.0,
    "kpts": (1, 1, 1),
    "pseudopotentials": "gth-pade",
    "convergence": {"energy": 1e-5, "density": 1e-5},
}
PATTERNS = {"parallel": (1.0, 1.0), "alternating": (1.0, -1.0)}


def hydrogen(moments: tuple[float, ...] | None) -> Atoms:
    """Two atoms so far apart that both orders of their spins are stable."""
    cell, positions = [4.0, 4.0, 8.0], [[0, 0, 0], [0, 0, 4.0]]
    return Atoms("H2", cell=cell, positions=positions, pbc=True, magmoms=moments)


def dataset(*records: Any) -> NumpyDataset:
    x = np.empty(len(records), dtype=object)
    x[:] = records
    return NumpyDataset(x, np.zeros((len(records), 1)))


@pytest.fixture(scope="module")
def results() -> dict[str, SCFResult]:
    return {name: scf(hydrogen(m), XC, **SETTINGS) for name, m in PATTERNS.items()}


@pytest.fixture(scope="module")
def data(results: dict[str, SCFResult]) -> NumpyDataset:
    return dataset(*(DensityRecord.of(r, orbitals=False) for r in results.values()))


@pytest.fixture(scope="module")
def trained(data: NumpyDataset) -> DensityModel:
    options = {"channels": 4, "l_max": 1, "layers": 1}
    model = DensityModel(
        "H",
        spin=True,
        functional=XC,
        pseudopotentials="gth-pade",
        network_options=options,
        learning_rate=0.02,
        progress=False,
    )
    model.fit(data, 40, checkpoint_interval=0)
    return model


def test_the_size_of_initial_moments_changes_what_is_to_be_added_but_not_the_density(
    trained: DensityModel, data: NumpyDataset
) -> None:
    reference = Reference.of(trained.predictor, data.X[1])
    half = reference.with_scaled_moments(trained.predictor, 0.5)
    assert half.basis.crystal.magnetic_moments == (0.5, -0.5)
    assert torch.equal(half.density, reference.density)
    atoms = reference.density - reference.wanted
    moment_of_atoms = 0.5 * (atoms - atoms.flip(0))
    assert float(moment_of_atoms.abs().max()) > 1e-3
    more = half.wanted - reference.wanted
    assert torch.allclose(more, 0.5 * moment_of_atoms, rtol=0.0, atol=1e-14)
    seen = []
    for epoch in range(3):
        trained._progress.epoch, before = epoch, trained._progress.epoch
        seen.append(trained._with_varied_moments(reference, 0).basis.crystal.magnetic_moments)
        trained._progress.epoch = before
    sizes = [moments[0] for moments in seen if moments is not None]
    assert len(set(sizes)) > 1 and all(0.5 <= size <= 1.0 for size in sizes)
    assert all(m is not None and m[0] == -m[1] for m in seen)


def test_magnets_end_in_the_state_that_superposed_atoms_reach(
    trained: DensityModel, results: dict[str, SCFResult]
) -> None:
    for name, pattern in PATTERNS.items():
        expected = results[name]
        found = scf(hydrogen(pattern), XC, start=trained, **SETTINGS)
        assert abs(float(found.free_energy - expected.free_energy)) < 1e-5, name
        difference = found.atom_moments - expected.atom_moments
        assert float(difference.abs().max()) < 1e-2, name


def test_a_model_without_spin_refuses_magnets_and_says_what_to_do(data: NumpyDataset) -> None:
    model = DensityModel("H", functional=XC, pseudopotentials="gth-pade", progress=False)
    advice = "without spin.*train (one|a network) with spin=True"
    for call in (
        lambda: model.fit(data, 1, checkpoint_interval=0),
        lambda: model.predict(hydrogen((1.0, 1.0)), ecut=100.0),
        lambda: scf(hydrogen((1.0, -1.0)), XC, start=model, **SETTINGS),
    ):
        with pytest.raises(ValueError, match=advice):
            call()


def test_scales_that_make_no_sense_are_refused() -> None:
    for given in ((2.0, 0.5), (0.0, 1.0), 1.0, (1.0,), "half"):
        with pytest.raises(ValueError, match="moment_scales must be two positive numbers"):
            DensityModel("H", spin=True, moment_scales=given)  # type: ignore[arg-type]
