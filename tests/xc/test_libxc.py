"""Functionals of libxc under autograd."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.xc import LibXC, ValGrad, get_xc
from deepchem_xc.xc.libxc import libxc_identifiers
from tests.differences import assert_exact_derivatives


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("identifier", ["lda_c_vwn", "gga_x_b88", "gga_c_pbe", "gga_c_lyp"])
def test_derivatives_equal_those_in_torch(identifier, nspin, sample, densinfo):
    rho = torch.tensor(sample(nspin, s=(0.1, 2.0), zeta=0.9))
    direction = rho * torch.randn(rho.shape, generator=torch.Generator().manual_seed(0))
    results = []
    for functional in (get_xc(identifier), LibXC(identifier)):
        inputs = rho.clone().requires_grad_()
        energy = functional.get_edensityxc(densinfo(inputs))
        (potential,) = torch.autograd.grad(energy.sum(), inputs, create_graph=True)
        (kernel,) = torch.autograd.grad((potential * direction).sum(), inputs)
        results.append((energy, potential, kernel))
    for native, library in zip(*results):
        scale = native.abs() if native.ndim == 1 else native.abs().amax(-2, keepdim=True)
        assert torch.all((native - library).abs() <= 1e-9 * scale)


def meta_gga_density(sample, nspin, npoints=6):
    """Adds a kinetic energy density above von Weizsaecker's."""
    rho = torch.tensor(sample(nspin, npoints, density=(0.05, 2.0), s=(0.2, 1.5), zeta=0.5))
    density, gradient = rho.narrow(-2, 0, 1), rho.narrow(-2, 1, 3)
    weizsaecker = gradient.square().sum(-2, keepdim=True) / (8.0 * density)
    thomas_fermi = 0.3 * (3.0 * torch.pi**2) ** (2 / 3) * density ** (5 / 3)
    return torch.cat((rho, weizsaecker + 0.7 * thomas_fermi), dim=-2)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ["lda_c_pz", "gga_c_p86", "SCAN", "0.5*TPSS + 0.5*gga_x_b86"])
def test_first_and_second_derivatives_against_finite_differences(name, nspin, sample, densinfo):
    functional = get_xc(name)
    rows = {1: 1, 2: 4, 4: 5}[functional.family]
    rho = meta_gga_density(sample, nspin)
    fixed, varied = rho, rho.narrow(-2, 0, rows)

    def energy(values):
        rest = fixed.narrow(-2, rows, 5 - rows)
        return functional.get_edensityxc(densinfo(torch.cat((values, rest), dim=-2)))

    assert_exact_derivatives(energy, varied, orders=(1, 2))


def test_kinetic_energy_density_is_half_the_squared_gradient_of_the_orbitals(densinfo):
    """One orbital: tau = |grad n|^2 / 8 n, for which SCAN has the exchange of the hydrogen atom.

    SCAN was made to give -0.3125 Ha for it, to four digits, and no self-correlation.
    """
    r = torch.linspace(1e-4, 20.0, 4001, dtype=torch.float64)
    density = torch.exp(-2.0 * r) / torch.pi
    gradient = -2.0 * density
    tau = gradient**2 / (8.0 * density)
    zero = torch.zeros_like(r)
    rho = torch.stack((density, gradient, zero, zero, tau))
    spin = densinfo(torch.stack((rho, torch.zeros_like(rho))))
    shell = 4.0 * torch.pi * r**2
    exchange = torch.trapezoid(get_xc("mgga_x_scan").get_edensityxc(spin) * shell, r)
    correlation = torch.trapezoid(get_xc("mgga_c_scan").get_edensityxc(spin) * shell, r)
    assert abs(exchange + 0.3125) < 1e-4
    assert abs(correlation) < 1e-6


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ["lda_c_pz", "gga_c_pw91", "SCAN"])
def test_finite_in_vacuum(name, nspin, densinfo):
    rho = torch.zeros(nspin, 5, 6, dtype=torch.float64)
    rho[:, 0] = torch.tensor([-1e-6, 0.0, 1e-30, 1e-16, 1e-15, 1e-9])
    rho[:, 1] = torch.tensor([1e-3, 0.0, 1e-20, 1e-16, 1e-15, 1e-9])
    rho[:, 4] = torch.tensor([0.0, 0.0, 1e-30, 1e-16, 1e-15, 1e-9])
    rho.requires_grad_()
    energy = get_xc(name).get_edensityxc(densinfo(rho[0] if nspin == 1 else rho))
    (potential,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
    (kernel,) = torch.autograd.grad(potential.sum(), rho)
    for values in (energy, potential, kernel):
        assert torch.isfinite(values).all()
        assert torch.all(values[..., :3] == 0.0)


@pytest.mark.parametrize("name", ["lda_c_pz", "gga_x_chachiyo", "gga_c_pw91", "SCAN"])
def test_one_point_with_an_empty_channel(name, densinfo):
    """One point alone gives what it gives among others."""
    rho = torch.zeros(2, 5, 2, dtype=torch.float64)
    rho[0, 0], rho[0, 1], rho[0, 4] = 0.3, 0.2, 0.4
    results = []
    for given in (rho, rho[..., :1]):
        given = given.clone().requires_grad_()
        energy = get_xc(name).get_edensityxc(densinfo(given))
        (potential,) = torch.autograd.grad(energy.sum(), given, create_graph=True)
        (kernel,) = torch.autograd.grad(potential.sum(), given)
        results.append(
            torch.cat((energy[:1], potential[..., 0].flatten(), kernel[..., 0].flatten()))
        )
    assert torch.isfinite(results[0]).all()
    assert torch.equal(*results)


def test_third_derivative_is_refused(sample, densinfo):
    rho = torch.tensor(sample(1, npoints=3), requires_grad=True)
    energy = LibXC("lda_c_pz").get_edensityxc(densinfo(rho))
    (first,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), rho, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiated twice"):
        torch.autograd.grad(second.sum(), rho)


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        ("hyb_gga_xc_camy_b3lyp", "screened by an exponential"),
        ("hyb_gga_xc_lb07", "screened by an exponential"),
        ("hyb_gga_xc_wb97x_v", "nonlocal"),
        ("gga_xc_vv10", "nonlocal"),
        ("mgga_x_br89", "Laplacian"),
        ("gga_x_lb", "potential without an energy"),
        ("lda_k_tf", "kinetic-energy functional"),
        ("lda_x_2d", "one- or two-dimensional"),
    ],
)
def test_functionals_that_cannot_be_used(identifier, reason):
    with pytest.raises(ValueError, match=f"{identifier}.* cannot be used here: .*{reason}"):
        get_xc(identifier)


