"""Electrostatic potential, dipole moment and moments of atoms of a converged state."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc100
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import Trajectory
from ase.io.cube import read_cube_data
from ase.units import Bohr, Hartree

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.cli.results import ground_state
from deepchem_xc.planewave import SCFResult, scf
from deepchem_xc.planewave.observables.dipole import UndefinedDipoleError
from deepchem_xc.planewave.properties.cube import write_potential_cube
from deepchem_xc.xc import PBE
from tests.crystals import hydrogen_chain
from tests.differences import assert_derivative

TIGHT = {"energy": 1e-10, "density": 1e-9}


def lih(shift: tuple[float, float, float] = (0.0, 0.0, 0.0), side: float = 8.0) -> Atoms:
    atoms = Atoms("LiH", [[0, 0, 1.6], [0, 0, 0]], cell=[side] * 3, pbc=True)
    atoms.positions += shift
    return atoms


@pytest.fixture(scope="module")
def molecule() -> SCFResult:
    return scf(lih(), "PBE", ecut=200.0, convergence=TIGHT)


def test_work_function_of_aluminium_is_gpaws() -> None:
    slab = fcc100("Al", (1, 1, 4), a=4.04, vacuum=6.0, periodic=True)
    result = scf(slab, "PBE", ecut=250.0, kpts={"size": (8, 8, 1), "gamma": True})
    average = result.electrostatic_potential.mean((0, 1)) * Hartree
    # The layers are in the middle of the cell; the six planes next to its faces are in vacuum.
    vacuum = torch.cat([average[:6], average[-5:]])
    assert float(vacuum.max() - vacuum.min()) < 2e-3
    assert torch.allclose(average[1:], average[1:].flip(0), rtol=0.0, atol=1e-6)
    # GPAW 26.7, PW(300), the same slab, mesh and width: 4.216 eV. Measured: 4.41 (single crystal).
    assert float(average[0] - result.fermi_level * Hartree) == pytest.approx(4.216, abs=0.02)
    # A symmetric slab has no dipole along its normal, and none that is defined in its plane.
    x, y, z = result.dipole.tolist()
    assert math.isnan(x) and math.isnan(y) and abs(z) < 1e-6


def test_potential_falls_across_vacuum_as_the_dipole_says(molecule: SCFResult) -> None:
    """Averaged over planes: periodic dipoles leave a field 4 pi d / volume in the vacuum."""
    average = molecule.electrostatic_potential.mean((0, 1))
    height = float(molecule.basis.crystal.lattice[2, 2])
    z = torch.arange(len(average), dtype=torch.float64) * height / len(average)
    # The plane farthest from both atoms is at 4.8 Angstrom.
    inside = (z * Bohr > 4.2) & (z * Bohr < 5.4)
    slope = np.polyfit(z[inside].numpy(), average[inside].numpy(), 1)[0]
    # Where the molecule is, an electron is drawn to the positive end and its potential falls along
    # the dipole; it has to rise again outside.
    field = 4.0 * math.pi * float(molecule.dipole[2] / molecule.basis.volume)
    assert slope == pytest.approx(field, rel=0.1)


def test_potential_is_poissons(molecule: SCFResult) -> None:
    """Far from the ions' cores its Laplacian is that of the electrons and point charges."""
    basis = molecule.basis
    coefficients = basis.to_sphere(molecule.electrostatic_potential)
    electrons = molecule.density_g.sum(0)
    ions = coefficients - 4.0 * math.pi * electrons / basis.density_q2.clamp_min(1e-9)
    # At long wavelengths the ions are point charges: -4 pi Z / G^2 less a constant.
    phases = torch.exp(
        -2j * math.pi * (basis.crystal.positions @ basis.g_vectors.T.to(torch.float64))
    )
    small = (basis.density_q2 > 0) & (basis.density_q2 < 0.7)
    point = -4.0 * math.pi * (molecule.problem.charges.to(phases.dtype) @ phases)
    ratio = (ions * basis.density_q2 * basis.volume / point)[small]
    assert bool(((ratio - 1.0).abs() < 0.12).all())


def test_dipole_does_not_depend_on_where_the_molecule_is(molecule: SCFResult) -> None:
    assert molecule.dipole[:2].abs().max() < 1e-4
    step = 8.0 / molecule.basis.fft_size[0]
    # Across the cell's faces, by steps of the grid: exchange and correlation are then the same.
    moved = scf(lih((7 * step, step, 22 * step)), "PBE", ecut=200.0, convergence=TIGHT)
    assert torch.allclose(moved.dipole, molecule.dipole, rtol=0.0, atol=1e-5)


@pytest.mark.slow
def test_dipole_of_a_molecule_is_pyscfs() -> None:
    """In a periodic box the images' field, 4 pi d / 3 volume, adds what it induces."""
    # PySCF 2.14, PBE, GTH-PBE, the molecule alone in even-tempered Gaussians: dipole, from sulphur
    # to silicon, and the polarisability along the axis from fields of +-0.002.
    expected, polarisability = -0.607, 68.2
    free = []
    for side in (10.0, 12.0):
        atoms = Atoms("SiS", [[0, 0, 0], [0, 0, 1.93]], cell=[side] * 3, pbc=True)
        result = scf(atoms, "PBE", ecut=450.0)
        induced = 4.0 * math.pi / 3.0 * polarisability / float(result.basis.volume)
        free.append(float(result.dipole[2]) * (1.0 - induced))
    assert free[0] == pytest.approx(free[1], abs=2e-3)
    assert free[1] == pytest.approx(expected, abs=0.01)


