"""Energies, orbital energies, dipoles and density matrices are PySCF's."""

from __future__ import annotations

from typing import Any

import pytest
from ase import Atoms
from ase.build import molecule
from pyscf import dft
from pyscf import scf as pyscf_scf

from deepchem_xc.gaussian import MolecularResult, scf
from tests.gaussian.molecules import (
    CLOSED,
    CONVERGENCE,
    FUNCTIONALS,
    SPINS,
    dipole_of,
    distance,
    levels_of,
    ours,
    theirs,
)


def assert_same(result: MolecularResult, mf: Any, levels: float = 1e-7) -> None:
    assert abs(float(result.energy) - mf.e_tot) < 1e-8
    assert distance(result.eigenvalues, levels_of(mf, result)) < levels
    assert distance(result.dipole, dipole_of(mf)) < 1e-6


@pytest.mark.parametrize("functional", FUNCTIONALS)
@pytest.mark.parametrize("name", ["H2O", "CH3"])
def test_every_kind_of_functional(name, functional):
    result = ours(name, functional)
    assert_same(result, theirs(result, FUNCTIONALS[functional]))


@pytest.mark.parametrize(
    "name, functional",
    [("O2", "PBE"), ("O2", "B3LYP"), ("N2", "r2SCAN"), ("NH2", "PBE0"), ("CO2", "PBE")],
)
def test_radicals_oxygen_and_closed_shells(name, functional):
    result = ours(name, functional)
    mf = theirs(result, FUNCTIONALS[functional])
    assert_same(result, mf)
    assert distance(result.density_matrix.squeeze(0), mf.make_rdm1()) < 1e-6


@pytest.mark.parametrize("functional", ["PBE", "r2SCAN", "PBE0"])
def test_open_shells_with_one_set_of_orbitals(functional):
    result = ours("NH2", functional, restricted="open")
    assert_same(result, theirs(result, FUNCTIONALS[functional]))


def test_a_degenerate_radical_in_the_same_orientation():
    """The orbital with the hole of OH may point anywhere; the grid is not quite isotropic."""
    first = ours("OH", "PBE")
    mf = theirs(first, "pbe", same_start=True)
    assert_same(first, mf)


@pytest.mark.parametrize("functional, theirs_", [("HSE06", "hse06"), ("camb3lyp", "camb3lyp")])
def test_range_separated_hybrids(functional, theirs_):
    result = ours("HF", functional)
    assert_same(result, theirs(result, theirs_))


def test_hartree_fock_is_a_functional_without_a_density():
    result = ours("H2O", "HF")
    mf = pyscf_scf.RHF(result.molecule.mole).run(conv_tol=1e-12)
    assert abs(float(result.energy) - mf.e_tot) < 1e-9
    assert distance(result.eigenvalues[0], mf.mo_energy) < 1e-7


def test_iodine_has_the_core_potential_of_its_basis_set():
    result = scf(
        Atoms("HI", [[0, 0, 0], [0, 0, 1.61]]),
        basis="def2-svp",
        grid_level=1,
        convergence=CONVERGENCE,
    )
    assert sum(result.molecule.nelectrons) == 1 + 53 - 28
    assert_same(result, theirs(result, "pbe"))


def test_pseudopotentials_replace_cores():
    result = scf(
        molecule("H2O"),
        basis="gth-dzvp",
        pseudopotentials="gth-pbe",
        grid_level=1,
        convergence=CONVERGENCE,
    )
    assert sum(result.molecule.nelectrons) == 8
    assert_same(result, theirs(result, "pbe"))


def test_ions_and_basis_sets_by_element():
    basis = {"O": "6-31g*", "default": "sto-3g"}
    result = ours("H2O", "PBE", basis=basis, charge=1, spin=1)
    assert result.molecule.nelectrons == (5, 4)
    mf = theirs(result, "pbe")
    assert abs(float(result.energy) - mf.e_tot) < 1e-8


def test_density_fitting():
    result = ours("H2O", "PBE0", density_fitting="def2-universal-jkfit")
    kind = dft.RKS(result.molecule.mole, xc="pbe0").density_fit(auxbasis="def2-universal-jkfit")
    kind.grids.level, kind.verbose = 1, 0
    assert abs(float(result.energy) - kind.run(conv_tol=1e-11).e_tot) < 1e-8
    assert abs(float(result.energy) - float(ours("H2O", "PBE0").energy)) > 1e-6


def test_smearing():
    width = 0.02
    result = ours("O2", "PBE", spin=0, occupations={"name": "fermi-dirac", "width": width})
    mf = dft.RKS(result.molecule.mole, xc="pbe")
    mf.grids.level, mf.verbose = 1, 0
    mf = pyscf_scf.addons.smearing_(mf, sigma=width, method="fermi")
    mf.conv_tol, mf.conv_tol_grad = 1e-11, 1e-7
    mf.kernel()
    assert abs(float(result.free_energy) - mf.e_free) < 1e-8
    assert abs(float(result.extrapolated_energy) - mf.e_zero) < 1e-8
    assert distance(result.occupations[0], mf.mo_occ) < 1e-6


def test_energies_by_term_add_up():
    result = ours("H2O", "PBE0")
    parts = result.energies
    names = ("kinetic", "external", "nuclear", "hartree", "xc", "exact_exchange")
    assert abs(float(sum(parts[name] for name in names) - parts["total"])) < 1e-10
    density = result.density_matrix.sum(0)
    assert abs(float((density * result.problem.kinetic).sum() - parts["kinetic"])) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("functional", FUNCTIONALS)
@pytest.mark.parametrize("basis", ["def2-svp", "def2-tzvp"])
@pytest.mark.parametrize("name", [*CLOSED, *SPINS])
def test_twenty_molecules(name, basis, functional):
    result = ours(name, functional, basis=basis, grid_level=3)
    assert_same(result, theirs(result, FUNCTIONALS[functional], same_start=True))
