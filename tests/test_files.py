from __future__ import annotations

import importlib.metadata
import json
import os
from pathlib import Path

import pytest

from deepchem_xc import _files
from deepchem_xc._files import data_file, write_json


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"energy": 1.0})

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"energy": 2.0})
    assert json.loads(path.read_text()) == {"energy": 1.0}
    assert os.listdir(tmp_path) == ["result.json"]


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "result.json", {"energy": float("nan")})
    assert os.listdir(tmp_path) == []


def test_doubles_survive_exactly_and_the_file_is_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    values = [0.1, 1 / 3, -7.287989376796074, 5e-324]
    umask = os.umask(0o022)
    try:
        write_json(path, values)
    finally:
        os.umask(umask)
    assert json.loads(path.read_text()) == values
    assert path.stat().st_mode & 0o777 == 0o644


def test_data_of_an_installed_package_is_found_through_its_list_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "gpaw_eos.json"
    installed = tmp_path / "share" / "deepchem_xc" / name
    installed.parent.mkdir(parents=True)
    installed.write_text("{}")
    entry = importlib.metadata.PackagePath("..", "..", "share", "deepchem_xc", name)
    monkeypatch.setattr(entry, "locate", lambda: installed, raising=False)
    module = tmp_path / "site-packages" / "deepchem_xc" / "_files.py"
    monkeypatch.setattr(_files, "__file__", str(module))
    monkeypatch.setattr(importlib.metadata, "files", lambda distribution: [entry])
    assert data_file(name) == installed


def test_data_of_a_package_in_a_folder_of_its_own_is_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after ``pip install --target``, whose list of files names places that do not exist."""
    name = "gpaw_eos.json"
    entry = importlib.metadata.PackagePath("..", "..", "share", "deepchem_xc", name)
    monkeypatch.setattr(entry, "locate", lambda: tmp_path / "elsewhere" / name, raising=False)
    monkeypatch.setattr(importlib.metadata, "files", lambda distribution: [entry])
    monkeypatch.setattr(_files, "__file__", str(tmp_path / "deepchem_xc" / "_files.py"))
    with pytest.raises(FileNotFoundError, match=rf"'{name}'.*complete checkout"):
        data_file(name)
    installed = tmp_path / "share" / "deepchem_xc" / name
    installed.parent.mkdir(parents=True)
    installed.write_text("{}")
    assert data_file(name) == installed


def test_unknown_data_file_is_named_in_the_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"'no_such\.json'.*complete checkout"):
        data_file("no_such.json")


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="this is a folder, name a file in it"):
        write_json(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
