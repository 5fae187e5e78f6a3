"""Files that are damaged or incomplete: what can be read is, the rest is named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from ase.io import write

from deepchem_xc.data import RowsError, SkippedRowsWarning
from deepchem_xc.data.formats import read_rows
from deepchem_xc.data.rows import Row, RowError
from tests.data.solids import CRYSTALS, loader, solid_files


@pytest.fixture
def solids(tmp_path: Path) -> dict[str, Path]:
    return solid_files(tmp_path)


@pytest.mark.parametrize("name", ["lines in gzip", "extxyz in gzip"])
def test_damaged_archives_are_named_with_what_was_read(solids: dict[str, Path], name: str) -> None:
    path = solids[name]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RowsError, match=rf"{path.name}.*(damaged or incomplete|ends within)"):
        loader().create_dataset(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(RowsError, match=rf"{path.name}: the file is damaged or incomplete"):
        loader(on_error="skip").create_dataset(path)


def test_zip_archives(solids: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "cifs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("Al", "Si"):
            archive.write(tmp_path / f"{name}.cif", f"cifs/{name}.cif")
        archive.writestr("cifs/notes.txt", "about these")
    one = loader([], on_error="skip")
    with pytest.warns(SkippedRowsWarning):
        data = one.create_dataset(path)
    assert data.ids.tolist() == ["cifs.zip/cifs/Al.cif", "cifs.zip/cifs/Si.cif"]
    assert [error.place for error in one.errors] == ["cifs.zip/cifs/notes.txt"]
    content = bytearray(path.read_bytes())
    place = content.find(b"_cell_length_a")
    content[place] ^= 0xFF  # stored without compression: the sum of one member is wrong
    path.write_bytes(content)
    with pytest.warns(SkippedRowsWarning):
        assert len(one.create_dataset(path)) == 1
    assert "Al.cif: the file is damaged" in str(one.errors[0])
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RowsError, match=r"cifs\.zip: the file is damaged or incomplete"):
        one.create_dataset(path)


def test_damaged_databases_and_json(solids: dict[str, Path]) -> None:
    database = solids["database"]
    database.write_bytes(database.read_bytes()[:3000] + b"\0" * 2000)
    with pytest.raises(RowsError, match=r"solids\.db: it is not a database of ASE, or a damaged"):
        loader().create_dataset(database)
    for name in ("list", "table", "ASE's JSON"):
        path = solids[name]
        path.write_text(path.read_text()[:-30])
        with pytest.raises(RowsError, match=rf"{path.name}: it is not JSON, or only a part of it"):
            loader().create_dataset(path)


def test_frames_after_a_bad_one_are_read(tmp_path: Path) -> None:
    write(tmp_path / "d.xyz", [CRYSTALS["Al"]] * 3, format="extxyz")
    text = (tmp_path / "d.xyz").read_text().splitlines()
    text[5] = "Al 0.0 nonsense 0.0"
    (tmp_path / "d.xyz").write_text("\n".join([*text, "2", "comment", "Al 0 0 0"]) + "\n")
    found = list(read_rows(tmp_path / "d.xyz", "d.xyz", "structure"))
    assert [type(row) for row in found] == [Row, RowError, Row, RowError]
    assert [row.place for row in found] == [f"d.xyz:{i}" for i in (1, 2, 3, 4)]
    assert "ends within this frame of 2 atoms" in str(found[3])


def test_all_blocks_of_a_cif_are_rows_and_rows_of_a_table_are_whole(tmp_path: Path) -> None:
    write(tmp_path / "two.cif", [CRYSTALS["Al"], CRYSTALS["Si"]])
    assert len(loader([]).create_dataset(tmp_path / "two.cif")) == 2
    CRYSTALS["Al"].write(tmp_path / "al.cif")
    (tmp_path / "d.csv").write_text("structure,energy\nal.cif,-57\nal.cif\nal.cif,1,2\n")
    with pytest.raises(RowsError) as caught:
        loader().create_dataset(tmp_path / "d.csv")
    assert "d.csv:2: it has 1 cells, the head has 2 columns" in str(caught.value)
    assert "d.csv:3: it has 3 cells, the head has 2 columns" in str(caught.value)
