"""Files of crystals become data sets: every row is in it, or is named with what is wrong."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import deepchem as dc
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.db import connect
from ase.io import write
from ase.units import GPa

from deepchem_xc.data import PeriodicDFTLoader, RowsError, SkippedRowsWarning
from deepchem_xc.feat import PeriodicSystemFeaturizer
from tests.data.solids import (
    CRYSTALS,
    SETTINGS,
    lines,
    loader,
    record,
    solid_files,
    with_results,
)


@pytest.fixture
def solids(tmp_path: Path) -> dict[str, Path]:
    return solid_files(tmp_path)


def test_every_format_gives_the_same_data_set(solids: dict[str, Path]) -> None:
    for name, path in solids.items():
        data = loader().create_dataset(path)
        assert isinstance(data, dc.data.DiskDataset)
        assert data.get_shape() == ((4,), (4, 1), (4, 1), (4,)), name
        assert data.y[:, 0].tolist() == [-50.0, -51.0, -52.0, -53.0], name
        assert (data.w == 1.0).all() and data.tasks == ["energy"], name
        for entry, atoms in zip(data.X, CRYSTALS.values(), strict=True):
            found = entry.systems[0].atoms
            assert sorted(found.symbols) == sorted(atoms.symbols), name
            assert found.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-5), name
            assert entry.systems[0].keywords["ecut"] == 150.0
        assert data.ids.tolist() == [f"{path.name}:{i + 1}" for i in range(4)], name


def test_a_folder_of_cifs_with_a_broken_one(tmp_path: Path) -> None:
    folder = tmp_path / "cifs"
    (folder / "more").mkdir(parents=True)
    for name in ("Al", "Si"):
        CRYSTALS[name].write(folder / f"{name}.cif")
    CRYSTALS["LiF"].write(folder / "more" / "POSCAR_LiF", format="vasp")
    (folder / "broken.cif").write_text("data_x\n_cell_length_a 4.0\nloop_\n")
    (folder / "README").write_text("about these crystals")
    one = loader([], on_error="skip")
    with pytest.warns(SkippedRowsWarning) as caught:
        data = one.create_dataset(folder)
    told = [str(warning.message) for warning in caught]
    assert any("README" in text for text in told)
    assert any("1 row(s) are not in the data set" in text for text in told)
    assert data.ids.tolist() == ["Al.cif", "Si.cif", "more/POSCAR_LiF"]
    assert np.isnan(data.y).all() and data.y.shape == (3, 1)
    (error,) = one.errors
    assert str(error).startswith("broken.cif: it holds no complete structure")
    with pytest.warns(SkippedRowsWarning), pytest.raises(RowsError, match=r"\n  broken\.cif: "):
        loader([]).create_dataset(folder)


def broken_rows() -> dict[str, tuple[Any, str]]:
    alloy = {"species": [{"element": "Al", "occu": 0.6}, {"element": "Mg", "occu": 0.4}]}
    cubic = {"matrix": [[3.6, 0, 0], [0, 3.6, 0], [0, 0, 3.6]]}
    partial = {"lattice": cubic, "sites": [{**alloy, "abc": [0, 0, 0]}]}
    doubled = record("Si")["structure"]
    doubled = {
        **doubled,
        "symbols": ["Si"] * 4,
        "positions": [*doubled["positions"], [2.715] * 3, [4.0725] * 3],
    }
    heavy = {**record("Al")["structure"], "symbols": ["Fm"]}
    return {
        "no structure": ({"energy": 1.0}, r"no structure: column 'structure' is missing or empty"),
        "empty structure": ({"structure": "", "energy": 1.0}, "no structure"),
        "no file": ({"structure": "none.cif", "energy": 1.0}, "there is no structure file"),
        "no label": (record("Al", gap=1.0), "no label: there is no column 'energy'; .*has gap"),
        "empty label": (record("Al", energy=None), "no label: 'energy' is empty"),
        "text": (record("Al", energy="many"), "energy: 'many' is not a number"),
        "NaN": (record("Al", energy=float("nan")), "energy: nan is not a finite number"),
        "infinity": (record("Al", energy=float("inf")), "energy: inf is not a finite number"),
        "partial": ({"structure": partial, "energy": 1.0}, "partially occupied"),
        "element": ({"structure": heavy, "energy": 1.0}, "pseudopotentials: .*Fm"),
        "doubled": ({"structure": doubled, "energy": 1.0}, "listed twice"),
        "two numbers": (record("Al", energy=[1.0, 2.0]), "type energy takes 1 numbers"),
        "no record": (3.5, "a row is a record with 'structure', got a float"),
        "another thing": ({"structure": {"a": 1}, "energy": 1.0}, "is not a structure"),
    }


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    pytest.importorskip("pymatgen.core")
    records = [record("Al", energy=-57.0)]
    records += [row for row, _ in broken_rows().values()]
    records += [record("Si", energy=-214.0)]
    path = lines(tmp_path / "d.jsonl", records)
    with path.open("a") as file:
        file.write('{"structure": {"sym\n')
    one = loader()
    with pytest.raises(RowsError) as caught:
        one.create_dataset(path, data_dir=str(tmp_path / "disk"), shard_size=2)
    assert not (tmp_path / "disk").exists() and not list(tmp_path.glob(".data-set-*"))
    assert one.errors == caught.value.errors and len(one.errors) == len(broken_rows()) + 1
    reasons = {error.place: error.reason for error in one.errors}
    for i, (name, (_, message)) in enumerate(broken_rows().items()):
        place = f"d.jsonl:{i + 2}"
        import re

        assert re.search(message, reasons[place]), (name, reasons[place])
        assert f"\n  {place}: " in str(caught.value)
    assert "line 17 is not JSON" in reasons["d.jsonl:17"]
    skipping = loader(on_error="skip")
    with pytest.warns(SkippedRowsWarning, match=r"15 row\(s\) .*loader.errors"):
        data = skipping.create_dataset(path, data_dir=str(tmp_path / "disk"), shard_size=2)
    assert data.ids.tolist() == ["d.jsonl:1", "d.jsonl:16"] and data.y[:, 0].tolist() == [-57, -214]
    assert len(skipping.errors) == 15
    assert len(dc.data.DiskDataset(str(tmp_path / "disk"))) == 2


def test_no_usable_row_is_an_error_even_if_errors_are_skipped(tmp_path: Path) -> None:
    path = lines(tmp_path / "d.jsonl", [{"energy": 1.0}])
    with pytest.raises(RowsError, match="no structure"):
        loader(on_error="skip").create_dataset(path)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"there are no rows in empty\.jsonl"):
        loader().create_dataset(tmp_path / "empty.jsonl")


def test_identifiers(tmp_path: Path) -> None:
    rows = [record("Al", energy=1.0, name="a"), record("Si", energy=2.0, name="b")]
    data = loader(id_field="name").create_dataset(lines(tmp_path / "d.jsonl", rows))
    assert data.ids.tolist() == ["a", "b"] and data.X[0].name == "a"
    rows += [record("GaAs", energy=3.0, name="a"), record("LiF", energy=3.0, name=None)]
    path = lines(tmp_path / "d.jsonl", rows)
    with pytest.raises(RowsError) as caught:
        loader(id_field="name").create_dataset(path, shard_size=1)
    assert "d.jsonl:3: the identifier 'a' occurs twice, first in d.jsonl:1" in str(caught.value)
    assert "d.jsonl:4: no identifier: column 'name' is missing or empty" in str(caught.value)
    (tmp_path / "other").mkdir()
    again = lines(tmp_path / "other" / "d.jsonl", rows[:1])
    data = loader().create_dataset([path, again])
    assert len(set(data.ids)) == 5 and data.ids[-1] == f"{again}:1"
    with pytest.raises(ValueError, match="name a file twice"):
        loader().create_dataset([path, path])


def test_several_tasks_are_columns_and_empty_cells_have_no_weight(tmp_path: Path) -> None:
    rows = [record("Al", a=4.05, k=77.0, weight=2.0), record("Si", a=5.43, k=None, weight=1.0)]
    one = loader(["a", "k"], e_type=["lattice_constant", "bulk_modulus"], weight_field="weight")
    data = one.create_dataset(lines(tmp_path / "d.jsonl", rows))
    assert data.X.shape == data.y.shape == data.w.shape == (2, 2)
    assert data.y.tolist() == [[4.05, 77.0], [5.43, 0.0]]
    assert data.w.tolist() == [[2.0, 2.0], [1.0, 0.0]]
    types = [[entry.entry_type for entry in row] for row in data.X]
    assert types == [["lattice_constant", "bulk_modulus"]] * 2
    assert data.X[1, 0].has_label and not data.X[1, 1].has_label
    rows[0]["weight"] = -1
    with pytest.raises(RowsError, match="the weight in column 'weight' must be a number of at le"):
        one.create_dataset(lines(tmp_path / "d.jsonl", rows))


def test_forces_and_stress_of_ase_are_labels_in_the_units_of_entries(tmp_path: Path) -> None:
    voigt = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])  # eV/Angstrom^3
    forces = np.array([[0.1, 0, 0], [-0.1, 0, 0]])
    atoms = with_results(CRYSTALS["Si"], energy=-214.0, forces=forces, stress=voigt)
    write(tmp_path / "si.extxyz", atoms)
    with connect(tmp_path / "si.db") as database:
        database.write(atoms)
    for name in ("si.extxyz", "si.db"):
        kinds = ["energy", "forces", "stress"]
        data = loader(kinds, e_type=kinds).create_dataset(tmp_path / name)
        energy, force, stress = data.X[0]
        assert energy.get_true_val() == pytest.approx(-214.0)
        assert force.get_true_val() == pytest.approx(forces)
        tensor = stress.get_true_val()
        assert tensor == pytest.approx(tensor.T)
        assert [tensor[0, 0], tensor[1, 2], tensor[0, 1]] == pytest.approx(
            np.array([0.01, 0.004, 0.006]) / GPa
        )
        assert data.y.tolist() == [[-214.0, 0.0, 0.0]] and (data.w == 1.0).all()


def test_moments_of_frames_are_initial_ones(tmp_path: Path) -> None:
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.2])
    (tmp_path / "d.db").unlink(missing_ok=True)
    with connect(tmp_path / "d.db") as database:
        database.write(iron, energy_label=1.0)
    data = loader(["energy_label"]).create_dataset(tmp_path / "d.db")
    assert data.X[0].systems[0].atoms.get_initial_magnetic_moments().tolist() == [2.2]


def test_files_are_read_a_shard_at_a_time(tmp_path: Path) -> None:
    """Ten times the rows do not need more memory."""
    peaks = []
    filler = "x" * 20_000
    for count in (20, 200):
        path = tmp_path / f"{count}.jsonl"
        lines(path, [record("Al", energy=1.0, filler=filler) for _ in range(count)])
        one = PeriodicDFTLoader(["energy"], featurizer=Sizes())
        tracemalloc.start()
        data = one.create_dataset(path, shard_size=10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(data) == count and data.get_number_shards() == count // 10
    assert peaks[1] < peaks[0] + 50 * len(filler)


class Sizes(dc.feat.Featurizer):
    """Number of atoms and volume; fails as DeepChem's featurizers do."""

    def _featurize(self, datapoint: Atoms, **kwargs: Any) -> np.ndarray:
        if "Si" in datapoint.symbols:
            raise RuntimeError("no silicon")
        return np.array([len(datapoint), datapoint.get_volume()])


