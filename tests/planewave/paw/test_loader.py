"""PAW datasets by family, variant, path and object."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepchem_xc.planewave.paw import PAWDataset, is_paw_source, load_paw
from deepchem_xc.planewave.potentials import load_potentials
from tests.planewave.paw.analytic_dataset import AnalyticFile


@pytest.mark.parametrize(
    "source, symbol, name, valence, functional",
    [
        ("paw-pbe", "Ni", "Ni.PBE", 16.0, "PBE"),
        ("paw-pbe:10", "Ni", "Ni.10.PBE", 10.0, "PBE"),
        ("PAW_PBE", "O", "O.PBE", 6.0, "PBE"),
        ("paw-lda", "Si", "Si.LDA", 4.0, "LDA"),
        ("paw-lda:1", "Na", "Na.1.LDA", 1.0, "LDA"),
    ],
)
def test_families_and_variants_are_files_of_gpaw_data(
    source: str, symbol: str, name: str, valence: float, functional: str, setups: Path
) -> None:
    dataset = load_paw(source, symbol)
    assert (dataset.name, dataset.valence, dataset.functional) == (name, valence, functional)
    assert load_paw(setups / f"{name}.gz", symbol).name == name


@pytest.mark.parametrize(
    "source, symbol, message",
    [
        ("paw-pbe:12", "Ni", "no variant '12' of Ni; valid are paw-pbe, paw-pbe:10"),
        ("paw-pbe:10", "Si", "no variant '10' of Si; valid are paw-pbe. A variant belongs to one"),
        ("paw-pbe", "Tc", "paw-pbe has no dataset of Tc; its elements are Ag, Al, "),
    ],
)
def test_what_a_family_lacks_is_answered_with_what_it_has(
    source: str, symbol: str, message: str, setups: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        load_paw(source, symbol)


@pytest.mark.parametrize("family", ["paw-blyp", "paw", "PAW", "pawpbe"])
def test_an_unknown_family_is_answered_with_the_known_ones(family: str) -> None:
    expected = f"no family '{family}'.*paw-pbe, paw-lda.*'paw-pbe:10'"
    with pytest.raises(ValueError, match=expected):
        load_potentials(family, ["Si"])


def test_without_gpaw_data_families_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Files need no package."""
    monkeypatch.setitem(sys.modules, "gpaw_data", None)
    with pytest.raises(ImportError, match=r"pip install 'deepchem-xc\[paw\]'.*PAW-XML"):
        load_paw("paw-pbe", "Si")
    assert load_paw(AnalyticFile().write(tmp_path / "Be.xml"), "Be").valence == 2.0


def test_paths_and_objects(tmp_path: Path, read: Callable[..., PAWDataset]) -> None:
    dataset = read()
    assert load_paw(dataset, "Be") is dataset
    with pytest.raises(ValueError, match="was given for Mg"):
        load_paw(dataset, "Mg")
    packed = AnalyticFile().write(tmp_path / "Be.10.PBE.gz")
    assert load_paw(str(packed), "Be").name == "Be.10.PBE"
    with pytest.raises(ValueError, match=r"Be\.10\.PBE\.gz: it is a dataset of Be, not of Mg"):
        load_paw(packed, "Mg")
    with pytest.raises(FileNotFoundError, match="no PAW dataset of Be"):
        load_paw("absent.xml", "Be")


@pytest.mark.parametrize(
    "source, expected",
    [
        ("paw-pbe", True),
        ("paw-pbe:10", True),
        ("Ni.10.PBE.gz", True),
        (Path("Si.xml"), True),
        ("gth-pbe", False),
        ("Si.psp8.gz", False),
        ("Si.upf", False),
        (4, False),
        (None, False),
    ],
)
def test_sources_of_paw_are_told_from_others(source: object, expected: bool) -> None:
    assert is_paw_source(source) is expected


@pytest.mark.parametrize("part", [0.1, 0.9])
def test_a_damaged_file_in_a_folder_is_named(part: float, tmp_path: Path) -> None:
    """Also one so short that its kind is known from part of its first bytes alone."""
    path = AnalyticFile().write(tmp_path / "Be.PBE.gz")
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=r"Be\.PBE\.gz: the compressed file is damaged or cut"):
        load_potentials(tmp_path, ["Be"])
    path.write_bytes(content[:2] + b"nothing")
    with pytest.raises(ValueError, match=r"has no file of Be, .* or damaged: Be\.PBE\.gz$"):
        load_potentials(tmp_path, ["Be"])
