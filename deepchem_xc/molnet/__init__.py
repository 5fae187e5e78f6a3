"""Data sets of crystals that come with the package, loaded in DeepChem's manner.

Contract: a featurizer, a splitter and transformers in; ``(tasks, datasets, transformers)`` out.
Without a featurizer X holds `DFTEntry` objects with the settings of the file; with one, one row a
crystal. Everything is read from the package's own ``data/``: nothing is downloaded, and nothing is
computed.
"""

from __future__ import annotations

from deepchem_xc.molnet.loaders import (
    load_gpaw_benchmark,
    load_solids_eos,
    load_solids_experiment,
)
from deepchem_xc.molnet.splitting import CrystalSplitter, FixedSplitter, splitters

__all__ = [
    "CrystalSplitter",
    "FixedSplitter",
    "load_gpaw_benchmark",
    "load_solids_eos",
    "load_solids_experiment",
    "splitters",
]