def test_any_featurizer_will_do(tmp_path: Path) -> None:
    rows = [record(name, gap=1.0) for name in ("Al", "GaAs", "LiF")]
    one = PeriodicDFTLoader(["gap"], featurizer=Sizes())
    data = one.create_dataset(lines(tmp_path / "d.jsonl", rows))
    assert data.X.shape == (3, 2) and data.y.shape == (3, 1)
    assert data.X[0].tolist() == pytest.approx([1, CRYSTALS["Al"].get_volume()])
    rows.insert(1, record("Si", gap=1.0))
    path = lines(tmp_path / "d.jsonl", rows)
    skipping = PeriodicDFTLoader(["gap"], featurizer=Sizes(), on_error="skip")
    with pytest.warns(SkippedRowsWarning, match=r"d\.jsonl:2: Sizes failed: .*no silicon"):
        data = skipping.create_dataset(path)
    assert data.ids.tolist() == ["d.jsonl:1", "d.jsonl:3", "d.jsonl:4"]
    assert data.X[:, 0].tolist() == [1, 2, 2]
    unlabelled = PeriodicDFTLoader([], featurizer=Sizes())
    assert len(unlabelled.create_dataset(lines(tmp_path / "e.jsonl", rows[2:]))) == 2


class Densities(dc.feat.MaterialStructureFeaturizer):
    """Density (g/cm^3) of a pymatgen structure, which is what DeepChem's own read."""

    def _featurize(self, datapoint: Any, **kwargs: Any) -> np.ndarray:
        if datapoint.composition.reduced_formula == "GaAs":
            raise ImportError("matminer is needed")
        return np.array([datapoint.density])


