"""DeepChem models that train functionals."""

from __future__ import annotations

from deepchem_xc.models.dft_xc import DFTXC, EntryError
from deepchem_xc.models.labels import LabelWarning
from deepchem_xc.models.predictions import SkippedWarning
from deepchem_xc.models.training_log import EpochRecord, write_log
from deepchem_xc.models.xc_model import XCModel

__all__ = [
    "DFTXC",
    "EntryError",
    "EpochRecord",
    "LabelWarning",
    "SkippedWarning",
    "XCModel",
    "write_log",
]
