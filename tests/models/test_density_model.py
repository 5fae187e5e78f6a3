"""Models of densities: training, files, predictions, and their use in calculations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from deepchem.data import NumpyDataset
from deepchem.metrics import Metric

from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor
from deepchem_xc.metrics import density_error
from deepchem_xc.models import DensityModel
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave import Crystal, DensityRecord, non_self_consistent, scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.record.sphere_occupations import SphereOccupations
from deepchem_xc.planewave.without_loop import InaccurateDensityWarning

SETTINGS: dict[str, Any] = {"ecut": 100.0, "kpts": {"size": (2, 2, 2), "gamma": True}}
SMALL: dict[str, Any] = {"channels": 4, "l_max": 1}


def distorted(seed: int) -> Atoms:
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=seed)
    return atoms


def dataset(*records: Any) -> NumpyDataset:
    x = np.empty(len(records), dtype=object)
    x[:] = records
    return NumpyDataset(x, np.zeros((len(records), 1)))


@pytest.fixture(scope="module")
def results() -> list[Any]:
    return [scf(distorted(seed), "PBE", **SETTINGS) for seed in (1, 2)]


@pytest.fixture(scope="module")
def records(results: list[Any]) -> list[DensityRecord]:
    return [DensityRecord.of(result, orbitals=False) for result in results]


@pytest.fixture(scope="module")
def trained(records: list[DensityRecord]) -> DensityModel:
    model = DensityModel("Si", network_options=SMALL, learning_rate=0.01, progress=False)
    model.fit(dataset(*records), 60, checkpoint_interval=0)
    for group in model._pytorch_optimizer.param_groups:
        group["lr"] = 0.002
    model.fit(dataset(*records), 20, checkpoint_interval=0)
    return model


class Superposed:
    """The density of superposed atoms."""

    def density_for(self, problem: Any) -> Fields:
        return Fields(problem.superposition())


def weights(model: DensityModel) -> list[torch.Tensor]:
    return list(model.network.state_dict().values())


def test_two_cells_are_learned_to_two_per_cent(
    trained: DensityModel, records: list[DensityRecord]
) -> None:
    data = dataset(*records)
    atoms = trained.compare(data, atoms=True)
    assert atoms.min() > 10.0
    found = trained.evaluate(
        data, [density_error, Metric(density_error, name="error", mode="regression")]
    )
    assert found["density_error"] < 2.0
    assert found["error"] == found["density_error"]
    assert found["error"] == pytest.approx(trained.compare(data).mean(), rel=1e-12)


def test_a_prediction_has_all_electrons_at_any_cutoff_and_says_what_it_is_of(
    trained: DensityModel, records: list[DensityRecord]
) -> None:
    (found,) = trained.predict(bulk("Si", a=5.6), ecut=140.0)
    assert abs(found.nelectrons - 8.0) < 1e-10
    assert found.ecut == pytest.approx(140.0 / 27.211386, rel=1e-6)
    assert found.functional == "PBE"
    assert found.potentials == records[0].potentials
    assert found.superposition == records[0].superposition
    (again,) = trained.predict(dataset(records[0]))
    assert again.fft_size == records[0].fft_size
    assert torch.equal(again.g_vectors, records[0].g_vectors)


def test_it_starts_a_calculation_with_the_same_end_and_gives_energies_without_a_loop(
    trained: DensityModel, results: list[Any]
) -> None:
    expected = results[0]
    started = scf(distorted(1), "PBE", start=trained, **SETTINGS)
    assert started.nsteps < expected.nsteps
    assert abs(float(started.free_energy - expected.free_energy)) < 1e-6
    found = non_self_consistent(distorted(1), "PBE", density=trained, **SETTINGS)
    with pytest.warns(InaccurateDensityWarning):
        atoms = non_self_consistent(distorted(1), "PBE", density=Superposed(), **SETTINGS)
    error, of_atoms = (abs(float(x.free_energy - expected.free_energy)) for x in (found, atoms))
    assert found.density_error < atoms.density_error / 4
    assert error < of_atoms / 10
    with pytest.raises(ValueError, match="made for PBE, but this calculation uses PBEsol"):
        non_self_consistent(distorted(1), "PBEsol", density=trained, **SETTINGS)


def test_a_file_gives_back_every_bit(
    trained: DensityModel, records: list[DensityRecord], tmp_path: Path
) -> None:
    path = tmp_path / "si.safetensors"
    trained.save(path)
    again = DensityModel.load(path)
    assert (again.elements, again.functional, again.target) == (("Si",), "PBE", "difference")
    data = dataset(*records)
    one, other = (model.predict(data) for model in (trained, again))
    assert [record.digest for record in one] == [record.digest for record in other]
    with pytest.raises(ValueError, match="the potentials of Si are not those"):
        DensityModel.load(path, pseudopotentials="gth-pade")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="checksum"):
        DensityModel.load(path)
    path.write_bytes(content[:-100])
    with pytest.raises(DamagedFileError, match="not a complete density model"):
        DensityModel.load(path)
    with pytest.raises(FileNotFoundError, match="shipped"):
        DensityModel.load("density_of_nothing")


def test_a_resumed_training_equals_an_uninterrupted_one(
    records: list[DensityRecord], tmp_path: Path
) -> None:
    data = dataset(records[0], records[1], records[0].at(3.0))

    def model(folder: str, seed: int = 3) -> DensityModel:
        return DensityModel(
            "Si",
            network_options=SMALL,
            batch_size=2,
            seed=seed,
            model_dir=str(tmp_path / folder),
            progress=False,
        )

    whole, first = model("whole"), model("parts")
    whole.fit(data, 3, validation=data)
    checkpoints: list[int] = []

    def stop(_: Any, step: int) -> None:
        checkpoints.append(step)
        if step == 3:  # in the middle of the second epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.fit(data, 3, checkpoint_interval=1, validation=data, callbacks=stop)
    second = model("parts")
    second.fit(data, 2, restore=True, validation=data)
    assert second.epoch == whole.epoch == 3
    pairs = zip(weights(whole), weights(second), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [r.validation_loss for r in second.history] == [r.validation_loss for r in whole.history]
    assert whole.best_epoch == min(range(3), key=lambda i: whole.history[i].validation_loss or 0.0)
    whole.use_best()
    best = whole.history[whole.best_epoch].validation_loss
    assert whole.evaluate(data)["density_error"] == pytest.approx(best, rel=0.02)
    with pytest.raises(ValueError, match="another model"):
        DensityModel("Si", network_options={**SMALL, "layers": 1}).restore(
            str(tmp_path / "parts" / "checkpoint1.pt")
        )


def test_the_density_moves_with_positions_by_its_own_derivative(
    trained: DensityModel, results: list[Any]
) -> None:
    problem = results[0].problem
    basis, step = problem.basis, 1e-4
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(len(basis.g_vectors), dtype=torch.float64, generator=g)

    def at(positions: torch.Tensor) -> torch.Tensor:
        moved = replace(problem, basis=basis.with_geometry(positions=positions))
        density = trained.density_for(moved).density[0]
        return (weight * (density.real + density.imag)).sum()

    positions = basis.crystal.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(at(positions), positions)
    change = torch.zeros_like(positions)
    change[1, 0] = step
    with torch.no_grad():
        difference = float(at(positions + change) - at(positions - change)) / (2.0 * step)
    assert float(gradient[1, 0]) == pytest.approx(difference, rel=1e-5, abs=1e-6)
    assert not trained.density_for(problem).requires_grad
    trained.parameter_gradients = True
    try:
        assert trained.density_for(problem).requires_grad
    finally:
        trained.parameter_gradients = False


def test_total_and_points_learn_as_well(records: list[DensityRecord]) -> None:
    data = dataset(records[0].at(1.0))
    for keywords in ({"target": "total"}, {"network": "points"}):
        model = DensityModel("Si", network_options=SMALL, progress=False, **keywords)  # type: ignore[arg-type]
        before = model.evaluate(data)["density_error"]
        model.fit(data, 3, checkpoint_interval=0)
        assert model.evaluate(data)["density_error"] < before
        (found,) = model.predict(data)
        assert abs(found.nelectrons - 8.0) < 1e-9


def test_moments_count_as_far_as_superposed_atoms_have_them() -> None:
    model = DensityModel("H", spin=True, network_options=SMALL)
    one, many = (
        model.predict(Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[m]), ecut=100.0)[0]
        for m in (1.0, 3.0)
    )
    assert torch.equal(one.fields.density, many.fields.density)
    moment = (one.fields.density[0, 0] - one.fields.density[1, 0]).real * one.crystal.volume
    assert abs(float(moment)) > 1e-4
    flipped = model.predict(Atoms("H", cell=[4, 4, 4], pbc=True, magmoms=[-1.0]), ecut=100.0)[0]
    assert torch.allclose(flipped.fields.density, one.fields.density.flip(0), atol=1e-14)


def test_what_it_does_not_know_is_refused(
    trained: DensityModel, records: list[DensityRecord]
) -> None:
    record = records[0]

    def refused(message: str, *given: Any) -> None:
        with pytest.raises(ValueError, match=message):
            trained.fit(dataset(*given), 1, checkpoint_interval=0)

    nan = record.fields.density.clone()
    nan[0, 3] = float("nan")
    refused("the data set is empty")
    refused("NaN", replace(record, fields=Fields(nan)))
    refused("X must hold records", bulk("Si"))
    refused("other potentials of Si", replace(record, potentials={"Si": "0" * 32}))
    refused("other atoms of Si", replace(record, superposition={"Si": "0" * 32}))
    refused("does not say which potentials", replace(record, potentials=None))
    refused("density of PBEsol", replace(record, functional="PBEsol"))
    none = torch.zeros(1, 1, 1, dtype=torch.float64)
    spheres = SphereOccupations((none, none), {"Si": "Si.PBE"}, {"Si": (0,)}, {"Si": none[0]})
    refused(r"PAW datasets \(Si: Si.PBE\)", replace(record, spheres=spheres))
    refused("has 16.0+ electrons", replace(record, fields=record.fields * 2.0))
    refused("does not know Al", replace(record, crystal=Crystal.from_ase(bulk("Al"))))
    doubled = Fields(0.5 * torch.cat([record.fields.density, record.fields.density]))
    refused("without spin", replace(record, fields=doubled))
    with pytest.raises(ValueError, match="a data set must be one of deepchem.data"):
        trained.fit([record])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not know Al"):
        scf(bulk("Al"), start=trained, ecut=100.0, kpts=(1, 1, 1))
    with pytest.raises(ValueError, match=r"other potentials of Si \(it has Si: GTH-PBE-q4\)"):
        scf(bulk("Si"), start=trained, pseudopotentials="gth-pade", **SETTINGS)
    with pytest.raises(ValueError, match="made without spin"):
        scf(bulk("Si"), start=trained, spinpol=True, **SETTINGS)
    with pytest.raises(ValueError, match="ecut is missing"):
        trained.predict(bulk("Si"))
    charged = bulk("Si")
    charged.info["charge"] = 1
    with pytest.raises(ValueError, match="charge"):
        trained.predict(charged, ecut=100.0)
    with pytest.raises(ValueError, match="there are no structures"):
        trained.predict([], ecut=100.0)


def test_a_cutoff_that_the_densities_do_not_have_is_refused(records: list[DensityRecord]) -> None:
    """Superposed atoms would have plane waves there, and the wanted difference be minus them."""
    model = DensityModel("Si", network_options=SMALL, ecut=140.0, progress=False)
    with pytest.raises(ValueError, match="ecut = 140 eV is above the 100 eV of a record"):
        model.fit(dataset(*records), 1, checkpoint_interval=0)


def test_options_that_contradict_each_other_are_refused() -> None:
    network = AtomDensityNetwork({"Si": 4}, **SMALL)
    for message, keywords in {
        "elements is missing": {},
        "target contradict": {"network": network, "target": "total"},
        "network must be one of": {"elements": "Si", "network": "trees"},
        "chanels are not known": {"elements": "Si", "network_options": {"chanels": 3}},
        "did you mean 'batch_size'": {"elements": "Si", "batchsize": 2},
        "kind must be one of": {"elements": "Si", "loss": "mean"},
        "ecut must be positive": {"elements": "Si", "ecut": -1.0},
    }.items():
        with pytest.raises(ValueError, match=message):
            DensityModel(**keywords)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 valence electrons"):
        DensityPredictor(AtomDensityNetwork({"Si": 3}, **SMALL), "gth-pbe")
    assert DensityModel(network=network).network is network


def test_a_spin_network_serves_calculations_without_spin(results: list[Any]) -> None:
    model = DensityModel("Si", spin=True, network_options=SMALL)
    problem = results[0].problem
    density = model.density_for(problem).density
    assert density.shape == (1, len(problem.basis.g_vectors))
    assert abs(float(density[0, 0].real * problem.basis.volume) - 8.0) < 1e-10
