"""Derivatives that autograd gives are those of the energies, or the functional is refused."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from deepchem_xc.xc import (
    NNPBE,
    BaseXC,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    HybridXC,
    LibXC,
    UnconstrainedMetaGGA,
    XCFunctional,
    get_xc,
)
from deepchem_xc.xc.consistency import check_derivatives, check_memory
from deepchem_xc.xc.trial import check_functional


class Own(XCFunctional):
    """-(p + q) n / r_s; derived classes change what is written here."""

    name, family = "own", 2

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.q = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def weight(self):
        return self.p + self.q

    def enhancement(self, variables):
        return 1.0 + torch.tanh(variables.s2)

    def energy_density(self, variables):
        slater = variables.density * variables.inverse_rs
        return -self.weight() * slater * self.enhancement(variables)


class Square(torch.autograd.Function):
    """With a backward that forgets the factor two."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, cotangent):
        return cotangent * ctx.saved_tensors[0]


def own(**methods):
    return type("Own", (Own,), methods)()


def without_graph(self, variables):
    with torch.no_grad():
        return 1.0 + torch.tanh(variables.s2)


BY_DENSITY = {
    "detach": lambda self, v: 1.0 + torch.tanh(v.s2.detach()),
    "data": lambda self, v: 1.0 + torch.tanh(v.s2.data),
    "no_grad": without_graph,
    "numpy": lambda self, v: 1.0 + torch.as_tensor(np.tanh(v.s2.detach().cpu().numpy())),
    "a wrong backward": lambda self, v: 1.0 + torch.tanh(Square.apply(v.inverse_rs)),
    "other energies while gradients are recorded": lambda self, v: (
        (1.1 if torch.is_grad_enabled() else 1.0) + torch.tanh(v.s2)
    ),
}
BY_PARAMETERS = {
    "item": lambda self: self.p + self.q.item(),
    "float": lambda self: self.p + float(self.q.detach()),
    "detach": lambda self: self.p * self.q.detach(),
    "data": lambda self: self.p + torch.tanh(self.q.data),
}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", BY_DENSITY)
def test_potentials_that_lack_a_part_are_refused(name, mixed):
    functional = own(enhancement=BY_DENSITY[name])
    functional = get_xc("PBE") + 0.1 * functional if mixed else functional
    with pytest.raises(
        ValueError, match="derivatives with respect to the density.*without .detach"
    ):
        check_functional(functional)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", BY_PARAMETERS)
def test_parameters_that_are_used_as_numbers_are_refused(name, mixed):
    functional = own(weight=BY_PARAMETERS[name])
    parameter = "terms.1.functional.q" if mixed else "q"
    functional = get_xc("PBE") + 0.1 * functional if mixed else functional
    message = rf"with respect to its parameter '{parameter}'.*requires_grad_\(False\)"
    with pytest.raises(ValueError, match=message):
        check_functional(functional)


def test_parameters_that_are_not_trained_may_be_numbers():
    functional = own(weight=BY_PARAMETERS["item"])
    functional.q.requires_grad_(False)
    check_functional(functional)
    functional.q.requires_grad_(True)
    with pytest.raises(ValueError, match="parameter 'q'"):
        check_functional(functional)


def test_a_functional_that_is_only_deepchems():
    class Plain(BaseXC):
        family = 1

        def get_edensityxc(self, densinfo):
            n = (
                densinfo.value
                if hasattr(densinfo, "value")
                else densinfo.u.value + densinfo.d.value
            )
            return -0.7 * n * n.detach() ** (1.0 / 3.0)

    with pytest.raises(ValueError, match="derivatives with respect to the density"):
        check_functional(get_xc(Plain()))


class Detached(nn.Module):
    """A layer beside which the network sees nothing of its input's changes."""

    def forward(self, x):
        return x.detach()


def test_a_network_that_cuts_the_graph():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), Detached(), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="other derivatives"):
        check_functional(HybridXC("PBE", network, aweight0=0.1))


SINGLE = {
    "float": lambda self, v: (1.0 + torch.tanh(v.s2)).float().double(),
    "float of one input": lambda self, v: 1.0 + torch.tanh(v.inverse_rs.float()),
    "half": lambda self, v: 1.0 + torch.tanh(v.s2).half(),
}


@pytest.mark.parametrize("name", SINGLE)
def test_single_precision_is_refused(name):
    with pytest.raises(ValueError, match="double precision"):
        check_functional(own(enhancement=SINGLE[name]))


def function(backward, once=False):
    """p n^(4/3), whose derivatives by n and p are what `backward` returns."""

    class Power(torch.autograd.Function):
        @staticmethod
        def forward(ctx, n, p):
            ctx.save_for_backward(n, p)
            return p * n ** (4 / 3)

    def derivatives(ctx, cotangent):
        by_n, by_p = backward(*ctx.saved_tensors)
        return cotangent * by_n, (cotangent * by_p).sum()

    Power.backward = staticmethod(once_differentiable(derivatives) if once else derivatives)
    return Power


def power_of_arrays(n, p):
    n, p = n.detach().cpu().numpy(), p.detach().cpu().numpy()
    return torch.as_tensor(4 / 3 * p * n ** (1 / 3)), torch.as_tensor(n ** (4 / 3))


def power(n, p):
    return 4 / 3 * p * n ** (1 / 3), n ** (4 / 3)


class Powered(Own):
    """An energy by a function with a backward of its own."""

    def __init__(self, power):
        super().__init__()
        self.power = power

    def energy_density(self, variables):
        return -self.power.apply(variables.density, self.weight())


