"""Entries of data sets: structures, reference values and the calculations behind them."""

from __future__ import annotations

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_types import ENTRY_TYPES

__all__ = ["ENTRY_TYPES", "DFTEntry", "DFTSystem"]
