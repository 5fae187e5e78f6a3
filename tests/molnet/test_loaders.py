from __future__ import annotations

import configparser
import importlib.util
import json
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import deepchem as dc
import numpy as np
import pytest
import yaml
from ase import Atoms
from deepchem.feat import MaterialStructureFeaturizer
from deepchem.molnet.load_function.molnet_loader import TransformerGenerator

from deepchem_xc._files import data_file
from deepchem_xc.data import DFTEntry
from deepchem_xc.feat import PeriodicSystemFeaturizer
from deepchem_xc.molnet import load_gpaw_benchmark, load_solids_eos, load_solids_experiment
from deepchem_xc.molnet.loaders import GPAW_BENCHMARK, SOLIDS_EOS, SOLIDS_EXPERIMENT
from deepchem_xc.molnet.splitting import crystal_of

ROOT = Path(__file__).resolve().parents[2]
LOADERS: list[Callable[..., Any]] = [
    load_gpaw_benchmark,
    load_solids_eos,
    load_solids_experiment,
]
COLLECTIONS = (GPAW_BENCHMARK, SOLIDS_EOS, SOLIDS_EXPERIMENT)


class Volumes:
    """A featurizer: volume and number of atoms of each structure."""

    def featurize(self, structures: list[Atoms]) -> list[list[float]]:
        self.structures = structures
        return [[atoms.get_volume(), float(len(atoms))] for atoms in structures]


def script(name: str) -> ModuleType:
    """A script of the checkout, which is not part of the package."""
    path = ROOT / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def written(name: str) -> Any:
    return yaml.safe_load(data_file(name).read_text())


def entries_of(datasets: Any) -> dict[str, DFTEntry]:
    return {entry.name: entry for part in datasets for entry in part.X}


@pytest.mark.parametrize("load", LOADERS)
def test_without_arguments_no_set_is_empty_and_no_crystal_is_in_two(
    load: Callable[..., Any], tmp_path: Path
) -> None:
    tasks, datasets, transformers = load(save_dir=tmp_path)
    assert len(tasks) == 1 and len(datasets) == 3 and transformers == []
    crystals = [{crystal_of(name) for name in part.ids} for part in datasets]
    assert all(crystals)
    assert len(set.union(*crystals)) == sum(len(names) for names in crystals)
    for part in datasets:
        assert all(isinstance(entry, DFTEntry) and entry.has_label for entry in part.X)
        assert [entry.name for entry in part.X] == part.ids.tolist()
        assert part.y.ravel().tolist() == [entry.label_summary for entry in part.X]
        assert part.w.ravel().tolist() == [entry.get_weight() for entry in part.X]
        assert (part.w > 0).all()


@pytest.mark.parametrize("load", LOADERS)
def test_kept_sets_are_read_again_and_equal(load: Callable[..., Any], tmp_path: Path) -> None:
    first = load(save_dir=tmp_path)
    (folder,) = tmp_path.glob("*-featurized/*")
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = load(save_dir=tmp_path)
    fresh = load(reload=False)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == times
    for other in (again, fresh):
        assert other[0] == first[0] and other[2] == first[2]
        for old, new in zip(first[1], other[1], strict=True):
            assert [x.identity for x in old.X] == [x.identity for x in new.X]
            assert old.ids.tolist() == new.ids.tolist()
            np.testing.assert_array_equal(old.y, new.y)
            np.testing.assert_array_equal(old.w, new.w)


@pytest.mark.parametrize("load", LOADERS)
def test_without_splitter_there_is_one_set_of_all(load: Callable[..., Any]) -> None:
    _, (everything,), _ = load(splitter=None, reload=False)
    _, parts, _ = load(reload=False)
    assert sorted(everything.ids) == sorted(name for part in parts for name in part.ids)


def test_the_benchmark_has_one_entry_for_each_crystal_and_property() -> None:
    _, datasets, _ = load_gpaw_benchmark(reload=False)
    entries = entries_of(datasets)
    properties = ("lattice_constant", "bulk_modulus")
    expected = {f"{name}:{p}" for name in ("Al", "Ni", "Ca", "graphene") for p in properties}
    assert set(entries) == expected | {"Ni:magnetic_moment"}
    results = json.loads(data_file("gpaw_eos.json").read_text())
    for name in ("Al", "Ni", "Ca"):
        fit = results[name]["fit"]["energy"]
        assert entries[f"{name}:lattice_constant"].label_summary == pytest.approx(fit["a"])
        assert entries[f"{name}:bulk_modulus"].label_summary == pytest.approx(fit["bulk_modulus"])
        assert entries[f"{name}:bulk_modulus"].unit == "GPa"
    layer = results["graphene"]["fit"]["energy"]["layer_modulus"]
    assert entries["graphene:bulk_modulus"].label_summary == pytest.approx(layer)
    assert entries["graphene:bulk_modulus"].unit == "N/m"
    moment = next(p["magmom"] for p in results["Ni"]["points"] if p["scale"] == 1.0)
    assert entries["Ni:magnetic_moment"].label_summary == pytest.approx(moment, abs=1e-4)


