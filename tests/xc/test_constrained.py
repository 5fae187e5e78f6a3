"""Neural functionals of enhancement factors: start, form, derivatives, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from pyscf.dft import libxc

from deepchem_xc.xc import (
    ConstrainedGGA,
    ConstrainedMetaGGA,
    DensityVariables,
    SpinParam,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
    ValGrad,
    get_xc,
)
from tests.differences import assert_agreement, assert_exact_derivatives, differences

CONSTRAINED = (ConstrainedGGA, ConstrainedMetaGGA)
UNCONSTRAINED = (UnconstrainedGGA, UnconstrainedMetaGGA)
ALL = (*CONSTRAINED, *UNCONSTRAINED)


def energy(name, rho, densinfo):
    return get_xc(name).get_edensityxc(densinfo(rho))


# the start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("cls", ALL)
def test_fresh_functionals_are_the_lda_of_libxc(cls, nspin, tensor, densinfo):
    """Slater exchange and PW92 correlation, energy and potential; the gradient has no effect."""
    rho = tensor(nspin, s=(1e-3, 10.0)).requires_grad_()
    energies = cls().get_edensityxc(densinfo(rho))
    (potential,) = torch.autograd.grad(energies.sum(), rho)
    n = rho.detach().numpy()[..., 0, :]
    values = [libxc.eval_xc1(name, n, nspin - 1, deriv=1) for name in ("lda_x", "lda_c_pw")]
    reference = sum(values)
    total = n.sum(0) if nspin == 2 else n
    assert np.allclose(energies.detach().numpy(), total * reference[0], rtol=1e-12, atol=0.0)
    expected = reference[1:] if nspin == 2 else reference[1]
    assert np.allclose(potential[..., 0, :].numpy(), expected, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("cls", ALL)
def test_without_the_gradient_condition_the_start_is_the_lda_at_any_gradient(cls, tensor, densinfo):
    options = {"high_gradient": False} if cls in CONSTRAINED else {}
    rho = tensor(2, s=(1e-6, 1e10), alpha=(1e-6, 1e6))
    lda = energy("LDA", rho, densinfo)
    fresh = cls(**options).get_edensityxc(densinfo(rho))
    assert torch.allclose(fresh, lda, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("cls", ALL)
def test_the_start_can_be_trained(cls, tensor, densinfo):
    """The last layers have gradients at once, all layers after one step."""
    rho = tensor(2, s=(0.1, 3.0), density=(1e-2, 1.0))
    target = energy("PBE", rho, densinfo)
    functional = cls(seed=0)
    optimiser = torch.optim.Adam(functional.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (functional.get_edensityxc(densinfo(rho)) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad.abs().max() > 0 for parameter in functional.parameters())


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("cls", CONSTRAINED)
def test_no_points_have_no_energies(cls, linear, tensor, densinfo):
    empty = densinfo(tensor(2)[..., :0])
    assert cls(linear_limit=linear).get_edensityxc(empty).shape == (0,)


def test_seeds():
    first, second = (list(ConstrainedGGA(seed=7).parameters()) for _ in range(2))
    other = list(ConstrainedGGA(seed=8).parameters())
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert not torch.equal(first[0], other[0])
    before = torch.random.get_rng_state()
    ConstrainedGGA(seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


# the form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("linear", [False, True])
def test_equations_of_the_form(linear, tensor, densinfo, random):
    """The factors against the equations, written out with numpy."""
    rho = tensor(2, s=(0.05, 3.0), npoints=20)
    functional = random(ConstrainedMetaGGA, 5, 2.0, high_gradient=False, linear_limit=linear)
    variables = DensityVariables(densinfo(rho))
    up, down = rho.numpy()
    n, zeta = up[0] + down[0], (up[0] - down[0]) / (up[0] + down[0])

    def x2(s):
        return (1.0 - np.exp(-(s**2))) * np.log(1.0 + s)

    def reduced(n, gradient):
        return np.linalg.norm(gradient, axis=0) / (2.0 * (3.0 * np.pi**2) ** (1 / 3) * n ** (4 / 3))

    def x3(n, gradient, tau, spin_factor):
        weizsaecker = (gradient**2).sum(0) / (8.0 * n)
        gas = 0.3 * (3.0 * np.pi**2) ** (2 / 3) * n ** (5 / 3) * spin_factor
        return np.log(((tau - weizsaecker) / (gas + 1e-3 * weizsaecker) + 1.0) / 2.0)

    def change(module, s, *inputs):
        outputs = module(torch.tensor(np.stack(inputs, axis=-1))).detach().numpy().T
        a, b = inputs[-2:]
        if linear:
            return (1.0 - np.exp(-(s**2))) * outputs[0] + np.tanh(b) * outputs[1]
        [output] = outputs
        return (a + np.tanh(b) ** 2) * output

    def bounded(y, a):
        return a / (1.0 + np.exp(-(y - np.log(a - 1.0)))) - 1.0

    phi = ((1.0 + zeta) ** (4 / 3) + (1.0 - zeta) ** (4 / 3)) / 2.0
    spin_factor = ((1.0 + zeta) ** (5 / 3) + (1.0 - zeta) ** (5 / 3)) / 2.0
    gradient = up[1:4] + down[1:4]
    s = reduced(n, gradient)
    b = x3(n, gradient, up[4] + down[4], spin_factor)
    inputs = np.log(n ** (1 / 3) + 1e-5), np.log(phi + 1e-5), x2(s), b
    y = change(functional.correlation_network, s, *inputs)
    found = functional.correlation_factor(variables).detach().numpy()
    assert np.allclose(found, 1.0 + bounded(y, 2.0), rtol=1e-7, atol=0.0)

    for i, channel in enumerate((up, down)):
        s = reduced(2 * channel[0], 2 * channel[1:4])
        b = x3(2 * channel[0], 2 * channel[1:4], 2 * channel[4], 1.0)
        y = change(functional.exchange_network, s, x2(s), b)
        found = functional.exchange_factor(variables)[i].detach().numpy()
        assert np.allclose(found, 1.0 + bounded(y, 1.804), rtol=1e-7, atol=0.0)


def test_default_networks():
    """Three layers of width 16 with GELU; exchange sees x_2 only, correlation x_0, x_1, x_2."""
    functional = ConstrainedGGA()
    sizes = [
        [layer.in_features for layer in network if isinstance(layer, torch.nn.Linear)]
        for network in (functional.exchange_network, functional.correlation_network)
    ]
    assert sizes == [[1, 16, 16, 16], [3, 16, 16, 16]]
    activations = [type(layer) for layer in functional.exchange_network][1::2]
    assert activations == [torch.nn.GELU] * 3
    assert all(parameter.dtype == torch.float64 for parameter in functional.parameters())


@pytest.mark.parametrize(("gga", "meta"), [CONSTRAINED, UNCONSTRAINED])
def test_a_meta_gga_sees_one_input_more(gga, meta):
    for network in ("exchange_network", "correlation_network"):
        assert getattr(meta(), network)[0].in_features == getattr(gga(), network)[0].in_features + 1
    assert (gga().family, meta().family) == (2, 4)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize(("seed", "factor"), [(0, 1.0), (3, 10.0)])
def test_closed_shell_in_one_or_two_channels(cls, seed, factor, tensor, densinfo, random):
    rho = tensor(1, density=(1e-12, 1e4), s=(1e-4, 2.0), alpha=(1.0, 10.0)).requires_grad_()
    halves = torch.stack((0.5 * rho, 0.5 * rho))
    functional = random(cls, seed, factor)
    one, two = (functional.get_edensityxc(densinfo(density)) for density in (rho, halves))
    assert torch.allclose(one, two, rtol=1e-11, atol=0.0)
    first, second = (torch.autograd.grad(e.sum(), rho)[0] for e in (one, two))
    scale = (
        first.abs() + torch.autograd.grad(energy("gga_x_pbe", rho, densinfo).sum(), rho)[0].abs()
    )
    assert torch.all((first - second).abs() <= 1e-9 * scale)


@pytest.mark.parametrize("cls", ALL)
def test_up_and_down_are_alike(cls, tensor, densinfo, random):
    rho = tensor(2)
    functional = random(cls)
    one, other = (functional.get_edensityxc(densinfo(density)) for density in (rho, rho.flip(0)))
    assert torch.allclose(one, other, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("cls", ALL)
def test_derivatives_against_finite_differences(cls, nspin, tensor, densinfo, random):
    """First, second and third."""
    rho = tensor(nspin, npoints=2, density=(0.05, 5.0), s=(0.3, 2.0), zeta=0.6)
    functional = random(cls)

    def energies(values):
        return functional.get_edensityxc(densinfo(values))

    assert_exact_derivatives(energies, rho, orders=(1, 2, 3))


@pytest.mark.parametrize("cls", ALL)
def test_gradients_by_the_weights_against_finite_differences(cls, tensor, densinfo, random):
    rho = tensor(2, npoints=20, density=(0.05, 5.0), s=(0.3, 2.0))
    functional = random(cls)
    functional.get_edensityxc(densinfo(rho)).sum().backward()
    for parameter in functional.parameters():
        flat = parameter.data.view(-1)
        i = len(flat) // 2
        start = float(flat[i])

        def total(step, flat=flat, i=i, start=start):
            flat[i] = start + step
            return functional.get_edensityxc(densinfo(rho)).sum()

        found = differences(total, 1e-2)
        flat[i] = start
        assert_agreement(parameter.grad.view(-1)[i], found, rel=1e-6, scale=1.0)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("cls", ALL)
def test_finite_at_extremes_for_large_weights(cls, nspin, densinfo, random):
    """Zero density, zero gradient, full polarisation, vacuum: to the second derivative."""
    values = (0.0, 1e-20, 1e-15, 1e-6, 1.0, 1e4), (0.0, 1e-12, 1.0, 1e10), (0.0, 1e-6, 1.0, 1e8)
    points = torch.tensor(list(itertools.product(*values)), dtype=torch.float64).T
    rho = torch.zeros(nspin, 5, points.shape[1], dtype=torch.float64)
    rho[:, [0, 1, 4]] = points
    if nspin == 2:
        rho[1] = rho[1].flip(-1)
    rho = (rho if nspin == 2 else rho[0]).requires_grad_()
    current = random(cls, 3, 30.0).get_edensityxc(densinfo(rho))
    for _ in range(3):
        assert torch.isfinite(current).all()
        (current,) = torch.autograd.grad(current.sum(), rho, create_graph=True)


def test_leading_axes(tensor, densinfo, random):
    rho = tensor(2, npoints=60)
    batch = rho.reshape(2, 5, 2, 3, 10)
    channels = [
        ValGrad(value=field[0], grad=field[1:4].movedim(0, -2), kin=field[4]) for field in batch
    ]
    functional = random(ConstrainedMetaGGA)
    energies = functional.get_edensityxc(SpinParam(*channels))
    assert energies.shape == (2, 3, 10)
    whole = functional.get_edensityxc(densinfo(rho))
    assert torch.allclose(energies.flatten(), whole, rtol=1e-13, atol=0.0)


# bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "pbe"}, "start must be one of zero, random, not 'pbe'"),
        ({"width": 0}, "not 1 inputs, depth=3 and width=0"),
        ({"depth": 0}, "depth=0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ConstrainedGGA(**options)


def test_nan_in_weights(tensor, densinfo):
    functional = ConstrainedGGA()
    with torch.no_grad():
        functional.correlation_network[2].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"'correlation_network\.2\.weight' \(Cons.* contain NaN"):
        functional.get_edensityxc(densinfo(tensor(1)))


def test_single_precision(tensor, densinfo):
    density = densinfo(tensor(1).float())
    with pytest.raises(ValueError, match="the density is torch.float32"):
        ConstrainedGGA().get_edensityxc(density)
    with pytest.raises(ValueError, match="are torch.float32; functionals compute in torch.float64"):
        ConstrainedGGA().float().get_edensityxc(densinfo(tensor(1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lieb_oxford": "no"}, "lieb_oxford must be True or False, not 'no'"),
        ({"high_gradient": 1}, "high_gradient must be True or False, not 1"),
        ({"linear_limit": True, "uniform_limit": False}, "linear_limit says how uniform_limit"),
        ({"width": 2.5}, "width must be a whole number, not 2.5"),
        ({"seed": "a"}, "seed must be a whole number, not 'a'"),
    ],
)
def test_options_of_the_wrong_kind(options, message):
    with pytest.raises(ValueError, match=message):
        ConstrainedGGA(**options)


def test_missing_kinetic_energy_density(tensor, densinfo):
    with pytest.raises(ValueError, match="needs the kinetic energy density"):
        ConstrainedMetaGGA().get_edensityxc(densinfo(tensor(1)[:4]))
