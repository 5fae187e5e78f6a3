"""Ewald energy: ABINIT, Madelung constants, invariances and exact derivatives."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from ase.build import bulk

from deepchem_xc.planewave.structure.crystal import Crystal
from deepchem_xc.planewave.terms.ewald import ewald_energy
from tests.crystals import bcc, cubic, doubles, fcc
from tests.devices import GPU
from tests.differences import assert_agreement, assert_exact_derivatives, differences

# Valence charges of the GTH potentials of abinit_gth.json and of the psp8 files.
VALENCE = {"H": 1, "C": 4, "Al": 3, "Si": 4, "Ca": 10, "Ni": 18}


FCC = fcc(2.0)
TRICLINIC = doubles([[6.0, 0.3, -0.2], [-1.1, 7.0, 0.4], [0.5, -0.6, 5.5]])
SITES = doubles([[0.1, 0.2, 0.3], [0.6, 0.45, 0.8], [0.85, 0.1, 0.55]])
CHARGES = doubles([4.0, 3.0, 6.0])

# Printed by ABINIT 9.6.2: lattice (bohr), reduced sites, valence charges, energy (Hartree).
A_SI, A_NI = 5.130606428358965, 3.3259179793413556
ABINIT = {
    "diamond Si": (A_SI * FCC, [[0.0, 0, 0], [0.25, 0.25, 0.25]], [4, 4], -8.399471866509657),
    "displaced Si": (A_SI * FCC, [[0.01, 0.02, 0.03], [0.25] * 3], [4, 4], -8.379418689158904),
    "fcc Ni": (A_NI * FCC, [[0.0, 0, 0]], [18], -111.66054915063319),
    "graphene with vacuum": (
        doubles([[4.648726266579395, 0, 0], [-2.3243631332896975, 4.025915042097746, 0],
                 [0, 0, 22.67671349550924]]),
        [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0]], [4, 4], 20.793400450387473,
    ),
    "H2 in a box": (
        cubic(10.0), [[0.5, 0.5, 0.43], [0.5, 0.5, 0.57]], [1, 1],
        0.15105111852561343,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("lattice", "sites", "charges", "energy"), ABINIT.values(), ids=ABINIT.keys()
)
def test_energy_equals_abinit(lattice, sites, charges, energy):
    assert float(ewald_energy(lattice, doubles(sites), charges)) == pytest.approx(energy, abs=1e-11)


@pytest.mark.parametrize("file", ["abinit_gth.json", "abinit_psp8.json"])
def test_energy_equals_every_abinit_reference(reference, file):
    for name, entry in reference(file).items():
        charges = [VALENCE[symbol] for symbol in entry["species"]]
        energy = ewald_energy(doubles(entry["lattice_bohr"]), doubles(entry["xred"]), charges)
        assert float(energy) == pytest.approx(entry["energies_Ha"]["e_ewald"], abs=1e-11), name


@pytest.mark.parametrize(
    ("lattice", "sites", "charges", "distance", "madelung"),
    [
        # Neutral salts, energy -M / d per formula unit, d the shortest distance; for fluorite
        # with charges 2 and 1 (Y. Sakamoto, J. Chem. Phys. 28, 164 (1958)).
        (FCC, [[0, 0, 0], [0.5, 0.5, 0.5]], [1, -1], 1.0, 1.747564594633182),
        (
            cubic(1.0),
            [[0, 0, 0], [0.5] * 3],
            [1, -1],
            math.sqrt(0.75),
            1.762674773070988,
        ),
        (FCC, [[0, 0, 0], [0.25] * 3], [1, -1], math.sqrt(0.75), 1.638055053388790),
        (FCC, [[0, 0, 0], [0.25] * 3, [0.75] * 3], [2, -1, -1], math.sqrt(0.75), 5.038784879),
    ],
    ids=["NaCl", "CsCl", "zincblende", "fluorite"],
)
def test_madelung_constants(lattice, sites, charges, distance, madelung):
    energy = float(ewald_energy(lattice, doubles(sites), charges))
    assert -energy * distance == pytest.approx(madelung, abs=1e-9 if len(sites) == 3 else 1e-13)


@pytest.mark.parametrize(
    ("lattice", "coefficient"),
    [  # ions in a uniform background, E = -c Z^2 / r_s: Wigner lattices (Sholl 1967)
        (cubic(1.0), 0.880059442),
        (FCC, 0.895873616),
        (bcc(2.0), 0.895929256),
    ],
    ids=["sc", "fcc", "bcc"],
)
def test_wigner_lattices(lattice, coefficient):
    radius = (3 * float(torch.linalg.det(lattice)) / (4 * math.pi)) ** (1 / 3)
    energy = float(ewald_energy(lattice, torch.zeros(1, 3).double(), [3.0]))
    assert -energy * radius / 9 == pytest.approx(coefficient, abs=2e-9)


@pytest.mark.parametrize("eta", [0.05, 0.1, 0.3, 1.0, 3.0])
def test_splitting_does_not_matter(eta):
    thin = doubles([[4.6, 0, 0], [-2.3, 4.0, 0], [0, 0, 25]])
    for lattice in (TRICLINIC, thin):
        energy = float(ewald_energy(lattice, SITES, CHARGES))
        assert float(ewald_energy(lattice, SITES, CHARGES, eta)) == pytest.approx(energy, abs=2e-12)


def test_other_vectors_of_the_same_lattice_give_the_same_energy():
    """A very skewed description: the sums must follow the lattice, not the vectors."""
    change = doubles([[1.0, 3, 0], [0, 1, 0], [2, 6, 1]])  # determinant 1
    skewed = change @ TRICLINIC
    sites = SITES @ torch.linalg.inv(change)
    energy = float(ewald_energy(TRICLINIC, SITES, CHARGES))
    assert float(ewald_energy(skewed, sites, CHARGES)) == pytest.approx(energy, abs=2e-12)


def test_supercell_has_the_energy_of_its_cells():
    energy = float(ewald_energy(TRICLINIC, SITES, CHARGES))
    repeats = doubles([2.0, 1, 3])
    images = [doubles(n) for n in itertools.product(range(2), range(1), range(3))]
    sites = torch.cat([(SITES + n) / repeats for n in images])
    total = float(ewald_energy(repeats[:, None] * TRICLINIC, sites, CHARGES.repeat(6)))
    assert total == pytest.approx(6 * energy, abs=1e-11)


def test_translations_and_order_of_atoms_change_nothing():
    energy = float(ewald_energy(TRICLINIC, SITES, CHARGES))
    moved = SITES + doubles([0.37, -1.21, 5.5])
    moved[1] += doubles([3.0, -2, 7])  # and one atom by whole lattice vectors
    assert float(ewald_energy(TRICLINIC, moved, CHARGES)) == pytest.approx(energy, abs=2e-12)
    order = [2, 0, 1]
    assert float(ewald_energy(TRICLINIC, SITES[order], CHARGES[order])) == pytest.approx(
        energy, abs=2e-12
    )


def test_energy_of_a_scaled_crystal():
    energy = float(ewald_energy(TRICLINIC, SITES, CHARGES))
    assert float(ewald_energy(2.5 * TRICLINIC, SITES, CHARGES)) == pytest.approx(energy / 2.5)


def test_forces_and_stress_equal_finite_differences():
    def energy(strain, sites):
        return ewald_energy(TRICLINIC @ (cubic(1.0) + strain), sites, CHARGES)

    strain, sites = torch.zeros(3, 3).double().requires_grad_(), SITES.clone().requires_grad_()
    stress, slope = torch.autograd.grad(energy(strain, sites), (strain, sites))
    for i, j in itertools.product(range(3), range(3)):
        one = torch.zeros(3, 3).double()
        one[i, j] = 1.0
        by_strain = differences(lambda h, one=one: energy(h * one, SITES), 2e-3)
        by_site = differences(lambda h, one=one: energy(0 * one, SITES + h * one), 2e-3)
        assert_agreement(stress[i, j], by_strain, rel=1e-8, scale=1.0)
        assert_agreement(slope[i, j], by_site, rel=1e-8, scale=1.0)
    torch.testing.assert_close(slope.sum(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    # The virial theorem of a 1/r interaction, and no torque under rotations.
    assert float(stress.trace()) == pytest.approx(
        -float(energy(0 * strain, SITES).detach()), abs=1e-11
    )
    torch.testing.assert_close(stress, stress.T, atol=1e-11, rtol=0)


def test_first_and_second_derivatives_are_exact():
    assert_exact_derivatives(ewald_energy, TRICLINIC, SITES, CHARGES, orders=(1, 2))


def test_a_hundred_atoms_have_a_hundred_times_the_energy_of_one():
    crystal = Crystal.from_ase(bulk("Al", cubic=True) * (3, 3, 3))
    energy = ewald_energy(crystal.lattice, crystal.positions, [3.0] * 108)
    single = Crystal.from_ase(bulk("Al"))
    expected = 108 * float(ewald_energy(single.lattice, single.positions, [3.0]))
    assert float(energy) == pytest.approx(expected, abs=1e-9)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"charges must have shape \(3,\), got \(2,\)"):
        ewald_energy(TRICLINIC, SITES, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"shapes \(3, 3\) and \(natom, 3\)"):
        ewald_energy(TRICLINIC[:2], SITES, CHARGES)
    with pytest.raises(ValueError, match="eta must be positive, got 0"):
        ewald_energy(TRICLINIC, SITES, CHARGES, eta=0.0)


@pytest.mark.gpu
def test_energy_on_the_device_equals_the_cpu():
    energy = ewald_energy(TRICLINIC.to(GPU), SITES.to(GPU), CHARGES.to(GPU))
    assert energy.device.type == GPU
    assert float(energy) == pytest.approx(float(ewald_energy(TRICLINIC, SITES, CHARGES)), abs=1e-12)
