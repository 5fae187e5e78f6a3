"""The functionals written in torch against libxc.

Domain: n between 1e-7 and 1e4 / bohr^3, reduced gradients up to 5, |zeta| up to 0.98, for
meta-GGAs alpha between 0.001 and 100. Outside it,
libxc itself loses digits by cancellation (1 - zeta near full polarisation, ec + H of PBE where the
gradient saturates it) and steps to zero at its thresholds; there the functionals are held against
their published equations in 60 digits, in test_native_against_equations.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyscf.dft import libxc
from pyscf.dft.numint import NumInt

from deepchem_xc.xc import LibXC, get_xc
from deepchem_xc.xc.registry import identifiers

NATIVE = (
    "lda_x",
    "lda_c_pw",
    "lda_c_pw_mod",
    "lda_c_vwn",
    "lda_xc_teter93",
    "gga_x_pbe",
    "gga_x_pbe_sol",
    "gga_x_pbe_r",
    "gga_x_rpbe",
    "gga_x_b88",
    "gga_c_pbe",
    "gga_c_pbe_sol",
    "gga_c_lyp",
    "mgga_x_r2scan",
    "mgga_c_r2scan",
)
WHOLE = {
    "LDA": ("lda_x", "lda_c_pw"),
    "Teter93": ("lda_xc_teter93",),
    "PBE": ("gga_x_pbe", "gga_c_pbe"),
    "PBEsol": ("gga_x_pbe_sol", "gga_c_pbe_sol"),
    "revPBE": ("gga_x_pbe_r", "gga_c_pbe"),
    "RPBE": ("gga_x_rpbe", "gga_c_pbe"),
    "BLYP": ("gga_x_b88", "gga_c_lyp"),
    "r2SCAN": ("mgga_x_r2scan", "mgga_c_r2scan"),
}


def density_for(functional, sample, nspin, **limits):
    """Random densities with what the functional needs."""
    if functional.family == 4:
        # libxc loses digits in the damping exp(-a / sqrt(s)) of r2SCAN below s = 0.01
        limits = {"s": (1e-2, 5.0), "alpha": (1e-3, 100.0), **limits}
    return sample(nspin, **limits)


def libxc_derivatives(identifier, rho, family):
    """Same order as the fixture ``derivatives``, energy per volume."""
    spin = rho.ndim - 2
    arrays = rho if family > 1 else rho[..., 0, :]
    out = libxc.eval_xc1(identifier, arrays, spin, deriv=2).copy()
    out[0] *= rho[:, 0].sum(0) if spin else rho[0]
    return out


def test_the_list_is_complete():
    assert set(NATIVE) == set(identifiers())
    assert not any(isinstance(get_xc(identifier), LibXC) for identifier in NATIVE)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("identifier", NATIVE)
def test_energy_potential_and_kernel(identifier, nspin, sample, derivatives):
    functional = get_xc(identifier)
    rho = density_for(functional, sample, nspin)
    ours = derivatives(functional, rho)
    reference = libxc_derivatives(identifier, rho, functional.family)
    # mixed derivatives of exchange are exactly zero here and round-off in libxc
    zero = np.all(ours == 0.0, axis=1)
    nfirst = {1: (2, 3), 2: (3, 6), 4: (4, 8)}[functional.family][nspin - 1]
    assert np.all(np.abs(reference[zero]) <= 1e-12 * np.abs(reference).max(axis=0))
    error = np.abs(ours - reference)[~zero] / np.abs(reference)[~zero]
    # second derivatives of r2SCAN pass through zero, and libxc's round-off (4e-9 of them at the
    # points below, against the equations in 60 digits) does not
    assert error.max() < (1e-8 if functional.family == 4 else 1e-9)
    assert error[: np.count_nonzero(~zero[:nfirst])].max() < 1e-9


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("identifier", NATIVE)
def test_vacuum(identifier, nspin, sample, derivatives):
    # below, ln(1 + 1/Q) of PW92 as libxc writes it runs out of digits, as Q grows like 1 / n^(2/3)
    functional = get_xc(identifier)
    limits = {"density": (1e-10, 1e-7), "s": (0.1, 3.0), "zeta": 0.5, "seed": 1}
    rho = density_for(functional, sample, nspin, **limits)
    ours = derivatives(functional, rho)
    reference = libxc_derivatives(identifier, rho, functional.family)
    compared = np.any(ours != 0.0, axis=1)
    # exp(-c / n^(1/3)) of LYP is as small as 1e-200
    error = np.abs(ours - reference)[compared] / (np.abs(reference)[compared] + 1e-100)
    assert error.max() < 1e-8


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("identifier", NATIVE)
def test_zero_gradient(identifier, nspin, sample, derivatives):
    functional = get_xc(identifier)
    rho = density_for(functional, sample, nspin, npoints=60, zeta=0.9, seed=2)
    rho[..., 1:4, :] = 0.0
    ours = derivatives(functional, rho)
    reference = libxc_derivatives(identifier, rho, functional.family)
    compared = slice(0, 1 + nspin)  # libxc keeps sigma above a floor: no derivatives by it
    assert np.allclose(ours[compared], reference[compared], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_functionals_in_cartesian_derivatives(name, nspin, sample, densinfo):
    """Through the public call: derivatives by n and grad n, against PySCF's transformation."""
    functional = get_xc(name)
    rho = density_for(functional, sample, nspin, npoints=100, s=(0.01, 3.0), zeta=0.9, seed=4)
    inputs = torch.tensor(rho, requires_grad=True)
    energy = functional.get_edensityxc(densinfo(inputs))
    (potential,) = torch.autograd.grad(energy.sum(), inputs, create_graph=True)
    direction = torch.tensor(rho * np.random.default_rng(5).normal(size=rho.shape))
    (kernel,) = torch.autograd.grad((potential * direction).sum(), inputs)

    reference = [np.zeros_like(energy.detach()), np.zeros_like(rho), np.zeros_like(rho)]
    nrow = {1: 1, 2: 4, 4: 5}[functional.family]
    for identifier in WHOLE[name]:
        arrays = rho[..., :nrow, :] if nrow > 1 else rho[..., 0, :]
        exc, vxc, fxc, _ = NumInt().eval_xc_eff(identifier, arrays, deriv=2, spin=nspin - 1)
        reference[0] += exc * (rho[:, 0].sum(0) if nspin == 2 else rho[0])
        reference[1][..., :nrow, :] += vxc.reshape(*rho.shape[:-2], nrow, -1)
        flat = direction.numpy()[..., :nrow, :].reshape(nspin * nrow, -1)
        square = fxc.reshape(nspin * nrow, nspin * nrow, -1)
        reference[2][..., :nrow, :] += np.einsum("ijr,jr->ir", square, flat).reshape(
            *rho.shape[:-2], nrow, -1
        )
    for ours, theirs in zip((energy, potential, kernel), reference):
        ours = ours.detach().numpy()
        # a component of the gradient may vanish by itself: relative to the point's largest
        scale = np.abs(theirs) if theirs.ndim == 1 else np.abs(theirs).max(-2, keepdims=True)
        assert np.all(np.abs(ours - theirs) <= 1e-9 * scale)
