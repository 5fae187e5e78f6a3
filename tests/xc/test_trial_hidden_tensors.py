"""Tensors that torch does not know as a functional's are refused, with what to write instead."""

from __future__ import annotations

import pytest
import torch
from ase.build import bulk
from torch.nn import Linear

from deepchem_xc.models import XCModel
from deepchem_xc.planewave import scf
from deepchem_xc.xc import PBE, HybridXC, XCFunctional, get_xc
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
    with pytest.raises(ValueError, match=r"'terms\.1\.c' .* no parameter: an optimiser would not"):
        check_trainable(functional)