def test_unknown_identifier():
    with pytest.raises(ValueError, match="no functional 'gga_x_nothing'"):
        LibXC("gga_x_nothing")


def test_every_identifier_either_works_or_says_why(densinfo):
    """No functional of the library ends in a crash or an unexplained error."""
    usable = 0
    for identifier in libxc_identifiers():
        try:
            functional = LibXC(identifier)
        except ValueError as refusal:
            assert "cannot be used here: it" in str(refusal)
        else:
            usable += 1
            assert functional.family in (1, 2, 4)
    assert usable > 300


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ["gga_x_chachiyo", "gga_x_wpbeh", "gga_x_sg4", "gga_x_lv_rpw86"])
def test_finite_at_zero_gradient(name, nspin, densinfo):
    """Energy, potential and kernel; the energy is that of a small gradient."""
    rho = torch.zeros(5, 5, dtype=torch.float64)
    rho[0] = torch.tensor([1e-11, 1e-5, 0.03, 0.3, 10.0])
    rho[4] = 0.3 * (3.0 * torch.pi**2) ** (2 / 3) * rho[0] ** (5 / 3)
    rho = rho if nspin == 1 else torch.stack((0.75 * rho, 0.25 * rho))
    rho.requires_grad_()
    functional = get_xc(name)
    energy = functional.get_edensityxc(densinfo(rho))
    (potential,) = torch.autograd.grad(energy.sum(), rho, create_graph=True)
    (kernel,) = torch.autograd.grad(potential.sum(), rho)
    for values in (energy, potential, kernel):
        assert torch.isfinite(values).all()
    near = rho.detach().clone()
    near[..., 1, :] = 1e-3 * near[..., 0, :] ** (4 / 3)  # s = 2e-4
    beside = functional.get_edensityxc(densinfo(near))
    assert torch.allclose(energy[1:], beside[1:], rtol=1e-5, atol=0.0)


CANCELLING = ["gga_c_p86", "gga_c_q2d", "gga_c_tca", "gga_c_wl", "gga_c_sg4", "gga_c_acgga"]


@pytest.mark.parametrize("name", [*CANCELLING, "PBE", "BLYP", "r2SCAN", "SCAN"])
def test_finite_where_the_gradients_of_the_channels_cancel(name, densinfo):
    """As between the atoms of an antiferromagnet, up to rounding; the energy is the limit."""
    rho = torch.zeros(2, 5, 8, dtype=torch.float64)
    rho[:, 0] = torch.tensor([1e-9, 1e-4, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0])
    direction = torch.nn.functional.normalize(torch.rand(3, 8, dtype=torch.float64), dim=0)
    rho[0, 1:4] = 4.0 * rho[0, 0] ** (4 / 3) * direction
    rho[1, 1:4] = -rho[0, 1:4]
    rho[:, 4] = 0.3 * (6.0 * torch.pi**2) ** (2 / 3) * rho[:, 0] ** (5 / 3)
    rho[:, 4] += rho[:, 1:4].square().sum(1) / (8.0 * rho[:, 0])
    functional = get_xc(name)
    for noise in (0.0, 1e-16, -1e-16):
        given = rho.clone()
        given[0, 1:4] *= 1.0 + noise * torch.arange(8)
        given.requires_grad_()
        energy = functional.get_edensityxc(densinfo(given))
        (potential,) = torch.autograd.grad(energy.sum(), given, create_graph=True)
        (kernel,) = torch.autograd.grad(potential.sum(), given)
        for values in (energy, potential, kernel):
            assert torch.isfinite(values).all()
        beside = rho.clone()
        beside[0, 1:4] *= 1.001
        expected = functional.get_edensityxc(densinfo(beside))
        # to first order in the difference, which exchange feels
        assert torch.allclose(energy, expected, rtol=2e-3, atol=1e-15)


