"""Entries of data sets, and featurizers that make them, or densities, of structures.

Contract: mappings with DeepChem's keys in; `DFTEntry` objects out, checked completely before
anything is computed. An entry lists its calculations, which solve themselves (`Calculation`), and
derives its value, in the label's unit, from their energies or a `Result`. A new kind of entry is
one line in `ENTRY_TYPES`. Data sets pickle entries: never rename their classes and modules.
Featurizers (`CrystalFeaturizer`) turn each structure into one object, or name the row and reason.
Importing this room teaches DeepChem's splitters about entries (`splitters.py`).
"""

from __future__ import annotations

from deepchem_xc.feat.crystal_featurizer import FeaturizationWarning
from deepchem_xc.feat.density_descriptors import DensityDescriptorFeaturizer, DensityDescriptors
from deepchem_xc.feat.density_grid import DensityGrid, DensityGridFeaturizer
from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_types import ENTRY_TYPES
from deepchem_xc.feat.molecule_checks import OtherElectronsWarning
from deepchem_xc.feat.periodic_system import PeriodicSystemFeaturizer
from deepchem_xc.feat.protocols import ProtocolTable
from deepchem_xc.feat.splitters import adapt_deepchem

__all__ = [
    "ENTRY_TYPES",
    "DFTEntry",
    "DFTSystem",
    "DensityDescriptorFeaturizer",
    "DensityDescriptors",
    "DensityGrid",
    "DensityGridFeaturizer",
    "FeaturizationWarning",
    "OtherElectronsWarning",
    "PeriodicSystemFeaturizer",
    "ProtocolTable",
]

adapt_deepchem()