def test_the_benchmark_has_the_settings_of_the_command() -> None:
    made = script("data/gpaw_benchmark.py")
    for kind, file in (("paw", "gpaw_benchmark.yaml"), ("gth", "gpaw_benchmark_gth.yaml")):
        again = [entry for case in made.CASES[kind].values() for entry in made.entries_of(case)]
        assert json.loads(json.dumps(again)) == written(file)


def test_no_element_of_the_benchmark_is_in_the_training_set_of_curves() -> None:
    _, (train, valid, test), _ = load_solids_eos(reload=False)
    tested = {"Al", "Ni", "Ca", "C"}
    for entry in [*train.X, *valid.X]:
        assert not tested & set(entry.systems[0].atoms.get_chemical_symbols()), entry.name
    assert all(tested & set(entry.systems[0].atoms.get_chemical_symbols()) for entry in test.X)


def test_curves_are_of_thirty_crystals_of_all_kinds() -> None:
    _, datasets, _ = load_solids_eos(reload=False)
    entries = entries_of(datasets)
    assert len(entries) >= 30
    symbols = {name: set(e.systems[0].atoms.get_chemical_symbols()) for name, e in entries.items()}
    for element, least in {"O": 3, "C": 3, "N": 3}.items():
        assert sum(element in found for found in symbols.values()) >= least, element
    layered = [name for name, entry in entries.items() if entry.series.dimension == 2]
    assert {"BN layer", "h-BN"} <= set(layered)
    assert sum(len(found) == 1 for found in symbols.values()) >= 10  # elements


def test_curves_are_those_of_gpaw_and_trained_crystals_stay_as_they_were() -> None:
    _, datasets, _ = load_solids_eos(reload=False)
    entries = entries_of(datasets)
    for name, values in {e["name"]: e for e in written("gpaw_training.yaml")}.items():
        assert entries[name].identity == DFTEntry.from_mapping(values).identity
    results = json.loads(data_file("solids_eos.json").read_text())
    for entry in entries.values():
        if entry.name in results:
            points = {p["scale"]: p["energy"] for p in results[entry.name]["points"]}
            curve = np.array([points[scale] for scale in entry.scales or ()])
            np.testing.assert_allclose(entry.get_true_val(), curve - curve.mean(), atol=1e-6)


def test_curves_of_solids_eos_have_the_settings_of_their_script() -> None:
    made = script("data/solids_eos.py")
    results = json.loads(data_file("solids_eos.json").read_text())
    for name, result in results.items():
        assert result["settings"] == {"xc": "PBE", **made.SETTINGS[name].record()}, name
        assert result["fit"]["energy"]["residual"] < 3e-4, name
    entry_of = script("data/gpaw_training.py").entry_of
    names = [name for name in made.SETTINGS if name in results]
    again = [entry_of(name, made.SETTINGS[name], results[name]) for name in names]
    assert json.loads(json.dumps(again)) == written("solids_eos.yaml")
    again = [
        entry_of(name, made.SETTINGS[name], results[name], made.CUTOFFS[name])
        for name in names
        if name in made.CUTOFFS
    ]
    assert json.loads(json.dumps(again)) == written("solids_eos_gth.yaml")


def test_the_experiment_has_the_measured_values_and_settings_of_its_study() -> None:
    _, datasets, _ = load_solids_experiment(reload=False)
    measured = json.loads(data_file("experiment.json").read_text())["crystals"]
    labels = {name: entry.label_summary for name, entry in entries_of(datasets).items()}
    assert labels == {name: values["a"] for name, values in measured.items()}
    made = script("benchmarks/experiment_crystals.py")
    again = [made.definition_of(name) for name in made.crystals()]
    assert json.loads(json.dumps(again)) == written("solids_experiment.yaml")


@pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda c: c.name)
def test_wheels_carry_the_files_and_the_sets_name_crystals_that_are_there(collection: Any) -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    installed = config["options.data_files"]["share/deepchem_xc"].split()
    for name in (*collection.entry_files, *collection.result_files):
        assert any(fnmatch(f"data/{name}", pattern) for pattern in installed)
    there = {crystal_of(e["name"]) for file in collection.entry_files for e in written(file)}
    assert {*collection.valid, *collection.test} <= there


