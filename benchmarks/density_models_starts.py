"""What a trained network saves as the start of the loop, on unseen structures of a set."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

from density_models_errors import results
from density_models_plan import Training
from density_models_training import Data, model_file
from density_starts import from_model

from deepchem_xc.models import DensityModel

#: Structures of each set, those that cost least: more than thirty together, with magnets and (among
#: silicon's allotropes) metals.
COUNTS = {"silicon": 14, "mixed": 14, "magnets": 4}
QUICK = 2


def structures(data: Data, name: str) -> list[str]:
    """Names of the test structures that are computed, cheap ones first."""
    found = data.structures(name, "test")
    count = QUICK if data.quick else COUNTS.get(name, 0)
    return sorted(found, key=lambda key: (_cost(found[key]), key))[:count]


def _cost(structure: Any) -> float:
    """Plane waves times bands times k-points, in a unit of no meaning."""
    atoms, keywords = structure.atoms, structure.keywords
    kpoints = keywords["kpts"].get("density", 1.0) ** 3 / atoms.cell.volume
    basis = atoms.cell.volume * keywords["ecut"] ** 1.5
    return float(basis * len(atoms) * max(kpoints, 1.0 / atoms.cell.volume))


def evaluate(training: Training, data: Data, output: Path, deadline: float) -> bool:
    """Costs of all starts; ``starts/NAME/STRUCTURE.json`` gets them.

    Parameters
    ----------
    training : Training
        A finished training.
    data, output, deadline
        As for `density_models_training.train`.

    Returns
    -------
    bool
        Whether all are there.
    """
    store, identity, label = results(training, data, output, "starts")
    if store is None:
        return False
    model = None
    for name in structures(data, training.set):
        stem = data.path(training.set, name).stem
        if store.read(stem, model=identity) is not None:
            continue
        if time.monotonic() > deadline:
            return False
        model = model or DensityModel.load(model_file(output, training), progress=False)
        given = data.structures(training.set, "test")[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = from_model({"target": given.atoms, **given.keywords}, model)
        rows = {key: {**row._asdict(), "sweeps": list(row.sweeps)} for key, row in found.items()}
        magnetic = bool(given.atoms.get_initial_magnetic_moments().any())
        record = {"structure": name, "natom": len(given.atoms), "magnetic": magnetic}
        store.write(stem, {"model": identity, **record, "starts": rows})
        print(f"starts, {label}, {name}", flush=True)
    return True
