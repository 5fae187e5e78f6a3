"""Networks of more than linear layers, mixtures and shared weights in files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from ase.build import bulk
from torch.nn import (
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    PReLU,
    RMSNorm,
    Sequential,
    Softmax,
    Tanh,
    Unflatten,
)

from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import (
    NNPBE,
    PBE,
    BaseXC,
    HybridXC,
    get_xc,
)
from deepchem_xc.xc.saving import check_savable
from tests.xc.saved import assert_comes_back, moved, net, number

weight_norm = torch.nn.utils.parametrizations.weight_norm
orthogonal = torch.nn.utils.parametrizations.orthogonal


LAYERS = {
    "LayerNorm": lambda: LayerNorm(8),
    "LayerNorm without a bias": lambda: LayerNorm([8], eps=1e-3, bias=False),
    "LayerNorm without weights": lambda: LayerNorm(8, elementwise_affine=False),
    "RMSNorm": lambda: RMSNorm(8),
    "PReLU": lambda: PReLU(8),
    "Softmax": lambda: Softmax(dim=-1),
    "GroupNorm": lambda: GroupNorm(2, 8),
    "GroupNorm without weights": lambda: GroupNorm(4, 8, eps=1e-3, affine=False),
    "Hardtanh": lambda: torch.nn.Hardtanh(-0.5, 0.3),
    "LogSigmoid": lambda: torch.nn.LogSigmoid(),
    "Softshrink": lambda: torch.nn.Softshrink(0.1),
    "Threshold": lambda: torch.nn.Threshold(0.1, 20.0),
    "two axes": lambda: Sequential(Unflatten(-1, (2, 4)), Softmax(dim=-2), Flatten(-2, -1)),
    "weight_norm": lambda: weight_norm(Linear(8, 8)),
    "weight_norm, other axis": lambda: weight_norm(Linear(8, 8, bias=False), dim=1),
    "weight_norm of LayerNorm": lambda: weight_norm(LayerNorm(8), "bias"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, path):
    """Written after a training step, and with its gradient."""
    functional = moved(NNPBE(net(LAYERS[name]())))
    check_savable(functional, classes=())
    assert_comes_back(functional, path)


class Residual(torch.nn.Module):
    """A layer of one's own, with a flag whose attribute is what it asks for."""

    def __init__(self, width, bias=True, norm=False):
        super().__init__()
        self.width = width
        self.weight = torch.nn.Parameter(0.1 * torch.ones(width, width))
        self.bias = torch.nn.Parameter(torch.zeros(width)) if bias else None
        self.norm = LayerNorm(width) if norm else None

    def forward(self, x):
        y = x @ self.weight
        y = y if self.bias is None else y + self.bias
        return x + (y if self.norm is None else self.norm(y))


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"norm": True}])
def test_flags_of_a_layer_of_ones_own(options, path):
    assert_comes_back(moved(NNPBE(net(Residual(8, **options)))), path, classes=[Residual])


class Chain(torch.nn.Module):
    """Layers in a row, given as a list, a ModuleList or a dictionary of modules."""

    def __init__(self, layers):
        super().__init__()
        given = isinstance(layers, (dict, torch.nn.ModuleDict))
        self.layers = torch.nn.ModuleDict(layers) if given else torch.nn.ModuleList(layers)

    def forward(self, x):
        layers = (
            self.layers.values() if isinstance(self.layers, torch.nn.ModuleDict) else self.layers
        )
        for layer in layers:
            x = layer(x)
        return x


class Standardised(torch.nn.Module):
    """Scores of inputs, with arrays among the constructor's arguments."""

    def __init__(self, mean, width, order=None, dtype=torch.float64):
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean).to(dtype))
        self.width = torch.nn.Parameter(torch.as_tensor(width).to(dtype))
        self.order, self.dtype = order, dtype

    def forward(self, x):
        x = (x - self.mean) / self.width
        return x if self.order is None else x[..., self.order]


class Embedded(torch.nn.Module):
    """A level for each range of an input."""

    def __init__(self, nlevel=3):
        super().__init__()
        self.nlevel = nlevel
        self.levels = torch.nn.Embedding(nlevel, 8)

    def forward(self, x):
        return x + self.levels((x[..., 0] > 0).long())


class Row(Sequential):
    """A Sequential by another name."""


OWN = {
    "a list of layers": lambda: Chain([Linear(8, 5), Tanh(), Linear(5, 8)]),
    "a dictionary of layers": lambda: Chain({"in": Linear(8, 5), "out": Linear(5, 8)}),
    "nested": lambda: Chain([Sequential(Linear(8, 8), Chain([LayerNorm(8)])), Row(Tanh())]),
    "arrays": lambda: Standardised(torch.arange(8.0), torch.linspace(0.5, 1.0, 8)),
    "arrays of integers": lambda: Standardised(0.5, 2.0, order=torch.arange(8).flip(0)),
    "a type": lambda: Standardised(0.5, 2.0, dtype=torch.float32),
    "embedding": lambda: Embedded(4),
    "a Sequential by another name": lambda: Row(Linear(8, 4), Tanh(), Row(Linear(4, 8))),
    "sizes of numpy": lambda: Residual(np.int64(8)),
}


