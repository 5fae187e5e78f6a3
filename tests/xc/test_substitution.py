"""Trying out a functional leaves its parameters where they are, in every place."""

import pytest
import torch
from torch import nn

from deepchem_xc.xc import NNPBE, PBE, HybridXC, XCFunctional, get_xc
from deepchem_xc.xc.identity import Identity, fingerprint
from deepchem_xc.xc.sampling import sample_points
from deepchem_xc.xc.saving import check_savable
from deepchem_xc.xc.substitution import called_with
from deepchem_xc.xc.trial import check_functional, check_trainable


def shared_layer():
    layer = nn.Linear(3, 3)
    return NNPBE(nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(3, 1)))


def tied_weight():
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    return NNPBE(nn.Sequential(one, nn.Tanh(), other, nn.Tanh(), nn.Linear(3, 1)))


def one_functional_twice():
    functional = PBE(trainable=True)
    return 0.5 * functional + 0.3 * functional


def one_network_in_two_functionals():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return HybridXC("PBE", network, aweight0=0.1) + 0.2 * NNPBE(network)


def one_normalised_layer_twice():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    return NNPBE(nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(3, 1)))


def mixture_of_one_weight():
    t = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    return t * get_xc("PBE") + (1 - t) * get_xc("LDA") + t**2 * get_xc("BLYP")


class Recurrent(nn.Module):
    """A recurrent network that takes the features of a point one after the other."""

    def __init__(self):
        super().__init__()
        self.cell, self.last = nn.GRU(1, 4, batch_first=True), nn.Linear(4, 1)

    def forward(self, x):
        states, _ = self.cell(x.reshape(-1, x.shape[-1], 1))
        return self.last(states[:, -1])


class Nested(XCFunctional):
    """A functional of one's own with the same layer by two names."""

    name, family = "nested", 2

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(1, 1).double()
        self.other = nn.ModuleDict({"same": self.one})

    def energy_density(self, variables):
        inner = self.one(torch.tanh(self.other["same"](torch.exp(-variables.s2)[..., None])))
        return -variables.density * variables.inverse_rs * inner.squeeze(-1)


def scripted():
    return NNPBE(torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))))


MADE = [
    shared_layer,
    tied_weight,
    one_functional_twice,
    one_network_in_two_functionals,
    one_normalised_layer_twice,
    mixture_of_one_weight,
    lambda: NNPBE(Recurrent()),
    Nested,
    scripted,
]


@pytest.mark.parametrize("make", MADE)
def test_parameters_stay_the_same_objects_with_the_same_values(make):
    torch.manual_seed(0)
    functional = make()
    names = [name for name, _ in functional.named_parameters(remove_duplicate=False)]
    before = [p for _, p in functional.named_parameters(remove_duplicate=False)]
    values = [p.detach().clone() for p in before]
    check_functional(functional)
    check_trainable(functional)
    known = Identity.of(functional)
    fingerprint(functional)
    if make not in (Nested, scripted) and not hasattr(functional, "nnmodel"):
        check_savable(functional)
    after = dict(functional.named_parameters(remove_duplicate=False))
    assert list(after) == names
    for parameter, value, now in zip(before, values, after.values()):
        if make is not scripted:  # which hands out new objects every time
            assert now is parameter
        assert isinstance(now, nn.Parameter) or make is scripted
        assert now.requires_grad
        assert torch.equal(now, value)
    assert known.holds(functional)


@pytest.mark.parametrize("make", MADE)
def test_the_fingerprint_does_not_depend_on_the_values(make):
    torch.manual_seed(0)
    functional = make()
    before = fingerprint(functional)
    with torch.no_grad():
        for parameter in functional.parameters():
            parameter.mul_(0.7)
    assert torch.equal(fingerprint(functional), before)


def test_energies_with_other_tensors_are_those_of_a_functional_with_them():
    torch.manual_seed(0)
    functional, other = shared_layer(), shared_layer()
    points = sample_points(2)
    tensors = {name: p.detach() for name, p in other.named_parameters()}
    found = called_with(functional, tensors, points)
    assert torch.equal(found, other.get_edensityxc(points))
    assert not found.requires_grad
    assert not torch.equal(found, functional.get_edensityxc(points))


def test_everything_comes_back_after_an_error():
    layer = nn.Linear(2, 2)
    network, weight = nn.Sequential(layer, layer), layer.weight
    with pytest.raises(RuntimeError):
        called_with(network, {"0.weight": torch.zeros(2, 2)}, torch.ones(3))
    assert layer.weight is weight
