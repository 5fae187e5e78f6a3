"""Data sets of crystals that come with the package, loaded in DeepChem's manner.

Contract: a featurizer, a splitter and transformers in; ``(tasks, datasets, transformers)`` out.
Without a featurizer X holds `DFTEntry` objects with the settings of the file; with one, one row a
crystal. Everything is read from the package's own ``data/``, and nothing is downloaded. Sets of
densities have their structures and settings there, and a few densities; all others are computed on
first use and kept in ``data_dir``.
"""

from __future__ import annotations

from deepchem_xc.molnet.computed_densities import MissingDensitiesError, compute_densities
from deepchem_xc.molnet.density_loaders import load_crystal_densities, load_si_allotropes
from deepchem_xc.molnet.density_structures import DensitySet, DensityStructure
from deepchem_xc.molnet.loaders import (
    load_gpaw_benchmark,
    load_solids_eos,
    load_solids_experiment,
)
from deepchem_xc.molnet.splitting import CrystalSplitter, FixedSplitter, splitters

__all__ = [
    "CrystalSplitter",
    "DensitySet",
    "DensityStructure",
    "FixedSplitter",
    "MissingDensitiesError",
    "compute_densities",
    "load_crystal_densities",
    "load_gpaw_benchmark",
    "load_si_allotropes",
    "load_solids_eos",
    "load_solids_experiment",
    "splitters",
]
