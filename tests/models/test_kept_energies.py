"""Energies at kept densities are used where they belong to what is trained now, and only there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepchem.models.optimizers
import pytest
import torch
from deepchem.data import NumpyDataset

from deepchem_xc.data import DFTEntry
from deepchem_xc.feat import crystal_calculation
from deepchem_xc.models import XCModel
from deepchem_xc.models.ground_states import GroundStates
from deepchem_xc.planewave.response import adjoint as response
from deepchem_xc.xc import PBE, HybridXC, get_xc
from tests.models.systems import LOOSE, aluminium, dataset, quick, silicon
from tests.planewave.pseudo.conftest import Analytic, analytic, psp8_text  # noqa: F401

# Steps that move nothing by as much as the comparisons see.
OPTIONS: dict[str, Any] = {"batch_size": 1, "learning_rate": 1e-9, "scf_interval": 10}
ONE = {"nb_epoch": 1, "checkpoint_interval": 0}


def metal(**more: Any) -> NumpyDataset:
    """An energy of aluminium that leaves the smearing to the solver's options."""
    system = aluminium(ecut=100.0, ecut_smoothing=0.0, convergence=LOOSE)
    del system["occupations"]
    return dataset(DFTEntry.create("energy", -57.2, [{**system, **more}]))


def crystal() -> NumpyDataset:
    """An energy of silicon at Gamma."""
    return dataset(DFTEntry.create("energy", -213.0, [quick(kpts=[1, 1, 1])]))


def smeared(width: float, **more: Any) -> XCModel:
    solver = {"occupations": {"name": "fermi-dirac", "width": width}, **more.pop("solver", {})}
    return XCModel(functional=PBE(trainable=True), solver=solver, **OPTIONS, **more)


def test_energies_of_other_solver_options_are_not_trained_on(tmp_path: Path) -> None:
    smeared(0.05, model_dir=str(tmp_path)).fit(metal(), nb_epoch=1)
    resumed = smeared(3.0, model_dir=str(tmp_path))
    resumed.fit(metal(), **ONE, restore=True)
    fresh = smeared(3.0)
    fresh.fit(metal(), **ONE)
    assert [record.calculations for record in resumed.history] == [1, 1]
    assert resumed.history[1].loss == pytest.approx(fresh.history[0].loss, rel=1e-5)
    assert resumed.history[0].loss != pytest.approx(fresh.history[0].loss, rel=0.1)
    # The energy before was another one, not an approximation to this one.
    assert resumed.history[1].frozen_error is None


@pytest.mark.parametrize(
    ("more", "solver"),
    [
        ({}, {"mixing": {"beta": 0.5}, "device": "cpu", "gradient_tolerance": 1e-4}),
        ({"occupations": {"name": "fermi-dirac", "width": 0.3}}, {}),
    ],
    ids=["how it is computed", "the system says it itself"],
)
def test_options_that_change_no_energy_cost_nothing(more: Any, solver: Any, tmp_path: Path) -> None:
    data = metal(**more)
    smeared(0.3, model_dir=str(tmp_path)).fit(data, nb_epoch=1)
    width = 3.0 if more else 0.3
    resumed = smeared(width, solver=solver, model_dir=str(tmp_path))
    resumed.fit(data, **ONE, restore=True)
    assert [record.calculations for record in resumed.history] == [1, 0]


def test_options_that_are_changed_between_fits_count() -> None:
    model, fresh = smeared(0.05), smeared(3.0)
    model.fit(metal(), **ONE)
    model.ground_states.options["occupations"]["width"] = 3.0
    fresh.fit(metal(), **ONE)
    assert model.predict(metal()) == pytest.approx(fresh.predict(metal()), abs=1e-5)
    model.fit(metal(), **ONE)
    assert model.history[1].loss == pytest.approx(fresh.history[0].loss, rel=1e-5)


