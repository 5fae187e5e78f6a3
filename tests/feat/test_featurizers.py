"""Featurizers of crystals, with DeepChem's loaders and by themselves."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import write
from deepchem.data import CSVLoader, DiskDataset, InMemoryLoader, JsonLoader
from pymatgen.io.ase import AseAtomsAdaptor

from deepchem_xc.feat import (
    DensityDescriptorFeaturizer,
    DensityDescriptors,
    DensityGridFeaturizer,
    DFTEntry,
    FeaturizationWarning,
    PeriodicSystemFeaturizer,
    ProtocolTable,
)
from deepchem_xc.feat.crystal_calculation import CrystalCalculation
from deepchem_xc.feat.periodic_system import COLUMN_TYPES
from deepchem_xc.models import XCModel
from deepchem_xc.planewave import Crystal
from deepchem_xc.xc import PBE, get_xc

MESH = {"size": [2, 2, 2], "gamma": True}
CHEAP: dict[str, Any] = {"ecut": 100.0, "kpts": MESH}
SCALES = [0.88, 0.94, 1.0, 1.06, 1.12]
ENTRIES = {**CHEAP, "scales": SCALES}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIFs of aluminium and silicon, a broken one, and a table with labels."""
    for name in ("Al", "Si"):
        write(tmp_path / f"{name}.cif", bulk(name))
    (tmp_path / "broken.cif").write_text("data_\n_cell_length_a nothing\n")
    rows = [("Al.cif", 4.02, 77.0), ("broken.cif", 5.0, 50.0), ("Si.cif", 5.42, None)]
    table = pd.DataFrame(rows, columns=["structure", "a", "modulus"])
    table.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


def symbols(x: Any) -> list[str]:
    return [str(entry.systems[0].atoms.symbols) for entry in np.ravel(x)]


def test_every_form_of_a_structure_gives_the_same_calculation(folder: Path) -> None:
    atoms = bulk("Si")
    structure = AseAtomsAdaptor.get_structure(atoms)
    values = {
        "symbols": ["Si", "Si"],
        "cell": atoms.cell.tolist(),
        "positions": atoms.positions.tolist(),
    }
    write(folder / "Si.vasp", atoms)
    forms = [
        atoms,
        structure,
        structure.as_dict(),
        json.loads(json.dumps(structure.as_dict())),
        Crystal.from_ase(atoms),
        values,
        folder / "Si.vasp",
        str(folder / "Si.cif"),
        (folder / "Si.cif").read_text(),
    ]
    featurizer = PeriodicSystemFeaturizer(**CHEAP)
    found = featurizer.featurize(forms)
    assert found.shape == (len(forms),) and found.dtype == object
    for calculation in found:
        assert isinstance(calculation, CrystalCalculation)
        assert calculation.crystal.symbols == ("Si", "Si")
        volume = float(calculation.crystal.volume)
        assert volume == pytest.approx(float(found[0].crystal.volume), rel=1e-6)
    for form in forms:  # a lone one, as InMemoryLoader hands it over
        (alone,) = featurizer(form)
        assert alone.natom == 2
    (tupled,) = featurizer((atoms,))
    assert tupled.key == found[0].key


def test_settings_are_those_of_the_protocol_unless_given() -> None:
    table = ProtocolTable.read()
    (calculation,) = PeriodicSystemFeaturizer(protocol="fast", kind="metal").featurize(bulk("Al"))
    words = table.keywords("fast", ["Al"])
    assert {key: calculation.keywords[key] for key in words} == words
    (calculation,) = PeriodicSystemFeaturizer(protocol="fast", ecut=120.0).featurize(bulk("Al"))
    assert calculation.keywords["ecut"] == 120.0
    assert "ecut_smoothing" not in calculation.keywords
    assert calculation.keywords["kpts"] == words["kpts"]
    (calculation,) = PeriodicSystemFeaturizer(
        protocol="fast", occupations="fixed", nbands=8, **CHEAP
    ).featurize(bulk("Si"))
    assert calculation.keywords["occupations"] == {"name": "fixed"}
    assert calculation.keywords["nbands"] == 8


