from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.units import Hartree
from deepchem.molnet import load_bandgap

from deepchem_xc.feat import DensityGrid, DensityGridFeaturizer
from deepchem_xc.molnet import (
    DensitySet,
    DensityStructure,
    load_crystal_densities,
    load_si_allotropes,
)
from deepchem_xc.planewave import DensityRecord, scf

KEYWORDS = {"ecut": 60.0, "kpts": [1, 1, 1], "convergence": {"density": 1e-3}}
CONSTANTS = {"a": ("train", 5.3), "b": ("train", 5.4), "c": ("valid", 5.5), "d": ("test", 5.6)}


def tiny() -> DensitySet:
    """A set of four cells of silicon, one of which is not of the quick part."""
    structures = {
        name: DensityStructure(name, part, "diamond", "ASE", bulk("Si", a=a), KEYWORDS)
        for name, (part, a) in CONSTANTS.items()
    }
    return DensitySet("silicon", "Diamond", structures, ("a", "c", "d"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("densities")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(DensitySet, "read", classmethod(lambda cls, name, path=None: tiny()))
    yield


class Volumes:
    """A featurizer of structures."""

    def featurize(self, structures: list[Any]) -> list[list[float]]:
        return [[atoms.get_volume()] for atoms in structures]


def test_records_and_energies_come_in_the_parts_of_the_set(data_dir: Path) -> None:
    tasks, sets, transformers = load_si_allotropes(data_dir=data_dir, jobs=1, progress=False)
    assert tasks == ["free_energy"] and transformers == []
    assert [part.ids.tolist() for part in sets] == [["a", "b"], ["c"], ["d"]]
    test = sets[2]
    result = scf(bulk("Si", a=5.6), "PBE", **KEYWORDS)
    record = test.X[0]
    assert isinstance(record, DensityRecord)
    assert float((record.fields.density - result.density_g).abs().max()) < 1e-12
    assert test.y.shape == (1, 1)
    assert test.y[0, 0] == pytest.approx(float(result.free_energy) * Hartree, abs=1e-6)
    _, quick, _ = load_si_allotropes(data_dir=data_dir, quick=True, jobs=1)
    assert [part.ids.tolist() for part in quick] == [["a"], ["c"], ["d"]]


def test_featurizers_of_densities_read_records_and_others_structures(
    data_dir: Path, tmp_path: Path
) -> None:
    featurizer = DensityGridFeaturizer(ecut=60.0, kpts=[1, 1, 1])
    arguments: dict[str, Any] = {"data_dir": data_dir, "save_dir": tmp_path, "jobs": 1}
    _, (everything,), _ = load_crystal_densities(featurizer, splitter=None, **arguments)
    grid = everything.X[3]
    assert isinstance(grid, DensityGrid)
    result = scf(bulk("Si", a=5.6), "PBE", **KEYWORDS)
    np.testing.assert_allclose(grid.density, DensityGrid.of(result).density, atol=1e-10)
    _, (volumes,), _ = load_crystal_densities(Volumes(), splitter=None, **arguments)
    expected = [[bulk("Si", a=a).get_volume()] for _, a in CONSTANTS.values()]
    np.testing.assert_allclose(volumes.X, expected)
    (folder,) = {path.parent for path in tmp_path.glob("*/*")}
    kept = sorted(path.name for path in folder.iterdir())
    _, (again,), _ = load_crystal_densities(Volumes(), splitter=None, **arguments)
    assert sorted(path.name for path in folder.iterdir()) == kept and len(kept) == 2
    np.testing.assert_array_equal(again.X, volumes.X)


def test_transformers_and_splitters_are_deepchems(data_dir: Path) -> None:
    arguments: dict[str, Any] = {"data_dir": data_dir, "jobs": 1}
    _, sets, (normalised,) = load_si_allotropes(transformers=["normalization"], **arguments)
    assert abs(sets[0].y.mean()) < 1e-10
    plain = load_si_allotropes(**arguments)[1][2].y
    np.testing.assert_allclose(normalised.untransform(sets[2].y), plain)
    with pytest.raises(ValueError, match="'fixed'.*got 'fix'"):
        load_si_allotropes(splitter="fix", **arguments)


@pytest.mark.parametrize("load", [load_si_allotropes, load_crystal_densities])
def test_the_first_arguments_are_deepchems(load: Any) -> None:
    names = [name for name in inspect.signature(load_bandgap).parameters if name != "kwargs"]
    own = inspect.signature(load).parameters.values()
    assert [p.name for p in own if p.kind is p.POSITIONAL_OR_KEYWORD] == names
