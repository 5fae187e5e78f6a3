"""Networks of more than linear layers, mixtures and shared weights in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from ase.build import bulk
from torch.nn import (
    GELU,
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
    ConstrainedGGA,
    FunctionalFileError,
    HybridXC,
    get_xc,
    load_functional,
)
from deepchem_xc.xc.sampling import sample_points
from deepchem_xc.xc.saving import check_savable

weight_norm = torch.nn.utils.parametrizations.weight_norm
orthogonal = torch.nn.utils.parametrizations.orthogonal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.xc.safetensors"


def moved(functional):
    """With weights that are not the initial ones."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in functional.parameters():
            step = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * step)
    return functional


def assert_comes_back(functional, path, classes=()):
    functional.save(path, classes=classes)
    again = load_functional(path, classes=classes)
    for spins in (1, 2):
        points = sample_points(spins)
        found, expected = (f.get_edensityxc(points) for f in (again, functional))
        assert torch.equal(found, expected)
    names, expected = ([n for n, _ in f.named_parameters()] for f in (again, functional))
    assert names == expected
    assert again.name == functional.name
    return again


def net(*middle, nlast=8):
    torch.manual_seed(1)
    return Sequential(Linear(3, 8), *middle, Tanh(), Linear(nlast, 1))


LAYERS = {
    "LayerNorm": lambda: LayerNorm(8),
    "LayerNorm without a bias": lambda: LayerNorm((8,), eps=1e-3, bias=False),
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


# shared weights -----------------------------------------------------------------------------------


def number(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def mixture():
    t = number(0.3)
    return t * get_xc("PBE") + (1 - t) * get_xc("LDA")


def tied_network():
    layer = Linear(8, 8)
    return NNPBE(net(layer, GELU(), layer, GELU(), layer))


def twice():
    functional = ConstrainedGGA(start="random", seed=0)
    return functional + 0.5 * functional


def functions():
    t, w = number(0.3), number([0.2, 0.5])
    first = torch.sigmoid(2 * t - 1) * get_xc("PBE") + get_xc("lda_x") / t
    second = w[0] * get_xc("gga_x_b88") + (1 - w[1] * t**2) * get_xc("gga_c_lyp")
    return first + second + torch.softmax(w, 0)[1] * get_xc("lda_c_vwn")


SHARED = {"mixture": mixture, "tied": tied_network, "twice": twice, "functions": functions}


@pytest.mark.parametrize("name", SHARED)
def test_one_parameter_in_several_places(name, path):
    """It is one again, and what is trained then stays together."""
    functional = moved(SHARED[name]())
    again = assert_comes_back(functional, path)
    points = sample_points(2)
    found, expected = (moved(f).get_edensityxc(points) for f in (again, functional))
    assert torch.equal(found, expected)


def test_a_file_of_shared_weights_is_of_the_second_format(path):
    for functional, version in ((mixture(), 2), (PBE(), 1)):
        functional.save(path)
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["deepchem_xc"])
        assert header["format"] == version


def test_a_plain_tensor_among_the_leaves(path):
    """It comes back as a constant."""
    x = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    functional = (number(0.5) * x) * get_xc("lda_x")
    functional.save(path)
    again = load_functional(path)
    assert again.factor.item() == pytest.approx(0.2, abs=1e-15)
    assert len(list(again.parameters())) == 1


TAMPERED = {
    "an unknown operation": ["system", 0],
    "a leaf that is not there": ["affine", 0.0, [[1.0, 7]]],
    "no expression": {"a": 1},
    "a chain without end": 0,
}


@pytest.mark.parametrize("name", TAMPERED)
def test_factors_that_were_tampered_with(name, path):
    from deepchem_xc.xc.definition import build, definition_of

    definition = definition_of((1 - number(0.5)) * get_xc("lda_x"))
    expression = TAMPERED[name]
    if name == "a chain without end":
        for _ in range(5000):
            expression = ["Exp", expression]
    definition["options"]["factor"]["$factor"] = expression
    with pytest.raises(ValueError, match="a factor cannot be computed from"):
        build(definition)


def test_shared_names_that_were_tampered_with(path):
    from deepchem_xc.xc import saving
    from deepchem_xc.xc.file_format import rebuilt

    functional = mixture()
    header, tensors = saving._contents(functional, ())
    for shared in ({"nothing": "terms.0.factor"}, {"a": 1}, ["a"]):
        with pytest.raises(ValueError, match="no parameters|shared weights are"):
            rebuilt({**header, "shared": shared}, tensors, ())


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


def test_a_mixture_of_a_damaged_file(path):
    mixture().save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FunctionalFileError, match="damaged"):
        load_functional(path)


def test_a_part_that_was_exchanged(path):
    functional = PBE(trainable=True)
    functional.terms[0] = get_xc("gga_x_b88")
    with pytest.raises(ValueError, match=r"PBE\.options\(\) does not give .* replaced"):
        functional.save(path)
