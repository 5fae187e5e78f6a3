"""Up and down exchanged: the same energy, and the potentials exchanged, for every functional."""

from __future__ import annotations

import pytest
import torch

from deepchem_xc.models.functional import default_network
from deepchem_xc.xc import (
    NNLDA,
    NNPBE,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    HybridXC,
    LibXC,
    UnconstrainedGGA,
    UnconstrainedMetaGGA,
    get_xc,
)
from deepchem_xc.xc.libxc import libxc_identifiers
from deepchem_xc.xc.registry import common_names, identifiers


def tanh_network(ninput):
    layers = torch.nn.Linear(ninput, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)
    return torch.nn.Sequential(*layers)


LEARNED = {
    "NNLDA": lambda: NNLDA(default_network(2)),
    "NNLDA of exponentials": lambda: NNLDA(default_network(2, modeltype=2)),
    "NNPBE": lambda: NNPBE(default_network(3)),
    "NNPBE of exponentials": lambda: NNPBE(default_network(3, modeltype=2)),
    "NNPBE of tanh": lambda: NNPBE(tanh_network(3)),
    "HybridXC": lambda: HybridXC("PBE", default_network(3), aweight0=0.5),
    "HybridXC of an LDA": lambda: HybridXC("lda_x", tanh_network(2), aweight0=0.5),
    "HybridXC of a functional": lambda: HybridXC("PBE", NNPBE(tanh_network(3)), aweight0=0.5),
    "sum": lambda: 0.5 * NNLDA(tanh_network(2)) + get_xc("BLYP"),
    "ConstrainedGGA": lambda: ConstrainedGGA(start="random", seed=1),
    "ConstrainedGGA without spin scaling": lambda: ConstrainedGGA(
        start="random", seed=1, spin_scaling=False, base="pbe"
    ),
    "UnconstrainedGGA": lambda: UnconstrainedGGA(start="random", seed=1),
    "ConstrainedMetaGGA": lambda: ConstrainedMetaGGA(start="random", seed=1),
    "linear limit": lambda: ConstrainedMetaGGA(start="random", seed=1, linear_limit=True),
    "UnconstrainedMetaGGA": lambda: UnconstrainedMetaGGA(start="random", seed=1),
}


def exchanged(functional, rho, densinfo, rtol):
    """Energies and potentials of both orders agree, relative to the largest in the density."""
    results = []
    for given in (rho, rho.flip(0)):
        given = given.clone().requires_grad_()
        energy = functional.get_edensityxc(densinfo(given))
        (potential,) = torch.autograd.grad(energy.sum(), given)
        results += [energy.detach(), potential]
    energy, potential, other_energy, other_potential = results
    rows = {1: 1, 2: 4, 4: 5}[functional.family]
    scale = potential[:, :rows].abs().amax((0, 2), keepdim=True)
    close = (potential - other_potential.flip(0))[:, :rows].abs() <= rtol * scale
    return torch.allclose(energy, other_energy, rtol=rtol, atol=1e-300) and bool(close.all())


@pytest.fixture
def rho(tensor):
    given = tensor(2, npoints=30, density=(1e-4, 10.0), s=(0.05, 3.0), zeta=0.95)
    given[1, :, :4] = 0.0  # empty
    return given


@pytest.mark.parametrize("name", [*common_names(), *identifiers(), *LEARNED])
def test_up_and_down_are_alike(name, rho, densinfo):
    torch.manual_seed(0)
    functional = LEARNED[name]() if name in LEARNED else get_xc(name)
    assert exchanged(functional, rho, densinfo, 1e-11)


def test_up_and_down_are_alike_in_libxc(rho, densinfo):
    different = []
    for identifier in libxc_identifiers():
        try:
            functional = LibXC(identifier)
        except ValueError:
            continue
        if not exchanged(functional, rho, densinfo, 1e-7):
            different.append(identifier)
    assert different == []


@pytest.mark.parametrize("name", ["NNLDA", "NNPBE", "NNPBE of exponentials", "HybridXC"])
def test_smooth_where_the_polarisation_changes_sign(name, densinfo):
    """The potential difference of both channels is odd in xi, and has a slope at xi = 0."""
    torch.manual_seed(0)
    functional = LEARNED[name]()
    xi = torch.tensor([-2e-3, -1e-3, 0.0, 1e-3, 2e-3], dtype=torch.float64)
    rho = torch.zeros(2, 5, 5, dtype=torch.float64)
    rho[0, 0], rho[1, 0] = 0.5 * (1.0 + xi), 0.5 * (1.0 - xi)
    rho[:, 1] = 0.3
    rho.requires_grad_()
    energy = functional.get_edensityxc(densinfo(rho)).sum()
    (potential,) = torch.autograd.grad(energy, rho)
    field = potential[0, 0] - potential[1, 0]
    assert abs(float(field[2])) < 1e-14
    assert torch.allclose(field, -field.flip(0), rtol=1e-9, atol=1e-14)
    assert torch.allclose(field[4], 2.0 * field[3], rtol=1e-4, atol=1e-14)