def test_a_featurizer_gets_one_structure_for_each_crystal() -> None:
    featurizer = Volumes()
    tasks, (train, valid, test), _ = load_gpaw_benchmark(featurizer, reload=False)
    assert tasks == ["lattice_constant", "bulk_modulus", "magnetic_moment"]
    assert train.ids.tolist() == ["Al", "Ca"]
    assert train.X[0].tolist() == pytest.approx([4.04**3 / 4, 1.0])
    results = json.loads(data_file("gpaw_eos.json").read_text())
    fit = results["Ni"]["fit"]["energy"]
    assert test.y[0, :2] == pytest.approx([fit["a"], fit["bulk_modulus"]])
    # The modulus of a layer is not one in GPa.
    assert valid.ids.tolist() == ["graphene"]
    assert valid.w.tolist() == [[1.0, 0.0, 1.0]] and valid.y[0, 1] == 0.0
    layer = next(atoms for atoms in featurizer.structures if "C" in atoms.symbols)
    assert layer.pbc.tolist() == [True, True, False]
    nickel = next(atoms for atoms in featurizer.structures if "Ni" in atoms.symbols)
    assert nickel.get_initial_magnetic_moments().tolist() == [0.7]


def test_stacked_layers_are_not_given_to_a_featurizer() -> None:
    _, (rows,), _ = load_solids_eos(Volumes(), splitter=None, reload=False)
    assert "h-BN" not in rows.ids and "BN layer" in rows.ids
    fit = json.loads(data_file("gpaw_training.json").read_text())["Si"]["fit"]["energy"]
    silicon = rows.y[rows.ids.tolist().index("Si")]
    assert silicon == pytest.approx([fit["a"], fit["bulk_modulus"]])


class Spacegroups(MaterialStructureFeaturizer):  # type: ignore[misc]
    """Lattice constant and space group, by pymatgen, which is what DeepChem hands over."""

    def _featurize(self, datapoint: Any, **keywords: Any) -> Any:
        return np.array([datapoint.get_space_group_info()[1], datapoint.volume])


def test_deepchems_featurizers_of_structures_get_what_they_read() -> None:
    pytest.importorskip("pymatgen")
    tasks, (rows,), _ = load_solids_experiment(Spacegroups(), splitter=None, reload=False)
    assert tasks == ["lattice_constant"]
    assert rows.X.shape == (40, 2) and rows.y.shape == rows.w.shape == (40, 1)
    silicon = rows.ids.tolist().index("Si")
    assert rows.X[silicon].tolist() == pytest.approx([227, 5.422**3 / 4])
    assert rows.y[silicon, 0] == 5.422


@pytest.mark.parametrize(
    "load", [load_gpaw_benchmark, load_solids_eos, load_solids_experiment], ids=lambda f: f.__name__
)
def test_potentials_choose_the_calculations_and_not_the_labels(load: Any) -> None:
    _, (paw,), _ = load(splitter=None, reload=False)
    _, (gth,), _ = load(splitter=None, reload=False, potentials="gth")
    sources = {entry.name: entry.systems[0].keywords["pseudopotentials"] for entry in paw.X}
    assert set(sources.values()) == {"paw-pbe"}
    assert "paw-pbe" not in [e.systems[0].keywords["pseudopotentials"] for e in gth.X]
    labels = dict(zip(paw.ids, paw.X))
    assert set(gth.ids) <= set(paw.ids)
    for name, entry in zip(gth.ids, gth.X):
        assert (entry.get_true_val() == labels[name].get_true_val()).all()
    with pytest.raises(ValueError, match="potentials must be among 'paw', 'gth', got 'uzh'"):
        load(reload=False, potentials="uzh")


def test_tasks_can_be_chosen() -> None:
    tasks, datasets, _ = load_gpaw_benchmark(tasks=["lattice_constant"], reload=False)
    assert tasks == ["lattice_constant"] and len(entries_of(datasets)) == 4
    tasks, (rows,), _ = load_gpaw_benchmark(
        Volumes(), None, tasks=["bulk_modulus", "lattice_constant"], reload=False
    )
    assert tasks == ["bulk_modulus", "lattice_constant"]
    assert rows.y[0] == pytest.approx([77.321, 4.042], rel=1e-4)
    with pytest.raises(ValueError, match="tasks must be among lattice_constant, .*'band_gap'"):
        load_gpaw_benchmark(tasks=["band_gap"], reload=False)


