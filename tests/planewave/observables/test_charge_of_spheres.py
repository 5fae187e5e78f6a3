"""Electrostatic potential and dipole moment of PAW results."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc100
from ase.geometry import get_distances
from ase.units import Bohr, Hartree

from deepchem_xc.planewave import Crystal, SCFResult
from deepchem_xc.planewave.observables.dipole import dipole_of_neutral_charge
from deepchem_xc.planewave.observables.electrostatics import potential_around_spheres
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.spheres import Spheres
from deepchem_xc.planewave.terms.coulomb import Coulomb
from deepchem_xc.xc import PBE
from tests.differences import assert_derivative
from tests.planewave.paw_crystals import gpaw, paw


def carbon_monoxide(side: float = 6.0) -> Atoms:
    molecule = Atoms("CO", [[0, 0, 0], [0, 0, 1.13]], cell=[side, side, side + 1.0], pbc=True)
    molecule.center()
    return molecule


def observed(result: SCFResult) -> torch.Tensor:
    return torch.stack([result.dipole[2], result.electrostatic_potential[1, 2, 3]])


@pytest.fixture(scope="module")
def molecule() -> SCFResult:
    return paw(carbon_monoxide(), 300.0, (1, 1, 1))


@pytest.mark.slow
@pytest.mark.gpaw
def test_work_function_of_aluminium_is_gpaws() -> None:
    slab = fcc100("Al", (1, 1, 4), a=4.04, vacuum=6.0, periodic=True)
    result, reference = paw(slab, 250.0, (4, 4, 1)), gpaw(slab, 250.0, (4, 4, 1))
    average = result.electrostatic_potential.mean((0, 1)) * Hartree
    vacuum = torch.cat([average[:6], average[-5:]])
    assert float(vacuum.max() - vacuum.min()) < 2e-3
    found = float(average[0] - result.fermi_level * Hartree)
    level = reference.get_electrostatic_potential().mean((0, 1))[0]
    assert found == pytest.approx(level - reference.get_fermi_level(), abs=3e-3)
    x, y, z = result.dipole.tolist()
    assert math.isnan(x) and math.isnan(y) and abs(z) < 1e-6


@pytest.mark.gpaw
def test_dipole_of_carbon_monoxide_is_gpaws() -> None:
    atoms = carbon_monoxide(7.0)
    result, reference = paw(atoms, 400.0, (1, 1, 1)), gpaw(atoms, 400.0, (1, 1, 1))
    expected = reference.get_dipole_moment()
    assert expected[2] > 0.03
    np.testing.assert_allclose(result.dipole.numpy() * Bohr, expected, rtol=0.0, atol=5e-4)


@pytest.mark.gpaw
def test_dipole_of_hydrogen_fluoride_is_gpaws() -> None:
    """To 3e-4 e Angstrom at 400 eV, and better on the finer grid of 600."""
    atoms = Atoms("HF", [[0, 0, 0], [0.2, -0.3, 0.85]], cell=[6.0, 6.0, 6.5], pbc=True)
    atoms.center()
    result, reference = paw(atoms, 600.0, (1, 1, 1)), gpaw(atoms, 600.0, (1, 1, 1))
    expected = reference.get_dipole_moment()
    assert abs(expected[2]) > 0.3
    np.testing.assert_allclose(result.dipole.numpy() * Bohr, expected, rtol=0.0, atol=1e-4)


def test_what_is_outside_of_the_spheres_does_not_know_the_compensation_charges(
    molecule: SCFResult,
) -> None:
    """Narrower or wider ones have the same multipoles, up to l = 2, as all other fields say."""
    problem, basis, fields = molecule.problem, molecule.basis, molecule.fields
    others = {
        symbol: PAWPotential(replace(potential.dataset, shape_radius=scale * radius))
        for scale, (symbol, potential) in zip(
            (0.9, 1.1), problem.pseudopotentials.items(), strict=True
        )
        for radius in [potential.dataset.shape_radius]
    }
    spheres = Spheres(basis.crystal, others, basis.kpoints.symmetry)
    own, other = molecule.electrostatic_potential, potential_around_spheres(basis, spheres, fields)
    atoms = basis.crystal.to_ase()
    axes = [np.arange(n) / n for n in basis.fft_size]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ atoms.cell
    _, distances = get_distances(points, atoms.positions, cell=atoms.cell, pbc=True)
    outside = torch.from_numpy(distances.min(1).reshape(basis.fft_size) > 1.5)
    # Without a charge between the atoms, wider functions differ by a constant: the mean is zero.
    change = (other - own)[outside]
    assert float(change.max() - change.min()) < 1e-4
    assert float((other - own).abs().max()) > 0.1
    charge = Coulomb(basis, spheres).charge(basis, fields)
    again = dipole_of_neutral_charge(basis.crystal, charge.g_vectors, charge.coefficients)
    assert torch.allclose(again, molecule.dipole, rtol=0.0, atol=1e-4)


def test_potential_falls_across_vacuum_as_the_dipole_says(molecule: SCFResult) -> None:
    """Averaged over planes: periodic dipoles leave a field 4 pi d / volume in the vacuum."""
    average = molecule.electrostatic_potential.mean((0, 1))
    height = float(molecule.basis.crystal.lattice[2, 2])
    z = torch.arange(len(average), dtype=torch.float64) * height / len(average)
    # The molecule is in the middle of the cell: its faces are in the vacuum.
    z = torch.where(z > height / 2, z - height, z)
    inside = z.abs() * Bohr < 0.8
    slope = np.polyfit(z[inside].numpy(), average[inside].numpy(), 1)[0]
    field = 4.0 * math.pi * float(molecule.dipole[2] / molecule.basis.volume)
    assert slope == pytest.approx(field, rel=0.1)


@pytest.mark.slow
def test_derivatives_of_dipole_and_potential_are_those_of_differences() -> None:
    """With respect to a parameter of the functional."""
    mu = 0.2195149727645171

    def run(value: float, trainable: bool = False) -> tuple[torch.Tensor, PBE]:
        functional = PBE(mu=value, trainable=trainable)
        return observed(paw(carbon_monoxide(), 200.0, (1, 1, 1), functional)), functional

    values, functional = run(mu, True)
    (parameter,) = (p for n, p in functional.named_parameters() if n.endswith("mu"))
    slopes = [torch.autograd.grad(value, parameter, retain_graph=True)[0] for value in values]
    assert_derivative(torch.stack(slopes), lambda h: run(mu + h)[0], 0.04, rel=1e-3)


@pytest.mark.slow
def test_charge_that_moves_with_an_atom_is_that_of_differences() -> None:
    """The derivative of the dipole with respect to a position: Born's effective charge."""
    crystal = Crystal.from_ase(carbon_monoxide())

    def run(shift: torch.Tensor) -> torch.Tensor:
        step = torch.tensor([[0.2, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
        moved = crystal.with_geometry(positions=crystal.positions + shift * step)
        return observed(paw(moved, 200.0, (1, 1, 1), symmetry=False))

    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    values = run(shift)
    slopes = [torch.autograd.grad(value, shift, retain_graph=True)[0] for value in values]
    assert_derivative(
        torch.stack(slopes), lambda h: run(torch.tensor(h, dtype=torch.float64)), 4e-3, rel=1e-3
    )
