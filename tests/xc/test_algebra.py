"""Sums and multiples of functionals, their parameters, and functionals of one's own."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from deepchem_xc.xc import (
    PBE,
    B88Exchange,
    BaseXC,
    DensityVariables,
    LibXC,
    PBECorrelation,
    PBEExchange,
    PW92Correlation,
    RPBEExchange,
    SlaterExchange,
    SpinParam,
    SumXC,
    ValGrad,
    XCFunctional,
    get_xc,
)
from tests.differences import assert_exact_derivatives


@pytest.fixture
def density(sample, densinfo):
    return densinfo(sample(2, npoints=50, s=(0.1, 3.0), alpha=(0.1, 10.0)))


def energy(functional, density):
    return functional.get_edensityxc(density)


def test_a_functional_is_a_module_of_torch_and_deepchem():
    for functional in (get_xc("PBE"), get_xc("lda_x") + get_xc("lda_c_pz"), 2.0 * get_xc("lda_x")):
        assert isinstance(functional, torch.nn.Module)
        assert isinstance(functional, BaseXC)
        assert isinstance(functional, XCFunctional)


def test_sums_and_multiples(density):
    x, c = SlaterExchange(), PBECorrelation()
    ex, ec = energy(x, density), energy(c, density)
    half = torch.tensor(0.5, dtype=torch.float64)
    cases = {
        "sum": (x + c, ex + ec),
        "difference": (x - c, ex - ec),
        "number on the left": (0.5 * x, 0.5 * ex),
        "number on the right": (x * 0.5, 0.5 * ex),
        "integer": (2 * x, 2 * ex),
        "tensor on the left": (half * x, 0.5 * ex),
        "quotient": (c / 4, 0.25 * ec),
        "minus": (-c, -ec),
        "plus": (+c, ec),
        "sum()": (sum([x, c, 2.0 * c]), ex + 3 * ec),
        "nested": (2.0 * (x + 0.5 * (c - x)), ex + ec),
    }
    for case, (functional, expected) in cases.items():
        assert torch.allclose(energy(functional, density), expected, rtol=1e-14, atol=0), case
    assert (x + c).family == 2
    assert (x + 2.0 * x).family == 1
    assert (x + c).name == "lda_x+gga_c_pbe"
    assert (0.5 * x).name == "0.5*lda_x"


@pytest.mark.parametrize("other", ["lda_x", 1.0, None])
def test_only_functionals_are_added(other):
    with pytest.raises(TypeError):
        get_xc("lda_x") + other


def test_only_numbers_scale():
    with pytest.raises(TypeError):
        get_xc("lda_x") * get_xc("lda_x")
    with pytest.raises(ValueError, match=r"0-d tensor, not by a tensor of shape \(3,\)"):
        get_xc("lda_x") * torch.ones(3)
    with pytest.raises(ValueError, match="scaled by a finite real number, not by inf"):
        get_xc("lda_x") * float("inf")
    with pytest.raises(ValueError, match="at least one term"):
        SumXC()


def test_numbers_of_numpy_and_of_single_precision_scale(density):
    expected = 0.5 * energy(get_xc("PBE"), density)
    half = (np.float64(0.5), np.float32(0.5), np.array(0.5), Fraction(1, 2), torch.tensor(0.5))
    for factor in (*half, torch.nn.Parameter(torch.tensor(0.5).double())):
        for functional in (factor * get_xc("PBE"), get_xc("PBE") * factor):
            assert torch.equal(energy(functional, density), expected), repr(factor)
    doubled = np.int64(2) * get_xc("PBE") / np.float64(4)
    assert torch.equal(energy(doubled, density), expected)


@pytest.mark.parametrize("factor", [torch.tensor(torch.nan), torch.tensor(1j), np.float64(np.inf)])
def test_other_numbers_are_refused(factor):
    with pytest.raises(ValueError, match="scaled by a finite real number, not by"):
        factor * get_xc("PBE")


@pytest.mark.parametrize("factor", [np.array([0.5, 0.5]), 1j, "0.5", [0.5]])
def test_what_is_no_number_is_refused(factor):
    """An array would make an array of functionals."""
    with pytest.raises((TypeError, ValueError)):
        factor * get_xc("PBE")
    with pytest.raises(ValueError, match="divided by a number other than 0"):
        get_xc("PBE") / 0


@pytest.mark.parametrize("value", ["0.8", None, torch.ones(3), float("nan"), 1j, [0.8]])
def test_constants_are_numbers(value):
    with pytest.raises(ValueError, match="kappa must be a finite number or a 0-d tensor, not"):
        PBE(kappa=value)
    with pytest.raises(ValueError, match="beta must be a finite number or a 0-d tensor, not"):
        PBECorrelation(beta=value, trainable=True)
    with pytest.raises(ValueError, match="trainable must be True or False, not 'kappa'"):
        PBE(trainable="kappa")


def test_a_factor_is_trained(density):
    """dE/da of a * F is E[F]; the parameter is found in sums and multiples of sums."""
    factor = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    functional = 2.0 * (factor * SlaterExchange() + PW92Correlation())
    assert [parameter is factor for parameter in functional.parameters()] == [True]
    energy(functional, density).sum().backward()
    expected = 2.0 * energy(SlaterExchange(), density).sum()
    assert torch.allclose(factor.grad, expected, rtol=1e-13)


def test_a_factor_keeps_its_graph(density):
    x = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    energy(x**2 * SlaterExchange(), density).sum().backward()
    assert torch.allclose(x.grad, 0.6 * energy(SlaterExchange(), density).sum(), rtol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda *p: PBE(kappa=p[0], mu=p[1], beta=p[2]),
        lambda *p: RPBEExchange(kappa=p[0], mu=p[1]) + PBECorrelation(beta=p[2]),
        lambda *p: B88Exchange(beta=0.1 * p[2]) + p[0] * p[1] * PW92Correlation(),
    ],
    ids=["PBE", "RPBE", "B88"],
)
def test_gradient_by_the_constants(make, density):
    """Gradient and second derivatives by kappa, mu, beta against finite differences."""
    constants = [torch.tensor(value, dtype=torch.float64) for value in (0.804, 0.2195, 0.0667)]

    def total(*values):
        return energy(make(*values), density).sum() / 1e3

    assert_exact_derivatives(total, *constants, orders=(1, 2))


def test_trainable_constants_are_parameters(density):
    functional = PBE(trainable=True)
    assert {name.split(".")[-1] for name, _ in functional.named_parameters()} == {
        "kappa",
        "mu",
        "beta",
    }
    assert not list(PBE().parameters())
    fixed = energy(PBE(), density)
    assert torch.allclose(energy(functional, density), fixed, rtol=1e-14, atol=0.0)
    optimiser = torch.optim.SGD(functional.parameters(), lr=1e-12)
    target = energy(PBE(kappa=0.9), density)
    before = (energy(functional, density) - target).square().sum()
    before.backward()
    optimiser.step()
    after = (energy(functional, density) - target).square().sum()
    assert after < before


def test_names_of_parameters_in_deepchem_style():
    functional = PBE(trainable=True)
    names = functional.getparamnames("get_vxc", prefix="xc.")
    assert names == ["xc.terms.0.kappa", "xc.terms.0.mu", "xc.terms.1.beta"]
    assert len(functional.getparams("get_edensityxc")) == 3
    with pytest.raises(KeyError, match="unknown method 'get_energy'"):
        functional.getparamnames("get_energy")


@pytest.mark.parametrize("name", ["lda_x", "PBE", "0.3*gga_x_b88+gga_c_lyp", "r2SCAN"])
def test_potential_of_deepchem_base_class(name, sample, densinfo):
    """BaseXC.get_vxc works on these functionals, in one and two channels."""
    functional = get_xc(name)
    for nspin in (1, 2):
        rho = torch.tensor(sample(nspin, npoints=20, s=(0.1, 2.0), alpha=(0.1, 2.0)))
        found = functional.get_vxc(densinfo(rho.clone()))
        rho.requires_grad_()
        (expected,) = torch.autograd.grad(functional.get_edensityxc(densinfo(rho)).sum(), rho)
        potential, rows = (found, expected) if rho.ndim == 2 else (found.d, expected[1])
        assert torch.allclose(potential.value, rows[0], rtol=1e-13, atol=0)
        if functional.family > 1:
            assert torch.allclose(potential.grad, rows[1:4], rtol=1e-13, atol=0)
        if functional.family == 4:
            assert torch.allclose(potential.kin, rows[4], rtol=1e-13, atol=0)
            assert not potential.lapl.any()


def test_potential_of_a_density_that_lacks_something(density):
    density.u.kin = None
    with pytest.raises(ValueError, match="needs the kinetic energy density"):
        get_xc("r2SCAN").get_vxc(density)
    density.u.grad = None
    with pytest.raises(ValueError, match="needs the gradient"):
        get_xc("PBE").get_vxc(density)


FUNCTIONALS = {
    "PBE, trainable": lambda: PBE(trainable=True),
    "BLYP": lambda: get_xc("BLYP"),
    "sum with a trainable factor": lambda: (
        torch.nn.Parameter(torch.tensor(0.6, dtype=torch.float64)) * get_xc("Teter93")
        + get_xc("lda_c_pw")
    ),
    "libxc": lambda: LibXC("gga_c_pw91") + 0.1 * LibXC("lda_c_pz"),
}


@pytest.mark.parametrize("name", FUNCTIONALS)
@pytest.mark.parametrize("copier", [copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_copies(copier, name, density):
    functional = FUNCTIONALS[name]()
    copied = copier(functional)
    assert torch.equal(energy(functional, density), energy(copied, density))
    assert copied.name == functional.name
    for ours, theirs in zip(functional.parameters(), copied.parameters()):
        assert ours is not theirs


def test_state_dict_round_trip(density, tmp_path):
    trained = PBE(kappa=0.91, mu=0.23, beta=0.05, trainable=True)
    torch.save(trained.state_dict(), tmp_path / "pbe.pt")
    fresh = PBE(trainable=True)
    fresh.load_state_dict(torch.load(tmp_path / "pbe.pt"))
    assert torch.equal(energy(trained, density), energy(fresh, density))
    assert not torch.allclose(energy(trained, density), energy(PBE(), density))


class Wigner(XCFunctional):
    """A functional as a user writes it."""

    name, family = "Wigner", 1

    def __init__(self) -> None:
        super().__init__()
        self.strength = torch.nn.Parameter(torch.tensor(-0.44, dtype=torch.float64))

    def energy_density(self, variables: DensityVariables) -> torch.Tensor:
        return self.strength * variables.density / (variables.rs + 7.8)


class OwnScreening(XCFunctional):
    """A functional that takes the density as it is given."""

    name, family = "raw", 1

    def get_edensityxc(self, densinfo):
        total = densinfo.sum().value if hasattr(densinfo, "u") else densinfo.value
        return -(total**2)


def test_functionals_of_ones_own(density):
    n = density.u.value + density.d.value
    rs = (3 / (4 * torch.pi * n)) ** (1 / 3)
    wigner = -0.44 * n / (rs + 7.8)
    assert torch.allclose(energy(Wigner(), density), wigner, rtol=1e-12, atol=0)
    mixed = 0.5 * OwnScreening() + Wigner() + SlaterExchange()
    expected = -0.5 * n**2 + wigner + energy(SlaterExchange(), density)
    assert torch.allclose(energy(mixed, density), expected, rtol=1e-12, atol=0)
    assert len(list(mixed.parameters())) == 1


def test_a_functional_without_energy_says_so(density):
    class Empty(XCFunctional):
        name, family = "empty", 1

    with pytest.raises(NotImplementedError, match=r"Empty must implement energy_density"):
        energy(Empty(), density)


def test_an_energy_that_is_not_one_number_a_point(density):
    class Unsqueezed(XCFunctional):
        name, family = "unsqueezed", 1

        def energy_density(self, variables):
            return variables.density * variables.density[..., None]  # (nr, nr)

    class Number(XCFunctional):
        family = 1

        def energy_density(self, variables):
            return 0.0

    for functional in (Unsqueezed(), get_xc("PBE") + Unsqueezed(), 2.0 * Unsqueezed()):
        with pytest.raises(ValueError, match=r"of unsqueezed gives \(50, 50\) .*\(50,\).*squeeze"):
            energy(functional, density)
    with pytest.raises(ValueError, match="of Number gives 0.0 instead of one number a point"):
        energy(Number(), density)


def test_a_functional_without_family_says_so(density):
    class Nameless(XCFunctional):
        def energy_density(self, variables):
            return -variables.density

    with pytest.raises(
        ValueError, match=r"Nameless has family = 0: set it to 1 \(LDA\), 2 \(GGA\)"
    ):
        energy(Nameless(), density)


def test_known_energies_in_a_functional_of_ones_own(density):
    """Sums, multiples and functionals of the raw density have an energy_density as well."""

    class Twice(XCFunctional):
        name = "twice"

        def __init__(self, known):
            super().__init__()
            self.known, self.family = known, known.family

        def energy_density(self, variables):
            return 2.0 * self.known.energy_density(variables)

    for known in (get_xc("PBE"), 0.3 * get_xc("r2SCAN"), get_xc("BLYP"), OwnScreening()):
        expected = 2.0 * energy(known, density)
        assert torch.allclose(energy(Twice(known), density), expected, rtol=1e-13, atol=0.0)


def test_missing_or_misshaped_gradient(density):
    density.u.grad = None
    with pytest.raises(ValueError, match="needs the gradient"):
        energy(get_xc("PBE"), density)
    density.u.grad = torch.zeros(50, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"shape \(50, 3\).*must be \(3, 50\)"):
        energy(get_xc("PBE"), density)
    assert torch.isfinite(energy(get_xc("LDA"), density)).all()
    density.u.grad = torch.zeros(3, 50, dtype=torch.float64)
    density.u.kin = torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"densinfo\.kin has the shape \(1,\).* \(50,\)"):
        energy(get_xc("r2SCAN"), density)


def test_exchange_constants_are_those_of_the_named_functionals(density):
    assert torch.equal(
        energy(get_xc("revPBE"), density),
        energy(PBEExchange(kappa=1.245) + PBECorrelation(), density),
    )
    assert torch.equal(
        energy(get_xc("PBEsol"), density),
        energy(PBEExchange(mu=10 / 81) + PBECorrelation(beta=0.046), density),
    )


@pytest.mark.parametrize("name", ["LDA", "PBE", "r2SCAN"])
def test_get_vxc_of_a_channel_given_twice(name, tensor):
    """A closed shell may be written with one object for both channels."""
    n, *rest = tensor(1).unbind(0)
    gradient, tau = torch.stack(rest[:3]), rest[3]
    half = ValGrad(value=0.5 * n, grad=0.5 * gradient, kin=0.5 * tau)
    functional = get_xc(name)
    one = functional.get_vxc(ValGrad(value=n, grad=gradient, kin=tau))
    both = functional.get_vxc(SpinParam(u=half, d=half))
    torch.testing.assert_close(both.u.value, one.value)
    torch.testing.assert_close(both.d.value, one.value)
    assert not half.value.requires_grad
