"""The XC energy inside PAW spheres: derivatives, symmetries, limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.spatial.transform import Rotation
from torch import Tensor

from deepchem_xc.numerics.harmonics import directions
from deepchem_xc.planewave.paw import sphere_xc
from deepchem_xc.planewave.paw.sphere_directions import SphereDirections, reduced_directions
from deepchem_xc.planewave.paw.sphere_xc import SphereXC
from deepchem_xc.xc import (
    PBE,
    ConstrainedGGA,
    ConstrainedMetaGGA,
    FunctionalValueError,
    HybridXC,
    PBECorrelation,
    XCFunctional,
    get_xc,
)
from tests.differences import assert_agreement, differences
from tests.planewave.paw.spheres import (
    RADIUS,
    core_density,
    cubic_operations,
    model_dataset,
    near_atom,
    rotation_of_states,
    smooth,
)

CPU = torch.device("cpu")
FUNCTIONALS = ("LDA", "PBE", "r2SCAN")


def symmetric_part(matrices: Tensor) -> Tensor:
    return 0.5 * (matrices + matrices.mT)


def network() -> HybridXC:
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    return HybridXC("PBE", layers, aweight0=0.1)


def dirac_energy(density, radius: float) -> float:
    """-3/4 (3/pi)^(1/3) int n^(4/3) 4 pi r^2 dr up to a radius, by adaptive quadrature."""
    value, _ = quad(
        lambda r: 4.0 * np.pi * r * r * float(density(r)) ** (4.0 / 3.0), 0.0, radius, epsabs=1e-12
    )
    return -0.75 * (3.0 / np.pi) ** (1.0 / 3.0) * value


def test_exchange_of_a_hydrogen_like_core_is_that_of_a_radial_quadrature():
    """Without valence electrons the core is left, whose energy is a one-dimensional integral."""
    dataset = model_dataset(1200)
    empty = torch.zeros(1, 1, dataset.nstate, dataset.nstate, dtype=torch.float64)
    energy = SphereXC(dataset, get_xc("lda_x")).energy(empty) + dataset.reference.xc
    expected = dirac_energy(core_density, RADIUS) - dirac_energy(
        lambda r: smooth(np.array([r]), 0, core_density)[0], RADIUS
    )
    assert abs(expected) > 1.0
    assert float(energy) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_the_potential_is_the_derivative_of_the_energy(name, nspin):
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc(name))
    occupations = near_atom(dataset, nspin, size=0.5)
    energies, potential = sphere.energy_and_potential(occupations)
    torch.testing.assert_close(energies, sphere.energy(occupations), rtol=0, atol=1e-12)
    torch.testing.assert_close(potential, potential.mT, rtol=0, atol=1e-12)
    # r2SCAN has no third derivative at two values of alpha.
    step = 1e-4 if name == "r2SCAN" else 2e-3
    for _ in range(3):
        direction = symmetric_part(torch.randn_like(occupations))
        found = differences(
            lambda h, to=direction: sphere.energy(occupations + float(h) * to).sum(), step
        )
        assert_agreement((potential * direction).sum(), found, rel=1e-8, limit=1e-6)


@pytest.mark.parametrize("nspin", [1, 2])
@pytest.mark.parametrize("name", FUNCTIONALS)
def test_the_kernel_is_the_derivative_of_the_potential(name, nspin):
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc(name))
    occupations = near_atom(dataset, nspin, size=0.5).requires_grad_()
    direction = symmetric_part(torch.randn_like(occupations))
    (potential,) = torch.autograd.grad(
        sphere.energy(occupations).sum(), occupations, create_graph=True
    )
    (kernel,) = torch.autograd.grad((potential * direction).sum(), occupations)
    other = symmetric_part(torch.randn_like(kernel))

    def along_other(h: float) -> Tensor:
        moved = occupations.detach() + float(h) * direction
        return (sphere.energy_and_potential(moved)[1] * other).sum()

    step = 1e-4 if name == "r2SCAN" else 2e-3
    assert_agreement((kernel * other).sum(), differences(along_other, step), 1e-7, limit=1e-5)


@pytest.mark.parametrize("name", [*FUNCTIONALS, "TPSS"])
def test_two_equal_channels_have_the_energy_of_one(name):
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc(name))
    occupations = near_atom(dataset, 1, size=0.5)
    energy, potential = sphere.energy_and_potential(occupations)
    halves = 0.5 * occupations.expand(1, 2, -1, -1)
    same, potentials = sphere.energy_and_potential(halves)
    torch.testing.assert_close(same, energy, rtol=0, atol=1e-11)
    torch.testing.assert_close(potentials, potential.expand(1, 2, -1, -1), rtol=0, atol=1e-10)


def test_up_and_down_exchanged_exchange_the_potentials():
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc("PBE"))
    occupations = near_atom(dataset, 2, size=0.5)
    energy, potential = sphere.energy_and_potential(occupations)
    same, exchanged = sphere.energy_and_potential(occupations.flip(1))
    torch.testing.assert_close(same, energy, rtol=0, atol=1e-12)
    torch.testing.assert_close(exchanged.flip(1), potential, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_the_energy_does_not_change_with_operations_of_a_cube(name):
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc(name))
    occupations = near_atom(dataset, 2, size=0.5)
    energy, potential = sphere.energy_and_potential(occupations)
    for operation in cubic_operations()[[5, 17, 30, 46]]:
        turn = rotation_of_states(dataset, operation)
        same, turned = sphere.energy_and_potential(turn @ occupations @ turn.T)
        torch.testing.assert_close(same, energy, rtol=0, atol=1e-12)
        torch.testing.assert_close(turned, turn @ potential @ turn.T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_the_energy_changes_with_other_rotations_only_by_the_error_of_the_directions(name):
    """Many more directions remove the change; r2SCAN, with a kink at alpha = 2.5, needs most."""
    dataset = model_dataset(60)
    occupations = near_atom(dataset, 1, size=0.5)
    turns = torch.stack(
        [rotation_of_states(dataset, x) for x in Rotation.random(6, random_state=1).as_matrix()]
    )
    rotated = (turns @ occupations[0] @ turns.mT)[:, None]
    changes = []
    for degree in (11, 47):
        sphere = SphereXC(dataset, get_xc(name), SphereDirections(*directions(degree)))
        changes.append(float((sphere.energy(rotated) - sphere.energy(occupations)).abs().max()))
    assert 1e-7 < changes[0] < 1e-4
    assert changes[1] < 0.03 * changes[0]


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_fewer_directions_give_the_same_energy_and_potential_on_a_symmetric_site(name):
    dataset = model_dataset(60)
    tetrahedral = np.array(
        [x for x in cubic_operations() if np.isclose(np.prod(x.sum(axis=1)), 1.0)]
    )
    for operations, number in ((cubic_operations(), 4), (tetrahedral, 6)):
        turns = torch.stack([rotation_of_states(dataset, x) for x in operations])

        def symmetrized(matrices: Tensor, turns: Tensor = turns) -> Tensor:
            return torch.stack([(turns @ x @ turns.mT).mean(0) for x in matrices[0]])[None]

        occupations = symmetrized(near_atom(dataset, 2, size=0.5))
        fewer = reduced_directions(operations)
        assert len(fewer) == number
        full = SphereXC(dataset, get_xc(name))
        reduced = SphereXC(dataset, get_xc(name), fewer)
        energy, potential = full.energy_and_potential(occupations)
        same, part = reduced.energy_and_potential(occupations)
        torch.testing.assert_close(same, energy, rtol=0, atol=1e-12)
        torch.testing.assert_close(symmetrized(part), potential, rtol=0, atol=1e-12)


@pytest.mark.parametrize("nspin", [1, 2])
def test_atoms_of_a_batch_have_the_energies_of_single_atoms(nspin, monkeypatch):
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc("PBE"))
    batch = torch.cat([near_atom(dataset, nspin, size=0.5, seed=seed) for seed in range(5)])
    # Pieces of two atoms.
    points = 2 * nspin * sphere.points(CPU).volumes.numel()
    monkeypatch.setattr(sphere_xc, "_POINTS_AT_ONCE", points)
    energies, potentials = sphere.energy_and_potential(batch)
    torch.testing.assert_close(energies, sphere.energy(batch), rtol=0, atol=1e-12)
    for i in range(5):
        energy, potential = sphere.energy_and_potential(batch[i : i + 1])
        torch.testing.assert_close(energies[i], energy[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(potentials[i], potential[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PBE(trainable=True),
        lambda: ConstrainedGGA(width=4, depth=2, start="random", seed=1),
        lambda: ConstrainedMetaGGA(width=4, depth=2, start="random", seed=1),
        network,
    ],
    ids=["PBE", "ConstrainedGGA", "ConstrainedMetaGGA", "HybridXC"],
)
def test_derivatives_by_parameters_are_those_of_differences(make):
    """Of the energy, and of a component of the potential."""
    functional = make()
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, functional)
    occupations = near_atom(dataset, 2, size=0.5).requires_grad_()
    component = symmetric_part(torch.randn_like(occupations))
    parameters = list(functional.parameters())
    start = [x.detach().clone() for x in parameters]
    direction = [x.abs() * torch.randn_like(x) for x in start]

    def along_direction(value: Tensor) -> float:
        found = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        return sum(float((g * d).sum()) for g, d in zip(found, direction))

    energy = sphere.energy(occupations).sum()
    (potential,) = torch.autograd.grad(energy, occupations, create_graph=True)
    expected = along_direction(energy), along_direction((potential * component).sum())

    def with_parameters(h: float) -> list[float]:
        with torch.no_grad():
            for x, x0, d in zip(parameters, start, direction):
                x.copy_(x0 + float(h) * d)
        energies, potentials = sphere.energy_and_potential(occupations.detach())
        return [float(energies.sum()), float((potentials * component).sum())]

    found = differences(with_parameters, 1e-2, halvings=3)
    assert_agreement(expected, found, rel=1e-7, limit=1e-6)


@pytest.mark.parametrize("name", [*FUNCTIONALS, "TPSS"])
def test_an_empty_channel_and_an_atom_without_electrons_have_finite_derivatives(name):
    """One electron, all up, without a core: hydrogen."""
    dataset = model_dataset(60, channels=((0, 1.0), (1, 1.3)))
    nothing = 0.0 * dataset.core_density
    dataset = replace(
        dataset,
        core_density=nothing,
        smooth_core_density=nothing,
        core_kinetic_density=nothing,
        smooth_core_kinetic_density=nothing,
    )
    sphere = SphereXC(dataset, get_xc(name))
    occupations = torch.zeros(2, 2, dataset.nstate, dataset.nstate, dtype=torch.float64)
    occupations[0, 0, 0, 0] = 1.0
    occupations.requires_grad_()
    energies = sphere.energy(occupations)
    (potential,) = torch.autograd.grad(energies.sum(), occupations, create_graph=True)
    (kernel,) = torch.autograd.grad(potential.sum(), occupations)
    one, none = (energies.detach() + dataset.reference.xc).tolist()
    assert one < -1e-3
    assert none == pytest.approx(0.0, abs=1e-15)
    assert bool(torch.isfinite(potential).all()) and bool(torch.isfinite(kernel).all())


def test_a_functional_that_gives_nan_in_the_sphere_is_named():
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, PBECorrelation(beta=-0.6))
    with pytest.raises(FunctionalValueError, match="in the PAW sphere of Be: .* gga_c_pbe gives"):
        sphere.energy_and_potential(near_atom(dataset, 1))


class _Edge(XCFunctional):
    """Finite, with an infinite derivative at the density of one point."""

    name = "edge"
    family = 1

    def __init__(self, density: float) -> None:
        super().__init__()
        self.density = density

    def energy_density(self, variables):
        return (variables.density - self.density).abs().sqrt()


def test_an_infinite_potential_in_the_sphere_is_named():
    dataset = model_dataset(60)
    occupations = near_atom(dataset, 1)
    points = SphereXC(dataset, get_xc("LDA")).points(CPU)
    density = points.density(occupations, gradient=False, tau=False).value
    sphere = SphereXC(dataset, _Edge(float(density[0, 0, 7, 11])))
    assert bool(torch.isfinite(sphere.energy(occupations)).all())
    with pytest.raises(FunctionalValueError, match="sphere of Be: .* edge .* potential"):
        sphere.energy_and_potential(occupations)


@pytest.mark.parametrize("shape", [(1, 13, 13), (1, 3, 13, 13), (1, 1, 17, 17)])
def test_occupations_of_another_shape_are_refused(shape):
    dataset = model_dataset(60)
    sphere = SphereXC(dataset, get_xc("LDA"))
    with pytest.raises(ValueError, match=r"must be \(natom, 1 or 2 spins, 13, 13\)"):
        sphere.energy(torch.zeros(shape, dtype=torch.float64))
