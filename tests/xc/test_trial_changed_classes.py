"""Where hooks, scripts or compilation changed a class, derivatives are tried, or it is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Linear, Sequential, Tanh

from deepchem_xc.xc import NNPBE, PBE, HybridXC, XCFunctional, get_xc
from deepchem_xc.xc.trial import check_functional, check_trainable
from tests.xc.trial_networks import network


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
        with pytest.raises(ValueError, match="other derivatives by"):
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
    with pytest.raises(ValueError, match="other derivatives by"):
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
