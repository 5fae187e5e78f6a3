"""`base="pbe"`: the functional is PBE before it is trained, and has the same conditions after."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from pyscf.dft import libxc

from deepchem_xc.xc import ConstrainedGGA, ConstrainedMetaGGA, get_xc

AROUND_PBE = [partial(cls, base="pbe") for cls in (ConstrainedGGA, ConstrainedMetaGGA)]
WEIGHTS = [(0, 1.0), (1, 3.0), (2, 1000.0)]


def energy(name, rho, densinfo):
    return get_xc(name).get_edensityxc(densinfo(rho))


def exchange(functional, rho, densinfo):
    functional.correlation_factor = lambda variables: torch.zeros_like(variables.density)
    try:
        return functional.get_edensityxc(densinfo(rho)).detach()
    finally:
        del functional.correlation_factor


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("make", AROUND_PBE)
def test_fresh_functionals_are_pbe_of_libxc(make, nspin, tensor, densinfo):
    rho = tensor(nspin, s=(1e-3, 10.0)).requires_grad_()
    energies = make().get_edensityxc(densinfo(rho))
    (potential,) = torch.autograd.grad(energies.sum(), rho)
    values = rho.detach().numpy()[..., :4, :]
    reference = libxc.eval_xc1("pbe", values, nspin - 1, deriv=1)[0]
    total = values[..., 0, :].sum(0) if nspin == 2 else values[0]
    assert np.allclose(energies.detach().numpy(), total * reference, rtol=1e-10, atol=0.0)
    native = torch.tensor(rho.detach().numpy()).requires_grad_()
    (first,) = torch.autograd.grad(energy("PBE", native, densinfo).sum(), native)
    assert torch.allclose(potential[..., :4, :], first[..., :4, :], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("switch", ["lieb_oxford", "correlation_bounds"])
def test_without_bounds_the_start_is_pbe_too(switch, tensor, densinfo):
    rho = tensor(2, s=(1e-3, 10.0))
    fresh = ConstrainedGGA(base="pbe", **{switch: False}).get_edensityxc(densinfo(rho))
    assert torch.allclose(fresh, energy("PBE", rho, densinfo), rtol=1e-10, atol=0.0)


@pytest.mark.parametrize(("seed", "factor"), WEIGHTS)
@pytest.mark.parametrize("make", AROUND_PBE)
def test_conditions_hold_for_any_weights(make, seed, factor, tensor, densinfo, random):
    functional = random(make, seed, factor)
    rho = tensor(2, s=(1e-3, 1e6), alpha=(1e-6, 1e6))
    slater, pw92 = (energy(name, rho, densinfo) for name in ("lda_x", "lda_c_pw_mod"))
    x = exchange(functional, rho, densinfo)
    c = functional.get_edensityxc(densinfo(rho)).detach() - x
    assert (x / slater).min() >= 0.0 and (x / slater).max() <= 1.804 * (1.0 + 1e-14)
    margin = 1e-14 * slater.abs()
    assert torch.all(c <= margin) and torch.all(c >= 2.0 * pw92 - margin)
    flat = rho.clone()
    flat[..., 1:4, :] = 0.0
    flat[..., 4, :] = 0.3 * (6.0 * torch.pi**2) ** (2 / 3) * flat[..., 0, :] ** (5 / 3)
    gas = energy("lda_x + lda_c_pw_mod", flat, densinfo)
    assert torch.allclose(functional.get_edensityxc(densinfo(flat)), gas, rtol=1e-11, atol=0.0)


@pytest.mark.parametrize("make", AROUND_PBE)
def test_spin_and_uniform_scaling_of_exchange(make, tensor, densinfo, random):
    functional = random(make, 1, 3.0)
    rho = tensor(2, density=(1e-3, 10.0))
    together = exchange(functional, rho, densinfo)
    apart = sum(exchange(functional, 2 * channel, densinfo) for channel in rho)
    assert torch.allclose(together, 0.5 * apart, rtol=1e-10, atol=0.0)
    powers = [1.3**3, *(1.3**4,) * 3, 1.3**5]
    scaled = rho * torch.tensor(powers, dtype=torch.float64)[:, None]
    found = exchange(functional, scaled, densinfo)
    assert torch.allclose(found, 1.3**4 * together, rtol=1e-10, atol=0.0)


def test_it_learns_something_else_than_pbe(tensor, densinfo):
    rho = tensor(2, s=(0.1, 3.0), density=(1e-2, 1.0))
    target = energy("PBEsol", rho, densinfo)
    functional = ConstrainedGGA(base="pbe", seed=0)
    optimiser = torch.optim.Adam(functional.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        loss = (functional.get_edensityxc(densinfo(rho)) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_an_unknown_base_is_refused():
    with pytest.raises(ValueError, match="base must be one of lda, pbe"):
        ConstrainedGGA(base="blyp")
