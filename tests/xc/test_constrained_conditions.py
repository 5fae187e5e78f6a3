"""Every condition holds for any weights: fresh and random, small and large, and switches do switch.

Energies of exchange and correlation alone come from functionals of which the other part is taken
away, so that the conditions are tested on energies and not on the code's own factors.
"""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from deepchem_xc.xc import ConstrainedGGA, ConstrainedMetaGGA, get_xc
from deepchem_xc.xc.enhancement import enhancement

CONSTRAINED = (ConstrainedGGA, ConstrainedMetaGGA)
# The same, reaching the uniform gas linearly.
LINEAR = [
    pytest.param(partial(cls, linear_limit=True), id=f"{cls.__name__}-linear")
    for cls in CONSTRAINED
]
CONDITIONS = (
    "uniform_limit",
    "spin_scaling",
    "uniform_scaling",
    "lieb_oxford",
    "correlation_bounds",
    "high_gradient",
)
# seed and factor of the weights: as torch draws them, larger, and far beyond any training
WEIGHTS = [(0, 1.0), (1, 1.0), (2, 3.0), (3, 30.0), (4, 1000.0)]
# Four layers multiply round-off in s and alpha by the fourth power: where two evaluations at
# rounded arguments are compared, the largest weights leave no digits.
COMPARED = WEIGHTS[:4]


def round_off(factor):
    return 1e-13 * factor**4


def exchange(functional, rho, densinfo):
    """Energy density of exchange alone: that of correlation is linear in its factor."""
    return parts(functional, rho, densinfo)[0]


def correlation(functional, rho, densinfo):
    return parts(functional, rho, densinfo)[1]


def parts(functional, rho, densinfo):
    """The energy, split by replacing the correlation factor by 0."""
    whole = functional.get_edensityxc(densinfo(rho))
    functional.correlation_factor = lambda variables: torch.zeros_like(variables.density)
    try:
        alone = functional.get_edensityxc(densinfo(rho))
    finally:
        del functional.correlation_factor
    return alone.detach(), (whole - alone).detach()


def energy(name, rho, densinfo):
    return get_xc(name).get_edensityxc(densinfo(rho))


def uniform(rho):
    """No gradient and the kinetic energy density of the uniform gas, in every channel."""
    rho = rho.clone()
    nspin = 1 if rho.ndim == 2 else 2
    rho[..., 1:4, :] = 0.0
    rho[..., 4, :] = 0.3 * (3.0 * torch.pi**2 * nspin) ** (2 / 3) * rho[..., 0, :] ** (5 / 3)
    return rho


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(("seed", "factor"), WEIGHTS)
@pytest.mark.parametrize("cls", CONSTRAINED)
def test_uniform_gas(cls, seed, factor, nspin, tensor, densinfo, random):
    rho = uniform(tensor(nspin))
    functional = random(cls, seed, factor)
    lda = energy("LDA", rho, densinfo)
    # alpha is 1 to round-off; its distance from 1 enters squared
    assert torch.allclose(functional.get_edensityxc(densinfo(rho)), lda, rtol=1e-12, atol=0.0)
    without = random(cls, seed, factor, uniform_limit=False).get_edensityxc(densinfo(rho))
    assert not torch.allclose(without, lda, rtol=1e-3)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(("seed", "factor"), COMPARED)
@pytest.mark.parametrize("cls", LINEAR)
def test_uniform_gas_with_the_linear_limit(cls, seed, factor, nspin, tensor, densinfo, random):
    rho = uniform(tensor(nspin))
    found = random(cls, seed, factor).get_edensityxc(densinfo(rho))
    # alpha is 1 to round-off, which enters as it is
    assert torch.allclose(found, energy("LDA", rho, densinfo), rtol=round_off(factor), atol=0.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cls", CONSTRAINED)
def test_the_uniform_gas_is_reached_as_by_known_functionals(cls, seed, random):
    """F - 1 goes as s^2 and alpha - 1 with `linear_limit`, as s^3 and (alpha - 1)^2 without it."""

    def power(functional, near, nearer):
        """Of the distance from the uniform gas, from one to half of it."""
        one, half = (
            enhancement(functional, 1.0, s, alpha=alpha) - uniform_gas
            for s, alpha in (near, nearer)
        )
        return math.log2(abs(one / half))

    uniform_gas = enhancement(get_xc("LDA"), 1.0, 0.0)
    functionals = [random(cls, seed, 1.0, linear_limit=linear) for linear in (False, True)]
    near, nearer = (2e-2, 1.0), (1e-2, 1.0)
    assert [power(f, near, nearer) for f in functionals] == pytest.approx([3.0, 2.0], abs=0.1)
    if cls is ConstrainedMetaGGA:
        near, nearer = (0.0, 1.02), (0.0, 1.01)
        assert [power(f, near, nearer) for f in functionals] == pytest.approx([2.0, 1.0], abs=0.1)
        assert power(get_xc("r2SCAN"), near, nearer) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("seed", "factor"), COMPARED)
