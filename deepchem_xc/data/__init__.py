"""Data sets for DeepChem.

Contract: files in; data sets out whose X holds `DFTEntry` objects, or what a featurizer makes of
structures; y is one number for each entry and task (`DFTEntry.label_summary`) and w its weight,
both (n, ntasks). Every mistake in a file is reported with its entry or row and the valid values;
nothing is left out silently. Densities of other codes come out as `OtherDensity`, on their grids,
or as `DensityRecord`, from which models learn and which calculations refuse.
"""

from __future__ import annotations

from deepchem_xc.data.density_files import DensityFileLoader, read_density
from deepchem_xc.data.density_formats import DroppedAugmentationWarning, write_chgcar
from deepchem_xc.data.input_files import SkippedRowsWarning
from deepchem_xc.data.other_density import OtherDensity, TruncatedDensityWarning
from deepchem_xc.data.periodic_loader import PeriodicDFTLoader
from deepchem_xc.data.rows import RowsError
from deepchem_xc.data.yaml_loader import DFTYamlLoader, entry_arrays, load_entries
from deepchem_xc.feat import DFTEntry, DFTSystem

__all__ = [
    "DFTEntry",
    "DFTSystem",
    "DFTYamlLoader",
    "DensityFileLoader",
    "DroppedAugmentationWarning",
    "OtherDensity",
    "PeriodicDFTLoader",
    "RowsError",
    "SkippedRowsWarning",
    "TruncatedDensityWarning",
    "entry_arrays",
    "load_entries",
    "read_density",
    "write_chgcar",
]
