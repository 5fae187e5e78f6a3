"""Cloning: networks that learn to be a known functional.

Contract: a parent, which is any sum of exchange and correlation that `get_xc` takes, and molecules
of ASE's g2 set in; a neural functional out. The parent's own all-electron densities come from PySCF
and are kept (`parent_densities`); points drawn from them are a DeepChem data set (`clone_dataset`),
(n, 2, 5) in atomic units; `FunctionalCloning` trains on it, and `compare_energies` computes what
the clone and its parent differ by. `train_on_energies` leads a network from there to reference
atomisation energies. Crystals are not known here.
"""

from __future__ import annotations

from deepchem_xc.cloning.atomisation import AtomisationErrors
from deepchem_xc.cloning.comparison import EnergyErrors, compare_energies
from deepchem_xc.cloning.densities import GridDensity, KeptDensity, parent_densities
from deepchem_xc.cloning.energies import KeptEnergies
from deepchem_xc.cloning.energy_training import TrainedOnEnergies, train_on_energies
from deepchem_xc.cloning.least_squares import LevenbergMarquardt
from deepchem_xc.cloning.model import FunctionalCloning, new_student
from deepchem_xc.cloning.molecules import HELD_OUT, QUICK, SAMPLED, free_atoms
from deepchem_xc.cloning.recipe import train_clone
from deepchem_xc.cloning.samples import clone_dataset, dataset_digest
from deepchem_xc.cloning.schedule import CloningRate

__all__ = [
    "HELD_OUT",
    "QUICK",
    "SAMPLED",
    "AtomisationErrors",
    "CloningRate",
    "EnergyErrors",
    "FunctionalCloning",
    "GridDensity",
    "KeptDensity",
    "KeptEnergies",
    "TrainedOnEnergies",
    "LevenbergMarquardt",
    "clone_dataset",
    "compare_energies",
    "dataset_digest",
    "free_atoms",
    "new_student",
    "parent_densities",
    "train_on_energies",
    "train_clone",
]
