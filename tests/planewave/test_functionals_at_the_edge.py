"""Functionals where they are hard: an empty spin channel, vacuum, numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.models.functional import default_network
from deepchem_xc.planewave import scf
from deepchem_xc.planewave.fields import Fields
from deepchem_xc.planewave.properties.bands import eigenvalues_at
from deepchem_xc.planewave.terms.local import local_potential
from deepchem_xc.xc import PBE, FunctionalValueError, HybridXC, XCFunctional, get_xc
from tests.crystals import hydrogen

EV = 27.211386
SILICON = {"ecut": 100.0, "kpts": (2, 2, 2)}


def test_minority_level_of_hydrogen_in_the_lda():
    """-2.60 eV for the free atom (PySCF, the same potential), -2.65 eV in this box (GPAW)."""
    result = scf(hydrogen(7.0), "LDA", ecut=150.0, pseudopotentials="gth-pade")
    minority = float(result.eigenvalues[1, 0, 0]) * EV
    assert -2.70 < minority < -2.60
    # next to nothing, or nothing in the channel: the limit
    for fraction, tolerance in ((0.0, 0.08), (1e-9, 0.08), (1e-6, 0.04)):
        density = result.density_g.clone()
        density[1] = fraction * density[0]
        potential, _ = result.problem.effective_potential(Fields(density))
        matrix, _ = result.problem.hamiltonian(potential).dense(1, 0, 1500)
        level = float(torch.linalg.eigvalsh(matrix)[0]) * EV
        assert abs(level - minority) < tolerance, fraction


@pytest.mark.parametrize("name", ["PBE", "gga_x_pbe+gga_c_pw91"])
def test_potential_and_bands_of_an_empty_channel_with_gradients(name):
    """No spikes, and as many bands as are asked for."""
    result = scf(hydrogen(6.0), "PBE", ecut=150.0, pseudopotentials="gth-pbe")
    density = result.density_g.clone()
    density[1] = 0.0
    problem = result.problem
    ions = local_potential(problem.basis, problem.pseudopotentials)
    local = problem.basis.to_grid(problem.effective_potential(Fields(density))[0].v - ions)
    assert float(local.abs().max()) < 2.0
    if name == "PBE":
        for nbands in (1, 2, 5, 8, 12):
            levels = eigenvalues_at(result, np.array([[0.0, 0, 0], [0.25, 0, 0]]), nbands)
            assert levels.shape == (2, 2, nbands)


def test_energy_of_networks_does_not_depend_on_the_sign_of_the_moment():
    torch.manual_seed(0)
    functional = HybridXC("PBE", default_network(3), aweight0=0.1)
    with torch.no_grad():
        up, down = (scf(hydrogen(4.0, moment), functional, ecut=120.0) for moment in (1.0, -1.0))
    assert abs(float(up.magnetic_moment) + float(down.magnetic_moment)) < 1e-6
    assert abs(float(up.magnetic_moment.detach())) > 0.99
    assert abs(float((up.energy - down.energy).detach())) < 1e-8


@pytest.mark.parametrize("seed", [0, 1])
def test_default_network_with_gradient_converges_in_vacuum(seed):
    torch.manual_seed(seed)
    functional = HybridXC("gga_x_pbe", default_network(3), aweight0=0.1)
    molecule = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.75]], cell=[6.0] * 3, pbc=True)
    assert scf(molecule, functional, ecut=150.0).nsteps < 20


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_exponential_network_with_gradient(weight):
    """A network of exponentials of s: with the weight zero the known functional."""
    torch.manual_seed(0)
    network = default_network(3, modeltype=2)
    result = scf(bulk("Si"), HybridXC("gga_x_pbe", network, aweight0=weight), **SILICON)
    if weight == 0.0:
        known = scf(bulk("Si"), get_xc("gga_x_pbe"), **SILICON)
        assert abs(float((result.energy - known.energy).detach())) < 1e-9


class Broken(XCFunctional):
    """LDA-like, with NaN in its energy, potential or kernel at the largest densities of silicon."""

    name, family = "broken", 1

    def __init__(self, power):
        super().__init__()
        self.power = power
        self.weight = torch.nn.Parameter(torch.tensor(1e-3, dtype=torch.float64))

    def energy_density(self, variables):
        n = variables.density
        distance = (0.05 - n) * (n < 0.05)
        return -self.weight * n * distance**self.power


@pytest.mark.parametrize(
    ("functional", "message"),
    [
        (PBE(beta=-0.6), r"PBE gives nan as energy at n = .* bohr\^-3, \|grad n\| = .* \(s = "),
        (get_xc("LDA") + Broken(-1.0), r"lda_x\+lda_c_pw\+broken gives -?inf as energy at n = "),
        (get_xc("LDA") + Broken(0.5), r"broken gives (nan|inf|-inf) as potential at n = "),
    ],
)
def test_what_is_not_finite_is_named(functional, message):
    with pytest.raises(FunctionalValueError, match=message):
        scf(bulk("Si"), functional, **SILICON)
    if isinstance(functional, PBE):
        frozen = FrozenEnergy.of(scf(bulk("Si"), "PBE", **SILICON))
        with pytest.raises(FunctionalValueError, match=message):
            frozen.at(functional)


def test_a_kernel_that_is_not_finite_is_named():
    result = scf(bulk("Si"), get_xc("LDA") + Broken(1.5), **SILICON)
    with pytest.raises(FunctionalValueError, match=r"broken gives .* as kernel .* at n = "):
        result.band_gap.backward()


def test_channels_are_named_where_there_are_two():
    with pytest.raises(FunctionalValueError, match=r"at up: n = .*\); down: n = "):
        scf(hydrogen(4.0), PBE(beta=-0.6), ecut=100.0)
