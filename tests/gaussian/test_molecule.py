"""Molecules from atoms and PySCF's objects, and input that is refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from pyscf import gto
from pyscf.pbc import gto as periodic

from deepchem_xc.gaussian import Molecule, SpinError, scf
from deepchem_xc.gaussian.inputs import make_problem
from deepchem_xc.xc import ConstrainedGGA

IODIDE = "H 0 0 0; I 0 0 1.61"


def test_atoms_and_pyscfs_objects_are_the_same_molecule():
    atoms = molecule("CH3")
    ours = Molecule.of(atoms, basis="6-31g", charge=0, spin=1)
    mole = gto.M(
        atom=list(zip(atoms.get_chemical_symbols(), atoms.positions)),
        basis="6-31g",
        spin=1,
        verbose=0,
    )
    theirs = Molecule.of(mole)
    assert theirs.mole is not mole
    assert np.abs(ours.positions - theirs.positions).max() < 1e-6  # other values of the bohr
    assert ours.symbols == theirs.symbols == ("C", "H", "H", "H")
    assert ours.nelectrons == theirs.nelectrons == (5, 4)
    assert np.abs(ours.overlap - theirs.overlap).max() < 1e-6
    assert Molecule.of(ours) is ours


def test_core_potentials_come_with_their_basis_set():
    iodide = Atoms("HI", [[0, 0, 0], [0, 0, 1.61]])
    assert Molecule.of(iodide, basis="def2-svp").nelectrons == (13, 13)
    assert Molecule.of(iodide, basis="lanl2dz").nelectrons == (4, 4)
    assert Molecule.of(iodide, basis="sto-3g").nelectrons == (27, 27)
    mixed = {"default": "sto-3g", "I": "def2-svp"}
    assert Molecule.of(iodide, basis=mixed).nelectrons == (13, 13)


def test_a_mole_without_the_core_potential_of_its_basis_set_is_refused():
    good = gto.M(atom=IODIDE, basis="def2-svp", ecp="def2-svp", verbose=0)
    assert Molecule.of(good).nelectrons == (13, 13)
    with pytest.raises(ValueError, match="basis set of I .* the Mole has none: set mol.ecp"):
        Molecule.of(gto.M(atom=IODIDE, basis="def2-svp", verbose=0))


def with_functions_of(name: str) -> dict[str, object]:
    return {"I": gto.basis.load(name, "I"), "H": "def2-svp"}


@pytest.mark.parametrize("name", ["def2-mtzvp", "def2-mtzvpp"])
def test_basis_sets_of_one_family_have_the_same_core_potential(name):
    iodide = Atoms("HI", [[0, 0, 0], [0, 0, 1.61]])
    ecp = Molecule.of(iodide, basis=name).mole._ecp
    assert ecp == Molecule.of(iodide, basis="def2-svp").mole._ecp
    assert ecp["I"][0] == 28


@pytest.mark.parametrize(
    "structure, basis",
    [
        (Atoms("I"), "ccecp-cc-pvdz"),
        (Atoms("Au"), "aug-cc-pvtz-pp"),
        (Atoms("Si"), "bfd-vdz"),
        (Atoms("I"), ["def2-svp"]),
        (Atoms("HI", [[0, 0, 0], [0, 0, 1.61]]), with_functions_of("def2-svp")),
        (gto.M(atom="I1 0 0 0", basis={"I1": "def2-svp"}, spin=1, verbose=0), None),
        (gto.M(atom="I 0 0 0", basis=("def2-svp",), spin=1, verbose=0), None),
    ],
)
def test_functions_without_a_core_are_refused_at_whole_nuclei(structure, basis):
    with pytest.raises(ValueError, match="basis functions of .* hold no electrons of its core"):
        Molecule.of(structure, basis=basis, spin=None if basis is None else 1)


def test_a_mole_may_have_core_potentials_by_atom():
    core = {"basis": {"I1": "def2-svp", "H": "sto-3g"}, "ecp": {"I1": "def2-svp"}}
    mole = gto.M(atom="I1 0 0 0; H 0 0 1.61", verbose=0, **core)
    assert Molecule.of(mole).nelectrons == (13, 13)


def test_basis_sets_for_all_electrons_are_refused_at_pseudopotentials():
    gth = {"pseudopotentials": "gth-pbe"}
    with pytest.raises(ValueError, match="O was made for all electrons.* replaces 2 of them"):
        Molecule.of(molecule("H2O"), basis={"H": "gth-dzvp", "O": "def2-svp"}, **gth)
    with pytest.raises(ValueError, match="O was made for all electrons"):
        Molecule.of(gto.M(atom="O", basis="6-31g", pseudo="gth-pbe", spin=2, verbose=0))
    # Hydrogen has no core, and one's own functions may reach as far as they like.
    Molecule.of(molecule("H2O"), basis={"O": "gth-dzvp", "H": "6-31g"}, **gth)
    own = {"O": gto.basis.load("6-31g", "O"), "H": "gth-dzvp"}
    assert Molecule.of(molecule("H2O"), basis=own, **gth).nelectrons == (4, 4)


def test_pseudopotentials_replace_all_cores():
    water = Molecule.of(molecule("H2O"), basis="gth-dzvp", pseudopotentials="gth-pbe")
    assert water.nelectrons == (4, 4)
    with pytest.raises(ValueError, match="made for pseudopotentials .*'gth-pbe'"):
        Molecule.of(molecule("H2O"), basis="gth-dzvp")
    with pytest.raises(ValueError, match="no pseudopotential 'gth-nothing' for H"):
        Molecule.of(molecule("H2O"), basis="gth-dzvp", pseudopotentials="gth-nothing")
    with pytest.raises(ValueError, match="pseudopotentials = .* has nothing for H: add 'H'"):
        Molecule.of(molecule("H2O"), basis="gth-dzvp", pseudopotentials={"O": "gth-pbe"})


WATER = molecule("H2O")
LONELY = Atoms("H2", [[0, 0, 0], [0, 0, 0.05]])
NOWHERE = Atoms("H2", [[0, 0, 0], [0, 0, np.nan]])
DEPENDENT = {"He": [[0, [1e-4 * 1.0001**i, 1.0]] for i in range(6)]}


@pytest.mark.parametrize(
    "structure, keywords, message",
    [
        (WATER, {}, "needs a basis set: give basis='def2-svp'"),
        (WATER, {"basis": "no such basis"}, "unknown basis set 'no such basis'"),
        (WATER, {"basis": {"O": "sto-3g"}}, "has nothing for H: add 'H', or 'default'"),
        (WATER, {"basis": {"Oxygen": "sto-3g", "default": "6-31g"}}, "key.* 'Oxygen': keys must"),
        (WATER, {"basis": 3}, "basis must be a name or a mapping by symbol, got 3"),
        (WATER, {"basis": {"default": "sto-3g", "O": 3}}, "basis set of O is neither a name nor"),
        (WATER, {"basis": [[0, 1.0]]}, r"in PySCF's form, .* got \[\[0, 1.0\]\]"),
        (WATER, {"basis": "sto-3g", "charge": -6}, "lower spin, or check the charge"),
        (Atoms("I"), {"basis": "cc-pvdz"}, "no functions for I: .* 'I': 'def2-svp'"),
        (Atoms("U"), {"basis": "def2-svp"}, "no functions for U: .* 'U': 'ano-rcc'"),
        (WATER, {"basis": "sto-3g", "charge": 0.5}, "charge must be a whole number .* got 0.5"),
        (WATER, {"basis": "sto-3g", "charge": 10}, "has 0 electrons, and needs at least one"),
        (WATER, {"basis": "sto-3g", "spin": 1}, "10 electrons cannot have 1 unpaired .* even"),
        (WATER, {"basis": "sto-3g", "charge": 1}, "9 electrons cannot have 0 unpaired .* odd"),
        (WATER, {"basis": "sto-3g", "spin": -2}, "spin .* at least 0, got -2"),
        (WATER, {"basis": "sto-3g", "spin": 12}, "10 electrons cannot have 12 unpaired"),
        (WATER, {"basis": "sto-3g", "spin": 8}, "has 7 functions and cannot hold 9 electrons"),
        (LONELY, {"basis": "sto-3g"}, "atoms overlap: H0 and H1 are 0.0500 Angstrom apart"),
        (NOWHERE, {"basis": "sto-3g"}, r"positions of atoms \[1\] contain NaN"),
        (Atoms("He"), {"basis": DEPENDENT}, "linearly dependent: the smallest eigenvalue"),
        (Atoms(), {"basis": "sto-3g"}, "no atoms"),
        (Atoms("X"), {"basis": "sto-3g"}, "unknown element.* 'X'"),
        (bulk("Si"), {"basis": "sto-3g"}, "Si2 repeats periodically .*planewave.scf"),
        (gto.M(atom="He", basis="sto-3g"), {"charge": 0}, "the Mole has its own charge"),
        (gto.Mole(), {}, "the Mole is not built"),
        (periodic.Cell(), {}, "pyscf.pbc.gto.Cell, a crystal"),
    ],
)
def test_impossible_molecules_are_refused(structure, keywords, message):
    with pytest.raises(ValueError, match=message):
        Molecule.of(structure, **keywords)


def test_functions_of_ones_own_are_those_of_their_names():
    named = Molecule.of(WATER, basis="sto-3g")
    own = {"H": gto.basis.load("sto-3g", "H"), "O": gto.basis.load("sto-3g", "O")}
    assert np.array_equal(Molecule.of(WATER, basis=own).overlap, named.overlap)


def test_pseudopotentials_of_silicon_do_not_warn(recwarn: pytest.WarningsRecorder):
    problem = make_problem(Atoms("Si"), "LDA", basis="gth-szv", pseudopotentials="gth-pbe")
    assert problem.core.shape == (4, 4)
    assert not recwarn.list


def test_other_structures_are_refused():
    with pytest.raises(TypeError, match="ase.Atoms .*a pyscf.gto.Mole or a Molecule, not str"):
        Molecule.of("H2O", basis="sto-3g")


@pytest.mark.parametrize(
    "keywords, message",
    [
        ({"restricted": True, "spin": 2}, "spin = 2 are unpaired: use restricted='open'"),
        ({"restricted": "closed"}, "restricted must be True, False, 'open' or None"),
        ({"grid_level": 12}, "grid_level must be 0 to 9, got 12"),
        ({"damping": 2.0}, "damping must be between 0 and 0.99, got 2"),
        ({"level_shift": "high"}, "level_shift must be a number"),
        ({"gradient_tolerance": -1}, "gradient_tolerance must be between"),
        ({"convergence": {"density": 1e-6}}, "unknown key 'density' of convergence"),
        ({"convergence": {"energy": -1.0}}, r"convergence\['energy'\] must be positive"),
        ({"callback": 3}, "callback = 3 is not a function"),
        ({"start": 3}, r"start must be a MolecularResult or density matrices \(1, 7, 7\)"),
        (
            {"restricted": "open", "spin": 2, "occupations": {"name": "gaussian", "width": 0.1}},
            "restricted='open' fills whole orbitals",
        ),
        ({"functional": ConstrainedGGA().to("meta")}, "on meta: use functional.to"),
        ({"convergence": "tight"}, "convergence must be a mapping with some of energy"),
        ({"functional": "wB97X-V"}, "'wB97X-V' means a functional with dispersion .*VV10"),
        ({"functional": "hyb_gga_xc_wb97x_v"}, "it needs nonlocal .VV10. correlation"),
        ({"functional": "mgga_x_br89"}, "it needs the Laplacian of the density"),
        ({"functional": "no such functional"}, "unknown functional"),
    ],
)
def test_keywords_that_make_no_sense_are_refused(keywords, message):
    functional = keywords.pop("functional", "PBE")
    with pytest.raises(ValueError, match=message):
        scf(molecule("H2O"), functional, basis="sto-3g", **keywords)


@pytest.mark.parametrize("key", ["charge", "total_charge"])
def test_a_charge_that_a_file_declares_is_not_passed_over(key):
    """As extended XYZ files do."""
    hydroxide = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={key: -1})
    for charge in (None, 0, 1):
        with pytest.raises(ValueError, match="says -1, .* give charge=-1"):
            Molecule.of(hydroxide, basis="sto-3g", charge=charge)
    assert Molecule.of(hydroxide, basis="sto-3g", charge=-1).nelectrons == (5, 5)
    hydroxide.info[key] = "minus one"
    with pytest.raises(ValueError, match="says 'minus one'"):
        Molecule.of(hydroxide, basis="sto-3g", charge=-1)


def test_initial_moments_are_not_passed_over():
    """ASE's O2 has those of a triplet."""
    oxygen = molecule("O2")
    with pytest.raises(SpinError, match="moments add up to 2 mu_B, .* give spin=2, or spin=0"):
        Molecule.of(oxygen, basis="sto-3g")
    for spin in (0, 2):
        assert Molecule.of(oxygen, basis="sto-3g", spin=spin).spin == spin
    oxygen.set_initial_magnetic_moments([1.0, -1.0])
    assert Molecule.of(oxygen, basis="sto-3g").spin == 0
    vectors = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], magmoms=[[0, 0, -1], [0, 0, -1]])
    with pytest.raises(SpinError, match="add up to 2 mu_B"):
        Molecule.of(vectors, basis="sto-3g")