def test_the_callers_dictionary_is_its_own() -> None:
    solver = {"occupations": {"name": "fermi-dirac", "width": 0.05}}
    model = XCModel(functional=PBE(trainable=True), solver=solver)
    solver["occupations"]["width"] = -1.0  # would have been refused
    assert model.ground_states.options["occupations"]["width"] == 0.05


def scaled(name: str) -> Any:
    return get_xc(name) * torch.nn.Parameter(torch.tensor(1.1, dtype=torch.float64))


def network(name: str) -> Any:
    torch.manual_seed(0)
    inputs = 2 if name.startswith("lda") else 3
    return HybridXC(name, torch.nn.Linear(inputs, 1), aweight0=0.02)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: PBE(trainable=True), lambda: 1.2 * PBE(trainable=True)),
        (lambda: PBE(trainable=True), lambda: network("lda_x")),
        (lambda: network("lda_x"), lambda: PBE(trainable=True)),
        (lambda: network("lda_x"), lambda: scaled("r2SCAN")),
        (lambda: scaled("r2SCAN"), lambda: network("lda_x")),
    ],
    ids=["factor", "PBE to LDA", "LDA to PBE", "LDA to r2SCAN", "r2SCAN to LDA"],
)
def test_another_functional_is_trained_on_its_own_energies(
    one: Any, other: Any, inside: bool
) -> None:
    model, fresh = XCModel(functional=one(), **OPTIONS), XCModel(functional=other(), **OPTIONS)
    model.fit(crystal(), **ONE)
    if inside:
        model.model.functional = other()
    else:
        model.functional = other()
    model.fit(crystal(), nb_epoch=2, checkpoint_interval=0)
    fresh.fit(crystal(), **ONE)
    assert [record.calculations for record in model.history] == [1, 1, 0]
    assert model.history[1].loss == pytest.approx(fresh.history[0].loss, rel=1e-5)


def test_kept_energies_serve_functionals_of_their_fields_only() -> None:
    """Also without a training in between, which says that the functional is another one."""
    model = XCModel(functional=network("lda_x"), **OPTIONS)
    entry = crystal().X[0]
    model.model.training_value(entry, 0)
    model.functional = PBE(trainable=True)
    value = model.model.training_value(entry, 0)
    assert float(value.detach()) == pytest.approx(model.predict(crystal())[0], abs=1e-5)


def load_weights(model: XCModel) -> None:
    state = {name: 1.3 * value for name, value in model.functional.state_dict().items()}
    model.functional.load_state_dict(state)


def test_weights_from_elsewhere_are_trained_on_their_own_energies(tmp_path: Path) -> None:
    """Loaded between fits, by a callback, or before a checkpoint is written."""
    fresh = XCModel(functional=PBE(trainable=True), **OPTIONS)
    load_weights(fresh)
    fresh.fit(crystal(), **ONE)
    expected = pytest.approx(fresh.history[0].loss, rel=1e-5)

    between = XCModel(functional=PBE(trainable=True), **OPTIONS, model_dir=str(tmp_path))
    between.fit(crystal(), **ONE)
    load_weights(between)
    between.save_checkpoint()
    between.fit(crystal(), **ONE)
    assert between.history[1].loss == expected

    resumed = XCModel(functional=PBE(trainable=True), **OPTIONS, model_dir=str(tmp_path))
    resumed.fit(crystal(), **ONE, restore=True)
    assert resumed.history[1].loss == expected

    def hook(model: XCModel, step: int) -> None:
        if step == 1:
            load_weights(model)

    called = XCModel(functional=PBE(trainable=True), **OPTIONS)
    called.fit(crystal(), nb_epoch=3, checkpoint_interval=0, callbacks=hook)
    assert called.history[1].loss == expected
    assert [record.calculations for record in called.history] == [1, 1, 0]


