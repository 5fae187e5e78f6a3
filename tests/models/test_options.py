"""Options and arguments that make no sense are refused where they are given, with what is valid."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import deepchem as dc
import numpy as np
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.losses.objective import Objective
from deepchem_xc.models import XCModel
from deepchem_xc.xc import PBE, HybridXC
from tests.models.systems import dataset, quick, weights

mae = dc.metrics.Metric(dc.metrics.mean_absolute_error)


def model(**options: Any) -> XCModel:
    """A small one."""
    return XCModel(functional=PBE(trainable=True), **{"batch_size": 2, **options})


def entries() -> list[DFTEntry]:
    """Two energies."""
    return [DFTEntry.create("energy", y, [quick(kpts=[1, 1, 1])]) for y in (-213.0, -212.0)]


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelled keyword": (
        {"scf_intervall": 1},
        r"'scf_intervall'; did you mean 'scf_interval'\?",
    ),
    "a keyword of fit": ({"nb_epoch": 3}, "no keyword 'nb_epoch'; nb_epoch and similar belong"),
    "half an epoch": (
        {"scf_interval": 1.5},
        "scf_interval must be a whole number of at least 1, got 1.5",
    ),
    "no interval": ({"scf_interval": None}, "scf_interval must be a whole number of at least 1"),
    "a word": ({"entropy_response": "yes", "scf_interval": 1}, "True, False or None, got 'yes'"),
    "a negative seed": ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    "a log frequency": ({"log_frequency": 0.5}, "log_frequency must be a whole number"),
    "a rate of no number": ({"learning_rate": "fast"}, "positive number, or a schedule"),
    "a negative rate": ({"learning_rate": -0.1}, "learning_rate must be a positive number"),
    "a name of an optimiser": ({"optimizer": "adam"}, "optimizer must be one of deepchem.models"),
    "no optimiser of parameters": (
        {"optimizer": dc.models.optimizers.KFAC()},
        "KFAC cannot be made from parameters.*take Adam",
    ),
    "a class": ({"optimizer": dc.models.optimizers.Adam}, r"such as Adam\(learning_rate=0.01\)"),
    "no function": ({"regularization_loss": 0.1}, "a function without arguments"),
    "no transformer": (
        {"transformers": ["norm"]},
        "must be the DeepChem transformers.*'norm'",
    ),
    "a device": ({"device": "gpu"}, "device = 'gpu' is not known: give 'cpu'"),
    "a solver": ({"solver": ["nbands"]}, "solver must be a dictionary"),
    "occupations": (
        {"solver": {"occupations": "fermi"}},
        "solver: unknown occupations 'fermi'; valid",
    ),
    "bands": ({"solver": {"nbands": "many"}}, "solver: nbands = 'many' is not a number of bands"),
    "spin": ({"solver": {"spinpol": "yes"}}, "solver: spinpol must be True or False"),
    "smoothing": ({"solver": {"ecut_smoothing": -1}}, "solver: ecut_smoothing must be at least 0"),
    "a class of losses": ({"loss": dc.models.losses.L1Loss}, r"got its class: L1Loss\(\)"),
    "a loss of torch": ({"loss": torch.nn.MSELoss()}, "function of values, labels .* and weights"),
    "a loss of classes": (
        {"loss": dc.models.losses.SparseSoftmaxCrossEntropy()},
        "does not compare numbers with numbers.*take L1Loss",
    ),
    "scales": ({"scales": {"energy": "a"}}, "scales must be numbers"),
    "a list of scales": ({"scales": [1.0]}, "scales must be a dictionary of entry types"),
    "an infinite scale": ({"scales": {"energy": np.inf}}, "scales must be positive"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_checked_when_the_model_is_made(name: str) -> None:
    options, message = OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        model(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 1.5}, "hidden_size must be a whole number of at least 1, got 1.5"),
        ({"n_layers": 0}, "n_layers must be a whole number of at least 1, got 0"),
        ({"input_size": "3"}, "input_size must be a whole number of at least 1, got '3'"),
        ({"aweight0": "a"}, "aweight0 must be a finite number, not 'a'"),
        ({"bweight0": np.inf}, "bweight0 must be a finite number, not inf"),
    ],
)
def test_sizes_and_weights_of_the_default_network(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        XCModel("gga_x_pbe", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aweight0": 0.5, "modeltype": 9, "hidden_size": -3}, "hidden_size=-3, modeltype=9, aw"),
        ({"bweight0": np.nan}, "bweight0=nan would have no effect: functional=... is trained"),
        ({"input_size": "x", "n_layers": 2}, "input_size='x', n_layers=2 would have no effect"),
    ],
)
def test_options_that_a_given_functional_ignores_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**options)
    model(hidden_size=10, n_layers=1, modeltype=1, input_size=None, aweight0=0.0, bweight0=1.0)


def test_options_that_a_given_network_ignores_are_refused() -> None:
    network = torch.nn.Linear(2, 1)
    with pytest.raises(ValueError, match="modeltype=9 would have no effect: they describe the def"):
        XCModel("lda_x", network, modeltype=9)
    XCModel("lda_x", network, aweight0=0.5, bweight0=0.9)


def test_weights_of_types_that_leave_nothing_to_train_on() -> None:
    data = dataset(*entries())
    made = model(type_weights={"energy": 0.0, "eos": 1.0})
    with pytest.raises(ValueError, match=r"type_weights are 0 for all entries .*\(energy\)"):
        made.fit(data)
    assert made.ground_states.report.calculations == 0
    with pytest.raises(ValueError, match="type_weights are 0 for all entries"):
        made.fit_generator(made.default_generator(data), checkpoint_interval=0)
    nothing = NumpyDataset(data.X, data.y, np.zeros(2))
    with pytest.raises(ValueError, match="all weights are 0"):
        made.fit_generator(made.default_generator(nothing), checkpoint_interval=0)
    # Batches without weight beside others are well.
    both = [([data.X], [data.y], [[1.0, 1.0]]), ([data.X], [data.y], [[0.0, 0.0]])]
    model().fit_generator(both, checkpoint_interval=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 2), (1,), (3,)])
def test_weights_that_are_not_one_for_each_entry(shape: tuple[int, ...]) -> None:
    data = dataset(*entries())
    number = int(np.prod(shape))
    # DeepChem itself does not check them.
    data = NumpyDataset(data.X, data.y, np.ones(shape))
    made = model()
    for call in (made.fit, lambda x: made.evaluate(x, [mae]), made.errors_by_type):
        with pytest.raises(ValueError, match=f"2 entries need as many weights, got {number}"):
            call(data)
    batch = ([data.X], [data.y], [np.ones(shape)])
    with pytest.raises(ValueError, match=f"2 entries need as many weights, got {number}"):
        made.evaluate_generator([batch], [mae])  # type: ignore[list-item]


def test_batches_without_weights_are_evaluated() -> None:
    data = dataset(*entries())
    batch: Any = ([data.X], [data.y], [])
    found = model().evaluate_generator([batch], [mae])["mean_absolute_error"]
    assert found == pytest.approx(model().evaluate(data, [mae])["mean_absolute_error"], abs=1e-6)


def test_functionals_that_are_none_are_named() -> None:
    with pytest.raises(TypeError, match=r"call the class, PBE\(\)"):
        XCModel(functional=PBE)  # type: ignore[arg-type]
    network = torch.nn.Linear(3, 1)
    with pytest.raises(TypeError, match="a network becomes one in NNLDA, NNPBE or HybridXC"):
        XCModel(functional=network)  # type: ignore[arg-type]


def test_what_is_equivalent_is_taken() -> None:
    """numpy's numbers, one transformer, None for a default."""
    scale = dc.trans.NormalizationTransformer(transform_y=True, dataset=dataset(*entries()))
    solver = {"gradient_tolerance": np.float32(1e-5), "ecut_smoothing": None, "nbands": np.int64(8)}
    made = model(
        scf_interval=np.int64(2), transformers=scale, solver=solver, seed=np.int32(3), device="cpu"
    )
    assert made.transformers == [scale]
    assert model(transformers=None).transformers == []
    assert "ecut_smoothing" not in made.ground_states.options
    assert HybridXC("PBE", torch.nn.Linear(3, 1), aweight0=np.float32(0.5)).aweight.item() == 0.5  # type: ignore[arg-type]


