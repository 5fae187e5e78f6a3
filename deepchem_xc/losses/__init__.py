"""Objectives of training: values of calculations and how they are compared with references."""

from __future__ import annotations

from deepchem_xc.losses.frozen import FrozenEnergy
from deepchem_xc.losses.objective import UNIT_DEVIATIONS, Objective

__all__ = ["UNIT_DEVIATIONS", "FrozenEnergy", "Objective"]