def test_dipole_is_refused_where_electrons_fill_the_cell() -> None:
    atoms = bulk("Al")
    atoms.calc = PlaneWaveDFT(ecut=100.0, kpts=(2, 2, 2))
    atoms.get_potential_energy()
    with pytest.raises(UndefinedDipoleError, match="electrons fill the cell"):
        _ = atoms.calc.scf_result.dipole
    with pytest.raises(PropertyNotImplementedError, match="molecules in a box"):
        atoms.get_dipole_moment()
    values = ground_state(atoms.calc.scf_result)
    assert values["dipole"] == [None] * 3
    json.dumps(values, allow_nan=False)


def test_derivatives_of_dipole_and_potential_are_those_of_differences() -> None:
    """With respect to a parameter of the functional, next to differences of converged runs."""
    mu = 0.2195149727645171

    def run(value: float, trainable: bool = False) -> tuple[SCFResult, PBE]:
        functional = PBE(mu=value, trainable=trainable)
        return scf(lih(), functional, ecut=120.0, convergence=TIGHT), functional

    def observed(result: SCFResult) -> torch.Tensor:
        return torch.stack([result.dipole[2], result.electrostatic_potential[1, 2, 3]])

    result, functional = run(mu, True)
    parameter = dict(functional.named_parameters())
    (name,) = (n for n in parameter if n.endswith("mu"))
    values = observed(result)
    slopes = [torch.autograd.grad(value, parameter[name], retain_graph=True)[0] for value in values]
    assert_derivative(torch.stack(slopes), lambda h: observed(run(mu + h)[0]), 0.04, rel=1e-3)


def test_moments_of_atoms_add_up_and_equal_atoms_have_equal_ones(tmp_path: Path) -> None:
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.21]], cell=[5, 5.2, 6], pbc=True, magmoms=[1, 1])
    oxygen.calc = PlaneWaveDFT(ecut=300.0)
    oxygen.get_potential_energy()
    first, second = oxygen.get_magnetic_moments()
    assert first == second == pytest.approx(1.0, abs=1e-3)
    assert first + second == pytest.approx(oxygen.get_magnetic_moment(), abs=1e-9)
    # A trajectory keeps them; the initial moments stay what they were.
    with Trajectory(tmp_path / "o2.traj", "w") as file:
        file.write(oxygen)
    with Trajectory(tmp_path / "o2.traj") as file:
        again = file[-1]
    np.testing.assert_allclose(again.get_magnetic_moments(), [first, second])
    np.testing.assert_allclose(again.get_initial_magnetic_moments(), [1.0, 1.0])


def test_sublattices_of_an_antiferromagnet_have_opposite_moments() -> None:
    occupations = {"name": "fermi-dirac", "width": 0.1, "fixmagmom": True}
    settings = {"ecut": 150.0, "pseudopotentials": "gth-pade", "occupations": occupations}
    result = scf(hydrogen_chain([1.0, -1.0]), "LDA", **settings)
    up, down = result.atom_moments.tolist()
    assert up == pytest.approx(-down, abs=1e-3) and abs(up) > 0.3
    assert up + down == pytest.approx(float(result.magnetic_moment), abs=1e-9)


def test_without_spin_the_moments_are_zero(molecule: SCFResult) -> None:
    assert molecule.atom_moments.tolist() == [0.0, 0.0]


def test_calculator_gives_ases_units_and_cubes_the_insides(
    molecule: SCFResult, tmp_path: Path
) -> None:
    atoms = lih()
    atoms.calc = PlaneWaveDFT(ecut=200.0)
    expected = molecule.dipole.numpy() * Bohr
    np.testing.assert_allclose(atoms.get_dipole_moment(), expected, rtol=0.0, atol=1e-4)
    potential = atoms.calc.get_electrostatic_potential()
    inside = molecule.electrostatic_potential.numpy()
    np.testing.assert_allclose(potential / Hartree, inside, rtol=0.0, atol=1e-4)
    write_potential_cube(tmp_path / "v.cube", molecule)
    data, _ = read_cube_data(tmp_path / "v.cube")
    np.testing.assert_allclose(data, inside, rtol=1e-5, atol=1e-8)


def test_the_level_in_vacuum_is_that_of_the_charges_second_moment() -> None:
    # Of a neutral atom alone the integral of the potential is alpha less 2 pi / 3 times the second
    # moment of its electrons; with a mean of zero the vacuum stands higher by that over the volume.
    result = scf(Atoms("He", cell=[6.0] * 3, pbc=True), ecut=700.0).detach()
    potential = result.electrostatic_potential
    n = len(potential)
    x = torch.arange(n, dtype=torch.float64) / n
    x = (x - x.round()) * result.basis.crystal.lattice[0, 0]
    squared = x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2
    second = (result.density[0] * squared).mean() * result.basis.volume
    alpha = result.problem.pseudopotentials["He"].alpha
    expected = (2 * math.pi / 3 * float(second) - alpha) / float(result.basis.volume)
    middle = slice(n // 2 - 2, n // 2 + 3)
    vacuum = float(potential[middle, middle, middle].mean())
    # The ripples of a Fourier sum that ends leave 1.6 % at this cutoff, 0.5 % at 1200 eV.
    assert vacuum == pytest.approx(expected, rel=0.03)
