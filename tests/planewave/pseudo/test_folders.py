"""A folder of norm-conserving files as a family."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from deepchem_xc.planewave.pseudo import load_pseudopotentials
from deepchem_xc.planewave.pseudo.folders import file_in_folder, names_folder


@pytest.mark.parametrize("name", ["Si.psp8", "si_ONCV_PBE-1.2.UPF", "SI-d.psp8.gz"])
def test_the_file_of_an_element_is_found_by_its_name(
    name: str, psp8_text: Callable[..., str], upf_text: Callable[..., str], tmp_path: Path
) -> None:
    text = upf_text() if "UPF" in name else psp8_text(h=0.05)
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (tmp_path / "Si.xml").write_text("of another kind")
    (tmp_path / "S.psp8").write_text("of another element")
    for source in (tmp_path, str(tmp_path), {"Si": tmp_path}):
        assert load_pseudopotentials(source, ["Si"])["Si"].name == name


@pytest.mark.parametrize("name", ["Sc.upf", "Sn.upf", "my_S.upf", "s2.txt"])
def test_other_names_are_not_taken(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="has no file of S, whose name would begin with 'S'"):
        load_pseudopotentials(tmp_path, ["S"])


def test_several_files_of_an_element_are_listed(tmp_path: Path) -> None:
    for name in ("Si.upf", "Si_2.psp8", "O.upf"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=r"2 files of Si: Si\.upf, Si_2\.psp8\. Name one") as error:
        load_pseudopotentials(tmp_path, ["Si"])
    assert "O.upf" not in str(error.value)


def test_long_folders_are_cut_short_in_messages(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"X{i}.upf").write_text("")
    with pytest.raises(ValueError, match=r"X0\.upf, .* and 10 more$"):
        file_in_folder(tmp_path, "Si", lambda path: True)


def test_a_folder_with_the_name_of_a_family_does_not_replace_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gth-pbe").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not names_folder("gth-pbe")
    assert names_folder(Path("gth-pbe"))
    assert load_pseudopotentials("gth-pbe", ["Si"])["Si"].name == "GTH-PBE-q4"
