"""Densities that come with the package: those of the quick part of the silicon set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from deepchem_xc._files import data_file
from deepchem_xc.densities import AtomDensityNetwork, DensityPredictor
from deepchem_xc.molnet import DensitySet, compute_densities, computed_densities, load_si_allotropes
from deepchem_xc.molnet import shipped_densities as shipped
from deepchem_xc.molnet.density_structures import FUNCTIONAL
from deepchem_xc.numerics.errors import DamagedFileError
from deepchem_xc.planewave import DensityRecord, scf

SILICON = DensitySet.read("silicon")
LARGEST = 10_000_000  # bytes


@pytest.fixture
def no_calculation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> NoReturn:
        raise AssertionError("a density is computed")

    monkeypatch.setattr(computed_densities, "scf", refuse)


@pytest.mark.usefixtures("no_calculation")
def test_the_quick_part_of_silicon_is_loaded_without_a_calculation(tmp_path: Path) -> None:
    """Records are of the set's structures and settings, and of today's potentials and atoms."""
    _, sets, _ = load_si_allotropes(data_dir=tmp_path, quick=True, jobs=1, progress=False)
    found = {name: record for part in sets for name, record in zip(part.ids, part.X, strict=True)}
    assert set(found) == set(SILICON.quick)
    assert [{SILICON.structures[name].part for name in part.ids} for part in sets] == [
        {"train"},
        {"valid"},
        {"test"},
    ]
    network = AtomDensityNetwork({"Si": 4}, channels=2, l_max=1, layers=1)
    predictor = DensityPredictor(network, "gth-pbe", FUNCTIONAL)
    for name, record in found.items():
        predictor.check_record(record)
        assert record.orbitals is None and record.forces is not None
        assert record.crystal.natom == len(SILICON.structures[name].atoms)


@pytest.mark.usefixtures("no_calculation")
def test_what_is_kept_already_stays_and_what_is_damaged_is_replaced(tmp_path: Path) -> None:
    paths = compute_densities(SILICON, tmp_path, quick=True, parts=("test",), jobs=1)
    before = paths["bcc"].stat().st_mtime_ns
    paths["sc"].write_bytes(paths["sc"].read_bytes()[:-200])
    compute_densities(SILICON, tmp_path, quick=True, parts=("test",), jobs=1)
    assert paths["bcc"].stat().st_mtime_ns == before
    assert DensityRecord.load(paths["sc"]).crystal.natom == 1


def test_a_density_that_comes_with_the_package_is_that_of_scf(tmp_path: Path) -> None:
    path = tmp_path / "sc.npz"
    shipped.unpack_shipped("silicon", [path])
    record, structure = DensityRecord.load(path), SILICON.structures["sc"]
    result = scf(structure.atoms, FUNCTIONAL, **structure.keywords)
    change = float((result.density_g - record.fields.density).abs().max())
    assert change * record.crystal.volume < 1e-4  # electrons
    assert record.free_energy == pytest.approx(float(result.free_energy), abs=1e-6)


def test_the_archive_is_small_and_a_torn_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = data_file("density_silicon.zip").read_bytes()
    assert len(whole) < LARGEST
    torn = tmp_path / "density_silicon.zip"
    torn.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(shipped, "data_file", lambda name: torn)
    with pytest.raises(DamagedFileError, match=r"density_silicon.zip.*Install the package again"):
        shipped.unpack_shipped("silicon", [tmp_path / "sc.npz"])
    assert not (tmp_path / "sc.npz").exists()


def test_sets_without_an_archive_have_nothing_to_unpack(tmp_path: Path) -> None:
    shipped.unpack_shipped("magnets", [tmp_path / "sc.npz"])
    assert list(tmp_path.iterdir()) == []