@pytest.mark.parametrize("cls", [*CONSTRAINED, *LINEAR])
def test_spin_scaling_of_exchange(cls, seed, factor, tensor, densinfo, random):
    rho = tensor(2)
    lda = energy("lda_x", rho, densinfo)

    def difference(functional):
        together = exchange(functional, rho, densinfo)
        apart = [exchange(functional, 2 * channel, densinfo) for channel in rho]
        return ((together - 0.5 * sum(apart)) / lda).abs().max()

    assert difference(random(cls, seed, factor)) < round_off(factor)
    assert difference(random(cls, seed, factor, spin_scaling=False)) > 1e-3


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(("seed", "factor"), COMPARED)
@pytest.mark.parametrize("cls", [*CONSTRAINED, *LINEAR])
def test_uniform_scaling_of_exchange(cls, seed, factor, nspin, tensor, densinfo, random):
    """n(r) -> g^3 n(g r): the energy density of exchange is multiplied by g^4."""
    rho = tensor(nspin, density=(1e-3, 10.0))
    gamma = 1.7
    powers = [gamma**3, *(gamma**4,) * 3, gamma**5]
    scaled = rho * torch.tensor(powers, dtype=torch.float64)[:, None]

    lda = energy("lda_x", scaled, densinfo)

    def difference(functional):
        expected = gamma**4 * exchange(functional, rho, densinfo)
        return ((exchange(functional, scaled, densinfo) - expected) / lda).abs().max()

    assert difference(random(cls, seed, factor)) < round_off(factor)
    assert difference(random(cls, seed, factor, uniform_scaling=False)) > 1e-4


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(("seed", "factor"), WEIGHTS)
@pytest.mark.parametrize("cls", CONSTRAINED)
def test_local_lieb_oxford_bound(cls, seed, factor, nspin, tensor, densinfo, random):
    """0 <= F_x <= 1.804 in every channel, thus of the energy relative to the spin-scaled LDA."""
    rho = tensor(nspin, s=(1e-3, 1e6), alpha=(1e-6, 1e6))
    lda = energy("lda_x", rho, densinfo)
    for options in (
        {},
        {"linear_limit": True},
        {"spin_scaling": False},
        {"uniform_limit": False, "high_gradient": False},
    ):
        factors = exchange(random(cls, seed, factor, **options), rho, densinfo) / lda
        assert factors.min() >= 0.0 and factors.max() <= 1.804 * (1.0 + 1e-14)
    without = random(cls, seed, factor, lieb_oxford=False, high_gradient=False)
    factors = exchange(without, rho, densinfo) / lda
    assert factors.min() < 0.0 or factors.max() > 1.804


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize(("seed", "factor"), WEIGHTS)
@pytest.mark.parametrize("cls", [*CONSTRAINED, *LINEAR])
def test_bounds_of_correlation(cls, seed, factor, nspin, tensor, densinfo, random):
    rho = tensor(nspin, s=(1e-3, 1e6), alpha=(1e-6, 1e6))
    pw92 = energy("lda_c_pw", rho, densinfo)
    # split from exchange by subtraction: to round-off of exchange
    margin = 1e-14 * energy("lda_x", rho, densinfo).abs()
    found = correlation(random(cls, seed, factor), rho, densinfo)
    assert torch.all(found <= margin)
    assert torch.all(found >= 2.0 * pw92 - margin)
    if factor > 1.0:  # small weights need no bounds
        without = random(cls, seed, factor, correlation_bounds=False, high_gradient=False)
        factors = correlation(without, rho, densinfo) / pw92
        assert factors.min() < -1e-3 or factors.max() > 2.0


@pytest.mark.parametrize(("seed", "factor"), WEIGHTS)
@pytest.mark.parametrize("cls", CONSTRAINED)
def test_rapid_variation(cls, seed, factor, densinfo, random):
    """Both energies go to zero at least as s^(-1/2)."""
    rho = torch.zeros(5, 2, dtype=torch.float64)
    rho[0] = 0.3
    length = 2.0 * (3.0 * torch.pi**2) ** (1 / 3) * 0.3 ** (4 / 3)
    rho[1] = length * torch.tensor([1e10, 1e14], dtype=torch.float64)
    rho[4] = rho[1].square() / (8.0 * rho[0])
    references = energy("lda_x", rho, densinfo), energy("lda_c_pw", rho, densinfo)
    for found, lda in zip(parts(random(cls, seed, factor), rho, densinfo), references):
        factors = found / lda
        bound = 2.0 * 100.0 * torch.tensor([1e-5, 1e-7], dtype=torch.float64)
        assert torch.all(factors.abs() <= bound * (1.0 + 1e-9) + 1e-13)
    lda = energy("LDA", rho, densinfo)
    without = cls(high_gradient=False).get_edensityxc(densinfo(rho))
    assert torch.allclose(without, lda, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("cls", CONSTRAINED)
def test_each_switch_changes_its_own_condition_only(cls, condition, tensor, densinfo, random):
    """With one condition off the others that do not rest on it still hold."""
    functional = random(cls, 1, 3.0, **{condition: False})
    rho = tensor(2, s=(0.1, 3.0))
    gamma, pw92 = 1.3, energy("lda_c_pw", rho, densinfo)
    x, c = parts(functional, rho, densinfo)
    slater = energy("lda_x", rho, densinfo).abs()
    if condition != "uniform_limit":
        flat = uniform(rho)
        lda = energy("LDA", flat, densinfo)
        assert torch.allclose(functional.get_edensityxc(densinfo(flat)), lda, rtol=1e-12, atol=0)
    if condition != "spin_scaling":
        apart = sum(exchange(functional, 2 * channel, densinfo) for channel in rho)
        assert torch.all((x - 0.5 * apart).abs() <= round_off(3.0) * slater)
    if condition != "uniform_scaling":
        powers = [gamma**3, *(gamma**4,) * 3, gamma**5]
        scaled = rho * torch.tensor(powers, dtype=torch.float64)[:, None]
        scaled_x = exchange(functional, scaled, densinfo)
        assert torch.all((scaled_x / gamma**4 - x).abs() <= round_off(3.0) * slater)
    if condition != "lieb_oxford":
        assert torch.all((x <= 0.0) & (x >= -1.804 * (1 + 1e-14) * slater))
    if condition != "correlation_bounds":
        assert torch.all((c <= 1e-14) & (c >= 2.0 * pw92 - 1e-14))
