"""What structures say besides cell and positions: full sites, charge and moments."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from pymatgen.core import Lattice, Molecule, Species, Structure
from pymatgen.electronic_structure.core import Magmom

from deepchem_xc.calculators import PlaneWaveDFT
from deepchem_xc.feat import DFTSystem
from deepchem_xc.planewave import Crystal, equation_of_state, scf
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning

CIF = """data_x
_cell_length_a 4.2
_cell_length_b 4.2
_cell_length_c 4.2
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
_space_group_IT_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{sites}
"""
SITES = {
    "ordered": "Mg1 Mg 0 0 0 1.0\nO1 O 0.5 0.5 0.5 1.0",
    "rounded": "Mg1 Mg 0 0 0 0.9996\nO1 O 0.5 0.5 0.5 1.0",
    "alloy": "Al1 Al 0 0 0 0.6\nMg1 Mg 0 0 0 0.4\nO1 O 0.5 0.5 0.5 1.0",
    "vacancies": "Mg1 Mg 0 0 0 0.75\nO1 O 0.5 0.5 0.5 1.0",
    "too much": "Mg1 Mg 0 0 0 1.2\nO1 O 0.5 0.5 0.5 1.0",
    "one of two": "Mg1 Mg 0 0 0 1.0\nO1 O 0.5 0.5 0.5 0.5\nS1 S 0.5 0.5 0.5 0.5",
}
PARTIAL = [name for name in SITES if name not in ("ordered", "rounded")]


# Ways to say that the first of two atoms is there in part.
HALF = {
    "a number for each atom": {"occupancy": [0.5, 1.0]},
    "an array": {"occupancies": np.array([0.5, 1.0])},
    "one number": {"occupancy": 0.5},
    "by label": {"occupancy": {"Mg1": 0.5, "O1": 1.0}},
    "JSON": {"occupancy": '{"0": {"Mg": 0.5}, "1": {"O": 1.0}}'},
    "a database's row": {"data": {"occupancy": {"0": {"Mg": 0.5}}}},
    "another name": {"_atom_site_occupancy": ["0.5", "1"]},
    "not there at all": {"occupancy": {"0": {"Mg": 0.0}, "1": {"O": 1.0}}},
}
MAGNETIC_CIF = """
loop_
_atom_site_moment{dot}label
_atom_site_moment{dot}crystalaxis_x
_atom_site_moment{dot}crystalaxis_y
_atom_site_moment{dot}crystalaxis_z
Mg1 0 0 2.2
O1 0 0 -2.2
"""


@pytest.fixture
def cif(tmp_path: Path) -> Any:
    def write(name: str) -> Path:
        path = tmp_path / f"{name.replace(' ', '-')}.cif"
        path.write_text(CIF.format(sites=SITES[name]))
        return path

    return write


# -- sites ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTIAL)
def test_partially_occupied_sites_are_refused_wherever_they_come_from(cif, name: str) -> None:
    path = cif(name)
    atoms = ase.io.read(path)
    message = "partially occupied sites .*ordered cell"
    with pytest.raises(ValueError, match=message):
        Crystal.read(path)
    with pytest.raises(ValueError, match=message):
        scf(atoms, ecut=100.0)
    with pytest.raises(ValueError, match=message):
        equation_of_state(atoms, ecut=100.0)
    atoms.calc = PlaneWaveDFT(ecut=100.0)
    with pytest.raises(ValueError, match=message):
        atoms.get_potential_energy()
    if name != "too much":  # pymatgen refuses that itself
        with pytest.raises(ValueError, match="partially occupied"):
            Crystal.from_pymatgen(Structure.from_file(path))


@pytest.mark.parametrize("name", ["ordered", "rounded"])
def test_full_sites_are_not_in_the_way(cif, name: str) -> None:
    atoms = ase.io.read(cif(name))
    assert "occupancy" in atoms.info
    assert Crystal.from_ase(atoms).natom == 8
    assert Crystal.from_ase(atoms.repeat((2, 1, 1))).natom == 16
    assert Crystal.from_ase(atoms[:3]).natom == 3


@pytest.mark.parametrize("change", ["repeat", "slice", "slice of the mixed", "json", "no kinds"])
def test_partial_occupancies_follow_their_atoms(cif, tmp_path: Path, change: str) -> None:
    atoms = ase.io.read(cif("alloy"))
    oxygen = np.flatnonzero(atoms.numbers == 8)
    mixed = np.flatnonzero(atoms.numbers != 8)
    if change == "slice":  # only full sites are left
        assert Crystal.from_ase(atoms[oxygen]).symbols == ("O",) * 4
        return
    if change == "repeat":
        atoms = atoms.repeat((1, 2, 1))
    elif change == "slice of the mixed":
        atoms = atoms[mixed[:1]]
    elif change == "json":  # keys become numbers
        atoms.write(tmp_path / "a.traj")
        atoms = ase.io.read(tmp_path / "a.traj")
    else:
        del atoms.arrays["spacegroup_kinds"]
    with pytest.raises(ValueError, match=r"Al 0\.6, Mg 0\.4"):
        Crystal.from_ase(atoms)


def test_an_ordered_choice_is_computed_once_the_occupancies_are_removed(cif) -> None:
    atoms = ase.io.read(cif("alloy"))
    atoms.symbols[np.flatnonzero(atoms.numbers == 13)[:2]] = "Mg"
    with pytest.raises(ValueError, match=r'remove atoms\.info\["occupancy"\]'):
        Crystal.from_ase(atoms)
    del atoms.info["occupancy"]
    assert Crystal.from_ase(atoms).species == ("Al", "Mg", "O")


def test_atoms_added_to_a_cell_have_no_occupancies(cif) -> None:
    """ASE fills the kinds of added atoms with zeros, which is the mixed site's kind."""
    atoms = ase.io.read(cif("alloy"))
    both = atoms[np.flatnonzero(atoms.numbers == 8)] + Atoms("H", positions=[(2.1, 2.1, 0.2)])
    assert (both.arrays["spacegroup_kinds"] == 0).any()
    assert Crystal.from_ase(both).symbols == ("O", "O", "O", "O", "H")


