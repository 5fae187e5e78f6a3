"""Entries of data sets: structures, reference values and the calculations behind them.

Contract: mappings with DeepChem's keys in; `DFTEntry` objects out, checked completely before
anything is computed. An entry names its calculations, which solve themselves (`Calculation`), and
makes its value, in the label's unit, of their energies or of a `Result`. A new kind of entry is a
line in `ENTRY_TYPES`. Entries are pickled in data sets: names of their classes and modules stay.
"""

from __future__ import annotations

from deepchem_xc.feat.dft_data import DFTEntry
from deepchem_xc.feat.dft_system import DFTSystem
from deepchem_xc.feat.entry_types import ENTRY_TYPES

__all__ = ["ENTRY_TYPES", "DFTEntry", "DFTSystem"]
