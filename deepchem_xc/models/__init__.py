"""DeepChem models that train functionals, and networks for densities.

Contract: data sets of `DFTEntry` in, a trained functional out (`XCModel`), or data sets of
`DensityRecord` in, a network for densities out (`DensityModel`); predictions and metrics through
DeepChem's `fit`, `predict` and `evaluate`. Calculations solve themselves: no module here imports
a solver. A step is taken completely or not at all, and a `TrainingState` holds everything that the
next one depends on, so that training can be interrupted anywhere.
"""

from __future__ import annotations

from deepchem_xc.models.density_model import DensityModel
from deepchem_xc.models.dft_xc import DFTXC, EntryError
from deepchem_xc.models.falling_rate import FallingRate
from deepchem_xc.models.labels import LabelWarning
from deepchem_xc.models.optimizers import LBFGS
from deepchem_xc.models.predictions import SkippedWarning
from deepchem_xc.models.training_log import EpochRecord, write_log
from deepchem_xc.models.xc_model import XCModel

__all__ = [
    "LBFGS",
    "DFTXC",
    "DensityModel",
    "EntryError",
    "EpochRecord",
    "FallingRate",
    "LabelWarning",
    "SkippedWarning",
    "XCModel",
    "write_log",
]