FIT: dict[str, tuple[dict[str, Any], str]] = {
    "callbacks": (
        {"callbacks": [3]},
        "callbacks must be functions of the model and the step, got 3",
    ),
    "no variables": ({"variables": []}, "variables is empty: give some of terms.0.kappa"),
    "names": ({"variables": ["terms.0.kappa"]}, r"the tensors themselves.*\('terms.0.kappa'\)"),
    "an interval": ({"checkpoint_interval": 1.5}, "checkpoint_interval must be a whole number"),
    "a negative one": ({"checkpoint_interval": -1}, "checkpoint_interval must be a whole number"),
    "checkpoints": ({"max_checkpoints_to_keep": -1}, "max_checkpoints_to_keep must be a whole"),
    "a loss": ({"loss": "l1"}, r"such as L1Loss\(\)"),
}


@pytest.mark.parametrize("name", FIT)
def test_arguments_of_fit_are_checked_before_anything_is_computed(name: str) -> None:
    arguments, message = FIT[name]
    made = model()
    with pytest.raises(ValueError, match=message):
        made.fit(dataset(*entries()), **arguments)
    assert made.ground_states.report.calculations == 0


@pytest.mark.parametrize("given", [entries(), "data.yaml", None, entry_arrays(entries())])
def test_what_is_no_data_set_is_named(given: Any) -> None:
    made = model()
    for call in (made.fit, made.predict, made.predict_values, made.errors_by_type):
        with pytest.raises(ValueError, match=r"one of deepchem.data, got a .*entry_arrays"):
            call(given)
    with pytest.raises(ValueError, match=r"one of deepchem.data, got a"):
        made.evaluate(given, [mae])


