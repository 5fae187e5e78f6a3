"""Data sets for DeepChem."""

from __future__ import annotations

from deepchem_xc.data.yaml_loader import DFTYamlLoader, entry_arrays, load_entries
from deepchem_xc.feat import DFTEntry, DFTSystem

__all__ = ["DFTEntry", "DFTSystem", "DFTYamlLoader", "entry_arrays", "load_entries"]
