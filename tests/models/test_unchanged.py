"""Values and derivatives are those of one functional, however its weights are changed."""

from __future__ import annotations

import deepchem.models.optimizers
import numpy as np
import pytest
import torch
from ase.build import bulk

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.data import DFTEntry
from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.properties.volume_scan import equation_of_state
from deepchem_xc.xc import PBE, HybridXC, get_xc

from .systems import dataset, quick

SILICON = {"ecut": 100.0, "kpts": (2, 2, 2)}


class Steps(torch.optim.Optimizer):
    """Gradient descent that writes where no version counter sees it."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.data.add_(parameter.grad, alpha=-1e-7)


class Data(deepchem.models.optimizers.Optimizer):
    """The same for DeepChem."""

    def _create_pytorch_optimizer(self, params):
        return Steps(params)


def entry():
    return dataset(DFTEntry.create("energy", -213.0, [quick()]))


def fresh(model):
    return XCModel(functional=model.functional).predict(entry())


def test_an_optimiser_that_writes_data():
    """Every epoch computes, and predictions are those of the present weights."""
    model = XCModel(
        functional=PBE(trainable=True),
        batch_size=1,
        optimizer=Data(1.0),
        scf_interval=1,
        entropy_response=False,
    )
    model.fit(entry(), nb_epoch=3, checkpoint_interval=0)
    assert [record.calculations for record in model.history] == [1, 1, 1]
    assert model.predict(entry()) == pytest.approx(fresh(model), abs=1e-6)
    model.fit(entry(), nb_epoch=1, checkpoint_interval=0)
    assert model.predict_values(entry())[0] == pytest.approx(fresh(model)[0], abs=1e-6)


def scaled(functional, factor):
    return {name: factor * value for name, value in functional.state_dict().items()}


WRITES = {
    "data": lambda f: [p.data.mul_(1.2) for p in f.parameters()],
    "assign": lambda f: f.load_state_dict(scaled(f, 1.2), assign=True),
    "vector_to_parameters": lambda f: torch.nn.utils.vector_to_parameters(
        1.2 * torch.nn.utils.parameters_to_vector(f.parameters()).detach(), f.parameters()
    ),
    "replaced module": lambda f: f.terms.__setitem__(0, get_xc("gga_x_b88")),
}


@pytest.mark.filterwarnings("ignore:.*could not write it")
@pytest.mark.parametrize("name", WRITES)
def test_predictions_follow_every_change(name):
    model = XCModel(functional=PBE(trainable=True), batch_size=1)
    model.fit(entry(), nb_epoch=1, checkpoint_interval=0)
    start = model.predict(entry())
    WRITES[name](model.functional)
    assert abs(model.predict(entry()) - start)[0] > 1e-3
    assert model.predict(entry()) == pytest.approx(fresh(model), abs=1e-6)
    assert model.predict_values(entry())[0] == pytest.approx(fresh(model)[0], abs=1e-6)


def test_the_former_values_are_known_again():
    model = XCModel(functional=PBE(trainable=True), batch_size=1)
    model.fit(entry(), nb_epoch=1, checkpoint_interval=0)
    start = scaled(model.functional, 1.0)
    model.predict(entry())
    WRITES["data"](model.functional)
    model.predict(entry())
    model.functional.load_state_dict(start)
    assert model.predict(entry()) == pytest.approx(fresh(model), abs=1e-6)


def test_after_a_restored_checkpoint_the_weights_are_those_of_the_file(tmp_path):
    """What was kept before is neither taken for theirs nor what they were kept with for others."""
    model = XCModel(functional=PBE(trainable=True), batch_size=1, model_dir=str(tmp_path))
    model.fit(entry(), nb_epoch=1)
    expected = model.predict(entry())
    WRITES["data"](model.functional)
    model.predict(entry())
    model.restore()
    assert model.predict(entry()) == pytest.approx(expected, abs=1e-6)
    WRITES["data"](model.functional)
    assert model.predict(entry()) == pytest.approx(fresh(model), abs=1e-6)


DERIVED = {
    "free_energy": lambda r: r.free_energy,
    "energy": lambda r: r.energy,
    "xc": lambda r: r.energies["xc"],
    "band_gap": lambda r: r.band_gap,
    "density": lambda r: r.density.square().sum(),
    "forces": lambda r: r.forces[0, 0],
    "stress": lambda r: r.stress[0, 0],
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("name", DERIVED)
def test_a_result_of_another_functional_has_no_derivative(name, write):
    """Whether it was asked for before the change or after it."""
    functional = PBE(trainable=True)
    result = scf(bulk("Si"), functional, **SILICON)
    early = DERIVED[name](result)
    late = scf(bulk("Si"), functional, **SILICON)
    parameters = list(functional.parameters())
    WRITES[write](functional)
    with pytest.raises(RuntimeError, match="functional PBE was changed after this calculation"):
        torch.autograd.grad(early, parameters)
    with pytest.raises(RuntimeError, match="functional PBE was changed after this calculation"):
        torch.autograd.grad(DERIVED[name](late), parameters)


def test_values_asked_for_after_a_change_are_refused_too():
    functional = PBE(trainable=True)
    result = scf(bulk("Si"), functional, **SILICON).detach()
    functional.terms[0].kappa.data.mul_(1.2)
    for name in ("free_energy", "forces", "energies"):
        with pytest.raises(RuntimeError, match=r"was changed .*terms\.0\.kappa"):
            getattr(result, name)


def test_a_derivative_after_the_former_values_came_back():
    functional = PBE(trainable=True)
    parameters = list(functional.parameters())

    def derivatives(change):
        result = scf(bulk("Si"), functional, **SILICON)
        found = result.free_energy + result.band_gap
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.mul_(change)
                parameter.copy_(value)
        return torch.stack(torch.autograd.grad(found, parameters))

    assert torch.allclose(derivatives(1.2), derivatives(1.0), rtol=1e-9, atol=0.0)


def test_an_energy_at_a_kept_density():
    functional = PBE(trainable=True)
    frozen = FrozenEnergy.of(scf(bulk("Si"), functional, **SILICON))
    energy = frozen.at(functional)
    functional.terms[0].kappa.data.mul_(1.2)
    with pytest.raises(RuntimeError, match=r"was changed .*\(terms\.0\.kappa\)"):
        energy.backward()
    frozen.at(functional).backward()
    assert functional.terms[0].kappa.grad is not None


def test_an_equation_of_state():
    functional = PBE(trainable=True)
    curve = equation_of_state(
        bulk("Si"), functional, **SILICON, scales=(0.88, 0.94, 1.0, 1.06, 1.12)
    )
    constant = curve.lattice_constant
    functional.terms[0].kappa.data.mul_(1.2)
    with pytest.raises(RuntimeError, match=r"was changed .*terms\.0\.kappa"):
        constant.backward()


def test_the_calculator_computes_anew():
    """After a change that no version counter and no `state_dict` shows."""
    functional = get_xc("gga_x_pbe") + 0.5 * get_xc("gga_c_pbe")
    atoms = bulk("Si")
    atoms.calc = PlaneWaveDFT(xc=functional, **SILICON)
    energies = [atoms.get_potential_energy()]
    functional.terms[1].factor = 1.0
    energies.append(atoms.get_potential_energy())
    exact = bulk("Si")
    exact.calc = PlaneWaveDFT(xc="PBE", **SILICON)
    assert energies[1] == pytest.approx(exact.get_potential_energy(), abs=1e-5)
    assert abs(np.diff(energies)[0]) > 1.0


def replaced_layer(model):
    model.functional.nnxc.nnmodel[2] = torch.nn.Linear(4, 1).double()


def assigned_weights(model):
    state = {name: 1.1 * value for name, value in model.functional.state_dict().items()}
    model.functional.load_state_dict(state, assign=True)


def other_functional(model):
    model.functional = PBE(trainable=True)


def other_functional_inside(model):
    model.model.functional = PBE(trainable=True)


REPLACED = [
    replaced_layer,
    assigned_weights,
    other_functional,
    other_functional_inside,
]


@pytest.mark.parametrize("change", REPLACED)
def test_parameters_that_were_replaced_are_trained(change):
    """All that the functional has now; predictions are its own."""
    torch.manual_seed(0)
    layers = torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    functional = HybridXC("PBE", torch.nn.Sequential(*layers), aweight0=0.1)
    model = XCModel(functional=functional, batch_size=1, learning_rate=1e-4, scf_interval=3)
    data = dataset(DFTEntry.create("energy", -215.0, [quick(kpts=[1, 1, 1])]))
    model.fit(data, nb_epoch=1, checkpoint_interval=0)
    change(model)
    fresh = XCModel(functional=model.functional, batch_size=1)
    assert model.predict(data) == pytest.approx(fresh.predict(data), abs=1e-6)
    before = [p.detach().clone() for p in model.functional.parameters()]
    model.fit(data, nb_epoch=1, checkpoint_interval=0)
    assert not any(map(torch.equal, before, model.functional.parameters()))
    fresh = XCModel(functional=model.functional, batch_size=1)
    assert model.predict(data) == pytest.approx(fresh.predict(data), abs=1e-6)


def test_a_schedule_goes_on_after_a_replacement():
    rate = deepchem.models.optimizers.ExponentialDecay(1e-3, 0.5, 1)
    model = XCModel(functional=PBE(trainable=True), batch_size=1, learning_rate=rate)
    data = dataset(DFTEntry.create("energy", -215.0, [quick(kpts=[1, 1, 1])]))
    model.fit(data, nb_epoch=2, checkpoint_interval=0)
    assert model._pytorch_optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-4)
    mu = model.functional.terms[0].mu
    model.functional.terms[0].kappa = torch.nn.Parameter(torch.tensor(0.8).double())
    steps = float(model._pytorch_optimizer.state[mu]["step"])
    model.fit(data, nb_epoch=1, checkpoint_interval=0)
    assert model._pytorch_optimizer.param_groups[0]["lr"] == pytest.approx(1.25e-4)
    assert float(model._pytorch_optimizer.state[mu]["step"]) == steps + 1