def test_csv_rows_become_entries_with_their_labels(folder: Path) -> None:
    featurizer = PeriodicSystemFeaturizer(
        "lattice_constant", folder=folder, on_error="skip", **ENTRIES
    )
    loader = CSVLoader(["a"], featurizer, feature_field="structure", id_field="structure")
    with pytest.warns(
        FeaturizationWarning, match=r"datapoint 1 \(broken.cif\) .*[^.]\. It is left out\.$"
    ):
        dataset = loader.create_dataset(str(folder / "table.csv"), data_dir=str(folder / "set"))
    again = DiskDataset(str(folder / "set"))
    for data in (dataset, again):
        assert symbols(data.X) == ["Al", "Si2"]
        assert data.y.tolist() == [[4.02], [5.42]] and data.w.tolist() == [[1.0], [1.0]]
        assert data.ids.tolist() == ["Al.cif", "Si.cif"]
    assert list(featurizer.failures) == [1] and "broken.cif" in featurizer.failures[1]


@pytest.mark.parametrize("shard_size", [1, 2, None])
def test_numbers_of_rows_count_through_all_shards(folder: Path, shard_size: int | None) -> None:
    featurizer = PeriodicSystemFeaturizer("energy", folder=folder, on_error="skip", **CHEAP)
    table = pd.read_csv(folder / "table.csv").iloc[[0, 2, 0, 1, 2]]
    table.to_csv(folder / "longer.csv", index=False)
    loader = CSVLoader(["a"], featurizer, feature_field="structure", id_field="structure")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeaturizationWarning)
        dataset = loader.create_dataset(str(folder / "longer.csv"), shard_size=shard_size)
    assert dataset.y.ravel().tolist() == [4.02, 5.42, 4.02, 5.42]
    assert list(featurizer.failures) == [3]


def test_by_default_a_bad_row_stops_everything_and_all_are_named(folder: Path) -> None:
    featurizer = PeriodicSystemFeaturizer("lattice_constant", folder=folder, **ENTRIES)
    loader = CSVLoader(["a"], featurizer, feature_field="structure", id_field="structure")
    with pytest.raises(
        ValueError, match=r"(?s)datapoint 1 \(broken.cif\).*on_error='skip'"
    ) as error:
        loader.create_dataset(str(folder / "table.csv"))
    assert "datapoint 0" not in str(error.value)
    points = ["none.cif", bulk("Al"), "", None, float("nan"), 7]
    with pytest.raises(ValueError) as error:
        featurizer.featurize(points)
    text = str(error.value)
    for number, reason in (
        (0, "there is no structure file"),
        (2, "there is no structure"),
        (3, "there is no structure"),
        (4, "there is no structure"),
        (5, "int 7 is not a structure"),
    ):
        (line,) = [line for line in text.splitlines() if line.startswith(f"datapoint {number} ")]
        assert reason in line
    assert "datapoint 1 " not in text


def test_json_rows_hold_dictionaries_of_structures(folder: Path) -> None:
    structures = [AseAtomsAdaptor.get_structure(bulk(name)).as_dict() for name in ("Al", "Si")]
    bad = {"symbols": ["Al"], "cell": [[1, 0, 0]]}
    table = pd.DataFrame({"structure": [structures[0], bad, structures[1]], "a": [4.02, 1.0, 5.42]})
    path = folder / "rows.json"
    table.to_json(path, orient="records", lines=True)
    featurizer = PeriodicSystemFeaturizer("lattice_constant", on_error="skip", **ENTRIES)
    loader = JsonLoader(["a"], feature_field="structure", featurizer=featurizer)
    with pytest.warns(FeaturizationWarning, match="datapoint 1 .*cell"):
        dataset = loader.create_dataset(str(path))
    assert symbols(dataset.X) == ["Al", "Si2"] and dataset.y.ravel().tolist() == [4.02, 5.42]


