"""Objectives of training: values of calculations and how they are compared with references.

Contract: results and energies in, values in the labels' units out (`observables`); values, labels
and weights in, one number out (`Objective`). Everything stays in the graph of the functional's
parameters. `FrozenEnergy` is the energy of any functional at a density that is kept. Nothing here
knows what an entry is, apart from its type.
"""

from __future__ import annotations

from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.losses.objective import UNIT_DEVIATIONS, Objective

__all__ = ["UNIT_DEVIATIONS", "FrozenEnergy", "Objective"]