def test_callbacks_that_change_nothing_cost_nothing(tmp_path: Path) -> None:
    def hook(model: XCModel, step: int) -> None:
        state = {name: value.clone() for name, value in model.functional.state_dict().items()}
        load_weights(model)
        model.predict(crystal())
        model.functional.load_state_dict(state)
        model.save_checkpoint()

    model = XCModel(functional=PBE(trainable=True), **OPTIONS, model_dir=str(tmp_path))
    model.fit(crystal(), nb_epoch=3, checkpoint_interval=0, callbacks=hook)
    model.fit(crystal(), **ONE)
    resumed = XCModel(functional=PBE(trainable=True), **OPTIONS, model_dir=str(tmp_path))
    resumed.fit(crystal(), **ONE, restore=True)
    for done in (model, resumed):
        assert [record.calculations for record in done.history] == [1, 0, 0, 0]


@pytest.mark.parametrize("error", [KeyboardInterrupt("ctrl-c"), RuntimeError("no memory")])
@pytest.mark.parametrize("interval", [1, 10])
def test_a_fit_that_was_interrupted_in_its_derivative_can_be_repeated(
    error: BaseException, interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = silicon(ecut=80.0, kpts=[1, 1, 1], convergence=LOOSE, displaced=True)
    data = dataset(
        DFTEntry.create("forces", [[0.0] * 3] * 2, [system]),
        DFTEntry.create("energy", -213.0, [system]),
    )
    options = {**OPTIONS, "batch_size": 2, "scf_interval": interval}
    model, fresh = (XCModel(functional=PBE(trainable=True), **options) for _ in range(2))

    def interrupted(*arguments: Any, **keywords: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(response, "solve_adjoint", interrupted)
        with pytest.raises(type(error), match=str(error)):
            model.fit(data, **ONE)
    assert model.fit(data, **ONE) == pytest.approx(fresh.fit(data, **ONE), rel=1e-5)


class Twice(deepchem.models.optimizers.Optimizer):
    """Asks twice for the loss at the same weights, as a search along a line may."""

    def _create_pytorch_optimizer(self, params: Any) -> Any:
        class Steps(torch.optim.Optimizer):
            def step(self, closure: Any) -> None:
                self.losses = [float(closure()), float(closure()), float(closure())]

        return Steps(params, {})


def test_an_optimiser_may_ask_twice_at_the_same_weights() -> None:
    system = silicon(ecut=80.0, kpts=[1, 1, 1], convergence=LOOSE, displaced=True)
    data = dataset(DFTEntry.create("forces", [[0.0] * 3] * 2, [system]))
    model = XCModel(functional=PBE(trainable=True), batch_size=1, optimizer=Twice(1.0))
    model.fit(data, **ONE)
    losses = model._pytorch_optimizer.losses
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_another_potential_at_the_same_path_is_another_potential(
    tmp_path: Path,
    analytic: Analytic,  # noqa: F811
    psp8_text: Callable[..., str],  # noqa: F811
) -> None:
    """Each entry is computed with what its file held when it was made, or says that it is gone."""
    file = tmp_path / "si.psp8"
    system = quick(kpts=[1, 1, 1], pseudopotentials={"Si": str(file)})
    file.write_text(psp8_text())
    known, late = (DFTEntry.create("energy", y, [system]).calculations[0] for y in (-213.0, -212.0))
    ground_states = GroundStates(PBE())
    before = float(ground_states.energy(known, 0))
    analytic.c = (-6.0, 0.1)
    file.write_text(psp8_text())
    other = DFTEntry.create("energy", -213.0, [system]).calculations[0]
    found = float(ground_states.energy(other, 0))
    assert found == pytest.approx(float(GroundStates(PBE()).energy(other, 0)), abs=1e-6)
    assert abs(found - before) > 0.1
    # It was loaded when the file still held it.
    assert float(ground_states.energy(known, 10)) == pytest.approx(before, abs=1e-5)
    # As in another process, which has never loaded it.
    crystal_calculation._loaded.cache_clear()
    with pytest.raises(ValueError, match="si.psp8 has changed since"):
        GroundStates(PBE()).energy(late, 0)
