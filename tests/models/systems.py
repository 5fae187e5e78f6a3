"""Small crystals and functionals that tests of training share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepchem.data import NumpyDataset

from deepchem_xc.data import DFTEntry, entry_arrays
from deepchem_xc.models import XCModel
from deepchem_xc.xc import DensityVariables, XCFunctional, get_xc
from tests.crystals import TIGHT

LOOSE = {"energy": 1e-8, "density": 1e-7}
# What two trainings of the same may differ by: rounding, which follows how arrays lie in memory.
# One step changes a weight by 1e-3.
ROUNDING = 1e-8
SCALES = [0.88, 0.94, 1.0, 1.06, 1.12]


def silicon(**more: Any) -> dict[str, Any]:
    """Two atoms, off their sites where `displaced` asks for it."""
    shift = 0.02 if more.pop("displaced", False) else 0.0
    structure = {
        "symbols": ["Si", "Si"],
        "cell": [[0, 2.715, 2.715], [2.715, 0, 2.715], [2.715, 2.715, 0]],
        "scaled_positions": [[0, 0, 0], [0.25 + shift, 0.25, 0.25]],
    }
    words = {"ecut": 150.0, "kpts": [2, 2, 2], "occupations": {"name": "fixed"}}
    return {"structure": structure, **words, "convergence": TIGHT, **more}


def aluminium(**more: Any) -> dict[str, Any]:
    """One atom; smeared."""
    structure = {
        "symbols": ["Al"],
        "cell": [[0, 2.02, 2.02], [2.02, 0, 2.02], [2.02, 2.02, 0]],
        "scaled_positions": [[0, 0, 0]],
    }
    words = {"ecut": 200.0, "kpts": [2, 2, 2], "convergence": TIGHT}
    return {
        "structure": structure,
        "occupations": {"name": "fermi-dirac", "width": 0.3},
        "ecut_smoothing": 40.0,
        **words,
        **more,
    }


class Enhanced(XCFunctional):
    """PBE whose exchange is enhanced by a network: a small functional of one's own."""

    name, family = "enhanced", 2

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.exchange: Any = get_xc("gga_x_pbe")
        self.correlation: Any = get_xc("gga_c_pbe")
        self.network = torch.nn.Sequential(
            torch.nn.Linear(1, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)
        ).double()
        with torch.no_grad():
            self.network[2].weight *= 0.02
            self.network[2].bias *= 0.02

    def energy_density(self, variables: DensityVariables) -> torch.Tensor:
        """PBE's, enhanced."""
        features = (variables.rs / (1.0 + variables.rs)).unsqueeze(-1)
        factor = 1.0 + self.network(features).squeeze(-1)
        exchange = factor * self.exchange.energy_density(variables)
        return exchange + self.correlation.energy_density(variables)


def dataset(*entries: DFTEntry) -> NumpyDataset:
    """Entries as DeepChem takes them."""
    return NumpyDataset(*entry_arrays(entries))


def quick(**more: Any) -> dict[str, Any]:
    """Silicon at settings that take a tenth of a second."""
    return silicon(ecut=80.0, convergence=LOOSE, **more)


def three_entries() -> list[DFTEntry]:
    """An energy, a stress and a gap of silicon."""
    return [
        DFTEntry.create("energy", -215.0, [quick()]),
        DFTEntry.create("stress", np.zeros((3, 3)), [quick()]),
        DFTEntry.create("band_gap", 1.1, [quick(kpts=[1, 1, 1], nbands=9)], weight=0.5),
    ]


def make(folder: Path | None = None, seed: int = 0, **options: Any) -> XCModel:
    """A model of an `Enhanced`."""
    torch.manual_seed(seed)
    rate = {} if "optimizer" in options else {"learning_rate": 1e-3}
    options = {**rate, "batch_size": 2, "scf_interval": 3, **options}
    directory = None if folder is None else str(folder)
    return XCModel(functional=Enhanced(), model_dir=directory, **options)


def weights(model: XCModel) -> torch.Tensor:
    """All parameters in one row."""
    return torch.cat([p.detach().flatten() for p in model.functional.parameters()])
