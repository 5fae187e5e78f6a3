"""What no calculation could be right with is refused before it, with what to write instead."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk
from torch.nn import Linear, Sequential, Tanh

from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import NNLDA, NNPBE, PBE, HybridXC, XCFunctional, get_xc
from deepchem_xc.xc.networks import multilayer_perceptron
from deepchem_xc.xc.sampling import sample_points
from deepchem_xc.xc.trial import check_functional, check_trainable


class Local(XCFunctional):
    """An LDA of one number."""

    name, family = "local", 1

    def __init__(self):
        super().__init__()
        self.c = self.made(torch.tensor(0.1, dtype=torch.float64))

    def made(self, c):
        return c.requires_grad_()

    def energy_density(self, variables):
        return -self.c * variables.density


class OfOneSpin(Local):
    """Depends on it with two channels only."""

    def energy_density(self, variables):
        return -(self.c if variables.polarized else 0.1) * variables.density


class Layers(Local):
    """Layers in a Python list."""

    def __init__(self):
        super().__init__()
        self.c = [Linear(1, 4).double(), Linear(4, 1).double()]

    def energy_density(self, variables):
        x = self.c[0](variables.rs.unsqueeze(-1))
        return -variables.density * self.c[1](torch.tanh(x)).squeeze(-1)


class Dictionary(Layers):
    """Layers in a dictionary."""

    def __init__(self):
        super().__init__()
        self.c = dict(enumerate(self.c))


class Closure(Local):
    """A function that holds the number."""

    def __init__(self):
        super().__init__()
        c, self.c = self.c, None
        self.function = lambda n: -c * n

    def energy_density(self, variables):
        return self.function(variables.density)


class Computed(Local):
    """A plain tensor that was computed from a parameter."""

    def made(self, c):
        self.parameter = torch.nn.Parameter(c)
        return 2.0 * self.parameter


class ComputedBuffer(Local):
    """A buffer that was computed from a parameter."""

    def __init__(self):
        super().__init__()
        self.parameter = torch.nn.Parameter(self.c.detach())
        del self.c
        self.register_buffer("c", 2.0 * self.parameter)


HIDDEN = {
    Local: r"depends on '.*c', a tensor that requires .*torch\.nn\.Parameter",
    OfOneSpin: r"depends on '.*c', a tensor that requires",
    Layers: r"depends on '.*c\.1\.weight'.*tensors that require.*torch\.nn\.ModuleList",
    Dictionary: r"depends on '.*c\.1\.weight'.*torch\.nn\.ModuleDict",
    Closure: r"depends on something, a tensor that .*keep what a function closes over",
    Computed: r"its parameter '.*parameter' in another way.*in energy_density",
    ComputedBuffer: r"'.*c' of .* was computed from .*compute it in energy_density",
}


@pytest.mark.parametrize("cls", HIDDEN)
def test_tensors_that_torch_does_not_know_are_refused(cls):
    """Alone, in a sum and in a HybridXC; by `scf` before it computes, and by `XCModel`."""
    mixtures = (cls(), get_xc("PBE") + 0.5 * cls(), HybridXC("PBE", cls()))
    for functional in mixtures:
        with pytest.raises(ValueError, match=HIDDEN[cls]):
            scf(bulk("Si"), functional, ecut=100.0)
    with pytest.raises(ValueError, match=HIDDEN[cls]):
        XCModel(functional=PBE(trainable=True) + cls())


def test_a_constant_that_is_not_trained_is_no_obstacle():
    functional = Local()
    functional.c.requires_grad_(False)
    check_functional(functional)


def test_what_an_optimiser_would_not_train_is_refused():
    functional = PBE(trainable=True) + Local()
    del functional.terms[1].c
    functional.terms[1].register_buffer("c", torch.tensor(0.1).double().requires_grad_())
    check_functional(functional)
    with pytest.raises(ValueError, match=r"'terms\.1\.c' .* not a parameter: an optimiser would"):
        check_trainable(functional)


# what torch changed -------------------------------------------------------------------------------


class Cut(Sequential):
    """A network that sees nothing of its input's changes."""

    def forward(self, x):
        return super().forward(x.detach())


class CutLocal(XCFunctional):
    """An LDA whose potential lacks a part."""

    name, family = "local", 1

    def __init__(self):
        super().__init__()
        self.c = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def energy_density(self, variables):
        return -self.c * variables.density * variables.inverse_rs.detach()


def parametrized():
    functional = CutLocal()
    torch.nn.utils.parametrize.register_parametrization(functional, "c", torch.nn.Softplus())
    return functional


def changed(change):
    layers = network(Tanh)
    change(layers[1])
    return NNPBE(layers)


def with_activation(activation):
    encoder = torch.nn.TransformerEncoderLayer(
        3, 1, dim_feedforward=4, dropout=0.0, activation=activation, batch_first=True
    )
    one_token, output = torch.nn.Unflatten(0, (-1, 1)), torch.nn.Flatten()
    return NNPBE(Sequential(one_token, encoder, Linear(3, 1), output))


CHANGED = {
    "a parametrization": parametrized,
    "TorchScript": lambda: NNPBE(torch.jit.script(ScriptedCut())),
    "a traced network": lambda: NNPBE(torch.jit.trace(ScriptedCut(), torch.ones(2, 3).double())),
    "a graph module": lambda: NNPBE(torch.fx.symbolic_trace(Cut(*network(Tanh)))),
    "a forward hook": lambda: changed(
        lambda layer: layer.register_forward_hook(lambda _, x, y: y.detach())
    ),
    "a hook before": lambda: changed(
        lambda layer: layer.register_forward_pre_hook(lambda _, x: (x[0].detach(),))
    ),
    "a hook of gradients": lambda: changed(
        lambda layer: layer.register_full_backward_hook(lambda _, x, y: (2.0 * x[0],))
    ),
    "another forward": lambda: changed(
        lambda layer: setattr(layer, "forward", lambda x: torch.tanh(x.detach()))
    ),
    "an activation": lambda: with_activation(lambda x: torch.tanh(x.detach())),
}


