"""Training as DeepChem does it: fit, predict, evaluate, checkpoints; and what goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pytest
import torch
from deepchem.models.optimizers import Adam

from deepchem_xc.data import DFTEntry, DFTYamlLoader
from deepchem_xc.models import EntryError, XCModel
from deepchem_xc.xc import PBE, get_xc
from tests.models.systems import (
    LOOSE,
    ROUNDING,
    SCALES,
    aluminium,
    dataset,
    make,
    quick,
    silicon,
    three_entries,
    weights,
)


def test_batches_of_all_sizes_train_and_reduce_the_loss() -> None:
    for size in (1, 2, 10):
        model = make(batch_size=size)
        model.fit(dataset(*three_entries()), nb_epoch=4, checkpoint_interval=0)
        assert [record.epoch for record in model.history] == [0, 1, 2, 3]
        assert model.history[-1].loss < model.history[0].loss
        assert model.history[0].counts == {"energy": 1, "stress": 1, "band_gap": 1}
        assert model.get_global_step() == 4 * -(-3 // size)


def test_a_data_set_on_disk_trains_as_one_in_memory(tmp_path: Path) -> None:
    import yaml

    specs = [{"e_type": "energy", "true_val": -215.0, "systems": [quick()]}] * 2
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(specs))
    on_disk = DFTYamlLoader().create_dataset(tmp_path / "data.yaml")
    models = make(), make()
    models[0].fit(on_disk, nb_epoch=2, checkpoint_interval=0)
    models[1].fit(dataset(*on_disk.X), nb_epoch=2, checkpoint_interval=0)
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=0, atol=ROUNDING)


def test_metrics_compare_values_and_deviations_of_arrays() -> None:
    model = make()
    data = dataset(*three_entries())
    predictions = model.predict(data)
    values = model.predict_values(data)
    assert predictions.dtype == np.float64
    assert predictions[0] == values[0][0]
    assert predictions[1] == pytest.approx(np.sqrt(np.mean(values[1] ** 2)))
    assert values[1].shape == (3, 3)
    mae = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    scores = model.evaluate(data, [mae])
    assert scores["mean_absolute_error"] == pytest.approx(np.abs(predictions - data.y).mean())


def test_predicting_changes_nothing_and_needs_no_labels() -> None:
    unlabelled = [DFTEntry.create("energy", None, [quick()])]
    one, other = make(), make()
    for epoch in range(2):
        one.fit(dataset(*three_entries()), nb_epoch=1, checkpoint_interval=0)
        other.fit(dataset(*three_entries()), nb_epoch=1, checkpoint_interval=0)
        assert len(one.predict(dataset(*unlabelled))) == 1, epoch
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=ROUNDING)


def test_kept_densities_predict_what_self_consistency_confirms() -> None:
    """The difference is of second order: half the step, a quarter of it."""
    entry = DFTEntry.create("energy", -215.0, [silicon(ecut=100.0)])
    errors = []
    for rate in (4e-3, 2e-3):
        model = make(learning_rate=rate, scf_interval=2)
        model.fit(dataset(entry), nb_epoch=3, checkpoint_interval=0)
        first, second, third = model.history
        assert (first.calculations, second.calculations, third.calculations) == (1, 0, 1)
        assert second.frozen_error is None and third.frozen_error is not None
        errors.append(third.frozen_error)
    assert errors[0] < 1e-2  # eV per atom
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.3)


def test_kept_densities_give_the_gradient_of_the_self_consistent_energy() -> None:
    """Spin, core corrections and symmetry-reduced points included."""
    systems = (quick(), quick(spinpol=True), aluminium(ecut=100.0))
    for system in systems:
        entry = DFTEntry.create("energy", -215.0, [system])
        gradients = []
        for interval in (1, 5):
            model = XCModel(functional=PBE(trainable=True), scf_interval=interval)
            functional = model.functional
            if interval == 5:
                model.model.training_value(entry, 0)
                value = model.model.training_value(entry, 1)
                assert model.ground_states.report.calculations == 1
            else:
                result = model.ground_states.result(entry.calculations[0], 0)
                value = result.free_energy * 27.211386024367243
            value.backward()
            gradients.append([float(p.grad) for p in functional.parameters()])
        assert gradients[0] == pytest.approx(gradients[1], rel=1e-6)


def test_callbacks_losses_variables_and_optimisers_work_as_in_deepchem() -> None:
    steps: list[int] = []
    losses: list[float] = []
    model = make(batch_size=1, optimizer=Adam(learning_rate=1e-3), log_frequency=1)
    only = [model.functional.network[2].bias]
    first = model.functional.network[0].weight.detach().clone()
    mean = model.fit(
        dataset(*three_entries()[:2]),
        nb_epoch=2,
        checkpoint_interval=0,
        variables=only,
        callbacks=[lambda m, step: steps.append(step)],
        all_losses=losses,
    )
    assert steps == [1, 2, 3, 4] and len(losses) == 4
    assert mean == losses[-1]
    assert torch.equal(model.functional.network[0].weight, first)
    batch = np.array(three_entries()[:1]), np.array([-215.0]), np.ones(1)
    assert model.fit_on_batch(*batch) > 0


def test_losses_weights_and_scales() -> None:
    entry = three_entries()[0]
    doubled = make(type_weights={"energy": 2.0}), make(scales={"energy": 0.05 / 2**0.5})
    plain = make()
    data = dataset(entry)
    loss = plain.fit(data, nb_epoch=1, checkpoint_interval=0)
    for model in doubled:
        assert model.fit(data, nb_epoch=1, checkpoint_interval=0) == pytest.approx(2 * loss)
    deviation = loss**0.5
    absolute = make(loss=dc.models.losses.L1Loss())
    assert absolute.fit(data, nb_epoch=1, checkpoint_interval=0) == pytest.approx(deviation)

    def own(values: list[Any], labels: list[Any], weight: torch.Tensor) -> torch.Tensor:
        return sum(((v - t) ** 4).sum() for v, t in zip(values, labels, strict=True))

    assert make(loss=own).fit(data, nb_epoch=1, checkpoint_interval=0) == pytest.approx(loss**2)
    given = make().fit(data, nb_epoch=1, checkpoint_interval=0, loss=dc.models.losses.L1Loss())
    assert given == pytest.approx(deviation)
    with pytest.raises(ValueError, match="unknown entry types .'eoss'.. Valid: energy, eos"):
        make(type_weights={"eoss": 2.0})
    with pytest.raises(ValueError, match="scales must be positive"):
        make(scales={"eos": 0.0})


def test_options_of_the_solver_are_checked() -> None:
    for solver, message in (
        ({"ecutt": 3}, "solver: ecutt cannot be given for all systems.*Valid: convergence"),
        (
            {"kpts": [3, 3, 3]},
            "k-points, grid, symmetry and pseudopotentials belong to the systems",
        ),
        ({"convergence": {"energi": 3}}, "solver: unknown convergence keys .'energi'"),
        ({"gradient_tolerance": "1e-5"}, "solver: gradient_tolerance must be a number, got '1e-5'"),
    ):
        with pytest.raises(ValueError, match=message):
            make(solver=solver)
    # What a system does not say itself holds, key by key.
    model = make(solver={"convergence": {"maxiter": 1}})
    with pytest.raises(EntryError, match="did not converge"):
        model.fit(dataset(three_entries()[0]), nb_epoch=1, checkpoint_interval=0)


def test_bad_input_is_refused_before_anything_is_computed() -> None:
    model = make()
    fit = {"nb_epoch": 1, "checkpoint_interval": 0}
    with pytest.raises(ValueError, match="true_val: missing; it is needed for training"):
        model.fit(dataset(DFTEntry.create("energy", None, [quick()])), **fit)
    with pytest.raises(ValueError, match="X must hold DFTEntry objects"):
        model.fit(dc.data.NumpyDataset(np.zeros((2, 1)), np.zeros(2)), **fit)
    entry = three_entries()[0]
    for weight in (np.nan, -1.0):
        wrong = dc.data.NumpyDataset(np.array([entry]), np.zeros(1), np.array([weight]))
        with pytest.raises(ValueError, match="the weight of DFTEntry.energy, Si2. must be"):
            model.fit(wrong, **fit)
    unlabelled = dataset(DFTEntry.create("energy", None, [quick()]))
    with pytest.raises(ValueError, match="true_val: missing; it is needed for training and eval"):
        model.evaluate(unlabelled, [dc.metrics.Metric(dc.metrics.mean_absolute_error)])
    with torch.no_grad():
        model.functional.network[2].bias.fill_(np.nan)
    with pytest.raises(ValueError, match=r"'network.2.bias' .* contain NaN"):
        model.predict(dataset(entry))
    with pytest.raises(ValueError, match=r"'network.2.bias' .* contain NaN"):
        XCModel(functional=model.functional)
    with pytest.raises(ValueError, match=r"'network.2.bias' .* contain NaN"):
        model.fit(dataset(entry), **fit)
    with pytest.raises(ValueError, match=r"'network.2.bias' .* contain NaN"):
        model.predict_values(dataset(entry))


def test_options_that_make_no_sense_are_refused() -> None:
    for options, message in (
        ({"on_failure": "ignore"}, "'raise' or 'skip'"),
        ({"scf_interval": 0}, "scf_interval must be a whole number of at least 1, got 0"),
        ({"scf_interval": 2, "entropy_response": True}, "needs scf_interval=1"),
        ({"loss": "l2"}, "loss must be a deepchem.models.losses.Loss"),
        ({"xcstr": "lda_x"}, "either functional=..., or xcstr="),
        ({"nnmodel": torch.nn.Linear(2, 1)}, "nnmodel belongs to xcstr"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)
    with pytest.raises(ValueError, match="no trainable parameters"):
        XCModel(functional=get_xc("PBE"))
    with pytest.raises(ValueError, match="modeltype must be 1 or 2"):
        XCModel("lda_x", modeltype=3)


@pytest.mark.parametrize("xcstr", ["lda_x", "gga_x_pbe+gga_c_pbe"])
def test_deepchems_constructor_trains_its_network(xcstr: str) -> None:
    torch.manual_seed(0)
    model = XCModel(xcstr, batch_size=1, learning_rate=1e-3, aweight0=0.01)
    network = model.functional.nnxc
    before = [p.detach().clone() for p in network.parameters()]
    assert all(p.dtype == torch.float64 for p in model.functional.parameters())
    model.fit(dataset(three_entries()[0]), nb_epoch=2, checkpoint_interval=0)
    assert all(not torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))
    assert model.history[1].loss < model.history[0].loss


def test_densities_can_be_kept_in_files(tmp_path: Path) -> None:
    models = make(), make(cache_dir=tmp_path / "cache")
    for model in models:
        model.fit(dataset(*three_entries()), nb_epoch=4, checkpoint_interval=0)
    assert weights(models[1]).numpy() == pytest.approx(weights(models[0]).numpy(), abs=1e-9)
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2
    again = make(cache_dir=tmp_path / "cache")
    again.fit(dataset(*three_entries()), nb_epoch=1, checkpoint_interval=0)
    steps = [again.ground_states.predicted(e.calculations[0]).nsteps for e in three_entries()[:1]]
    assert max(steps) <= 8  # from files, not from atoms
    for file in (tmp_path / "cache").glob("*.npz"):
        file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="belongs to the cache of a training run: delete it"):
        make(cache_dir=tmp_path / "cache").fit(dataset(three_entries()[0]), nb_epoch=1)


def test_one_curve_serves_several_entries() -> None:
    system = aluminium(ecut=100.0, convergence=LOOSE)
    both = [
        DFTEntry.create(e_type, label, [system], scales=SCALES)
        for e_type, label in (("lattice_constant", 4.05), ("bulk_modulus", 77.0))
    ]
    model = make()
    model.ground_states.energies(both[0].calculations, 0)
    model.ground_states.energies(both[1].calculations, 0)
    assert model.ground_states.report.calculations == len(SCALES)


def test_deepchems_validation_callback_sees_the_model() -> None:
    model = make()
    data = dataset(*three_entries()[:2])
    mae = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    best = dc.models.ValidationCallback(data, 1, [mae], save_on_minimum=True)
    model.fit(data, nb_epoch=2, checkpoint_interval=0, callbacks=best)
    errors = model.errors_by_type(data)
    assert {name: (unit, n) for name, (_, unit, n) in errors.items()} == {
        "energy": ("eV", 1),
        "stress": ("GPa", 1),
    }
    scores = model.evaluate(data, [mae])["mean_absolute_error"]
    assert scores == pytest.approx(sum(error for error, _, _ in errors.values()) / 2)