def test_chachiyo_without_gradient_is_slaters_exchange(densinfo):
    rho = torch.zeros(4, 3, dtype=torch.float64)
    rho[0] = torch.tensor([1e-3, 0.03, 3.0])
    slater = get_xc("lda_x").get_edensityxc(densinfo(rho))
    chachiyo = LibXC("gga_x_chachiyo").get_edensityxc(densinfo(rho))
    assert torch.allclose(chachiyo, slater, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ["r2SCAN", "SCAN", "TPSS", "mgga_x_r2scan", "mgga_c_r2scan"])
def test_potential_belongs_to_the_energy_below_one_orbitals_tau(name, nspin, sample, densinfo):
    """libxc's limit of the gradient would leave another energy's derivative there."""
    functionals = [get_xc(name)]
    if "_r2scan" in name:
        functionals.append(LibXC(name))
    rho = torch.tensor(sample(nspin, npoints=6, density=(0.05, 2.0), s=(0.3, 1.5), zeta=0.5))
    density, gradient = rho.narrow(-2, 0, 1), rho.narrow(-2, 1, 3)
    tau = 0.7 * gradient.square().sum(-2, keepdim=True) / (8.0 * density)
    rho = torch.cat((rho, tau), dim=-2)
    energies = []
    for functional in functionals:
        assert_exact_derivatives(
            lambda values, f=functional: f.get_edensityxc(densinfo(values)), rho
        )
        energies.append(functional.get_edensityxc(densinfo(rho)))
    for other in energies[1:]:  # and this package's is libxc's
        assert torch.allclose(energies[0], other, rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("name", ["mgga_x_sa_tpss", "mgga_x_mvsb", "mgga_x_mvsbs", "mgga_x_regtm"])
def test_what_is_not_finite_is_refused(name):
    with pytest.raises(ValueError, match="its energy or derivatives are NaN or infinite"):
        LibXC(name)


@pytest.mark.parametrize("name", ["mgga_xc_hle17", "mgga_xc_tpsslyp1w"])
def test_energy_without_its_potential_is_refused(name):
    with pytest.raises(ValueError, match="its potential is not the derivative of its energy"):
        LibXC(name)


@pytest.mark.parametrize("name", ["mgga_x_gx", "mgga_x_pbe_gx"])
def test_energy_that_jumps_at_the_uniform_gas_is_refused(name):
    """Both parts count where the step function's argument is zero by rounding: twice the energy."""
    with pytest.raises(ValueError, match="its energy jumps where the kinetic energy density is"):
        LibXC(name)


@pytest.mark.parametrize("s", [0.0, 1e-3, 0.3, 2.0, 8.0])
def test_second_derivatives_of_wpbeh(s, densinfo):
    """Away from the jump of its energy at s = 1 they are those of the energy."""
    functional = get_xc("gga_x_wpbeh")
    n = torch.tensor([1e-3, 0.03, 0.3, 2.0], dtype=torch.float64)
    rho = torch.zeros(4, 4, dtype=torch.float64)
    rho[0] = n
    rho[1] = s * 2.0 * (3.0 * torch.pi**2) ** (1 / 3) * n ** (4 / 3)
    weights = torch.stack((n, *3 * [n ** (4 / 3)]))

    def energy(scaled):
        return functional.get_edensityxc(densinfo(scaled * weights)) / n ** (4 / 3)

    assert_exact_derivatives(energy, rho / weights, orders=(1, 2), rel=1e-4)


def test_missing_kinetic_energy_density():
    density = torch.ones(2, dtype=torch.float64)
    gradient = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="needs the kinetic energy density"):
        get_xc("SCAN").get_edensityxc(ValGrad(value=density, grad=gradient))


def test_single_precision_and_other_devices_are_refused():
    with pytest.raises(ValueError, match="the density is torch.float32; functionals compute in"):
        LibXC("lda_c_pz").get_edensityxc(ValGrad(value=torch.ones(2)))
    device = torch.device("meta")
    with pytest.raises(RuntimeError, match="CPU only, but the density is on meta"):
        LibXC("lda_c_pz").energy_density(_variables_on(device))


def _variables_on(device):
    from deepchem_xc.xc import DensityVariables

    variables = DensityVariables(ValGrad(value=torch.ones(2, dtype=torch.float64, device=device)))
    variables.__dict__["channel_weight"] = None  # its value cannot be read on the meta device
    return variables