def test_in_memory_rows_come_one_at_a_time(folder: Path) -> None:
    featurizer = PeriodicSystemFeaturizer("lattice_constant", on_error="skip", **ENTRIES)
    loader = InMemoryLoader(tasks=["a"], featurizer=featurizer)
    points = [(bulk("Al"), 4.02), (folder / "Si.cif", 5.42), (str(folder / "Al.cif"), 4.02)]
    dataset = loader.create_dataset(points, shard_size=2)
    assert symbols(dataset.X) == ["Al", "Si2", "Al"]
    assert dataset.y.ravel().tolist() == [4.02, 5.42, 4.02]
    unlabelled = loader.create_dataset([bulk("Al"), folder / "Si.cif"])
    assert symbols(unlabelled.X) == ["Al", "Si2"] and not unlabelled.w.any()
    # Left out alone, its label would go to the next one.
    for point in ((folder / "broken.cif", 1.0), folder / "broken.cif"):
        with pytest.raises(ValueError, match="its label would remain.*featurize a list"):
            loader.create_dataset([(bulk("Al"), 4.02), point])


def test_several_tasks_make_one_entry_for_each_column(folder: Path) -> None:
    types = ["lattice_constant", "bulk_modulus"]
    featurizer = PeriodicSystemFeaturizer(types, folder=folder, on_error="skip", **ENTRIES)
    loader = CSVLoader(
        ["a", "modulus"], featurizer, feature_field="structure", id_field="structure"
    )
    with pytest.warns(FeaturizationWarning, match="broken"):
        dataset = loader.create_dataset(str(folder / "table.csv"))
    assert dataset.X.shape == dataset.y.shape == dataset.w.shape == (2, 2)
    for row in dataset.X:
        assert [entry.entry_type for entry in row] == types
        keys = [[calculation.key for calculation in entry.calculations] for entry in row]
        assert keys[0] == keys[1]  # computed once
    # An empty cell has neither label nor weight.
    assert dataset.y.tolist() == [[4.02, 77.0], [5.42, 0.0]]
    assert dataset.w.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    whole = featurizer.featurize([bulk("Al"), bulk("Si")])
    assert whole.shape == (2, 2)
    assert featurizer.featurize(bulk("Al")).shape == (1, 2)
    loaded = InMemoryLoader(["a", "modulus"], featurizer).create_dataset([(bulk("Al"), [4.0, 77])])
    assert loaded.X.shape == loaded.y.shape == (1, 2)


def test_a_functional_learns_from_the_labels_of_a_table(folder: Path) -> None:
    """y is all that these entries have, and training moves the lattice constant towards it."""
    featurizer = PeriodicSystemFeaturizer(
        "lattice_constant", ecut=150.0, ecut_smoothing=10.0, kpts=MESH, scales=SCALES
    )
    dataset = InMemoryLoader(["a"], featurizer).create_dataset([(bulk("Al", a=4.0), 4.02)])
    assert not dataset.X[0].has_label
    model = XCModel(functional=PBE(trainable=True), batch_size=1, learning_rate=0.05)
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    before = model.evaluate(dataset, [metric])["mean_absolute_error"]
    model.fit(dataset, nb_epoch=3, checkpoint_interval=0)
    after = model.evaluate(dataset, [metric])["mean_absolute_error"]
    assert before > 0.01
    assert after < 0.95 * before


@pytest.mark.parametrize("e_type", ["lattice_constant", ["energy", "band_gap"], None])
def test_what_featurizers_make_survives_a_pickle(e_type: Any) -> None:
    made = PeriodicSystemFeaturizer(e_type, **CHEAP).featurize([bulk("Al")])
    again = pickle.loads(pickle.dumps(made))
    assert again.shape == made.shape
    for old, new in zip(made.ravel(), again.ravel(), strict=True):
        if isinstance(old, DFTEntry):
            assert [x.key for x in new.calculations] == [x.key for x in old.calculations]
        else:
            assert new.key == old.key


