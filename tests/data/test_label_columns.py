"""Labels in other units than those of entries."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.units import Bohr, Hartree

from deepchem_xc.data import RowsError
from tests.data.solids import lines, loader, record


@pytest.mark.parametrize(
    ("kind", "unit", "given", "expected"),
    [
        ("energy", "eV/atom", -100.0, -200.0),
        ("energy", "Ha", -1.0, -Hartree),
        ("energy", "kJ/mol", 96.4853, 1.0),
        ("energy", "kcal/mol", 23.0605, 1.0),
        ("lattice_constant", "bohr", 10.26, 10.26 * Bohr),
        ("lattice_constant", "nm", 0.543, 5.43),
        ("bulk_modulus", "eV/Angstrom^3", 1.0, 160.21766),
        ("bulk_modulus", "kbar", 980.0, 98.0),
        ("band_gap", "Ry", 0.1, 1.360569),
    ],
)
def test_units_are_converted(
    kind: str, unit: str, given: float, expected: float, tmp_path: Path
) -> None:
    """Two atoms in the cell; energies without "/atom" are the cell's."""
    rows = [record("Si", label=given, unit=unit)]
    path = lines(tmp_path / "d.jsonl", rows)
    for units in ({"label": unit}, {"label": {"column": "unit"}}):
        data = loader(["label"], e_type=kind, units=units).create_dataset(path)
        assert data.y[0, 0] == pytest.approx(expected, rel=1e-5)
        assert data.X[0].get_true_val()[0] == data.y[0, 0]


def test_units_that_do_not_exist(tmp_path: Path) -> None:
    rows = [record("Al", energy=1.0, unit="eV"), record("Si", energy=1.0, unit="parsec")]
    rows += [record("GaAs", energy=1.0, unit="GPa"), record("LiF", energy=1.0)]
    path = lines(tmp_path / "d.jsonl", rows)
    with pytest.raises(RowsError) as caught:
        loader(units={"energy": {"column": "unit"}}).create_dataset(path)
    assert [str(error.place) for error in caught.value.errors] == [
        f"d.jsonl:{i}" for i in (2, 3, 4)
    ]
    reasons = [error.reason for error in caught.value.errors]
    assert "energy: the unit 'parsec' is not known; valid are" in reasons[0]
    assert "energy: the unit 'GPa' is not one of this label, which is in eV" in reasons[1]
    assert "energy: there is no column 'unit' with its unit; the row has energy" in reasons[2]
    for units, message in (
        ({"enrgy": "eV"}, "units: there is no task 'enrgy'; the tasks are energy"),
        ({"energy": "parsec"}, "the unit 'parsec' is not known"),
        ({"energy": 3}, r"units\['energy'\] must be a unit such as"),
    ):
        with pytest.raises(ValueError, match=message):
            loader(units=units)
