"""What users write after ``pseudopotentials=``: families of both kinds, files, folders, objects."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from deepchem_xc.calculators.settings import file_digests, with_absolute_files
from deepchem_xc.feat.files import absolute_potential, content_digests
from deepchem_xc.planewave.paw import PAWPotential
from deepchem_xc.planewave.potentials import (
    family_digests,
    load_potentials,
    names_path,
    potential_files,
)
from deepchem_xc.planewave.pseudo import (
    FunctionalMismatchWarning,
    check_functional,
    load_gth,
    load_pseudopotentials,
    potential_digest,
)
from tests.planewave.paw.analytic_dataset import AnalyticFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one PAW dataset, and other files."""
    folder = tmp_path / "sets"
    folder.mkdir()
    AnalyticFile().write(folder / "Be.PBE.gz")
    (folder / "README").write_text("Be is beryllium")
    (folder / "B.dzp.basis.gz").write_bytes(b"basis")
    return folder


def test_norm_conserving_sources_are_those_of_load_pseudopotentials() -> None:
    spec = {"Ni": "GTH-GGA-q10", "O": load_gth("O", "gth-pbe"), "default": "gth-pade"}
    found = load_potentials(spec, ["Ni", "O", "Al", "Al"])
    expected = load_pseudopotentials(spec, ["Ni", "O", "Al"])
    assert {s: p.name for s, p in found.items()} == {s: p.name for s, p in expected.items()}


def test_families_of_paw_with_a_variant_and_a_default() -> None:
    pytest.importorskip("gpaw_data", reason="gpaw-data is not installed")
    found = load_potentials({"Ni": "paw-pbe:10", "default": "paw-pbe"}, ["Ni", "O"])
    assert {s: p.name for s, p in found.items()} == {"Ni": "Ni.10.PBE", "O": "O.PBE"}
    assert all(isinstance(p, PAWPotential) for p in found.values())


def test_a_folder_is_a_family(folder: Path) -> None:
    (dataset,) = load_potentials(folder, ["Be"]).values()
    assert isinstance(dataset, PAWPotential)
    assert dataset.name == "Be.PBE"
    assert load_potentials({"Be": dataset}, ["Be"])["Be"] is dataset
    assert load_potentials({"Be": dataset.dataset}, ["Be"])["Be"].name == "Be.PBE"


def test_what_a_folder_lacks_or_has_twice_is_listed(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"has no file of B, .*it has Be\.PBE\.gz; of .*: B\.dzp"):
        load_potentials(folder, ["B"])
    AnalyticFile().write(folder / "be-new.xml")
    with pytest.raises(ValueError, match=r"2 files of Be: Be\.PBE\.gz, be-new\.xml\. Name one"):
        load_potentials(str(folder), ["Be"])


def test_kinds_are_not_mixed(folder: Path) -> None:
    with pytest.raises(ValueError, match="Be would be treated by PAW and O by norm-conserving"):
        load_potentials({"Be": folder, "O": "gth-pbe"}, ["Be", "O"])


def test_a_dataset_of_another_functional_is_warned_about(folder: Path) -> None:
    potentials = load_potentials(folder, ["Be"])
    with pytest.warns(FunctionalMismatchWarning, match=r"Be \(Be\.PBE: PBE\).*another zero"):
        check_functional(potentials, "LDA")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_functional(potentials, "PBE")


def test_a_dataset_of_a_functional_that_is_unknown_is_warned_about_by_its_own_name(
    tmp_path: Path,
) -> None:
    """GLLB-SC's, for one, which gpaw-data has: no functional in use can be the one it is for."""
    element = '<xc_functional type="GLLB" name="GLLBSC"/>'
    path = AnalyticFile(elements={"xc_functional": element}).write(tmp_path / "Be.GLLBSC.gz")
    potentials = load_potentials(path, ["Be"])
    with pytest.warns(FunctionalMismatchWarning, match=r"Be \(Be\.GLLBSC: GLLBSC\)"):
        check_functional(potentials, "PBE")


@pytest.mark.parametrize("source", ["paw-pbe", "paw_lda:10"])
def test_where_only_norm_conserving_ones_serve_paw_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="PAW datasets, which cannot be used here.*gth-pbe"):
        load_pseudopotentials(source, ["Si"])


def test_a_hash_identifies_the_content_whatever_the_name(tmp_path: Path) -> None:
    def digest(name: str, **changes: object) -> str:
        path = AnalyticFile(**changes).write(tmp_path / name)
        return potential_digest(load_potentials(path, ["Be"])["Be"])

    first = digest("Be.xml")
    assert digest("Be.other.gz", root="paw_setup") == first
    functional = {"xc_functional": '<xc_functional type="LDA" name="PW"/>'}
    assert digest("Be.xml", elements=functional) == first
    energy = '<ae_energy kinetic="14.6" xc="-2.7" electrostatic="-26.2"/>'
    others = [
        digest("Be.xml", shape_radius=0.46),
        digest("Be.xml", equation="r=d*i"),
        digest("Be.xml", elements={"ae_energy": energy}),
        digest("Be.xml", count=1900),
    ]
    assert len({first, *others}) == 5


def test_files_and_folders_are_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their content counts, and relative paths become absolute ones."""
    file = str(folder / "Be.PBE.gz")
    assert potential_files(folder) == potential_files(file) == [file]
    before = content_digests({"Be": str(folder)})
    assert list(before) == [file]
    assert file_digests({"pseudopotentials": folder}) == before
    AnalyticFile(shape_radius=0.5).write(Path(file))
    assert content_digests(str(folder)) != before
    monkeypatch.chdir(tmp_path)
    assert names_path("sets")
    assert not names_path("gth-pbe")
    assert absolute_potential("sets") == str(folder)
    assert absolute_potential("sets", tmp_path / "elsewhere") == "sets"
    (tmp_path / "PBE").mkdir()
    settings = with_absolute_files({"xc": "PBE", "pseudopotentials": {"Be": "sets"}})
    assert settings == {"xc": "PBE", "pseudopotentials": {"Be": str(folder)}}


def test_the_hash_of_a_family_is_that_of_all_its_files() -> None:
    pytest.importorskip("gpaw_data")
    spec = {"Ni": "paw_pbe:10", "Al": "al.psp8", "O": "paw-lda", "default": "gth-pbe"}
    pbe, lda = family_digests("paw-pbe")["paw-pbe"], family_digests("paw-lda")["paw-lda"]
    assert pbe != lda
    assert family_digests(spec) == {"paw_pbe:10": pbe, "paw-lda": lda}
    assert family_digests("gth-pbe") == {}