@pytest.mark.parametrize("name", OWN)
def test_layers_of_ones_own(name, path):
    functional = moved(NNPBE(net(OWN[name]())))
    assert_comes_back(functional, path, classes=[Chain, Standardised, Embedded, Row, Residual])


class Scaled(torch.nn.Module):
    """Its constructor's argument is not kept."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.by = scale

    def forward(self, x):
        return self.by * x


def test_the_class_that_forgets_an_argument_is_named(path):
    functional = NNPBE(net(Scaled(2.0)))
    message = r"Scaled does not keep 'scale', and its default was taken: store it as self\.scale"
    with pytest.raises(ValueError, match=message):
        functional.save(path, classes=[Scaled])
    with pytest.raises(ValueError, match=message):
        check_savable(functional)
    assert not path.exists()


def hooked(layer):
    layer.register_forward_hook(lambda layer, inputs, output: 1.1 * output)
    return layer


WRONG = {
    "orthogonal": (
        lambda: orthogonal(Linear(8, 8)),
        r"Linear with a parametrization of 'weight' .*remove_parametrizations\(module, 'weight'\)",
    ),
    "the former weight_norm": (
        lambda: torch.nn.utils.weight_norm(Linear(8, 8)),
        r"Linear with the hook WeightNorm .*torch\.nn\.utils\.parametrizations\.weight_norm",
    ),
    "pruned": (
        lambda: torch.nn.utils.prune.l1_unstructured(Linear(8, 8), "weight", 4),
        r"pruned weights .*torch\.nn\.utils\.prune\.remove\(layer, 'weight'\)",
    ),
    "hooked": (lambda: hooked(Tanh()), r"files cannot hold hooks, such as that of 'nnmodel\.1'"),
    "not named": (lambda: Residual(8), r"Residual cannot be saved.*classes=\[Residual\]"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("name", WRONG)
def test_other_layers_are_named(name, path):
    make, message = WRONG[name]
    functional = NNPBE(net(make()))
    with pytest.raises(ValueError, match=message):
        functional.save(path)
    with pytest.raises(ValueError, match=message):
        check_savable(functional, classes=())


def test_a_parametrized_functional_is_named(path):
    functional = PBE(trainable=True)
    exchange = functional.terms[0]
    torch.nn.utils.parametrize.register_parametrization(exchange, "kappa", torch.nn.Softplus())
    with pytest.raises(ValueError, match="PBEExchange with a parametrization of 'kappa'"):
        functional.save(path)


# asking before ------------------------------------------------------------------------------------


class Plain(BaseXC):
    """Only DeepChem's."""

    family = 1

    def __init__(self):
        self.c = number(0.7)

    def get_edensityxc(self, densinfo):
        return -self.c * densinfo.value ** (4 / 3)

    def getparamnames(self, methodname, prefix=""):
        return [prefix + "c"]


@pytest.mark.parametrize(
    "make", [lambda: NNPBE(net(Scaled(2.0))), lambda: get_xc("lda_c_pw") + Plain()]
)
def test_a_model_warns_before_the_training(make):
    with pytest.warns(UserWarning, match=r"can be trained.*functional\.save\(\) could not write"):
        XCModel(functional=make())


def test_a_model_of_what_can_be_saved_does_not_warn(recwarn):
    """Classes of one's own can be named in the end; random numbers are left alone."""
    torch.manual_seed(3)
    functional = HybridXC("PBE", net(Residual(8), LayerNorm(8)), aweight0=0.1)
    state = torch.get_rng_state()
    XCModel(functional=functional)
    assert torch.equal(torch.get_rng_state(), state)
    assert not [w for w in recwarn if "could not write" in str(w.message)]


def test_gradients_of_a_network_with_layer_norm_after_reading(path):
    functional = moved(HybridXC("PBE", net(LayerNorm(8)), aweight0=0.05))
    again = assert_comes_back(functional, path)
    gradients = []
    for one in (functional, again):
        result = scf(bulk("Si"), one, ecut=100.0, kpts=(2, 2, 2))
        gradients.append(torch.autograd.grad(result.band_gap, one.aweight)[0])
    assert torch.allclose(*gradients, rtol=1e-6)


def test_a_part_that_was_exchanged(path):
    functional = PBE(trainable=True)
    functional.terms[0] = get_xc("gga_x_b88")
    with pytest.raises(ValueError, match=r"PBE\.options\(\) does not give .* replaced"):
        functional.save(path)