def test_transformers_of_numbers_work_and_of_curves_and_mixed_units_are_refused() -> None:
    tasks, (train, _, test), (transformer,) = load_solids_experiment(
        transformers=["normalization"], reload=False
    )
    assert train.y.mean() == pytest.approx(0.0, abs=1e-12) and train.y.std() == pytest.approx(1.0)
    silicon = test.ids.tolist().index("Si")
    assert transformer.untransform(test.y).ravel()[silicon] == pytest.approx(5.422)
    normalize = TransformerGenerator(dc.trans.NormalizationTransformer, transform_y=True)
    with pytest.raises(ValueError, match="NormalizationTransformer would change y.*curves"):
        load_solids_eos(transformers=[normalize], reload=False)
    with pytest.raises(ValueError, match="several units: bulk_modulus, lattice_constant, magn"):
        load_gpaw_benchmark(transformers=["normalization"], reload=False)


def test_splits_that_differ_only_in_lists_are_kept_apart(tmp_path: Path) -> None:
    """DeepChem's name of a folder leaves lists out: the second call would get the first's split."""
    for i in (0, 3):
        splitter = dc.splits.SpecifiedSplitter(valid_indices=[1], test_indices=[i])
        _, (_, _, test), _ = load_gpaw_benchmark(splitter=splitter, save_dir=tmp_path)
        everything = load_gpaw_benchmark(splitter=None, reload=False)[1][0]
        assert test.ids.tolist() == [everything.ids[i]]
    assert len(list(tmp_path.glob("*/*"))) == 2


def test_other_files_are_read_from_a_folder_and_kept_apart(tmp_path: Path) -> None:
    load_gpaw_benchmark(save_dir=tmp_path / "kept")
    content = data_file("gpaw_benchmark.yaml").read_text()
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match=r"gpaw_benchmark\.yaml does not exist"):
        load_gpaw_benchmark(data_dir=folder)
    assert "true_val: 4.042018" in content
    changed = content.replace("true_val: 4.042018", "true_val: 4.05")
    (folder / "gpaw_benchmark.yaml").write_text(changed)
    (folder / "gpaw_eos.json").write_text(data_file("gpaw_eos.json").read_text())
    _, (train, _, _), _ = load_gpaw_benchmark(data_dir=folder, save_dir=tmp_path / "kept")
    assert train.y.ravel()[0] == 4.05


def test_sets_of_another_source_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A development version is the same number for every source."""
    load_gpaw_benchmark(save_dir=tmp_path)
    monkeypatch.setattr("deepchem_xc.molnet.loading.source_digest", lambda: "changed")
    load_gpaw_benchmark(save_dir=tmp_path)
    assert len(list(tmp_path.glob("*/*"))) == 2


def test_an_interrupted_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepchem_xc.molnet.loading.save_transformers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_gpaw_benchmark(save_dir=tmp_path)
    assert list(tmp_path.glob("*/*")) == []
    monkeypatch.undo()
    assert len(load_gpaw_benchmark(save_dir=tmp_path)[1]) == 3


class Failing(Volumes):
    def featurize(self, structures: list[Atoms]) -> list[Any]:
        return [[] if "Ca" in atoms.symbols else [1.0] for atoms in structures]

    def _featurize(self, datapoint: Atoms) -> Any:
        raise RuntimeError("no calcium")


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="'fixed', 'crystal', 'index', 'random'.*'scaffold'"):
        load_gpaw_benchmark(splitter="scaffold", reload=False)
    with pytest.raises(ValueError, match="'normalization'.*got 'norm'"):
        load_gpaw_benchmark(transformers=["norm"], reload=False)
    with pytest.raises(TypeError, match="a method 'featurize', got 'ecfp'"):
        load_gpaw_benchmark("ecfp", reload=False)
    with pytest.raises(ValueError, match="made nothing of Ca; of Ca: Failing failed: .*no calcium"):
        load_gpaw_benchmark(Failing(), reload=False)
    with pytest.raises(ValueError, match="no rows for the valid set of 4 rows.*'crystal'"):
        load_gpaw_benchmark(Volumes(), "index", reload=False)
    unpicklable = Volumes()
    unpicklable.function = lambda: None  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="choose reload=False"):
        load_gpaw_benchmark(unpicklable)


def test_kept_features_of_other_datasets_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names of datasets are the same in every version of gpaw-data."""
    pytest.importorskip("gpaw_data")
    featurizer = PeriodicSystemFeaturizer(ecut=300.0, kpts=[1, 1, 1], pseudopotentials="paw-pbe")
    for count, digest in enumerate(("one", "other", "one"), start=1):
        monkeypatch.setattr("deepchem_xc.planewave.paw.loader._digest_of", lambda *_, d=digest: d)
        load_gpaw_benchmark(featurizer, splitter=None, save_dir=tmp_path)
        assert len(list(tmp_path.glob("*-featurized/*"))) == min(count, 2)