SECOND = {
    "numpy": (function(power_of_arrays), "with respect to the density"),
    "once_differentiable": (function(power, once=True), "with respect to the density"),
    "density detached": (
        function(lambda n, p: (4 / 3 * p * n.detach() ** (1 / 3), n ** (4 / 3))),
        "with respect to the density",
    ),
    "parameter detached": (
        function(lambda n, p: (4 / 3 * p.detach() * n ** (1 / 3), n ** (4 / 3))),
        "with respect to its parameter '.*p'",
    ),
}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", SECOND)
def test_potentials_without_their_derivatives_are_refused(name, mixed):
    """Energies and potentials are right, what the density's response needs is not."""
    power, what = SECOND[name]
    functional = get_xc("PBE") + 0.01 * Powered(power) if mixed else Powered(power)
    message = f"other second derivatives, of its potential {what}.*ctx.saved_tensors"
    with pytest.raises(ValueError, match=message):
        check_functional(functional)


def test_a_backward_in_single_precision_is_refused():
    def rounded(n, p):
        root = n.float().pow(1 / 3).double()
        return 4 / 3 * p * root, n ** (4 / 3)

    single = function(rounded)
    with pytest.raises(ValueError, match="double precision: its potentials scatter"):
        check_functional(Powered(single))


class Cached(Own):
    """A weight that is computed once."""

    @functools.cached_property
    def exponential(self):
        return torch.exp(self.p)

    def weight(self):
        return self.exponential


class Attribute(Own):
    """A weight that is kept when it is first needed."""

    def weight(self):
        if not hasattr(self, "kept"):
            self.kept = torch.exp(self.p)
        return self.kept


class Remembered(Own):
    """A weight that functools remembers."""

    @functools.lru_cache  # noqa: B019
    def exponential(self):
        return torch.exp(self.p)

    def weight(self):
        return self.exponential()


@pytest.mark.parametrize("cls", [Cached, Attribute, Remembered])
@pytest.mark.parametrize("mixed", [False, True])
def test_what_was_computed_with_other_parameters_is_refused(cls, mixed):
    functional = get_xc("PBE") + 0.1 * cls() if mixed else cls()
    with pytest.raises(ValueError, match="keeps something that it computed"):
        check_functional(functional)


class Counting(Own):
    """It counts its evaluations and keeps its last density, which changes nothing."""

    def energy_density(self, variables):
        self.count = getattr(self, "count", 0) + 1
        self.last = variables.density
        return super().energy_density(variables)


GOOD = {
    "own": own,
    "counting": Counting,
    "kink": lambda: own(enhancement=lambda self, v: 1.0 + torch.relu(1.0 - v.s2)),
    "jump": lambda: own(enhancement=lambda self, v: torch.where(v.s2 > 1.0, 1.5, 1.0)),
    "zero weights and ReLU": lambda: HybridXC("PBE", zeros(), aweight0=0.1),
    "unused parameter": lambda: own(weight=lambda self: self.p),
    "stiff": lambda: own(enhancement=lambda self, v: torch.exp(30.0 / (1.0 + v.s2))),
    "constrained": ConstrainedGGA,
    "constrained, random": lambda: ConstrainedMetaGGA(start="random", seed=1),
    "unconstrained": lambda: UnconstrainedMetaGGA(start="random", seed=1),
    "SCAN": lambda: get_xc("SCAN"),
    "r2SCAN": lambda: get_xc("r2SCAN"),
    "chachiyo": lambda: LibXC("gga_x_chachiyo"),
    "BEEF, of large terms": lambda: LibXC("gga_x_beefvdw"),
    "libxc's TPSS": lambda: LibXC("mgga_x_tpss"),
    "a right backward": lambda: Powered(function(power)),
    "wide, of ReLUs": lambda: NNPBE(wide(nn.ReLU)),
    "wide, of SELUs": lambda: NNPBE(wide(nn.SELU, seed=2)),
}


def wide(activation, seed=0):
    """With kinks, in the energy or its derivatives, everywhere."""
    torch.manual_seed(seed)
    layers = [nn.Linear(3, 256), activation()]
    for _ in range(3):
        layers += [nn.Linear(256, 256), activation()]
    return nn.Sequential(*layers, nn.Linear(256, 1))


def zeros():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return network


@pytest.mark.parametrize("name", GOOD)
def test_derivatives_that_are_right_pass(name):
    functional = GOOD[name]()
    before = [p.detach().clone() for p in functional.parameters()]
    for mode in (torch.enable_grad, torch.no_grad):  # predictions try functionals, too
        with mode():
            check_memory(functional)
            check_derivatives(functional)
    assert all(map(torch.equal, before, functional.parameters()))
    assert all(p.grad is None for p in functional.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_in_calculations_without_a_graph(mode):
    """As predictions are done: the same answers."""
    functionals = own(), Powered(function(power)), HybridXC("PBE", wide(nn.Tanh), aweight0=0.1)
    wrong = own(enhancement=BY_DENSITY["detach"]), Powered(SECOND["numpy"][0])
    with mode():
        for functional in functionals:
            check_derivatives(functional)
            check_functional(functional)
        for functional in wrong:
            with pytest.raises(ValueError, match="derivatives"):
                check_functional(functional)


def test_the_sizes_of_errors_that_are_noticed():
    """A part of 1e-3 of the energy without a graph is noticed, rounding is not."""
    for part, refused in ((1e-3, True), (0.0, False)):
        functional = own(
            enhancement=lambda self, v, part=part: 1.0 + part * torch.tanh(v.s2.detach())
        )
        if refused:
            with pytest.raises(ValueError, match="other derivatives"):
                check_derivatives(functional)
        else:
            check_derivatives(functional)