class ScriptedCut(torch.nn.Module):
    """The same in what TorchScript takes."""

    def __init__(self):
        super().__init__()
        self.first, self.last = Linear(3, 4).double(), Linear(4, 1).double()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x.detach())))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", CHANGED)
def test_derivatives_are_tried_where_torch_changed_a_class(name):
    functional = CHANGED[name]()
    for mixture in (functional, get_xc("PBE") + 0.5 * functional):
        with pytest.raises(ValueError, match="other derivatives with respect to"):
            check_functional(mixture)


SOUND = {
    "a hook that looks on": lambda layer: layer.register_forward_hook(lambda _, x, y: None),
    "a hook of gradients that looks on": lambda layer: layer.register_full_backward_hook(
        lambda _, x, y: None
    ),
    "another forward": lambda layer: setattr(layer, "forward", torch.sin),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_changes_pass(name):
    functional = changed(SOUND[name])
    check_functional(functional)
    check_trainable(functional)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_sound_networks_of_other_classes_pass():
    """Those of TorchScript and of graphs, parametrized ones, and old and new weight_norm."""
    scripted = torch.jit.script(network(Tanh))
    traced = torch.jit.trace(network(Tanh).double(), torch.ones(2, 3).double())
    graph = torch.fx.symbolic_trace(network(Tanh))
    normed, old = network(Tanh), network(Tanh)
    torch.nn.utils.parametrizations.weight_norm(normed[0])
    with pytest.warns(FutureWarning, match="weight_norm"):
        torch.nn.utils.weight_norm(old[0])
    for layers in (scripted, traced, graph, normed, old):
        check_functional(NNPBE(layers))
        check_functional(HybridXC("PBE", layers, aweight0=0.1))


def test_a_functional_is_tried_again_once_a_layer_gets_a_hook():
    functional = NNPBE(network(Tanh))
    check_functional(functional)
    hook = functional.nnmodel[1].register_forward_hook(lambda _, x, y: y.detach())
    with pytest.raises(ValueError, match="other derivatives with respect to"):
        check_functional(functional)
    hook.remove()
    check_functional(functional)


def compiled(module):
    return torch.compile(module, backend="eager")


class CompiledForward(torch.nn.Module):
    """A network with a compiled method."""

    def __init__(self):
        super().__init__()
        self.layers = network(Tanh)

    @torch.compile(backend="eager")
    def forward(self, x):
        return self.layers(x)


def compiled_in_place():
    layers = network(Tanh)
    layers[4].compile(backend="eager")
    return layers


COMPILED = {
    "a network": lambda: compiled(network(Tanh)),
    "a layer": lambda: Sequential(compiled(network(Tanh))),
    "in place": compiled_in_place,
    "a method": CompiledForward,
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_networks_are_refused(name):
    """Gradients need second derivatives, which torch.compile does not give."""
    message = "compiled by torch.compile.*give the module itself, without"
    with pytest.raises(ValueError, match=message):
        NNPBE(COMPILED[name]())
    functional = CutLocal()
    functional.network = COMPILED[name]()
    with pytest.raises(ValueError, match=message):
        check_functional(get_xc("PBE") + functional)


def test_compiled_functionals_are_refused():
    with pytest.raises(TypeError, match="give the functional itself, without torch.compile"):
        get_xc(compiled(PBE()))
    functional = CutLocal()
    functional.energy_density = compiled(functional.energy_density)
    with pytest.raises(ValueError, match="compiled by torch.compile"):
        check_functional(functional)


# networks -----------------------------------------------------------------------------------------


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


WRONG = {
    "Dropout": (lambda: torch.nn.Dropout(1e-5), r"on the mode.*'2' \(Dropout\)"),
    "Dropout, strong": (lambda: torch.nn.Dropout(0.2), r"on chance.*'2' \(Dropout\)"),
    "BatchNorm": (lambda: torch.nn.BatchNorm1d(8), r"'2' \(BatchNorm1d\)"),
    "BatchNorm without statistics": (
        lambda: torch.nn.BatchNorm1d(8, track_running_stats=False),
        r"at a point on the other points.*'2' \(BatchNorm1d\)",
    ),
    "softmax of the points": (
        lambda: torch.nn.Softmax(0),
        r"at a point on the other points.*'2' \(Softmax\)",
    ),
    "attention": (Attention, r"on the other points.*'2.heads' \(MultiheadAttention\)"),
    "spectral_norm": (lambda: spectral(Linear(8, 8)), r"on earlier calls.*_SpectralNorm"),
    "noise": (lambda: Layer(lambda _, x: x + 1e-4 * torch.randn_like(x)), "on chance"),
    "mode": (lambda: Layer(lambda m, x: x * (2.0 if m.training else 1.0)), "on the mode"),
    "count": (lambda: Layer(lambda _, x: x * len(x)), "on the number of points"),
    "order": (
        lambda: Layer(lambda _, x: x + 1e-3 * torch.arange(len(x)).unsqueeze(-1)),
        "on the order of the points",
    ),
}


def network(middle, seed=1):
    torch.manual_seed(seed)
    return Sequential(Linear(3, 8), Tanh(), middle(), Tanh(), Linear(8, 1))


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
