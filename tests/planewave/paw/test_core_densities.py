"""Functionals at the densities of atomic cores, which the spheres of PAW show them.

Oxygen's reaches 3e2, silicon's 2e3, nickel's 2e4 and gold's 1e6 per cubic bohr, with reduced
gradients of 0.02 to 1.3. At the first radii differences put the kinetic energy density below the
limit of one orbital (alpha to -0.4 in gold).
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave.paw.sphere_directions import SphereDirections, all_directions
from deepchem_xc.planewave.paw.sphere_points import SpherePoints
from deepchem_xc.xc import (
    NNLDA,
    NNPBE,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    HybridXC,
    LibXC,
    SpinParam,
    ValGrad,
    XCFunctional,
    get_xc,
)
from deepchem_xc.xc.registry import identifiers
from deepchem_xc.xc.variables import channels_of
from tests.planewave.paw.spheres import gpaw_dataset, near_atom

ATOMS = ("O", "Si", "Ni", "Au")
LARGEST = {"O": 3e2, "Si": 1.8e3, "Ni": 1.7e4, "Au": 1.1e6}


def all_electron_density(name: str, nspin: int) -> ValGrad | SpinParam:
    """Density along one direction, from the first radius to the sphere's, as leaves."""
    dataset = gpaw_dataset(name)
    direction = SphereDirections(all_directions().vectors[-1:], torch.ones(1).numpy())
    points = SpherePoints(dataset, direction)
    found = points.density(near_atom(dataset, nspin), gradient=True, tau=True)
    nr = len(points.radii) // 2
    channels = [
        ValGrad(*(x[0, spin, 0, ..., :nr].clone().requires_grad_() for x in found[:2]))
        for spin in range(nspin)
    ]
    for spin, channel in enumerate(channels):
        channel.kin = found.tau[0, spin, 0, :nr].clone().requires_grad_()
    return channels[0] if nspin == 1 else SpinParam(*channels)


def leaves(density: ValGrad | SpinParam) -> list[Tensor]:
    return [x for c in channels_of(density) for x in (c.value, c.grad, c.kin)]


def energy_and_derivatives(
    functional: XCFunctional, density: ValGrad | SpinParam
) -> tuple[Tensor, list[Tensor]]:
    energy = functional.get_edensityxc(density)
    found = torch.autograd.grad(energy.sum(), leaves(density), materialize_grads=True)
    return energy.detach(), list(found)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", ATOMS)
def test_functionals_in_torch_are_libxcs_in_cores(name, nspin):
    density = all_electron_density(name, nspin)
    largest = sum(float(channel.value.detach().max()) for channel in channels_of(density))
    assert largest > LARGEST[name]
    for identifier in identifiers():
        native = energy_and_derivatives(get_xc(identifier), density)
        libxc = energy_and_derivatives(LibXC(identifier), density)
        torch.testing.assert_close(native[0], libxc[0], rtol=1e-12, atol=0.0, msg=identifier)
        for mine, other in zip(native[1], libxc[1]):
            # Components of gradients, and derivatives by tau, pass through zero.
            scale = other.abs().amax(0) if other.ndim == 2 else other.abs()
            assert bool(((mine - other).abs() <= 1e-8 * scale).all()), identifier
            assert float((mine - other).abs().max()) <= 1e-11 * float(scale.max()), identifier


@pytest.mark.parametrize("name", ["TPSS", "SCAN", "r2SCAN"])
def test_meta_ggas_have_finite_kernels_in_cores(name):
    for atom in ATOMS:
        assert_finite_kernel(get_xc(name), all_electron_density(atom, 2))


def assert_finite_kernel(functional: XCFunctional, density: ValGrad | SpinParam) -> Tensor:
    """Finite energy, first and second derivatives; returns the energy per volume."""
    energy = functional.get_edensityxc(density)
    inputs = leaves(density)
    first = torch.autograd.grad(energy.sum(), inputs, create_graph=True, materialize_grads=True)
    second = torch.autograd.grad(sum(x.sum() for x in first), inputs, materialize_grads=True)
    for found in (energy, *first, *second):
        assert bool(torch.isfinite(found).all())
    return energy.detach()


def network(ninput: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(ninput, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
    ).double()


@pytest.mark.parametrize("name", ATOMS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: ConstrainedGGA(start="random", seed=0),
        lambda: ConstrainedGGA(start="random", seed=0, base="pbe"),
        lambda: ConstrainedMetaGGA(start="random", seed=0),
        lambda: get_xc("recovered_gga"),
        lambda: get_xc("experiment_gga"),
    ],
    ids=["GGA", "GGA around PBE", "meta-GGA", "recovered_gga", "experiment_gga"],
)
def test_constrained_neural_functionals_are_smooth_in_cores_and_near_exchange(make, name):
    """Energies are 0.9 to 1.4 of Slater's exchange, as those of PBE are."""
    density = all_electron_density(name, 2)
    energy = assert_finite_kernel(make(), density)
    ratio = energy / get_xc("lda_x").get_edensityxc(density).detach()
    assert float(ratio.min()) > 0.9 and float(ratio.max()) < 1.4


@pytest.mark.parametrize("name", ATOMS)
@pytest.mark.parametrize("kind", ["NNLDA", "NNPBE", "HybridXC"])
def test_networks_of_the_density_itself_are_bounded_in_cores_if_their_layers_are(kind, name):
    """The energy per electron is at most the sum of the last layer's weights."""
    known: XCFunctional | None = None
    if kind == "NNLDA":
        functional: XCFunctional = NNLDA(network(2))
    elif kind == "NNPBE":
        functional = NNPBE(network(3))
    else:
        functional, known = HybridXC("PBE", network(3), aweight0=1.0), get_xc("PBE")
    net = functional.nnxc.nnmodel if isinstance(functional, HybridXC) else functional.nnmodel
    density = all_electron_density(name, 2)
    energy = assert_finite_kernel(functional, density)
    if known is not None:
        energy = energy - known.get_edensityxc(density).detach()
    electrons = sum(channel.value.detach() for channel in channels_of(density))
    bound = float(net[-1].weight.detach().abs().sum() + net[-1].bias.detach().abs())
    assert float((energy / electrons).abs().max()) <= bound + 1e-9
