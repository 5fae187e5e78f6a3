"""Data sets for DeepChem.

Contract: YAML files in; data sets out whose X holds `DFTEntry` objects, (n,), y one number for each
(`DFTEntry.label_summary`) and w their weights, both (n, 1). Every mistake in a file is reported
with its entry, its key and the valid values.
"""

from __future__ import annotations

from deepchem_xc.data.yaml_loader import DFTYamlLoader, entry_arrays, load_entries
from deepchem_xc.feat import DFTEntry, DFTSystem

__all__ = ["DFTEntry", "DFTSystem", "DFTYamlLoader", "entry_arrays", "load_entries"]
