"""Networks that are no function of one point, always the same, are refused before a calculation."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk
from torch.nn import Linear, Sequential, Tanh

from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import NNLDA, NNPBE, HybridXC, XCFunctional, get_xc
from deepchem_xc.xc.networks import multilayer_perceptron
from deepchem_xc.xc.sampling import sample_points
from deepchem_xc.xc.trial import check_functional, check_trainable
from tests.xc.trial_networks import network


class Layer(torch.nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(self, x)


class Attention(torch.nn.Module):
    """Every point looks at all points."""

    def __init__(self):
        super().__init__()
        self.heads = torch.nn.MultiheadAttention(8, 2)

    def forward(self, x):
        return self.heads(x, x, x)[0]


def spectral(layer):
    return torch.nn.utils.parametrizations.spectral_norm(layer)


def noisy(_, x):
    return x + 1e-4 * torch.randn_like(x)


def of_the_mode(layer, x):
    return x * (2.0 if layer.training else 1.0)


def of_the_order(_, x):
    return x + 1e-3 * torch.arange(len(x)).unsqueeze(-1)


def without_statistics():
    return torch.nn.BatchNorm1d(8, track_running_stats=False)


OTHERS = r"at a point on the other points.*"
# Makers of layers, and what is said about them.
WRONG = {
    "Dropout": (lambda: torch.nn.Dropout(1e-5), r"on the mode.*'2' \(Dropout\)"),
    "strong": (lambda: torch.nn.Dropout(0.2), r"on chance.*'2' \(Dropout\)"),
    "BatchNorm": (lambda: torch.nn.BatchNorm1d(8), r"'2' \(BatchNorm1d\)"),
    "attention": (Attention, r"on the other points.*'2.heads'"),
    "spectral": (lambda: spectral(Linear(8, 8)), r"on earlier calls.*_SpectralNorm"),
    "noise": (lambda: Layer(noisy), "on chance"),
    "mode": (lambda: Layer(of_the_mode), "on the mode"),
    "count": (lambda: Layer(lambda _, x: x * len(x)), "on the number of points"),
    "order": (lambda: Layer(of_the_order), "on the order of the points"),
    "softmax": (lambda: torch.nn.Softmax(0), OTHERS + r"'2' \(Softmax\)"),
    "no statistics": (without_statistics, OTHERS + r"'2' \(BatchNorm1d\)"),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", WRONG)
def test_networks_that_are_no_function_of_a_point_are_refused(name, training):
    """When the functional is made; with a last layer of zeros too, which training would move."""
    make, message = WRONG[name]
    for start in ("random", "zero"):
        layers = network(make).train(training)
        if start == "zero":
            torch.nn.init.zeros_(layers[-1].weight)
        random, state = (
            torch.get_rng_state(),
            {k: v.clone() for k, v in layers.state_dict().items()},
        )
        with pytest.raises(ValueError, match=message):
            NNPBE(layers)
        assert layers.training is training
        assert torch.equal(torch.get_rng_state(), random)
        for key, value in layers.state_dict().items():
            assert torch.equal(value, state[key].to(value.dtype))


def test_lazy_layers_get_their_weights():
    layers = Sequential(torch.nn.LazyLinear(4), Tanh(), torch.nn.LazyLinear(1))
    functional = NNPBE(layers)
    assert type(layers[0]) is Linear and layers[0].weight.shape == (4, 3)
    assert layers[0].weight.dtype == torch.float64
    check_functional(functional)


def test_layers_without_weights_in_a_functional_of_ones_own_are_named():
    class Own(XCFunctional):
        name, family = "own", 2

        def __init__(self):
            super().__init__()
            self.network = torch.nn.LazyLinear(1, dtype=torch.float64)

        def energy_density(self, variables):
            return self.network(variables.s2[..., None]).squeeze(-1)

    with pytest.raises(ValueError, match="LazyLinear, .* call the network once"):
        scf(bulk("Si"), Own(), ecut=100.0)


def test_a_network_of_torchscript():
    plain = network(Tanh).double()
    scripted = torch.jit.script(plain)
    density = sample_points(2)
    one, other = NNPBE(plain), NNPBE(scripted)
    check_functional(other)
    assert torch.equal(one.get_edensityxc(density), other.get_edensityxc(density))
    with pytest.raises(ValueError, match="on chance or on earlier calls|on the mode"):
        NNPBE(torch.jit.script(network(lambda: torch.nn.Dropout(0.2))))


def test_a_network_that_answers_in_single_precision():
    with pytest.raises(ValueError, match="gives torch.float32 for inputs of torch.float64"):
        NNPBE(Sequential(Linear(3, 1), Layer(lambda _, x: x.float())))


@pytest.mark.parametrize("name", ["Dropout", "BatchNorm", "attention", "mode"])
def test_and_so_are_they_in_a_functional_of_ones_own(name):
    """Which made its network itself; before anything is computed."""

    class Own(XCFunctional):
        name, family = "own", 2

        def __init__(self):
            super().__init__()
            self.network = network(WRONG[name][0]).double()

        def energy_density(self, variables):
            x = torch.stack((variables.rs, variables.density, variables.s2), -1)
            return variables.density * self.network(torch.exp(-x)).squeeze(-1)

    for functional in (Own().eval(), 0.5 * get_xc("PBE") + HybridXC("PBE", Own())):
        with pytest.raises(ValueError, match=r"the functional .* depends .*network\.2"):
            scf(bulk("Si"), functional, ecut=100.0)
    with pytest.raises(ValueError, match=r"the functional .* depends .*network\.2"):
        XCModel(functional=Own())


def test_a_functional_that_looks_at_other_points_is_refused():
    class Average(XCFunctional):
        name, family = "average", 1

        def energy_density(self, variables):
            return -variables.density * variables.density.mean()

    with pytest.raises(ValueError, match="average depends at a point on the other points"):
        scf(bulk("Si"), Average(), ecut=100.0)


RIGHT = {
    "LayerNorm": lambda: torch.nn.LayerNorm(8),
    "GroupNorm": lambda: torch.nn.GroupNorm(2, 8),
    "softmax of the features": lambda: torch.nn.Softmax(-1),
    "weight_norm": lambda: torch.nn.utils.parametrizations.weight_norm(Linear(8, 8)),
    "in place": lambda: torch.nn.ReLU(inplace=True),
    "Dropout of nothing": lambda: torch.nn.Dropout(0.0),
    "residual": lambda: Layer(lambda _, x: x + x.square().sum(-1, keepdim=True)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_functions_of_a_point_are_taken(name):
    functional = HybridXC("PBE", network(RIGHT[name]), aweight0=0.1)
    check_functional(functional)
    check_trainable(functional)


@pytest.mark.parametrize("xc", ["LDA", "BLYP", "r2SCAN", "TPSS", "gga_x_pw91+gga_c_pw91"])
def test_functionals_of_the_package_pass(xc):
    check_functional(get_xc(xc))


def test_a_network_is_tried_again_once_a_layer_is_exchanged():
    functional = NNLDA(multilayer_perceptron(2, width=4, depth=1))
    check_functional(functional)
    functional.nnmodel[1] = torch.nn.Dropout(0.5)
    with pytest.raises(ValueError, match=r"nnmodel\.1' \(Dropout\)"):
        check_functional(functional)