def test_deepchems_featurizers_get_what_they_read_and_hide_no_reason(tmp_path: Path) -> None:
    path = lines(tmp_path / "d.jsonl", [record("Al"), record("GaAs")])
    skipping = PeriodicDFTLoader([], featurizer=Densities(), on_error="skip")
    with pytest.warns(SkippedRowsWarning, match="ImportError: matminer is needed"):
        data = skipping.create_dataset(path)
    grams = 26.982 * 1.66054 / CRYSTALS["Al"].get_volume()
    assert data.X.tolist() == [pytest.approx([grams], rel=1e-4)]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_reasons_of_a_featurizer_are_those_of_rows(tmp_path: Path, on_error: str) -> None:
    no_potential = {"structure": {**record("Al")["structure"], "symbols": ["Pu"]}}
    path = lines(tmp_path / "d.jsonl", [record("Si"), no_potential, record("Al")])
    featurizer = PeriodicSystemFeaturizer(ecut=150.0, on_error=on_error)
    skipping = PeriodicDFTLoader([], featurizer=featurizer, on_error="skip")
    with pytest.warns(SkippedRowsWarning) as told:
        data = skipping.create_dataset(path, shard_size=1)
    assert data.ids.tolist() == ["d.jsonl:1", "d.jsonl:3"]
    (error,) = skipping.errors
    assert error.place == "d.jsonl:2" and "has no Pu" in str(error)
    assert len(told) == 1  # by the loader alone, whose numbers are those of rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": "energy"}, "tasks must be a list"),
        ({"tasks": ["a", "a"]}, "tasks must be different"),
        ({"e_type": None}, "without a featurizer e_type is needed: one of energy, eos"),
        ({"e_type": "eoss"}, "e_type = 'eoss' is not one of crystals: energy"),
        ({"e_type": ["energy", "eos"]}, "one for each of 1 tasks"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
        ({"featurizer": 3}, "must have a method featurize"),
        ({"featurizer": Sizes(), "settings": SETTINGS}, "with a featurizer, give them to it"),
        ({"featurizer": Sizes(), "e_type": None, "units": {"a": "eV"}}, "units need e_type"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    words = {"tasks": ["a"], "e_type": "energy", **arguments}
    with pytest.raises(ValueError, match=message):
        PeriodicDFTLoader(**words)


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.cif"):
        loader().create_dataset(tmp_path / "none.cif")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"notes\.txt is not known by its name; valid: \.cif"):
        loader().create_dataset(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there are no files"):
        loader().create_dataset(tmp_path / "empty")


def test_a_data_set_trains(tmp_path: Path) -> None:
    from deepchem_xc.models import XCModel
    from deepchem_xc.xc import PBE

    rows = [record("Al", energy=-56.0)]
    data = loader(settings={"ecut": 100.0}).create_dataset(lines(tmp_path / "d.jsonl", rows))
    model = XCModel(functional=PBE(trainable=True), batch_size=1, learning_rate=0.005)
    model.fit(data, nb_epoch=1, checkpoint_interval=0)
    assert np.isfinite(model.history[-1].loss)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ecut": 150.0, "kpt": [2, 2, 2]}, "kpt: unknown key, did you mean 'kpts'"),
        ({"kpts": [2, 2, 2]}, "ecut: missing"),
        ({"ecut": 150.0, "structure": "al.cif"}, "structure belongs to the rows"),
        ({"ecut": 150.0, "number": 2}, "number belongs to the rows"),
    ],
)
def test_settings_that_no_row_can_use_are_refused_before_files_are_read(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PeriodicDFTLoader([], e_type="energy", settings=settings, on_error="skip")


def test_errors_come_in_the_order_of_the_rows_also_from_several_shards(tmp_path: Path) -> None:
    """With a byte order mark, as spreadsheets write tables."""
    CRYSTALS["Al"].write(tmp_path / "al.cif")
    cells = ["al.cif,nan", "none.cif,1", "al.cif,-57", ",1", "al.cif,abc"]
    path = tmp_path / "table.csv"
    path.write_text("\ufeff" + "\n".join(["structure,energy", *cells]), encoding="utf-8")
    one = loader(["energy"], on_error="skip")
    with pytest.warns(SkippedRowsWarning):
        data = one.create_dataset(path, shard_size=2)
    assert data.ids.tolist() == ["table.csv:3"]
    assert [error.place[-1] for error in one.errors] == ["1", "2", "4", "5"]


def test_a_cif_that_lost_its_last_atoms_is_an_error_of_its_row(tmp_path: Path) -> None:
    CRYSTALS["LiF"].write(tmp_path / "cut.cif")
    whole = (tmp_path / "cut.cif").read_text().rstrip()
    (tmp_path / "cut.cif").write_text(whole.rsplit("\n", 1)[0])
    with pytest.raises(RowsError, match=r"cut\.cif: it holds Li1, but its chemical formula says"):
        loader([]).create_dataset(tmp_path)
    with pytest.raises(ValueError, match=r"datapoint 0 .*holds Li1, but its chemical formula says"):
        PeriodicSystemFeaturizer().featurize([tmp_path / "cut.cif"])
