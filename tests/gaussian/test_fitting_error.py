"""Auxiliary basis sets that are too small are told, with their error."""

import warnings

import pytest
from ase import Atoms
from ase.build import molecule
from pyscf import dft, gto

from deepchem_xc.gaussian import InaccurateFittingWarning, scf
from deepchem_xc.gaussian.fitting_error import check_fitting, fitting_errors


def test_the_error_is_what_the_coulomb_energy_of_an_atom_lacks():
    """PySCF's own fitted Coulomb matrix, at the density of its minimal basis."""
    atom = gto.M(atom="Ne", basis="def2-svp", verbose=0)
    exact = dft.RKS(atom)
    density = exact.get_init_guess(atom, "minao")
    energies = []
    for calculation in (exact, exact.density_fit(auxbasis="def2-tzvp")):
        coulomb = calculation.get_j(atom, density)
        energies.append(0.5 * (coulomb * density).sum())
    found = fitting_errors(atom, "def2-tzvp")["Ne"]
    assert found > 1e-3
    assert found == pytest.approx(energies[0] - energies[1], abs=1e-9)


def test_a_set_for_orbitals_warns_once_and_names_the_elements():
    with pytest.warns(InaccurateFittingWarning, match=r"'def2-svp'.*H 0\.\d+, O 0\.\d+") as told:
        scf(molecule("H2O"), "LDA", basis="sto-3g", density_fitting="def2-svp", grid_level=0)
    assert [one.filename for one in told] == [__file__]


@pytest.mark.parametrize(
    "words",
    [
        {"basis": "def2-svp"},
        {"basis": "gth-dzvp", "pseudopotentials": "gth-pbe"},
    ],
)
def test_sets_for_coulomb_energies_do_not(words):
    with warnings.catch_warnings():
        warnings.simplefilter("error", InaccurateFittingWarning)
        for fitting in ("def2-universal-jkfit", "weigend"):
            scf(molecule("H2O"), "LDA", density_fitting=fitting, grid_level=0, **words)


def test_core_potentials_belong_to_the_atoms():
    mole = gto.M(atom="H 0 0 0; I 0 0 1.6", basis="def2-svp", ecp={"I": "def2-svp"}, verbose=0)
    assert fitting_errors(mole, "def2-universal-jkfit")["I"] < 1e-3
    assert set(fitting_errors(mole, "def2-universal-jkfit")) == {"H", "I"}
    with pytest.warns(InaccurateFittingWarning, match="I "):
        check_fitting(mole, "def2-svp")


def test_ions_are_tried_as_free_atoms():
    scf(Atoms("Li"), "LDA", basis="def2-svp", charge=1, density_fitting="def2-universal-jkfit")
