"""Relations that hold whatever the constants: spin, scaling, limits, higher derivatives."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.xc import SpinParam, ValGrad, get_xc
from tests.differences import assert_exact_derivatives

WHOLE = ("LDA", "Teter93", "PBE", "PBEsol", "revPBE", "RPBE", "BLYP", "lda_x+lda_c_vwn", "r2SCAN")
GGA_EXCHANGE = ("gga_x_pbe", "gga_x_pbe_sol", "gga_x_pbe_r", "gga_x_rpbe", "gga_x_b88")
EXCHANGE = ("lda_x", *GGA_EXCHANGE, "mgga_x_r2scan")
CORRELATION = ("lda_c_pw", "lda_c_vwn", "gga_c_pbe", "gga_c_pbe_sol", "mgga_c_r2scan")
ALL = (*EXCHANGE, *CORRELATION, "lda_c_pw_mod", "gga_c_lyp", "lda_xc_teter93")


def energy(name, rho, densinfo):
    return get_xc(name).get_edensityxc(densinfo(rho))


@pytest.mark.parametrize("name", WHOLE)
def test_closed_shell_in_one_or_two_channels(name, tensor, densinfo):
    # tau - tau_W loses digits where it is small beside both, whoever computes it
    limits = {"s": (1e-4, 2.0), "alpha": (1.0, 10.0)} if name == "r2SCAN" else {"s": (1e-4, 100.0)}
    rho = tensor(1, density=(1e-12, 1e4), **limits).requires_grad_()
    halves = torch.stack((0.5 * rho, 0.5 * rho))
    one, two = energy(name, rho, densinfo), energy(name, halves, densinfo)
    assert torch.allclose(one, two, rtol=1e-13, atol=0.0)
    exchange = energy("gga_x_pbe", rho, densinfo)
    # exchange and correlation of PBE cancel in the derivative by the gradient: relative to both
    first, second, scale = (torch.autograd.grad(e.sum(), rho)[0] for e in (one, two, exchange))
    assert torch.all((first - second).abs() <= 1e-11 * (first.abs() + scale.abs()))


@pytest.mark.parametrize("name", WHOLE)
def test_up_and_down_are_alike(name, tensor, densinfo):
    rho = tensor(2)
    swapped = energy(name, rho.flip(0), densinfo)
    assert torch.allclose(energy(name, rho, densinfo), swapped, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize("name", EXCHANGE)
def test_spin_scaling_of_exchange(name, tensor, densinfo):
    """E_x[up, down] = (E_x[2 up] + E_x[2 down]) / 2 (Oliver and Perdew 1979)."""
    rho = tensor(2)
    apart = 0.5 * (energy(name, 2 * rho[0], densinfo) + energy(name, 2 * rho[1], densinfo))
    assert torch.allclose(energy(name, rho, densinfo), apart, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("name", EXCHANGE)
def test_uniform_scaling_of_exchange(name, tensor, densinfo):
    """n(r) -> g^3 n(g r) multiplies the exchange energy density by g^4 (Levy and Perdew 1985)."""
    rho = tensor(1, density=(1e-3, 10.0))
    gamma = 1.7
    powers = [gamma**3, *(gamma**4,) * 3, gamma**5]  # tau scales as g^5
    scaled = rho * torch.tensor(powers, dtype=torch.float64)[:, None]
    expected = gamma**4 * energy(name, rho, densinfo)
    assert torch.allclose(energy(name, scaled, densinfo), expected, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("nspin", [1, 2])
def test_pbe_is_the_local_density_approximation_without_gradient(nspin, tensor, densinfo):
    rho = tensor(nspin)
    rho[..., 1:4, :] = 0.0
    lda = energy("lda_x+lda_c_pw_mod", rho, densinfo)
    for name in ("PBE", "PBEsol", "revPBE", "RPBE"):
        assert torch.allclose(energy(name, rho, densinfo), lda, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("nspin", [1, 2])
def test_r2scan_is_the_local_density_approximation_in_the_uniform_gas(nspin, tensor, densinfo):
    """Zero gradient, and the kinetic energy density of the uniform gas: alpha = 1."""
    rho = tensor(nspin, alpha=(1.0, 1.0))
    rho[..., 1:4, :] = 0.0
    rho[..., 4, :] = 0.3 * (3.0 * torch.pi**2 * nspin) ** (2 / 3) * rho[..., 0, :] ** (5 / 3)
    lda = energy("lda_x+lda_c_pw_mod", rho, densinfo)
    # the polynomials of the interpolation vanish at 1 to the digits they are published with
    assert torch.allclose(energy("r2SCAN", rho, densinfo), lda, rtol=1e-11, atol=0.0)


@pytest.mark.parametrize("name", ["gga_x_pbe", "gga_x_rpbe"])
def test_lieb_oxford_bound(name, tensor, densinfo):
    """F <= 1.804 however large the gradient."""
    rho = tensor(1, s=(1e-3, 1e8))
    factor = energy(name, rho, densinfo) / energy("lda_x", rho, densinfo)
    assert 1.80399 < factor.max() <= 1.804 + 1e-12
    assert factor.min() >= 1.0 - 1e-12


@pytest.mark.parametrize("name", ["gga_c_pbe", "gga_c_pbe_sol"])
def test_pbe_correlation_vanishes_for_rapid_variation(name, tensor, densinfo):
    rho = tensor(2, s=(1.0, 1.0))
    slow, fast = rho.clone(), rho.clone()
    fast[:, 1:] *= 1e6
    ratio = energy(name, fast, densinfo) / energy(name, slow, densinfo)
    assert torch.all(ratio >= 0.0) and ratio.max() < 1e-9


@pytest.mark.parametrize("name", CORRELATION)
def test_correlation_is_negative(name, tensor, densinfo):
    assert torch.all(energy(name, tensor(2, s=(1e-4, 1e3)), densinfo) < 0.0)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ALL)
def test_derivatives_to_the_third_against_differences(name, nspin, tensor, densinfo):
    """Potential, kernel and the kernel's gradient."""
    rho = tensor(nspin, npoints=2, density=(0.05, 5.0), s=(0.3, 2.0), zeta=0.6)
    functional = get_xc(name)

    def energy(values):
        return functional.get_edensityxc(densinfo(values))

    assert_exact_derivatives(energy, rho, orders=(1, 2, 3))


