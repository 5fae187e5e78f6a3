"""Data sets from YAML: DeepChem's keys and shapes, and mistakes that name file and entry."""

from __future__ import annotations

from pathlib import Path

import deepchem as dc
import numpy as np
import pytest

from deepchem_xc.data import DFTYamlLoader

ALUMINIUM = """{symbols: [Al], cell: [[0, 2.02, 2.02], [2.02, 0, 2.02], [2.02, 2.02, 0]],
             scaled_positions: [[0, 0, 0]]}"""
FILE = f"""
- e_type: lattice_constant
  true_val: '4.05'
  systems:
    - structure: {ALUMINIUM}
      ecut: 150
      kpts: [2, 2, 2]
      occupations: {{name: fermi-dirac, width: 0.1}}
- e_type: eos
  true_val: [0.3, 0.1, 0.0, 0.1, 0.4]
  scales: [0.88, 0.94, 1.0, 1.06, 1.12]
  weight: 3
  name: aluminium
  systems: [{{structure: {ALUMINIUM}, ecut: 150}}]
- e_type: stress
  systems: [{{structure: {ALUMINIUM}, ecut: 150}}]
- e_type : 'ae'
  true_val : '0.09194410469'
  systems : [{{
        'moldesc': 'Li 1.5070 0 0; H -1.5070 0 0',
        'basis': '6-311++G(3df,3pd)'
    }}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.yaml"
    file.write_text(FILE)
    return file


@pytest.mark.parametrize("shard_size", [1, 3, None])
def test_data_sets_have_deepchems_shapes(path: Path, shard_size: int | None) -> None:
    data = DFTYamlLoader().create_dataset(str(path), shard_size=shard_size)
    assert isinstance(data, dc.data.DiskDataset)
    assert data.get_shape() == ((4,), (4, 1), (4, 1), (4,))
    assert data.y.dtype == np.float64
    assert data.y[[0, 1, 3], 0].tolist() == [4.05, 0.0, 0.09194410469]
    assert np.isnan(data.y[2])  # no label
    assert data.w.tolist() == [[1.0], [3.0], [1.0], [1.0]]
    assert data.ids.tolist() == [f"data.yaml:{i}" for i in (1, 2, 3, 4)]
    assert [entry.entry_type for entry in data.X] == ["lattice_constant", "eos", "stress", "ae"]
    assert data.X[1].name == "aluminium"


def test_splitters_and_several_files(path: Path, tmp_path: Path) -> None:
    data = DFTYamlLoader().create_dataset([path, path], data_dir=str(tmp_path / "disk"))
    train, test = dc.splits.RandomSplitter().train_test_split(data, frac_train=0.75, seed=1)
    assert (len(train), len(test)) == (6, 2)
    names = [entry.name for part in (train, test) for entry in part.X]
    assert sorted(names) == sorted(entry.name for entry in data.X)
    again = dc.data.DiskDataset(str(tmp_path / "disk"))
    assert len(again) == 8 and len(again.X[0].calculations) == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- [", "data.yaml is not YAML"),
        ("", "must hold a list of entries.*got nothing"),
        ("e_type: eos", "must hold a list of entries.*got dict"),
        (FILE + "- e_type: eos\n", r"data.yaml, entry 5 \(eos\) is not valid:\n  systems: missing"),
        (FILE.replace("ecut: 150", "encut: 150", 1), r"entry 1 \(lattice_constant\)"),
    ],
)
def test_mistakes_name_file_and_entry(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        DFTYamlLoader().create_dataset(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.yaml"):
        DFTYamlLoader().create_dataset(tmp_path / "none.yaml")
