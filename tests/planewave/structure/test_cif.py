"""CIFs of several origins: read as they are if complete, refused if atoms are missing."""

from __future__ import annotations

import io
import warnings

import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from deepchem_xc.planewave.structure.cif import cif_structures, formula_counts, read_cif
from deepchem_xc.planewave.structure.files import read_atoms
from deepchem_xc.planewave.structure.reading import IgnoredInputWarning

SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
# As databases write it: the formula of one unit, and the number of units in the cell.
DATABASE = """data_{name}
_chemical_formula_sum '{formula}'
_cell_formula_units_Z {units}
_space_group_name_H-M_alt 'F m -3 m'
_cell_length_a 5.64
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 0.00000 0.00000 0.00000
Cl1 0.50000 0.50000 0.50000
"""


def from_ase(atoms: Atoms) -> str:
    file = io.BytesIO()
    atoms.write(file, format="cif")
    return file.getvalue().decode()


def database(formula: str = "Cl Na", units: object = 4, name: str = "salt") -> str:
    return DATABASE.format(formula=formula, units=units, name=name)


ORIGINS = {
    "pymatgen": str(CifWriter(SALT)),
    "pymatgen with symmetry": str(CifWriter(SALT, symprec=0.01)),
    "ASE": from_ase(bulk("NaCl", "rocksalt", a=5.64, cubic=True)),
    "database": database(),
    "no number of units": database(units="?"),
    "formula of the cell": database("Na4 Cl4", "?"),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_complete_file_is_read_and_one_cut_between_two_atoms_is_not(origin: str) -> None:
    text = ORIGINS[origin].rstrip()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (atoms,) = read_cif(text, "salt.cif")
    assert atoms.symbols.formula.count() == {"Na": 4, "Cl": 4}
    for lines in range(1, text.count("\n") + 1):
        cut = text.rsplit("\n", lines)[0]
        with pytest.raises(ValueError, match=r"^salt\.cif .*cut off"):
            read_cif(cut, "salt.cif")


def test_elements_and_files_that_were_cut_to_whole_formulas_are_noticed() -> None:
    silicon = bulk("Si", cubic=True)
    for text in (from_ase(silicon), str(CifWriter(Structure.from_ase_atoms(silicon)))):
        with pytest.raises(ValueError, match=r"holds Si4, but its chemical formula says Si8"):
            read_cif(text.rstrip().rsplit("\n", 4)[0], "si.cif")


def test_a_cut_at_any_character_is_refused_with_words() -> None:
    text = ORIGINS["ASE"].rstrip()
    end = text.rindex("\n")
    for length in range(0, end, 7):
        with pytest.raises(ValueError, match=r"cut off") as caught:
            read_cif(text[:length], "salt.cif")
        assert "pop from" not in str(caught.value) and "concatenate" not in str(caught.value)


def test_wrong_formulas_are_refused_and_only_too_small_a_number_of_units_is_a_warning() -> None:
    for formula, units in (("Cl K", 4), ("Cl2 Na", 4), ("Cl H Na", 4), ("Cl Na", 8)):
        with pytest.raises(ValueError, match=r"Na4 Cl4, but .* or the formula is wrong"):
            read_cif(database(formula, units), "salt.cif")
    with pytest.warns(IgnoredInputWarning, match="holds 4 formula units.*_units_Z 2"):
        assert len(read_cif(database(units=2), "salt.cif")[0]) == 8


def test_formulas_that_cannot_be_compared_are_not() -> None:
    for formula in ("?", "(Na Cl)4", "NACL", "CL NA", "Xx Na"):
        assert formula_counts(formula) is None
        assert len(read_cif(database(formula), "salt.cif")[0]) == 8
    assert formula_counts("D2 H2 O2") == {"H": 4.0, "O": 2.0}


def test_partial_sites_are_left_to_the_check_of_sites() -> None:
    alloy = Structure(Lattice.cubic(3.0), [{"Al": 0.5, "Mg": 0.5}], [[0, 0, 0]])
    assert len(read_cif(str(CifWriter(alloy)), "alloy.cif")[0]) == 1


def test_one_incomplete_block_leaves_the_others(tmp_path) -> None:
    text = database(name="good") + database("Cl2 Na", name="bad")
    good, bad = cif_structures(text, "both.cif")
    assert isinstance(good, Atoms) and "both.cif (data_bad)" in str(bad)
    (tmp_path / "both.cif").write_text(text)
    with pytest.raises(ValueError, match="data_bad"):
        read_atoms(tmp_path / "both.cif")