def test_batches_that_are_none_are_named() -> None:
    data = dataset(*entries())
    for batch in ((data.X, data.y, data.w), ([data.X], [data.y]), data.X):
        with pytest.raises(ValueError, match=r"a batch is \(\[entries\], \[y\], \[weights\]\)"):
            model().fit_generator([batch])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "loss", [lambda values, labels, w: torch.stack(values), lambda values, labels, w: 3.0]
)
def test_a_loss_that_is_not_one_number(loss: Any) -> None:
    one = [torch.ones(1)] * 2
    with pytest.raises(ValueError, match="the loss must be one number"):
        Objective(loss)(entries(), one, one, [1.0, 1.0])


def test_deepchems_methods_of_every_model(tmp_path: Any) -> None:
    made = model(model_dir=str(tmp_path))
    assert (made.get_task_type(), made.get_num_tasks()) == ("regression", 1)
    made.save()
    before = weights(made)
    made.functional.terms[0].kappa.data += 1.0
    made.reload()
    assert torch.equal(weights(made), before)


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_of_a_model_trains_on_its_own(how: str) -> None:
    """Its optimiser moves its own functional; both take the same next step."""
    data = dataset(*entries())
    made = model(learning_rate=1e-3)
    made.fit(data, nb_epoch=1, checkpoint_interval=0)
    before = weights(made)
    other = copy.deepcopy(made) if how == "deepcopy" else pickle.loads(pickle.dumps(made))
    other.fit(data, nb_epoch=1, checkpoint_interval=0)
    assert torch.equal(weights(made), before)
    assert not torch.equal(weights(other), before)
    made.fit(data, nb_epoch=1, checkpoint_interval=0)
    assert torch.allclose(weights(made), weights(other), rtol=0, atol=1e-8)
    assert other.epoch == made.epoch == 2


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_of_a_model_keeps_its_checkpoints_apart(how: str) -> None:
    made = model()
    made.save()
    first = weights(made)
    other = copy.deepcopy(made) if how == "deepcopy" else pickle.loads(pickle.dumps(made))
    made.functional.terms[0].kappa.data += 1.0
    made.save()
    second = weights(made)
    other.reload()
    assert torch.equal(weights(other), first)
    del other
    gc.collect()
    made.functional.terms[0].kappa.data += 1.0
    made.reload()
    assert torch.equal(weights(made), second)


def test_entries_without_weight_and_label_are_left_out_of_metrics() -> None:
    first, second = entries()
    none = DFTEntry.create("energy", None, [quick(kpts=[1, 1, 1])])
    x, y, w = entry_arrays([first, none, second])
    data = NumpyDataset(x, np.where(np.isfinite(y), y, np.nan), np.array([1.0, 0.0, 1.0]))
    made, rest = model(), dataset(first, second)
    assert made.evaluate(data, [mae]) == pytest.approx(made.evaluate(rest, [mae]), rel=1e-9)
    error, unit, count = made.errors_by_type(data)["energy"]
    assert (unit, count) == ("eV", 2)
    assert error == pytest.approx(made.errors_by_type(rest)["energy"][0], rel=1e-9)
    with pytest.raises(ValueError, match="holds no labels to compare with"):
        made.evaluate(NumpyDataset(entry_arrays([none])[0]), [mae])
