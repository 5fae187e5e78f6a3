"""Objectives of training: values of calculations and how they are compared with references.

Contract: `observables` turns results and energies into values in the labels' units; `Objective`
turns values, labels and weights into one number. Everything stays in the graph of the functional's
parameters. `FrozenEnergy` is the energy of any functional at a kept density. Nothing here knows
more of an entry than its type.
"""

from __future__ import annotations

from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.losses.objective import UNIT_DEVIATIONS, Objective

__all__ = ["UNIT_DEVIATIONS", "FrozenEnergy", "Objective"]