@pytest.mark.parametrize("name", ["occupancy", "occupancies"])
def test_occupancies_of_atoms_are_refused_too(name: str) -> None:
    atoms = bulk("Si")
    atoms.set_array(name, np.array([1.0, 1.0]))
    assert Crystal.from_ase(atoms).natom == 2
    atoms.arrays[name][1] = 0.5
    with pytest.raises(ValueError, match=rf"\(Si1 0\.5\).*atoms\.arrays\[\"{name}\"\]"):
        Crystal.from_ase(atoms)


# -- charge --------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["charge", "total_charge"])
@pytest.mark.parametrize("charge", [1, -1.0, np.int64(2)])
def test_charged_atoms_are_refused(key: str, charge: Any) -> None:
    atoms = bulk("Si")
    atoms.info[key] = 0
    Crystal.from_ase(atoms)
    atoms.info[key] = charge
    with pytest.raises(ValueError, match=rf"charge of \{charge:+g} .*only neutral cells.*{key}"):
        Crystal.from_ase(atoms)


def test_initial_charges_are_noticed_where_they_add_up() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.set_initial_charges([1.0, -1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredInputWarning)
        Crystal.from_ase(atoms)
    atoms.set_initial_charges([1.0, 0.0])
    with pytest.warns(IgnoredInputWarning, match=r"add up to \+1: they are not used"):
        Crystal.from_ase(atoms)


def iron(**keywords: Any) -> Structure:
    positions = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure(Lattice.cubic(2.84), ["Fe", "Fe"], positions, **keywords)


def test_a_charged_structure_is_refused() -> None:
    with pytest.raises(ValueError, match=r"charge of \+1 .*structure\.set_charge\(0\)"):
        Crystal.from_pymatgen(iron(charge=1))
    ions = Structure(Lattice.cubic(4.2), ["Na+", "Cl-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert Crystal.from_pymatgen(ions).symbols == ("Na", "Cl")
    ions.replace(1, "Cl")
    with pytest.raises(ValueError, match=r"charge of \+1 .*sum of the oxidation states"):
        Crystal.from_pymatgen(ions)
    ions.set_charge(0)
    assert Crystal.from_pymatgen(ions).symbols == ("Na", "Cl")


# -- moments -------------------------------------------------------------------------------------


def with_property(moments: Any) -> Structure:
    return iron(site_properties={"magmom": moments})


MOMENTS = {
    "numbers": (with_property([2.2, -2.2]), (2.2, -2.2)),
    "spins of species": (iron().add_spin_by_site([2.2, -2.2]), (2.2, -2.2)),
    "both": (with_property([2.2, -2.2]).add_spin_by_site([2.2, -2.2]), (2.2, -2.2)),
    "one without": (with_property([2.2, None]), (2.2, 0.0)),
    "vectors": (with_property([[0, 0, 2.2], [0, 0, -2.2]]), (2.2, -2.2)),
    "along x": (with_property([[-2.2, 0, 0], [2.2, 0, 0]]), (-2.2, 2.2)),
    "noise": (with_property([[0.002, -0.001, 2.2], [0, 0, 2.1]]), (2.2, 2.1)),
    "Magmom": (with_property([Magmom([0, 0, 2.2]), Magmom([0, 0, -2.2])]), (2.2, -2.2)),
    "Magmom's axis": (with_property([Magmom(2.2, [1, 0, 0]), Magmom([2.2, 0, 0])]), (2.2, 2.2)),
    "none": (iron(), None),
    "zeros": (with_property([0.0, 0.0]), None),
    "oxidation states": (
        Structure(Lattice.cubic(3), [Species("Fe", 0, spin=4)], [[0, 0, 0]]),
        (4.0,),
    ),
}


@pytest.mark.parametrize(("structure", "expected"), MOMENTS.values(), ids=MOMENTS)
def test_moments_of_pymatgen_are_initial_moments(structure: Structure, expected: Any) -> None:
    found = Crystal.from_pymatgen(structure).magnetic_moments
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (with_property([[0, 0, 2.2], [2.2, 0, 0]]), "not collinear"),
        (with_property([Magmom([0, 0, 2.2]), Magmom([2.2, 0, 0])]), "not collinear"),
        (with_property([2.2, [2.2, 0, 0]]), "not collinear"),
        (with_property([[2.2, 0], [2.2, 0]]), "is not a magnetic moment: give one number"),
        (with_property(["up", "down"]), "'up' is not a magnetic moment"),
        (with_property([2.2, float("nan")]), "NaN"),
        (with_property([2.2, 2.2]).add_spin_by_site([2.2, -2.2]), "remove one of the two"),
    ],
)
def test_moments_that_cannot_be_computed_are_refused(structure: Structure, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Crystal.from_pymatgen(structure)


def test_vectors_of_ase_along_one_axis_are_moments_too() -> None:
    atoms = bulk("Al", cubic=True)[:2]
    atoms.set_initial_magnetic_moments([[0, 2.2, 0], [0, -2.2, 0]])
    assert Crystal.from_ase(atoms).magnetic_moments == (2.2, -2.2)
    atoms.set_initial_magnetic_moments([[0, 2.2, 0], [2.2, 0, 0]])
    with pytest.raises(ValueError, match="not collinear"):
        Crystal.from_ase(atoms)


@pytest.mark.parametrize("name", ["magmoms", "magmom"])
def test_moments_in_a_file_are_used_and_said_to_be_results(tmp_path: Path, name: str) -> None:
    path = tmp_path / "fe.xyz"
    path.write_text(
        '2\nLattice="2.84 0 0 0 2.84 0 0 0 2.84" pbc="T T T" '
        f"Properties=species:S:1:pos:R:3:{name}:R:1\nFe 0 0 0 2.2\nFe 1.42 1.42 1.42 -2.2\n"
    )
    with pytest.warns(IgnoredInputWarning, match=r"fe\.xyz.* results .*\(2\.2, -2\.2 mu_B\)"):
        crystal = Crystal.read(path)
    assert crystal.magnetic_moments == (2.2, -2.2)
    # Atoms that were read by ASE are as ASE says: without initial moments. That is noticed.
    with pytest.warns(IgnoredInputWarning, match=r"not magnetic.*set_initial_magnetic_moments"):
        assert Crystal.from_ase(ase.io.read(path)).magnetic_moments is None


def test_initial_moments_in_a_file_come_first(tmp_path: Path) -> None:
    atoms = bulk("Fe")
    atoms.set_initial_magnetic_moments([3.0])
    atoms.calc = SinglePointCalculator(atoms, magmoms=np.array([2.2]), energy=0.0)
    atoms.write(tmp_path / "fe.traj")
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredInputWarning)
        assert Crystal.read(tmp_path / "fe.traj").magnetic_moments == (3.0,)


def test_vanishing_moments_of_an_earlier_calculation_are_none() -> None:
    atoms = bulk("Al")
    atoms.calc = SinglePointCalculator(atoms, magmoms=np.array([1e-5]), energy=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IgnoredInputWarning)
        assert Crystal.from_ase(atoms).magnetic_moments is None


@pytest.mark.parametrize("name", HALF)
def test_occupancies_in_any_form_are_refused(name: str) -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    Crystal.from_ase(atoms)
    atoms.info.update(HALF[name])
    with pytest.raises(ValueError, match="partially occupied sites .*Make an ordered cell"):
        Crystal.from_ase(atoms)


def test_occupancies_that_are_no_numbers_are_refused_with_what_to_do() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    atoms.info["occupancy"] = ["half", 1.0]
    with pytest.raises(
        ValueError, match=r"holds 'half', which is not an occupancy.*Remove atoms.info"
    ):
        Crystal.from_ase(atoms)
    del atoms.info["occupancy"]
    atoms.set_array("occupancy", np.array([np.nan, 1.0]))
    with pytest.raises(ValueError, match="Mg0 nan"):
        Crystal.from_ase(atoms)
    structure = Structure(
        Lattice.cubic(4.2),
        ["Fe", "O"],
        [[0, 0, 0], [0.5] * 3],
        site_properties={"occupancy": [1, 0.9]},
    )
    with pytest.raises(ValueError, match="O1 0.9"):
        Crystal.from_pymatgen(structure)


def test_sites_of_which_a_cif_does_not_say_how_full_they_are_are_full(tmp_path: Path) -> None:
    path = tmp_path / "x.cif"
    path.write_text(CIF.format(sites="Mg1 Mg 0 0 0 ?\nO1 O 0.5 0.5 0.5 ."))
    assert Crystal.read(path).natom == 8


@pytest.mark.parametrize("dot", [".", "_"])
@pytest.mark.parametrize("suffix", [".cif", ".mcif"])
def test_a_magnetic_cif_is_not_read_without_its_moments(
    cif, tmp_path: Path, dot: str, suffix: str
) -> None:
    text = cif("ordered").read_text() + MAGNETIC_CIF.format(dot=dot)
    path = tmp_path / f"magnet{suffix}"
    path.write_text(text)
    for target in (path, text):
        with pytest.raises(ValueError, match="magnetic CIF.*pymatgen"):
            DFTSystem({"structure": target, "ecut": 100.0})
    with pytest.raises(ValueError, match=r"magnetic CIF.*Structure\.from_file"):
        Crystal.read(path)
    path.write_text(cif("ordered").read_text())
    assert Crystal.read(path).natom == 8


def test_a_file_that_was_cut_off_before_its_atoms_says_so(tmp_path: Path) -> None:
    path = tmp_path / "torn.cif"
    path.write_text(CIF.partition("loop_")[0])
    with pytest.raises(ValueError, match=r"torn\.cif holds no complete structure.* cut off"):
        Crystal.read(path)


@pytest.mark.parametrize("charge", ["1", np.array(-1.0), np.array([1.0]), "plus one"])
def test_a_charge_is_refused_whatever_it_is_written_as(charge: Any) -> None:
    atoms = bulk("Al")
    atoms.info["charge"] = charge
    with pytest.raises(ValueError, match=r"only neutral cells.*delete atoms\.info\['charge'\]"):
        Crystal.from_ase(atoms)
    structure = Structure(Lattice.cubic(3.0), ["Fe"], [[0, 0, 0]], properties={"charge": charge})
    with pytest.raises(ValueError, match=r"structure\.properties\['charge'\]"):
        Crystal.from_pymatgen(structure)


def test_what_is_not_used_is_noticed() -> None:
    atoms = bulk("Al")
    atoms.info["spin"] = 3
    with pytest.warns(IgnoredInputWarning, match=r"atoms.info\['spin'\] = 3 is not used"):
        assert Crystal.from_ase(atoms).magnetic_moments is None
    atoms.set_initial_magnetic_moments([2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Crystal.from_ase(atoms).magnetic_moments == (2.0,)
    atoms.set_array("oxi_states", np.array([1.0]))
    with pytest.warns(IgnoredInputWarning, match=r"add up to \+1"):
        Crystal.from_ase(atoms)
    for name in ("final_magmom", "magmoms"):
        structure = Structure(
            Lattice.cubic(3.0), ["Fe"], [[0, 0, 0]], site_properties={name: [2.0], "charge": [0.5]}
        )
        with (
            pytest.warns(IgnoredInputWarning, match=f"{name}.*add_site_property"),
            pytest.warns(IgnoredInputWarning, match="add up to"),
        ):
            assert Crystal.from_pymatgen(structure).magnetic_moments is None


def test_a_molecule_of_pymatgen_has_no_cell() -> None:
    molecule = Molecule(["H", "H"], [[0, 0, 0], [0, 0, 0.75]])
    for make in (Crystal.from_pymatgen, lambda given: scf(given, ecut=100.0)):
        with pytest.raises(TypeError, match="get_boxed_structure"):
            make(molecule)