@pytest.mark.parametrize("nspin", [1, 2])
def test_large_grids_in_pieces(nspin, tensor, densinfo, monkeypatch):
    """A large grid is cut into pieces, which changes neither energy, potential nor kernel."""
    from deepchem_xc.xc import pieces

    rho = tensor(nspin, npoints=601, s=(0.1, 2.0))
    whole = _energy_potential_kernel(rho, densinfo)
    monkeypatch.setattr(pieces, "_CPU_PIECE", 50 // torch.get_num_threads())
    assert len(pieces.split_points(densinfo(rho))) > 10
    for one, other in zip(whole, _energy_potential_kernel(rho, densinfo)):
        assert torch.allclose(one, other, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("nspin", [1, 2])
def test_leading_axes(nspin, tensor, densinfo):
    """Shapes (2, 3, nr), the Cartesian axis being the last but one."""
    rho = tensor(nspin, npoints=60)
    batch = rho.reshape(*rho.shape[:-1], 2, 3, 10)  # (nspin, 5, 2, 3, 10)
    fields = batch.unbind(0) if nspin == 2 else [batch]
    channels = [ValGrad(value=field[0], grad=field[1:4].movedim(0, -2)) for field in fields]
    energies = get_xc("PBE").get_edensityxc(channels[0] if nspin == 1 else SpinParam(*channels))
    assert energies.shape == (2, 3, 10)
    expected = energy("PBE", rho, densinfo)
    torch.testing.assert_close(energies.flatten(), expected, rtol=1e-13, atol=0.0)


def _energy_potential_kernel(rho, densinfo):
    rho = rho.clone().requires_grad_()
    energies = get_xc("PBE").get_edensityxc(densinfo(rho))
    (potential,) = torch.autograd.grad(energies.sum(), rho, create_graph=True)
    (kernel,) = torch.autograd.grad((potential * rho.detach()).sum(), rho)
    return energies, potential, kernel
