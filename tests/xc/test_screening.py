"""Finite and continuous everywhere: vacuum, zero gradients, empty channels, negative densities."""

from __future__ import annotations

import itertools

import pytest
import torch

from deepchem_xc.xc import (
    NNLDA,
    NNPBE,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    HybridXC,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
    get_xc,
)
from tests.differences import assert_agreement, differences


def small_network(ninput):
    torch.manual_seed(0)
    layers = torch.nn.Linear(ninput, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
    return torch.nn.Sequential(*layers)


LEARNED = {
    "NNLDA": lambda: NNLDA(small_network(2)),
    "NNPBE": lambda: NNPBE(small_network(3)),
    "HybridXC": lambda: HybridXC("PBE", small_network(3), aweight0=0.3),
    "ConstrainedGGA": lambda: ConstrainedGGA(start="random", seed=1),
    "ConstrainedGGA around PBE": lambda: ConstrainedGGA(start="random", base="pbe", seed=1),
    "UnconstrainedGGA": lambda: UnconstrainedGGA(start="random", seed=1),
    "ConstrainedMetaGGA": lambda: ConstrainedMetaGGA(start="random", seed=1),
    "linear limit": lambda: ConstrainedMetaGGA(start="random", seed=1, linear_limit=True),
    "UnconstrainedMetaGGA": lambda: UnconstrainedMetaGGA(start="random", seed=1),
}
NAMES = ("LDA", "lda_c_vwn", "Teter93", "PBE", "RPBE", "BLYP", "r2SCAN", *LEARNED)
DENSITIES = (-1e-3, -1e-12, -1e-300, 0.0, 1e-300, 1e-30, 1e-20, 3e-18, 3e-16, 1e-15, 1e-9, 1.0, 1e6)
GRADIENTS = (0.0, 1e-150, 1e-30, 1e-9, 1.0, 1e10, 1e20)
# below tau_W too, as only round-off or a trial density gives
TAUS = (0.0, 1.0, 1e-12, -1e-12, 1e15, 1e-300)


def make(name):
    return LEARNED[name]() if name in LEARNED else get_xc(name)


def one_channel(taus=TAUS):
    """(5, npoints): every density with every gradient and kinetic energy density."""
    points = list(itertools.product(DENSITIES, GRADIENTS, taus))
    rho = torch.zeros(5, len(points), dtype=torch.float64)
    rho[[0, 1, 4]] = torch.tensor(points, dtype=torch.float64).T
    return rho


def two_channels():
    """(2, 5, npoints): every pair of densities and gradients, the gradients at an angle."""
    rho = one_channel(taus=(0.0,))
    npoints = rho.shape[1]
    up, down = rho.repeat_interleave(npoints, dim=1), rho.repeat(1, npoints)
    down[1], down[2] = 0.6 * down[1], 0.8 * down[1]
    taus = torch.tensor(TAUS, dtype=torch.float64)
    index = torch.arange(up.shape[1])
    up[4], down[4] = taus[index % 6], taus[(index // 7) % 6]
    return torch.stack((up, down))


def derivatives(functional, rho, densinfo, order):
    """Energy density, and directional derivatives along (n, |grad n|)-sized steps."""
    rho = rho.clone().requires_grad_()
    current = functional.get_edensityxc(densinfo(rho))
    found = [current]
    for _ in range(order):
        (gradient,) = torch.autograd.grad(current.sum(), rho, create_graph=True)
        found.append(gradient)
        current = gradient
    return [tensor.detach() for tensor in found]


@pytest.mark.parametrize("points", [one_channel, two_channels])
@pytest.mark.parametrize("name", NAMES)
def test_finite_to_third_order(name, points, densinfo):
    for order, values in enumerate(derivatives(make(name), points(), densinfo, 3)):
        assert torch.isfinite(values).all(), f"derivative of order {order}"


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_vacuum(name, nspin, densinfo):
    """Zero and negative densities: no energy, no potential, no kernel, whatever the gradient."""
    rho = one_channel()
    rho = rho[:, rho[0] <= 1e-30]
    rho = rho if nspin == 1 else torch.stack((rho, rho.flip(-1)))
    for values in derivatives(make(name), rho, densinfo, 3):
        assert torch.all(values == 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_untouched_above_the_threshold(name, densinfo):
    """A vacuum elsewhere on the grid does not change a point, bit for bit."""
    rho = torch.zeros(5, 5, dtype=torch.float64)
    rho[0] = torch.tensor([1e-15, 1e-10, 1e-3, 1.0, 1e3])
    rho[1:4] = torch.randn(3, 5, dtype=torch.float64) * rho[0] ** (4 / 3)
    rho[4] = rho[0] ** (5 / 3)
    functional = make(name)
    screened = torch.cat((rho, torch.zeros(5, 1, dtype=torch.float64)), dim=1)
    assert torch.equal(
        functional.get_edensityxc(densinfo(rho)), functional.get_edensityxc(densinfo(screened))[:-1]
    )


@pytest.mark.parametrize("name", NAMES)
def test_potential_is_continuous_through_the_threshold(name, densinfo):
    """No step in the potential, nor in the kernel on its scale n^(-2/3), along a decaying tail."""
    density = torch.logspace(-12, -20, 20001, dtype=torch.float64)
    rho = torch.zeros(5, len(density), dtype=torch.float64)
    rho[0] = density
    rho[1] = 2.0 * density  # exp(-2 r)
    rho[4] = 0.5 * density  # of one orbital
    _, potential, kernel = derivatives(make(name), rho, densinfo, 2)
    step = potential[0].diff().abs().max() / potential[0].abs().max()
    assert step < 1e-2
    scaled = kernel[0] * density.clamp(min=1e-16) ** (2 / 3)
    assert scaled.diff().abs().max() / scaled.abs().max() < 2e-2


def test_a_higher_threshold_can_be_set(densinfo):
    functional = get_xc("PBE")
    rho = torch.tensor([[1e-9], [0.0], [0.0], [0.0]], dtype=torch.float64)
    assert functional.get_edensityxc(densinfo(rho)) < 0.0
    functional.density_threshold = 1e-3
    assert 0.0 >= functional.get_edensityxc(densinfo(rho)) > -1e-30


LOCAL = ("LDA", "lda_c_vwn", "Teter93", "lda_c_pz", "NNLDA")


def beside_a_full_channel(fraction, noise=0.0):
    """(2, 5, 4): densities from a core to a tail, and next to nothing in the other channel."""
    full = torch.zeros(5, 4, dtype=torch.float64)
    full[0] = torch.tensor([10.0, 0.3, 1e-3, 1e-7])
    full[1], full[4] = 1.5 * full[0], 0.5 * full[0]
    empty = fraction * full
    empty[0] += noise
    return torch.stack((full, empty))


@pytest.mark.parametrize("name", ["LDA", "PBE", "BLYP", "r2SCAN", *LEARNED])
def test_empty_channel_leaves_the_other_alone(name, densinfo):
    """An empty channel, exactly or by round-off, does not disturb the occupied one."""
    rho = torch.zeros(2, 5, 3, dtype=torch.float64)
    rho[0, 0], rho[0, 1], rho[0, 4] = 0.3, 0.2, 0.3
    rho[1, 0] = torch.tensor([0.0, -1e-13, 1e-30])
    # as small beside 0.2 as the digits: the total gradient is that of both channels
    rho[1, 1] = torch.tensor([0.0, 1e-17, -1e-17])
    energy, potential = derivatives(make(name), rho, densinfo, 1)
    assert torch.allclose(energy, energy[0].expand(3), rtol=1e-14, atol=0.0)
    assert torch.allclose(potential[0, :2], potential[0, :2, :1].expand(2, 3), rtol=1e-13, atol=0)


@pytest.mark.parametrize("spin", [0, 1])
@pytest.mark.parametrize("name", LOCAL)
def test_potential_of_an_empty_channel_is_the_limit_in_the_lda(name, spin, densinfo):
    """Exchange and the spin interpolation approach it as the cubic root of the density.

    So a thousandth of a small density halves 9/10 of the distance from it.
    """

    def potential(fraction, noise=0.0):
        rho = beside_a_full_channel(fraction, noise)
        found = derivatives(make(name), rho if spin else rho.flip(0), densinfo, 1)[1]
        return found[spin, 0]

    some, less = potential(1e-6), potential(1e-9)
    limit = less - (some - less) / 9.0
    for noise in (0.0, 1e-30, -1e-30, 1e-18, -1e-14):
        given = potential(0.0, noise)
        assert torch.all((given - limit).abs() < 1e-3 * limit.abs() + 1e-4), noise
        assert torch.all(given < 0.0) or name == "NNLDA"


@pytest.mark.parametrize("name", [*NAMES, "gga_x_pbe+gga_c_pw91", "TPSS", "SCAN", "gga_x_chachiyo"])
def test_potential_of_an_empty_channel_is_bounded_and_ignores_round_off(name, densinfo):
    """Densities and gradients of any sign and direction that are round-off change nothing."""
    exact, *others = (beside_a_full_channel(0.0) for _ in range(4))
    generator = torch.Generator().manual_seed(0)
    for rho in others:
        rho[1] = 1e-18 * torch.randn(rho[1].shape, generator=generator, dtype=torch.float64)
    functional = make(name)
    _, expected = derivatives(functional, exact, densinfo, 1)
    # gradient and tau as well, whose divergence would be the potential
    assert expected[1].abs().max() < 20.0
    for rho in others:
        _, potential = derivatives(functional, rho, densinfo, 1)
        # exchange of the noise itself: (6 n / pi)^(1/3) is 1.2e-6 at 1e-18, 2e-6 at 4e-18
        assert torch.allclose(potential[:, 0], expected[:, 0], rtol=1e-9, atol=4e-6)
        assert torch.allclose(potential[:, 1:], expected[:, 1:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["PBE", "r2SCAN", "BLYP", "ConstrainedGGA around PBE"])
def test_potential_belongs_to_the_energy_as_a_channel_empties(name, densinfo):
    """Through the switch of the empty channel's gradient: the energy's difference by its density.

    The energy's digits are those of the full channel: they limit the differences of the emptiest.
    """
    fractions = torch.logspace(-11, -5, 61, dtype=torch.float64)
    rho = torch.zeros(2, 5, 61, dtype=torch.float64)
    rho[0, 0], rho[0, 1], rho[0, 4] = 0.3, 0.4, 0.2
    rho[1] = fractions * rho[0]
    functional = make(name)
    variable = rho[1].clone().requires_grad_()

    def energy(empty):
        return functional.get_edensityxc(densinfo(torch.stack((rho[0], empty))))

    (slope,) = torch.autograd.grad(energy(variable).sum(), variable)
    slope = (slope * rho[1]).sum(0)  # along the channel's own size

    with torch.no_grad():
        found = differences(lambda h: energy((1.0 + h) * rho[1]), 0.04)
    assert_agreement(slope, found, rel=1e-3, limit=0.05)
