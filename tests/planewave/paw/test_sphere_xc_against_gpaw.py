"""The XC energy inside PAW spheres is that of GPAW for the same occupations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deepchem_xc.planewave.paw import PAWDataset
from deepchem_xc.planewave.paw.sphere_xc import SphereXC
from deepchem_xc.xc import DensityVariables, SpinParam, ValGrad, XCFunctional, get_xc
from tests.differences import assert_agreement, differences
from tests.planewave.paw.gpaw_pbe import pbe_of_gpaw
from tests.planewave.paw.spheres import gpaw_dataset, near_atom

pytestmark = [
    pytest.mark.gpaw,
    # Its limit is what two of the tests are about.
    pytest.mark.filterwarnings("ignore:libxc should be compiled with --disable-fhc"),
]

# Where each of our harmonics is among GPAW's of the same l.
POSITIONS = {0: [0], 1: [2, 0, 1], 2: [0, 1, 3, 2, 4], 3: [3, 4, 2, 5, 1, 6, 0]}
# Gadolinium has f channels, whose products reach beyond the largest l of the expansion.
ATOMS = [("Si", 1), ("O", 1), ("O", 2), ("Ni", 2), ("Gd", 1)]


class Limited(XCFunctional):
    """A meta-GGA with libxc's limit |grad n|^2 <= 8 n tau, which the libxc in GPAW applies."""

    def __init__(self, functional: XCFunctional) -> None:
        super().__init__()
        self.functional, self.name = functional, f"limited {functional.name}"
        self.ingredients = functional.ingredients

    def energy_density(self, variables: DensityVariables) -> Tensor:
        given = variables.densinfo
        if isinstance(given, ValGrad):
            return self.functional.get_edensityxc(self._limited(given))
        pair = SpinParam(u=self._limited(given.u), d=self._limited(given.d))
        return self.functional.get_edensityxc(pair)

    @staticmethod
    def _limited(channel: ValGrad) -> ValGrad:
        ratio = 8.0 * channel.value * channel.kin / channel.grad.square().sum(-2)
        factor = ratio.clamp(max=1.0).sqrt().unsqueeze(-2)
        return ValGrad(value=channel.value, grad=factor * channel.grad, kin=channel.kin)


def gpaw_energy(name: str, dataset: PAWDataset, occupations: Tensor, functional: str) -> float:
    """GPAW's energy of one atom, (nspin, nstate, nstate), Hartree."""
    from gpaw.setup import create_setup
    from gpaw.setup_data import SetupData
    from gpaw.xc import XC

    symbol, _, version = name.partition(".")
    data = SetupData(symbol, "PBE", version or "paw")
    # A setup for meta-GGAs has all that any functional needs, and comes from PBE's file.
    setup = create_setup(symbol, XC("MGGA_X_TPSS+MGGA_C_TPSS"), 2, setupdata=data)
    positions: list[int] = []
    for l in dataset.angular_momenta:
        start = len(positions)
        positions += [start + m for m in POSITIONS[l]]
    order = np.argsort(positions)
    first, second = np.triu_indices(dataset.nstate)
    packed = occupations.numpy()[:, order[first], order[second]]
    packed = np.ascontiguousarray(packed * np.where(first == second, 1.0, 2.0))
    xc: Any = XC(functional)
    return float(xc.calculate_paw_correction(setup, packed, np.zeros_like(packed)))


def assert_energy_of_gpaw(
    name: str, nspin: int, functional: XCFunctional, of_gpaw: str, tolerance: float
) -> None:
    dataset = gpaw_dataset(name)
    occupations = near_atom(dataset, nspin)
    energy = SphereXC(dataset, functional).energy(occupations)
    expected = gpaw_energy(name, dataset, occupations[0], of_gpaw)
    assert float(energy) == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.parametrize(("name", "nspin"), ATOMS)
def test_lda_is_gpaws(name, nspin):
    """With two spins GPAW switches functionals off below 1e-10 per cubic bohr."""
    assert_energy_of_gpaw(name, nspin, get_xc("LDA"), "LDA", 1e-9)


@pytest.mark.parametrize(("name", "nspin"), ATOMS)
def test_pbe_with_gpaws_constants_is_gpaws(name, nspin):
    assert_energy_of_gpaw(name, nspin, pbe_of_gpaw(), "PBE", 1e-9)


@pytest.mark.parametrize(("name", "nspin"), ATOMS)
def test_pbe_is_that_of_the_libxc_in_gpaw(name, nspin):
    assert_energy_of_gpaw(name, nspin, get_xc("PBE"), "GGA_X_PBE+GGA_C_PBE", 1e-10)


@pytest.mark.parametrize("functional", ["TPSS", "r2SCAN"])
@pytest.mark.parametrize(("name", "nspin"), [*ATOMS, ("Ni.10", 2)])
def test_meta_ggas_are_those_of_gpaw_with_libxcs_limit(name, nspin, functional):
    """The first radius of a core has tau below the limit of one orbital, by finite differences."""
    of_gpaw = f"MGGA_X_{functional}+MGGA_C_{functional}".upper()
    assert_energy_of_gpaw(name, nspin, Limited(get_xc(functional)), of_gpaw, 1e-9)


@pytest.mark.parametrize(("name", "shift"), [("O", 1.3e-8), ("Si", 2.7e-7), ("Ni.10", 1.4e-5)])
def test_libxcs_limit_shifts_the_energy_of_r2scan_by_the_same_for_all_occupations(name, shift):
    dataset = gpaw_dataset(name)
    shifts = []
    for seed in range(3):
        occupations = near_atom(dataset, 1, seed=seed)
        energy = SphereXC(dataset, get_xc("r2SCAN")).energy(occupations)
        limited = SphereXC(dataset, Limited(get_xc("r2SCAN"))).energy(occupations)
        shifts.append(float(limited - energy))
    assert shifts == pytest.approx([shift] * 3, rel=0.3)
    assert np.ptp(shifts) < 0.15 * shift


@pytest.mark.parametrize(("name", "nspin"), [("Si", 1), ("Ni", 2)])
def test_the_potential_is_the_derivative_of_gpaws_energy(name, nspin):
    dataset = gpaw_dataset(name)
    occupations = near_atom(dataset, nspin)
    _, potential = SphereXC(dataset, get_xc("LDA")).energy_and_potential(occupations)
    direction = torch.randn_like(occupations)
    direction = 0.1 * (direction + direction.mT)
    found = differences(
        lambda h: gpaw_energy(name, dataset, (occupations + float(h) * direction)[0], "LDA"), 1e-2
    )
    assert_agreement((potential * direction).sum(), found, rel=1e-8, limit=1e-6)