def test_kinds_of_entries_that_a_column_can_hold() -> None:
    expected = {"energy", "lattice_constant", "bulk_modulus", "band_gap", "magnetic_moment"}
    assert set(COLUMN_TYPES) == expected
    for e_type, reason in (
        ("eos", "not one number of one crystal"),
        ("cohesive_energy", "not one number of one crystal"),
        ("lattice", "got 'lattice'"),
        ([], "got none"),
    ):
        with pytest.raises(ValueError, match=reason):
            PeriodicSystemFeaturizer(e_type)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"protocol": "quick"}, ValueError, "protocol must be one of fast, balanced, precise"),
        ({"kind": "semimetal"}, ValueError, "kind must be one of metal, insulator"),
        ({"on_error": "ignore"}, ValueError, "on_error must be one of raise, skip"),
        ({"ecut": -1.0}, ValueError, "ecut"),
        ({"kpts": {"divisions": 3}}, ValueError, "kpts"),
        ({"nband": 8}, ValueError, "unknown key, did you mean 'nbands'"),
        ({"scales": SCALES}, ValueError, "give e_type"),
        ({"structure": "al.cif"}, TypeError, "give it to featurize"),
    ],
)
def test_mistakes_in_settings_are_not_left_out_with_rows(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        PeriodicSystemFeaturizer(**{"on_error": "skip", **arguments})


def test_an_element_without_a_cutoff_is_named_with_its_row() -> None:
    cutoffs = {"Al": {"GTH-PBE-q3": {"fast": 200.0}}}
    table = ProtocolTable(cutoffs, {"metal": {"fast": 2.0}}, 0.07, {"name": "fermi-dirac"})
    featurizer = PeriodicSystemFeaturizer(protocol="fast", table=table)
    assert featurizer.featurize(bulk("Al"))[0].keywords["ecut"] == 200.0
    with pytest.raises(
        ValueError, match="datapoint 1 .*no cutoff has been measured for Si"
    ) as error:
        featurizer.featurize([bulk("Al"), bulk("Si")])
    assert "datapoint 0" not in str(error.value)


def test_descriptions_are_deepchems() -> None:
    featurizer = PeriodicSystemFeaturizer("energy", protocol="fast", nbands=8)
    assert repr(featurizer).startswith("PeriodicSystemFeaturizer[e_type='energy', protocol='fast'")
    assert repr(featurizer).endswith("nbands=8]")
    plain = PeriodicSystemFeaturizer("energy", protocol="fast")
    assert str(plain) == "PeriodicSystemFeaturizer_e_type_energy_protocol_fast"
    assert str(PeriodicSystemFeaturizer()) == "PeriodicSystemFeaturizer"


def test_other_settings_have_another_folder_for_their_data(folder: Path) -> None:
    """DeepChem's own names leave out lists and paths."""
    made = [
        PeriodicSystemFeaturizer(["energy", "band_gap"]),
        PeriodicSystemFeaturizer(["band_gap", "energy"]),
        PeriodicSystemFeaturizer(kpts=[2, 2, 2]),
        PeriodicSystemFeaturizer(kpts=[3, 3, 3]),
        PeriodicSystemFeaturizer(ecut=300.5),
        PeriodicSystemFeaturizer(folder=folder),
        PeriodicSystemFeaturizer(folder="other/folder"),
        PeriodicSystemFeaturizer(nbands=8),
        PeriodicSystemFeaturizer(nbands=9),
        DensityDescriptorFeaturizer("PBE"),
        DensityDescriptorFeaturizer("lda_x"),
        DensityDescriptorFeaturizer(PBE()),
        DensityDescriptorFeaturizer(get_xc("gga_x_pbe") + get_xc("gga_c_pbe")),
        DensityGridFeaturizer(),
    ]
    names = [str(featurizer) for featurizer in made]
    assert len(set(names)) == len(names) and not any("/" in name for name in names)
    assert str(DensityDescriptorFeaturizer(PBE())) == str(DensityDescriptorFeaturizer(PBE()))
    trained = PBE(trainable=True)
    before = str(DensityGridFeaturizer(trained))
    with torch.no_grad():
        next(trained.parameters()).mul_(1.01)
    assert str(DensityGridFeaturizer(trained)) != before


def test_files_count_by_their_content(folder: Path) -> None:
    potential = folder / "al.psp8"
    names = []
    for text in ("one", "other"):
        potential.write_text(text)
        names.append(str(PeriodicSystemFeaturizer(pseudopotentials=str(potential))))
    assert names[0] != names[1]
    saved = []
    for kappa in (0.8, 1.2):
        PBE(kappa=kappa).save(folder / "xc.safetensors")
        saved.append(str(DensityGridFeaturizer(str(folder / "xc.safetensors"))))
    assert saved[0] != saved[1]


def test_densities_of_crystals_of_any_size_fit_into_one_data_set() -> None:
    """Their numbers of points differ, which arrays in DeepChem's loaders must not."""
    featurizer = DensityDescriptorFeaturizer(ecut=80.0, kpts=[1, 1, 1], on_error="skip")
    table = pd.DataFrame({"structure": [bulk("Al"), None, bulk("Si")], "y": [0.0, 1.0, 2.0]})
    loader = CSVLoader(["y"], featurizer, feature_field="structure", id_field="y")
    with pytest.warns(FeaturizationWarning, match="datapoint 1 .*no structure"):
        x, valid = loader._featurize_shard(table)
    assert valid.tolist() == [True, False, True] and x.dtype == object and x.shape == (2,)
    dataset = InMemoryLoader([], featurizer).create_dataset([bulk("Al"), bulk("Si")])
    assert all(isinstance(found, DensityDescriptors) for found in dataset.X)
    assert len({len(found.values) for found in dataset.X}) == 2


def test_a_calculation_that_fails_is_named_with_its_row() -> None:
    settings: dict[str, Any] = {"ecut": 80.0, "kpts": [1, 1, 1], "convergence": {"maxiter": 2}}
    strict = DensityGridFeaturizer(**settings)
    with pytest.raises(ValueError, match=r"datapoint 0 \(Al\).*SCFConvergenceError"):
        strict.featurize([bulk("Al"), bulk("Si")])
    patient = DensityGridFeaturizer(on_error="skip", **settings)
    with pytest.warns(FeaturizationWarning, match="SCFConvergenceError"):
        found = patient.featurize([bulk("Al"), bulk("Si")])
    assert [np.size(x) for x in found] == [0, 0] and list(patient.failures) == [0, 1]


def test_atoms_are_not_taken_for_a_list_of_structures() -> None:
    found = PeriodicSystemFeaturizer(**CHEAP).featurize(
        Atoms(
            "Al4",
            scaled_positions=[[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
            cell=[4.0] * 3,
            pbc=True,
        )
    )
    assert found.shape == (1,) and found[0].natom == 4


def test_datasets_of_families_count_by_their_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of gpaw-data has the same names."""
    pytest.importorskip("gpaw_data")
    names = []
    for digest in ("one", "other"):
        monkeypatch.setattr(
            "deepchem_xc.planewave.paw.loader._digest_of",
            lambda folder, functional, digest=digest: digest + functional,
        )
        for family in ("paw-pbe", "paw-lda"):
            for given in (family, {"Ni": f"{family}:10", "default": family}):
                featurizer = DensityGridFeaturizer(ecut=300.0, pseudopotentials=given)
                names.append(str(featurizer))
    assert len(set(names)) == len(names) == 8
