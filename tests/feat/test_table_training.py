"""A table with two columns of labels, one of them with an empty cell, trains a functional."""

from __future__ import annotations

from pathlib import Path

import deepchem as dc
import numpy as np
import pandas as pd
from ase.build import bulk
from ase.io import write
from deepchem.data import CSVLoader

from deepchem_xc.feat import PeriodicSystemFeaturizer
from deepchem_xc.models import XCModel
from deepchem_xc.xc import PBE


def test_a_table_with_two_tasks_and_an_empty_cell_trains(tmp_path: Path) -> None:
    for name, a in (("one", 4.0), ("two", 4.05)):
        write(tmp_path / f"{name}.vasp", bulk("Al", a=a))
    rows = [("one.vasp", 4.02, 80.0), ("two.vasp", 4.02, None)]
    pd.DataFrame(rows, columns=["file", "a", "B"]).to_csv(tmp_path / "t.csv", index=False)
    featurizer = PeriodicSystemFeaturizer(
        ["lattice_constant", "bulk_modulus"],
        ecut=150.0,
        ecut_smoothing=10.0,
        kpts={"size": [2, 2, 2], "gamma": True},
        scales=[0.88, 0.94, 1.0, 1.06, 1.12],
        folder=tmp_path,
    )
    loader = CSVLoader(["a", "B"], featurizer, feature_field="file", id_field="file")
    dataset = loader.create_dataset(str(tmp_path / "t.csv"))
    assert dataset.w.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    model = XCModel(functional=PBE(trainable=True), batch_size=2, learning_rate=0.05)
    metric = dc.metrics.Metric(dc.metrics.mean_absolute_error)
    errors = model.errors_by_type(dataset)
    # The empty cell is not compared with 0.
    assert errors["bulk_modulus"][2] == 1
    assert errors["lattice_constant"][2] == 2
    model.fit(dataset, nb_epoch=1, checkpoint_interval=0)
    assert np.isfinite(model.history[-1].loss)
    assert np.isfinite(model.evaluate(dataset, [metric])["mean_absolute_error"])
